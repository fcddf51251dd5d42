"""Leaderboards: members ranked by their scores.

A board is a sorted set of its members, best first, and a hash of what is known of each (keys.py).
Every call is one script, and one round trip. A board with periods has such a pair for each: a call
names that of the period under way and of the next one, and the script takes the right one by
Redis's clock. Scores go to the newest period only; the first submit of another ends it (turn.lua).
"""

from collections.abc import Callable, Sequence

from pantler_server.core.board_config import BoardOrder
from pantler_server.core.calendar import Span
from pantler_server.core.clock import RedisClock
from pantler_server.core.errors import FieldViolation, InvalidFields
from pantler_server.core.namespace import Namespace
from pantler_server.engines.leaderboard import scripts
from pantler_server.engines.leaderboard.board import Board, board_of
from pantler_server.engines.leaderboard.model import (
    THIS_PERIOD,
    Description,
    MemberRank,
    Page,
    Ranked,
    Ranks,
    Removed,
    ScoreEntry,
    ScorePolicy,
    Scores,
    WhichPeriod,
)
from pantler_server.engines.leaderboard.scripts import Target
from pantler_server.store import answers
from pantler_server.store.link import Reply
from pantler_server.store.request import Request
from pantler_server.store.store import Store

_OUTDATED, _TURN, _INFINITE = 3, 4, 5  # replies of the scripts
_OTHER_PERIODS = 2  # of delete.lua

Make = Callable[[Target], Request]


