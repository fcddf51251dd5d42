"""The calls of LeaderboardService."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property

from pantler import leaderboard_messages as messages
from pantler.batch import as_given, in_parts, several
from pantler.connection import Connection
from pantler.errors import answer_to
from pantler.leaderboard_model import (
    Board,
    BoardPage,
    MemberRanks,
    ScoreEntry,
    ScorePage,
    ScorePolicy,
    SubmittedScore,
    SubmittedScores,
)
from pantler.v1 import leaderboard_pb2, leaderboard_pb2_grpc


class LeaderboardCalls(Connection):
    """How a client ranks members by their scores.

    A board begins with its first submit; the server's configuration may say which scores are best,
    and whether it begins anew with each day, week or month. Of a board with such periods
    `periods_ago` or `at`, a time that is aware of its zone, picks one; without them it is the one
    that is under way. Ranks begin at 1. Of equal scores the one that was reached first ranks
    higher; with `shared_ranks` they have the same rank: 1, 2, 2, 4.
    """

    async def submit_scores(
        self,
        namespace: str,
        board: str,
        scores: Mapping[str, float] | Iterable[ScoreEntry],
        *,
        policy: ScorePolicy = "set",
        request_id: str = "",
    ) -> SubmittedScores:
        """Submits 1 to 1,000 scores, all or none, and tells the ranks before and after.

            await client.submit_scores("games", "arcade", {"ada": 990, "bob": 870}, policy="best")

        The `policy` says what becomes of a score that is there: "set" replaces it, "best" keeps the
        better of both, "increment" adds to it. A member may come several times, as ScoreEntries,
        which are applied in their order.

        More than 1,000 are refused, not split: they would no longer be all or none. After an error
        the scores may have been applied or not. With a `request_id`, such as a UUID, the call may
        be repeated: within 10 minutes it gets the first answer again.
        """
        request = leaderboard_pb2.SubmitScoresRequest(
            namespace=namespace,
            board=board,
            entries=messages.score_entries(scores),
            policy=messages.policy_number(policy),
            request_id=request_id,
        )
        answer = await answer_to(self._leaderboard_service.SubmitScores, request, self._timeout_s)
        return messages.submitted(answer)

    async def submit_score(
        self,
        namespace: str,
        board: str,
        member: str,
        score: float,
        *,
        policy: ScorePolicy = "set",
        attributes: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> SubmittedScore:
        """As `submit_scores`, of one member. `attributes` as in ScoreEntry."""
        entry = ScoreEntry(member, score, attributes or {})
        submitted = await self.submit_scores(
            namespace, board, [entry], policy=policy, request_id=request_id
        )
        return submitted.entries[0]

    async def get_ranks(
        self,
        namespace: str,
        board: str,
        members: Iterable[str],
        *,
        shared_ranks: bool = False,
        periods_ago: int = 0,
        at: datetime | None = None,
    ) -> MemberRanks:
        """How 1 to 1,000 members rank on the board, and among themselves: a board of friends.

        More than 1,000 are refused, not split: their ranks would be those of different moments.
        """
        places = several(members)
        request = leaderboard_pb2.GetRanksRequest(
            namespace=namespace,
            board=board,
            members=places,
            **messages.which_ranks(periods_ago, at, shared=shared_ranks),
        )
        with as_given(list(places.values())):
            answer = await answer_to(self._leaderboard_service.GetRanks, request, self._timeout_s)
        return messages.member_ranks(answer)

    async def list_by_rank(
        self,
        namespace: str,
        board: str,
        *,
        start_rank: int = 1,
        limit: int = 10,
        shared_ranks: bool = False,
        periods_ago: int = 0,
        at: datetime | None = None,
    ) -> BoardPage:
        """The members from a rank on, up to 1,000: by default the best ten. With `shared_ranks`
        too, `start_rank` counts members."""
        request = leaderboard_pb2.ListByRankRequest(
            namespace=namespace,
            board=board,
            start_rank=start_rank,
            limit=limit,
            **messages.which_ranks(periods_ago, at, shared=shared_ranks),
        )
        answer = await answer_to(self._leaderboard_service.ListByRank, request, self._timeout_s)
        return BoardPage(*messages.page(answer))

    async def list_by_score(
        self,
        namespace: str,
        board: str,
        *,
        min_score: float | None = None,
        max_score: float | None = None,
        limit: int = 10,
        shared_ranks: bool = False,
        periods_ago: int = 0,
        at: datetime | None = None,
    ) -> ScorePage:
        """The members whose scores are at least `min_score` and at most `max_score`, best first,
        up to 1,000, and how many there are. `list_by_rank` from the last rank on lists the rest."""
        request = leaderboard_pb2.ListByScoreRequest(
            namespace=namespace,
            board=board,
            min=min_score,
            max=max_score,
            limit=limit,
            **messages.which_ranks(periods_ago, at, shared=shared_ranks),
        )
        answer = await answer_to(self._leaderboard_service.ListByScore, request, self._timeout_s)
        return ScorePage(*messages.page(answer), answer.matched)

    async def list_around(
        self,
        namespace: str,
        board: str,
        member: str,
        *,
        limit: int = 11,
        shared_ranks: bool = False,
        periods_ago: int = 0,
        at: datetime | None = None,
    ) -> BoardPage | None:
        """A member amid those who rank next to it, `limit` in all, up to 1,000: by default five
        better and five worse, as far as there are so many. None if it is not on the board."""
        request = leaderboard_pb2.ListAroundRequest(
            namespace=namespace,
            board=board,
            member=member,
            limit=limit,
            **messages.which_ranks(periods_ago, at, shared=shared_ranks),
        )
        answer = await answer_to(self._leaderboard_service.ListAround, request, self._timeout_s)
        return BoardPage(*messages.page(answer)) if answer.found else None

    async def remove_members(
        self,
        namespace: str,
        board: str,
        members: Iterable[str],
        *,
        periods_ago: int = 0,
        at: datetime | None = None,
    ) -> dict[str, bool]:
        """Takes members off the board, or off a period of it; whether each was on it. Of more than
        1,000 some may fail: then it raises PartialFailure."""
        period = messages.which_period(periods_ago, at)

        async def remove(part: Sequence[str]) -> Sequence[bool]:
            request = leaderboard_pb2.RemoveMembersRequest(
                namespace=namespace, board=board, members=part, **period
            )
            answer = await answer_to(
                self._leaderboard_service.RemoveMembers, request, self._timeout_s
            )
            return answer.removed

        return await in_parts(several(members), remove)

    async def get_board(
        self,
        namespace: str,
        board: str,
        *,
        percentiles: Iterable[float] = (),
        periods_ago: int = 0,
        at: datetime | None = None,
    ) -> Board:
        """The board as a whole: how many members it has, the best and the worst, which periods can
        be read, and up to 100 percentiles, each 0 to 100."""
        request = leaderboard_pb2.GetBoardRequest(
            namespace=namespace,
            board=board,
            percentiles=percentiles,
            **messages.which_period(periods_ago, at),
        )
        answer = await answer_to(self._leaderboard_service.GetBoard, request, self._timeout_s)
        return messages.board(answer)

    async def delete_board(self, namespace: str, board: str) -> bool:
        """Deletes a board with all its periods; whether there was one."""
        request = leaderboard_pb2.DeleteBoardRequest(namespace=namespace, board=board)
        answer = await answer_to(self._leaderboard_service.DeleteBoard, request, self._timeout_s)
        return answer.deleted

    @cached_property
    def _leaderboard_service(self) -> "leaderboard_pb2_grpc.LeaderboardServiceAsyncStub":
        return leaderboard_pb2_grpc.LeaderboardServiceStub(self._channel)
