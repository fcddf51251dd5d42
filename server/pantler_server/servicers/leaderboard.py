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
        name, wrong = validate.namespace(request.namespace), validate.Violations()
        board, policy = convert.board(request, wrong), convert.policy(request, wrong)
        entries = convert.entries(request, wrong)
        request_id = validate.request_id(request.request_id, wrong)
        validate.refuse(wrong)
        space = await self._namespaces.resolve(name, call.deadline)
        scores = await self._engine.submit(space, board, entries, policy, request_id, call.deadline)
        return convert.submit_response(entries, scores)

    async def GetRanks(
        self, request: leaderboard_pb2.GetRanksRequest, call: Call
    ) -> leaderboard_pb2.GetRanksResponse:
        name, wrong = validate.namespace(request.namespace), validate.Violations()
        board, members = convert.board(request, wrong), convert.members(request, wrong)
        shared, which = convert.is_shared(request, wrong), convert.which_period(request, wrong)
        validate.refuse(wrong)
        space = await self._namespaces.resolve(name, call.deadline)
        ranks = await self._engine.get_ranks(
            space, board, members, call.deadline, shared=shared, which=which
        )
        return convert.ranks_response(members, ranks)

    async def ListByRank(
        self, request: leaderboard_pb2.ListByRankRequest, call: Call
    ) -> leaderboard_pb2.ListByRankResponse:
        name, wrong = validate.namespace(request.namespace), validate.Violations()
        board, start_rank = convert.board(request, wrong), convert.start_rank(request, wrong)
        limit, shared = convert.limit(request, wrong), convert.is_shared(request, wrong)
        which = convert.which_period(request, wrong)
        validate.refuse(wrong)
        space = await self._namespaces.resolve(name, call.deadline)
        page = await self._engine.list_by_rank(
            space, board, start_rank, limit, call.deadline, shared=shared, which=which
        )
        response = leaderboard_pb2.ListByRankResponse()
        convert.put_page(response, page)
        return response

    async def ListByScore(
        self, request: leaderboard_pb2.ListByScoreRequest, call: Call
    ) -> leaderboard_pb2.ListByScoreResponse:
        name, wrong = validate.namespace(request.namespace), validate.Violations()
        board, (least, most) = convert.board(request, wrong), convert.bounds(request, wrong)
        limit, shared = convert.limit(request, wrong), convert.is_shared(request, wrong)
        which = convert.which_period(request, wrong)
        validate.refuse(wrong)
        space = await self._namespaces.resolve(name, call.deadline)
        page = await self._engine.list_by_score(
            space, board, least, most, limit, call.deadline, shared=shared, which=which
        )
        response = leaderboard_pb2.ListByScoreResponse(matched=page.matched)
        convert.put_page(response, page)
        return response

    async def ListAround(
        self, request: leaderboard_pb2.ListAroundRequest, call: Call
    ) -> leaderboard_pb2.ListAroundResponse:
        name, wrong = validate.namespace(request.namespace), validate.Violations()
        board, member = convert.board(request, wrong), convert.member(request, wrong)
        limit, shared = convert.limit(request, wrong), convert.is_shared(request, wrong)
        which = convert.which_period(request, wrong)
        validate.refuse(wrong)
        space = await self._namespaces.resolve(name, call.deadline)
        page = await self._engine.list_around(
            space, board, member, limit, call.deadline, shared=shared, which=which
        )
        response = leaderboard_pb2.ListAroundResponse(found=bool(page.entries))
        convert.put_page(response, page)
        return response

    async def RemoveMembers(
        self, request: leaderboard_pb2.RemoveMembersRequest, call: Call
    ) -> leaderboard_pb2.RemoveMembersResponse:
        name, wrong = validate.namespace(request.namespace), validate.Violations()
        board, members = convert.board(request, wrong), convert.members(request, wrong)
        which = convert.which_period(request, wrong)
        validate.refuse(wrong)
        space = await self._namespaces.resolve(name, call.deadline)
        removed = await self._engine.remove(space, board, members, call.deadline, which=which)
        response = leaderboard_pb2.RemoveMembersResponse(removed=removed.entries)
        convert.put_span(response, removed.span)
        return response

    async def GetBoard(
        self, request: leaderboard_pb2.GetBoardRequest, call: Call
    ) -> leaderboard_pb2.GetBoardResponse:
        name, wrong = validate.namespace(request.namespace), validate.Violations()
        board, percentiles = convert.board(request, wrong), convert.percentiles(request, wrong)
        which = convert.which_period(request, wrong)
        validate.refuse(wrong)
        space = await self._namespaces.resolve(name, call.deadline)
        described = await self._engine.describe(
            space, board, percentiles, call.deadline, which=which
        )
        return convert.board_response(percentiles, described)

    async def DeleteBoard(
        self, request: leaderboard_pb2.DeleteBoardRequest, call: Call
    ) -> leaderboard_pb2.DeleteBoardResponse:
        name, wrong = validate.namespace(request.namespace), validate.Violations()
        board = convert.board(request, wrong)
        validate.refuse(wrong)
        space = await self._namespaces.resolve(name, call.deadline)
        deleted = await self._engine.delete(space, board, call.deadline)
        return leaderboard_pb2.DeleteBoardResponse(deleted=deleted)
