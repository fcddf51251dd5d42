"""LeaderboardService through a real channel: what it answers, and what it refuses."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import count
from math import inf, nan
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.json_format import ParseDict
from google.protobuf.timestamp_pb2 import Timestamp
from pantler.v1 import leaderboard_pb2 as pb
from pantler.v1 import leaderboard_pb2_grpc, sort_order_pb2

from tests.servers.pantler import PantlerServer
from tests.wire.test_cache_service import details, violations

CONFIG = """
namespaces:
  games:
    boards:
      daily-*: {period: day, time_zone: Asia/Kolkata}
      race: {order: lowest}
  strict:
    strict_boards: true
    boards: {known: {}}
"""

_numbers = count()


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    config: Path = tmp_path_factory.mktemp("boards") / "pantler.yaml"
    config.write_text(CONFIG)
    async with PantlerServer(config=config) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def boards(server: PantlerServer) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(server.address) as opened:
        yield leaderboard_pb2_grpc.LeaderboardServiceStub(opened)


@pytest.fixture
def whose() -> dict[str, str]:
    """A board that no other test uses."""
    return {"namespace": "games", "board": f"board{next(_numbers)}"}


def entries(*scores: tuple[str, float]) -> list[pb.ScoreEntry]:
    return [pb.ScoreEntry(member=member, score=score) for member, score in scores]


def ranked(response: Any) -> list[tuple[str, float, int]]:
    return [(one.member, one.score, one.rank) for one in response.entries]


async def test_scores_are_ranked(boards: Any, whose: Any) -> None:
    submit = pb.SubmitScoresRequest(**whose, entries=entries(("a", 5), ("b", 7), ("c", 5)))
    submit.entries[0].attributes["name"] = "Ada"
    submitted = await boards.SubmitScores(submit)
    assert ranked(submitted) == [("a", 5, 2), ("b", 7, 1), ("c", 5, 3)]
    assert not submitted.HasField("period")
    submit = pb.SubmitScoresRequest(
        **whose, entries=entries(("c", 9), ("a", 1)), policy=pb.SCORE_POLICY_BEST
    )
    better = await boards.SubmitScores(submit)
    assert [(one.rank, one.previous_rank, one.changed) for one in better.entries] == [
        (1, 3, True),
        (3, 2, False),
    ]
    listed = await boards.ListByRank(pb.ListByRankRequest(**whose, start_rank=2, limit=5))
    assert ranked(listed) == [("b", 7, 2), ("a", 5, 3)]
    assert dict(listed.entries[1].attributes) == {"name": "Ada"}
    assert listed.count == 3
    ranks = await boards.GetRanks(pb.GetRanksRequest(**whose, members=["a", "x", "b"]))
    assert [(one.found, one.rank, one.group_rank) for one in ranks.entries] == [
        (True, 3, 2),
        (False, 0, 0),
        (True, 2, 1),
    ]
    scores = await boards.ListByScore(pb.ListByScoreRequest(**whose, min=7, limit=1))
    assert (ranked(scores), scores.matched, scores.count) == ([("c", 9, 1)], 2, 3)
    around = await boards.ListAround(pb.ListAroundRequest(**whose, member="a", limit=2))
    assert (around.found, ranked(around)) == (True, [("b", 7, 2), ("a", 5, 3)])
    nobody = await boards.ListAround(pb.ListAroundRequest(**whose, member="x", limit=2))
    assert (nobody.found, nobody.count, list(nobody.entries)) == (False, 3, [])


async def test_those_with_equal_scores_may_share_a_rank(boards: Any, whose: Any) -> None:
    four = entries(("a", 3), ("b", 2), ("c", 2), ("d", 1))
    await boards.SubmitScores(pb.SubmitScoresRequest(**whose, entries=four))
    mode = pb.RANK_MODE_COMPETITION
    listed = await boards.ListByRank(
        pb.ListByRankRequest(**whose, start_rank=3, limit=2, rank_mode=mode)
    )
    assert ranked(listed) == [("c", 2, 2), ("d", 1, 4)]
    ranks = await boards.GetRanks(
        pb.GetRanksRequest(**whose, members=["d", "c", "b"], rank_mode=mode)
    )
    assert [(one.rank, one.group_rank) for one in ranks.entries] == [(4, 3), (2, 1), (2, 1)]


async def test_a_board_is_described_and_deleted(boards: Any) -> None:
    race: dict[str, Any] = {"namespace": "games", "board": "race"}
    ask = pb.GetBoardRequest(**race, percentiles=[50, 100])
    empty = await boards.GetBoard(ask)
    assert empty == pb.GetBoardResponse(order=sort_order_pb2.SORT_ORDER_ASCENDING)
    times = entries(("a", 9.5), ("b", 10.25), ("c", 11), ("d", 12))
    await boards.SubmitScores(pb.SubmitScoresRequest(**race, entries=times))
    board = await boards.GetBoard(ask)
    assert (board.count, board.best.member, board.worst.member) == (4, "a", "d")
    assert (board.best.rank, board.worst.rank) == (1, 4)
    assert [(one.percentile, one.score) for one in board.percentiles] == [(50, 11), (100, 9.5)]
    removed = await boards.RemoveMembers(pb.RemoveMembersRequest(**race, members=["a", "x"]))
    assert list(removed.removed) == [True, False]
    assert (await boards.DeleteBoard(pb.DeleteBoardRequest(**race))).deleted
    assert not (await boards.DeleteBoard(pb.DeleteBoardRequest(**race))).deleted


async def test_a_period_is_named_and_chosen(boards: Any, whose: Any) -> None:
    whose["board"] = f"daily-{whose['board']}"
    submit = pb.SubmitScoresRequest(**whose, entries=entries(("a", 5)))
    period = (await boards.SubmitScores(submit)).period
    began = period.start_time.ToDatetime(UTC)
    assert (began.hour, began.minute) == (18, 30)  # midnight in India
    assert period.end_time.seconds - period.start_time.seconds == 86_400
    board = await boards.GetBoard(pb.GetBoardRequest(**whose))
    assert (board.count, board.period) == (1, period)
    assert list(board.kept_periods) == [period.start_time]
    ago = await boards.GetBoard(pb.GetBoardRequest(**whose, periods_ago=1))
    assert (ago.count, ago.period.end_time) == (0, period.start_time)
    now = Timestamp()
    now.FromDatetime(datetime.now(UTC))
    at = await boards.ListByRank(pb.ListByRankRequest(**whose, start_rank=1, limit=1, at=now))
    assert (ranked(at), at.period) == ([("a", 5, 1)], period)
    removed = await boards.RemoveMembers(pb.RemoveMembersRequest(**whose, members=["a"]))
    assert (list(removed.removed), removed.period) == ([True], period)


async def test_a_repeat_by_its_request_id_changes_nothing(boards: Any, whose: Any) -> None:
    submit = pb.SubmitScoresRequest(
        **whose,
        entries=entries(("a", 5)),
        policy=pb.SCORE_POLICY_INCREMENT,
        request_id="one",
    )
    answers = await asyncio.gather(*(boards.SubmitScores(submit) for _ in range(5)))
    assert {one.entries[0].score for one in answers} == {5}
    submit.entries[0].score = 6
    assert "request_id" in await violations(boards.SubmitScores(submit))


async def test_a_strict_namespace_knows_its_boards(boards: Any) -> None:
    known = pb.SubmitScoresRequest(namespace="strict", board="known", entries=entries(("a", 1)))
    await boards.SubmitScores(known)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await boards.GetBoard(pb.GetBoardRequest(namespace="strict", board="unknown"))
    assert failed.value.code() is grpc.StatusCode.NOT_FOUND
    info = details(failed.value)["ErrorInfo"]
    assert info.reason == "ERROR_REASON_BOARD_UNKNOWN"
    assert dict(info.metadata) == {"namespace": "strict", "board": "unknown"}


BAD: list[tuple[str, dict[str, Any], set[str]]] = [
    ("SubmitScores", {"entries": [], "board": ""}, {"entries", "board"}),
    ("SubmitScores", {"entries": [{"member": "m"}] * 1001}, {"entries"}),
    (
        "SubmitScores",
        {
            "entries": [
                {"member": "m", "score": nan},
                {"member": "", "score": 1},
                {"member": "m", "score": -inf},
                {"member": "m", "attributes": {"a": "x" * 1024}},
                {"member": "m", "attributes": {f"a{n}": "" for n in range(17)}},
                {"member": "m", "attributes": {"": "x"}},
            ],
            "board": "",
            "policy": 9,
            "requestId": "r" * 129,
        },
        {
            *("entries[0].score", "entries[1].member", "entries[2].score"),
            *(
                "entries[3].attributes",
                "entries[4].attributes",
                "entries[5].attributes",
                "board",
                "policy",
                "request_id",
            ),
        },
    ),
    ("GetRanks", {"members": [], "rankMode": 7}, {"members", "rank_mode"}),
    ("GetRanks", {"members": ["ok", "\n"], "rankMode": 7}, {"members[1]", "rank_mode"}),
    ("GetRanks", {"members": ["m"], "periodsAgo": -1}, {"periods_ago"}),
    ("GetRanks", {"members": ["m"], "periodsAgo": 1001}, {"periods_ago"}),
    ("GetRanks", {"members": ["m"], "periodsAgo": 1}, {"periods_ago"}),  # it has no periods
    ("GetRanks", {"members": ["m"], "at": "1969-12-31T23:59:59Z"}, {"at"}),
    ("ListByRank", {"startRank": 0, "limit": 0}, {"start_rank", "limit"}),
    ("ListByRank", {"startRank": -1, "limit": 1001}, {"start_rank", "limit"}),
    ("ListByRank", {"startRank": 1, "limit": 1, "at": "9998-12-31T23:59:59Z"}, {"at"}),
    ("ListByScore", {"min": "NaN", "max": "Infinity", "limit": 1}, {"min", "max"}),
    ("ListByScore", {"min": 2, "max": 1, "limit": 1}, {"max"}),
    ("ListByScore", {"limit": 0}, {"limit"}),
    ("ListAround", {"member": "", "limit": 0}, {"member", "limit"}),
    ("RemoveMembers", {"members": ["m"] * 1001}, {"members"}),
    ("GetBoard", {"percentiles": [-1, 50, 101, "NaN"]}, {f"percentiles[{n}]" for n in (0, 2, 3)}),
    ("GetBoard", {"percentiles": [1] * 101}, {"percentiles"}),
    ("DeleteBoard", {"board": "b" * 513}, {"board"}),
    ("DeleteBoard", {"namespace": "No"}, {"namespace"}),
]


@pytest.mark.parametrize(("rpc", "fields", "paths"), BAD)
async def test_what_is_wrong_is_named_and_nothing_is_stored(
    boards: Any, whose: Any, rpc: str, fields: dict[str, Any], paths: set[str]
) -> None:
    request = getattr(pb, f"{rpc}Request")()
    ParseDict(
        {**whose, **{name: value for name, value in fields.items() if name != "entries"}}, request
    )
    for one in fields.get("entries", ()):
        request.entries.add(**one)
    assert set(await violations(getattr(boards, rpc)(request))) == paths
    assert (await boards.GetBoard(pb.GetBoardRequest(**whose))).count == 0
