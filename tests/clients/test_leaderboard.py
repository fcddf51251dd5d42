"""Leaderboards through the Python SDK, against a real server."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pantler
import pytest
import pytest_asyncio

from tests.servers.pantler import PantlerServer

_numbers = count()
CONFIG = """
namespaces:
  games:
    boards:
      year-*: {period: year, time_zone: Europe/Berlin}
      race*: {order: lowest}
      short*: {max_members: 2}
  strict:
    strict_boards: true
"""


@pytest.fixture
def board() -> str:
    """One that no other test uses."""
    return f"board{next(_numbers)}"


@pytest_asyncio.fixture(scope="module")
async def boards(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    config: Path = tmp_path_factory.mktemp("boards") / "pantler.yaml"
    config.write_text(CONFIG)
    async with PantlerServer(config=config) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def client(boards: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    async with pantler.AsyncClient(boards.address) as opened:
        yield opened


def ranked(page: pantler.BoardPage | None) -> list[tuple[str, float, int]]:
    assert page is not None
    return [(one.member, one.score, one.rank) for one in page.entries]


async def test_scores_are_submitted_and_ranked(client: pantler.AsyncClient, board: str) -> None:
    first = await client.submit_scores("games", board, {"a": 5, "b": 7.5, "c": 5})
    assert first.entries[0] == pantler.SubmittedScore("a", 5.0, 2, None, changed=True)
    assert [one.rank for one in first.entries] == [2, 1, 3]
    assert first.period is None
    page = await client.list_by_rank("games", board)
    assert page == pantler.BoardPage(
        (
            pantler.BoardEntry("b", 7.5, 1, {}),
            pantler.BoardEntry("a", 5.0, 2, {}),
            pantler.BoardEntry("c", 5.0, 3, {}),
        ),
        count=3,
        period=None,
    )
    assert ranked(await client.list_by_rank("games", board, start_rank=2, limit=1)) == [("a", 5, 2)]


async def test_a_policy_says_what_becomes_of_a_score(
    client: pantler.AsyncClient, board: str
) -> None:
    await client.submit_score("games", board, "a", 5)
    worse = await client.submit_score("games", board, "a", 4, policy="best")
    assert (worse.score, worse.changed, worse.previous_rank) == (5, False, 1)
    more = await client.submit_score("games", board, "a", 4, policy="increment")
    assert (more.score, more.changed) == (9, True)
    assert (await client.submit_score("games", board, "a", 1)).score == 1
    unknown: Any = "worst"
    with pytest.raises(ValueError, match="one of set, best, increment, not 'worst'"):
        await client.submit_score("games", board, "a", 1, policy=unknown)


async def test_attributes_stand_with_the_score(client: pantler.AsyncClient, board: str) -> None:
    entries = [
        pantler.ScoreEntry("a", 1, {"name": "Ada"}),
        pantler.ScoreEntry("a", 2),
        pantler.ScoreEntry("b", 3),
    ]
    submitted = await client.submit_scores("games", board, iter(entries), policy="increment")
    assert [one.score for one in submitted.entries] == [3, 3, 3]
    await client.submit_score("games", board, "b", 0, policy="best", attributes={"name": "Bob"})
    around = await client.list_around("games", board, "a")
    assert around is not None
    assert [one.attributes for one in around.entries] == [{"name": "Ada"}, {}]
    assert (await client.get_ranks("games", board, ["a"])).entries["a"].attributes == {
        "name": "Ada"
    }


async def test_a_request_id_counts_once(client: pantler.AsyncClient, board: str) -> None:
    add: Any = {"policy": "increment", "request_id": uuid4().hex}
    first = await client.submit_scores("games", board, {"a": 5}, **add)
    assert await client.submit_scores("games", board, {"a": 5}, **add) == first
    assert ranked(await client.list_by_rank("games", board)) == [("a", 5, 1)]
    with pytest.raises(pantler.InvalidArgument) as refused:
        await client.submit_scores("games", board, {"a": 6}, **add)
    assert [one.path for one in refused.value.violations] == ["request_id"]


async def test_friends_rank_among_themselves(client: pantler.AsyncClient, board: str) -> None:
    await client.submit_scores("games", board, {"a": 5, "b": 7, "c": 5, "d": 9, "e": 1})
    friends = await client.get_ranks("games", board, ["e", "c", "nobody", "a", "e"])
    assert list(friends.entries) == ["a", "c", "e"]
    assert friends.entries["c"] == pantler.MemberRank("c", 5.0, 4, 2, {})
    assert (friends.count, friends.period) == (5, None)
    shared = await client.get_ranks("games", board, ["e", "c", "a"], shared_ranks=True)
    assert [(one.rank, one.group_rank) for one in shared.entries.values()] == [
        (3, 1),
        (3, 1),
        (5, 3),
    ]


async def test_members_are_listed_by_score(client: pantler.AsyncClient, board: str) -> None:
    await client.submit_scores("games", board, {"a": 5, "b": 7, "c": 5, "d": 9, "e": 1})
    page = await client.list_by_score("games", board, min_score=5, max_score=7, limit=2)
    assert ranked(page) == [("b", 7, 2), ("a", 5, 3)]
    assert (page.matched, page.count) == (3, 5)
    assert (await client.list_by_score("games", board, min_score=-1)).matched == 5
    assert (await client.list_by_score("games", board, max_score=4.5)).matched == 1
    with pytest.raises(pantler.InvalidArgument, match="max must not be below min"):
        await client.list_by_score("games", board, min_score=2, max_score=1)


async def test_a_member_is_listed_amid_its_neighbours(
    client: pantler.AsyncClient, board: str
) -> None:
    await client.submit_scores("games", board, {f"m{rank}": -rank for rank in range(1, 30)})
    around = await client.list_around("games", board, "m15")
    assert [rank for _, _, rank in ranked(around)] == list(range(10, 21))
    assert ranked(await client.list_around("games", board, "m1", limit=2)) == [
        ("m1", -1, 1),
        ("m2", -2, 2),
    ]
    assert await client.list_around("games", board, "nobody") is None


async def test_members_with_the_same_score_may_share_a_rank(
    client: pantler.AsyncClient, board: str
) -> None:
    await client.submit_scores("games", board, {"a": 5, "b": 7, "c": 5, "d": 1})
    shared: Any = {"shared_ranks": True}
    assert [rank for _, _, rank in ranked(await client.list_by_rank("games", board, **shared))] == [
        1,
        2,
        2,
        4,
    ]
    third = await client.list_by_rank("games", board, start_rank=3, limit=1, **shared)
    assert ranked(third) == [("c", 5, 2)]
    assert ranked(await client.list_around("games", board, "c", limit=1, **shared)) == [("c", 5, 2)]
    by_score = await client.list_by_score("games", board, max_score=5, limit=2, **shared)
    assert [one.rank for one in by_score.entries] == [2, 2]


async def test_any_number_of_members_is_removed(client: pantler.AsyncClient, board: str) -> None:
    await client.submit_scores("games", board, {"m0": 1, "m1500": 2, "stays": 3})
    removed = await client.remove_members("games", board, [f"m{i}" for i in range(1501)])
    assert len(removed) == 1501
    assert [member for member, was_there in removed.items() if was_there] == ["m0", "m1500"]
    assert (await client.get_board("games", board)).count == 1
    with pytest.raises(pantler.InvalidArgument) as refused:
        await client.remove_members("games", board, ["m", "m", ""])
    assert [one.path for one in refused.value.violations] == ["members[2]"]


async def test_what_could_not_be_split_soundly_is_refused(
    client: pantler.AsyncClient, board: str
) -> None:
    many = {f"m{i}": 1.0 for i in range(1001)}
    with pytest.raises(pantler.InvalidArgument, match="1 to 1000 items"):
        await client.submit_scores("games", board, many)
    with pytest.raises(pantler.InvalidArgument, match="1 to 1000 items"):
        await client.get_ranks("games", board, many)
    assert not await client.delete_board("games", board)


async def test_a_board_is_described(client: pantler.AsyncClient, board: str) -> None:
    nothing = await client.get_board("games", board, percentiles=[50])
    assert nothing == pantler.Board(0, None, None, {}, "highest", None, ())
    await client.submit_scores("games", board, {f"m{score}": score for score in range(1, 11)})
    described = await client.get_board("games", board, percentiles=(90, 0, 99.5))
    assert described == pantler.Board(
        count=10,
        best=pantler.BoardEntry("m10", 10.0, 1, {}),
        worst=pantler.BoardEntry("m1", 1.0, 10, {}),
        percentiles={90: 9, 0: 1, 99.5: 10},
        order="highest",
        period=None,
        kept_periods=(),
    )


async def test_the_configuration_says_which_scores_are_best_and_how_many_stay(
    client: pantler.AsyncClient, board: str
) -> None:
    await client.submit_scores("games", f"race-{board}", {"a": 61.5, "b": 59.25})
    assert (await client.get_board("games", f"race-{board}")).order == "lowest"
    assert ranked(await client.list_by_rank("games", f"race-{board}", limit=1)) == [("b", 59.25, 1)]
    await client.submit_scores("games", f"short-{board}", {"a": 3, "b": 2})
    below = await client.submit_score("games", f"short-{board}", "c", 1)
    assert below == pantler.SubmittedScore("c", 1.0, None, None, changed=False)


async def test_a_period_is_chosen_by_number_or_time(
    client: pantler.AsyncClient, board: str
) -> None:
    board = f"year-{board}"
    submitted = await client.submit_scores("games", board, {"a": 1})
    assert submitted.period is not None
    start, end = submitted.period.start_time, submitted.period.end_time
    assert (end - start).days in {365, 366}
    before = start - timedelta(hours=1)
    page = await client.list_by_rank("games", board, periods_ago=1)
    assert page == await client.list_by_rank("games", board, at=before)
    assert (page.entries, page.count) == ((), 0)
    assert page.period is not None
    assert page.period.end_time == start
    assert (await client.get_board("games", board)).kept_periods == (start,)
    past: Any = {"at": before}
    assert (await client.get_board("games", board, **past)).period == page.period
    assert (await client.list_by_score("games", board, **past)).matched == 0
    assert await client.list_around("games", board, "a", **past) is None
    assert (await client.get_ranks("games", board, ["a"], **past)).entries == {}
    assert await client.remove_members("games", board, ["a"], **past) == {"a": False}
    assert await client.remove_members("games", board, ["a"], at=start) == {"a": True}


async def test_a_period_is_one_and_its_time_aware(client: pantler.AsyncClient, board: str) -> None:
    with pytest.raises(TypeError, match="one of periods_ago and at, not both"):
        await client.list_by_rank("games", board, periods_ago=1, at=datetime.now(UTC))
    with pytest.raises(ValueError, match="at has no time zone"):
        await client.get_board("games", board, at=datetime(2026, 1, 1))
    with pytest.raises(pantler.InvalidArgument, match="the board has no periods"):
        await client.get_board("games", board, periods_ago=1)


async def test_a_deleted_board_begins_anew(client: pantler.AsyncClient, board: str) -> None:
    await client.submit_score("games", board, "a", 1)
    assert await client.delete_board("games", board)
    assert not await client.delete_board("games", board)
    assert (await client.submit_score("games", board, "a", 1)).previous_rank is None


async def test_what_is_refused_names_the_entry(client: pantler.AsyncClient, board: str) -> None:
    entries = {"a": 1.0, "b": float("nan"), "": 1.0}
    with pytest.raises(pantler.InvalidArgument) as refused:
        await client.submit_scores("games", board, entries)
    assert {one.path for one in refused.value.violations} == {
        "entries[1].score",
        "entries[2].member",
    }
    with pytest.raises(pantler.NotFound, match=board):
        await client.submit_score("strict", board, "a", 1)
    one_text: Any = "ada"
    with pytest.raises(TypeError, match=r"give several, as \['ada'\], not one"):
        await client.get_ranks("games", board, one_text)