class LeaderboardEngine:
    """Deadlines are times of the event loop. All raise BoardUnknown, WrongKind and the StoreErrors.

    `shared`: those with the same score share the rank of the first of them.
    """

    def __init__(self, state: Store) -> None:
        self._store = state
        self._clock = RedisClock()

    async def submit(
        self,
        space: Namespace,
        name: str,
        entries: Sequence[ScoreEntry],
        policy: ScorePolicy,
        request_id: str,
        deadline: float,
    ) -> Scores:
        """Applies scores, all or none. One round trip; the first of a period takes two more.

        The same request id gets the first answer again; raises InvalidFields if that was for other
        entries, and if a score would become infinite.
        """
        board = board_of(space, name)

        def make(target: Target) -> Request:
            return scripts.submit(target, entries, policy, request_id)

        _, reply = await self._ask(board, THIS_PERIOD, make, deadline)
        while reply[0] == _TURN:
            _, ended, began, ends = reply
            await self._store.call(scripts.turn(board, ended, began, ends), deadline)
            _, reply = await self._ask(board, THIS_PERIOD, make, deadline)
        if reply[0] == answers.REUSED:
            raise answers.reused()
        if reply[0] == _INFINITE:
            path = f"entries[{reply[1] - 1}].score"
            raise InvalidFields([FieldViolation(path, "would make the member's score infinite")])
        _, start_us, end_us, packed = reply
        return Scores(scripts.submitted(packed), Span(start_us, end_us) if end_us else None)

    async def get_ranks(
        self,
        space: Namespace,
        name: str,
        members: Sequence[str],
        deadline: float,
        *,
        shared: bool = False,
        which: WhichPeriod = THIS_PERIOD,
    ) -> Ranks:
        """How members rank on the board, and among themselves. One round trip."""

        def make(target: Target) -> Request:
            return scripts.get_ranks(target, members, shared=shared)

        target, reply = await self._ask(board_of(space, name), which, make, deadline)
        _, start_us, order, count, *packed = reply
        known = {
            member: scripts.rank(member, one)
            for member, one in zip(members, packed, strict=True)
            if one is not None
        }
        groups = _group_ranks(known, highest_first=order == b"h", shared=shared)
        found = [
            MemberRank(known[member][0], groups[member]) if member in known else None
            for member in members
        ]
        return Ranks(found, count, target.span(start_us))

    async def list_by_rank(
        self,
        space: Namespace,
        name: str,
        start_rank: int,
        limit: int,
        deadline: float,
        *,
        shared: bool = False,
        which: WhichPeriod = THIS_PERIOD,
    ) -> Page:
        """Members from a rank on. One round trip."""

        def make(target: Target) -> Request:
            return scripts.list_by_rank(target, start_rank, limit, shared=shared)

        return await self._page(board_of(space, name), which, make, deadline)

    async def list_by_score(
        self,
        space: Namespace,
        name: str,
        least: float,
        most: float,
        limit: int,
        deadline: float,
        *,
        shared: bool = False,
        which: WhichPeriod = THIS_PERIOD,
    ) -> Page:
        """Members with scores from `least` to `most`, which may be infinite. One round trip."""

        def make(target: Target) -> Request:
            return scripts.list_by_score(target, least, most, limit, shared=shared)

        return await self._page(board_of(space, name), which, make, deadline)

    async def list_around(
        self,
        space: Namespace,
        name: str,
        member: str,
        limit: int,
        deadline: float,
        *,
        shared: bool = False,
        which: WhichPeriod = THIS_PERIOD,
    ) -> Page:
        """A member amid its neighbours; no entries if it is not on the board. One round trip."""

        def make(target: Target) -> Request:
            return scripts.list_around(target, member, limit, shared=shared)

        return await self._page(board_of(space, name), which, make, deadline)

    async def remove(
        self,
        space: Namespace,
        name: str,
        members: Sequence[str],
        deadline: float,
        *,
        which: WhichPeriod = THIS_PERIOD,
    ) -> Removed:
        """Takes members off the board. One round trip."""

        def make(target: Target) -> Request:
            return scripts.remove(target, members)

        target, reply = await self._ask(board_of(space, name), which, make, deadline)
        _, start_us, *removed = reply
        return Removed([bool(one) for one in removed], target.span(start_us))

    async def describe(
        self,
        space: Namespace,
        name: str,
        percentiles: Sequence[float],
        deadline: float,
        *,
        which: WhichPeriod = THIS_PERIOD,
    ) -> Description:
        """The board as a whole. One round trip."""
        board = board_of(space, name)

        def make(target: Target) -> Request:
            return scripts.describe(target, percentiles)

        target, reply = await self._ask(board, which, make, deadline)
        _, start_us, count, best, worst, order, kept, *scores = reply
        begun = {b"h": BoardOrder.HIGHEST, b"l": BoardOrder.LOWEST}
        kept_us = sorted((int(start) for start in kept.split(b",") if start), reverse=True)
        return Description(
            count,
            next(scripts.page(best), None),
            next(scripts.page(worst), None),
            [scripts.score(one) for one in scores],
            begun.get(order, board.config.order),
            target.span(start_us),
            [one_us for one_us in kept_us if board.begins_at(one_us)],
        )

    async def delete(self, space: Namespace, name: str, deadline: float) -> bool:
        """Deletes a board; whether there was one. One round trip, one more if it has periods."""
        board = board_of(space, name)
        starts = [b"0"]
        while True:
            [reply] = await self._store.call(scripts.delete(board, starts), deadline)
            if reply[0] != _OTHER_PERIODS:
                return bool(reply[0])
            starts = reply[1:]

    async def _page(self, board: Board, which: WhichPeriod, make: Make, deadline: float) -> Page:
        target, reply = await self._ask(board, which, make, deadline)
        _, start_us, count, packed, *matched = reply
        return Page(list(scripts.page(packed)), count, target.span(start_us), *matched)

    async def _ask(
        self, board: Board, which: WhichPeriod, make: Make, deadline: float
    ) -> tuple[Target, Reply]:
        """The reply, and what it is of. Asks again if the period was guessed wrong."""
        if board.config.period is None and which != THIS_PERIOD:
            path = "periods_ago" if which.at_us is None else "at"
            raise InvalidFields(
                [FieldViolation(path, "must be left out: the board has no periods")]
            )
        while True:
            target = Target(board, which, self._clock.now_us())
            [reply] = await self._store.call(make(target), deadline)
            if reply[0] != _OUTDATED:
                return target, reply
            self._clock.correct(reply[1])


def _group_ranks(
    known: dict[str, tuple[Ranked, bytes]], *, highest_first: bool, shared: bool
) -> dict[str, int]:
    """The ranks of members among themselves."""
    sign = -1 if highest_first else 1
    ordered = sorted(known.values(), key=lambda one: (one[0].score * sign, one[1]))
    ranks: dict[str, int] = {}
    rank, score = 0, None
    for place, (ranked, _) in enumerate(ordered, start=1):
        if not shared or ranked.score != score:
            rank, score = place, ranked.score
        ranks[ranked.member] = rank
    return ranks
