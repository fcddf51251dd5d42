"""LeaderboardService: members ranked by their scores."""

from pantler.v1 import leaderboard_pb2

from pantler_server.core.call import Call
from pantler_server.core.namespace import Namespaces
from pantler_server.engines.leaderboard.engine import LeaderboardEngine
from pantler_server.servicers import convert_leaderboard as convert
from pantler_server.servicers import validate


class LeaderboardServicer:
    """The RPCs of LeaderboardService, documented in proto/pantler/v1/leaderboard.proto."""

    def __init__(self, engine: LeaderboardEngine, namespaces: Namespaces) -> None:
        self._engine = engine
        self._namespaces = namespaces

    async def SubmitScores(
        self, request: leaderboard_pb2.SubmitScoresRequest, call: Call
    ) -> leaderboard_pb2.SubmitScoresResponse:
        name, (entries, policy) = validate.namespace(request.namespace), convert.submit(request)
        space = await self._namespaces.resolve(name, call.deadline)
        scores = await self._engine.submit(
            space, request.board, entries, policy, request.request_id, call.deadline
        )
        return convert.submit_response(entries, scores)

    async def GetRanks(
        self, request: leaderboard_pb2.GetRanksRequest, call: Call
    ) -> leaderboard_pb2.GetRanksResponse:
        name, (shared, which) = validate.namespace(request.namespace), convert.ranks(request)
        space = await self._namespaces.resolve(name, call.deadline)
        ranks = await self._engine.get_ranks(
            space, request.board, request.members, call.deadline, shared=shared, which=which
        )
        return convert.ranks_response(request.members, ranks)

    async def ListByRank(
        self, request: leaderboard_pb2.ListByRankRequest, call: Call
    ) -> leaderboard_pb2.ListByRankResponse:
        name, (shared, which) = validate.namespace(request.namespace), convert.by_rank(request)
        space = await self._namespaces.resolve(name, call.deadline)
        page = await self._engine.list_by_rank(
            space,
            request.board,
            request.start_rank,
            request.limit,
            call.deadline,
            shared=shared,
            which=which,
        )
        response = leaderboard_pb2.ListByRankResponse()
        convert.put_page(response, page)
        return response

    async def ListByScore(
        self, request: leaderboard_pb2.ListByScoreRequest, call: Call
    ) -> leaderboard_pb2.ListByScoreResponse:
        name = validate.namespace(request.namespace)
        least, most, (shared, which) = convert.by_score(request)
        space = await self._namespaces.resolve(name, call.deadline)
        page = await self._engine.list_by_score(
            space,
            request.board,
            least,
            most,
            request.limit,
            call.deadline,
            shared=shared,
            which=which,
        )
        response = leaderboard_pb2.ListByScoreResponse(matched=page.matched)
        convert.put_page(response, page)
        return response

    async def ListAround(
        self, request: leaderboard_pb2.ListAroundRequest, call: Call
    ) -> leaderboard_pb2.ListAroundResponse:
        name, (shared, which) = validate.namespace(request.namespace), convert.around(request)
        space = await self._namespaces.resolve(name, call.deadline)
        page = await self._engine.list_around(
            space,
            request.board,
            request.member,
            request.limit,
            call.deadline,
            shared=shared,
            which=which,
        )
        response = leaderboard_pb2.ListAroundResponse(found=bool(page.entries))
        convert.put_page(response, page)
        return response

    async def RemoveMembers(
        self, request: leaderboard_pb2.RemoveMembersRequest, call: Call
    ) -> leaderboard_pb2.RemoveMembersResponse:
        name, which = validate.namespace(request.namespace), convert.removal(request)
        space = await self._namespaces.resolve(name, call.deadline)
        removed = await self._engine.remove(
            space, request.board, request.members, call.deadline, which=which
        )
        response = leaderboard_pb2.RemoveMembersResponse(removed=removed.entries)
        convert.put_span(response, removed.span)
        return response

    async def GetBoard(
        self, request: leaderboard_pb2.GetBoardRequest, call: Call
    ) -> leaderboard_pb2.GetBoardResponse:
        name, which = validate.namespace(request.namespace), convert.description(request)
        space = await self._namespaces.resolve(name, call.deadline)
        described = await self._engine.describe(
            space, request.board, request.percentiles, call.deadline, which=which
        )
        return convert.board_response(request.percentiles, described)

    async def DeleteBoard(
        self, request: leaderboard_pb2.DeleteBoardRequest, call: Call
    ) -> leaderboard_pb2.DeleteBoardResponse:
        name, board = validate.namespace(request.namespace), convert.board(request)
        space = await self._namespaces.resolve(name, call.deadline)
        deleted = await self._engine.delete(space, board, call.deadline)
        return leaderboard_pb2.DeleteBoardResponse(deleted=deleted)
