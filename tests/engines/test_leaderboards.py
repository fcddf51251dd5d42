"""The leaderboard engine as workers have it, on every topology."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from pantler_server.core.board_config import BoardConfig, BoardOrder
from pantler_server.core.calendar import Period
from pantler_server.core.errors import BoardUnknown, InvalidFields, WrongKind
from pantler_server.core.keyspace import named
from pantler_server.core.namespace import Namespace
from pantler_server.engines.leaderboard import keys
from pantler_server.engines.leaderboard.board import board_of
from pantler_server.engines.leaderboard.engine import LeaderboardEngine
from pantler_server.engines.leaderboard.model import Ranked, ScoreEntry, ScorePolicy, Submitted
from pantler_server.store.request import Request, pack, read
from pantler_server.store.store import Store

from tests.engines.conftest import Deadline

SET, BEST, INCREMENT = ScorePolicy.SET, ScorePolicy.BEST, ScorePolicy.INCREMENT


@pytest.fixture
def boards(store: Store) -> LeaderboardEngine:
    return LeaderboardEngine(store)


@pytest.fixture
def other_boards(store: Store) -> LeaderboardEngine:
    """As another worker has it."""
    return LeaderboardEngine(store)


def entry(member: str, score: float, **attributes: str) -> ScoreEntry:
    return ScoreEntry(member, score, attributes)


def with_boards(space: Namespace, **boards: BoardConfig) -> Namespace:
    """The namespace with boards in its configuration."""
    config = space.config.model_copy(update={"boards": boards})
    return replace(space, config=config)


async def keys_of(store: Store, space: Namespace, board: str, deadline: float) -> dict[bytes, int]:
    """All keys of a namespace that has this board only, with their PTTL."""
    found: set[bytes] = set()
    async for step in store.scan(b"*{%b:*" % space.name.encode(), 1000):
        found |= set(step.keys)
    ordered = sorted(found)
    request = read(board_of(space, board).slot, board, *(("PTTL", key) for key in ordered))
    return dict(zip(ordered, await store.call(request, deadline), strict=True))


async def test_a_submit_ranks_before_and_after(
    boards: LeaderboardEngine, space: Namespace, deadline: Deadline
) -> None:
    first = [entry("ada", 5, name="Ada L."), entry("bob", 7), entry("eve", 5)]
    scores = await boards.submit(space, "b", first, SET, "", deadline())
    assert scores.entries == [
        Submitted(5, 2, 0, True),
        Submitted(7, 1, 0, True),
        Submitted(5, 3, 0, True),
    ]
    again = [entry("eve", 4), entry("ada", 3), entry("eve", 4)]
    scores = await boards.submit(space, "b", again, INCREMENT, "", deadline())
    assert scores.entries == [
        Submitted(13, 1, 3, True),
        Submitted(8, 2, 2, True),
        Submitted(13, 1, 3, True),
    ]
    page = await boards.list_by_rank(space, "b", 1, 2, deadline())
    assert page.entries == [Ranked("eve", 13, 1, {}), Ranked("ada", 8, 2, {"name": "Ada L."})]


async def test_of_equal_scores_who_reached_it_first_ranks_first(
    boards: LeaderboardEngine, other_boards: LeaderboardEngine, space: Namespace, deadline: Deadline
) -> None:
    members = [f"m{number:02}" for number in range(20)]
    for number, member in enumerate(reversed(members)):
        worker = (boards, other_boards)[number % 2]
        await worker.submit(space, "b", [entry(member, 2.0**53)], SET, "", deadline())
    for policy in (SET, BEST):  # to reach it again is not to reach it later
        await boards.submit(space, "b", [entry("m19", 2.0**53)], policy, "", deadline())
    page = await boards.list_by_rank(space, "b", 1, 20, deadline())
    assert [one.member for one in page.entries] == members[::-1]
    await boards.submit(space, "b", [entry("m19", 2.0**53 - 1)], SET, "", deadline())
    await boards.submit(space, "b", [entry("m19", 1)], INCREMENT, "", deadline())
    page = await boards.list_by_rank(space, "b", 1, 20, deadline())
    assert page.entries[-1] == Ranked("m19", 2.0**53, 20, {})


async def test_workers_together_lose_no_increment(
    boards: LeaderboardEngine, other_boards: LeaderboardEngine, space: Namespace, deadline: Deadline
) -> None:
    both = (boards, other_boards)
    await asyncio.gather(
        *(
            both[number % 2].submit(
                space, "b", [entry("a", 1), entry(f"m{number}", 1)], INCREMENT, "", deadline()
            )
            for number in range(100)
        )
    )
    ranks = await boards.get_ranks(space, "b", ["a"], deadline())
    assert ranks.count == 101
    assert ranks.entries[0] is not None
    assert ranks.entries[0].ranked == Ranked("a", 100, 1, {})


async def test_a_thousand_are_submitted_and_read_at_once(
    boards: LeaderboardEngine, space: Namespace, deadline: Deadline
) -> None:
    entries = [entry(f"m{number}", number % 10, n=str(number)) for number in range(1000)]
    scores = await boards.submit(space, "b", entries, SET, "", deadline())
    assert scores.entries[9] == Submitted(9, 1, 0, True)
    assert scores.entries[990] == Submitted(0, 1000, 0, True)
    page = await boards.list_by_rank(space, "b", 1, 1000, deadline(), shared=True)
    assert [one.rank for one in page.entries] == [
        100 * (number // 100) + 1 for number in range(1000)
    ]
    ranks = await boards.get_ranks(space, "b", [one.member for one in entries], deadline())
    assert sorted(one.group_rank for one in ranks.entries if one) == [*range(1, 1001)]
    removed = await boards.remove(space, "b", [one.member for one in entries], deadline())
    assert removed.entries == [True] * 1000
    assert (await boards.list_by_rank(space, "b", 1, 1, deadline())).count == 0


async def test_tenths_of_percents_are_exact(
    boards: LeaderboardEngine, space: Namespace, deadline: Deadline
) -> None:
    entries = [entry(f"m{number}", number + 1) for number in range(1000)]
    await boards.submit(space, "b", entries, SET, "", deadline())
    percents = [number / 10 for number in range(1, 1001)]
    board = await boards.describe(space, "b", percents, deadline())
    assert board.percentiles == [*range(1, 1001)]


async def test_a_repeat_with_the_request_id_changes_nothing(
    boards: LeaderboardEngine, other_boards: LeaderboardEngine, space: Namespace, deadline: Deadline
) -> None:
    entries = [entry("a", 5, name="A"), entry("b", 1)]
    first = await boards.submit(space, "b", entries, INCREMENT, "id", deadline())
    await boards.submit(space, "b", [entry("b", 100)], SET, "", deadline())
    again = await other_boards.submit(space, "b", entries, INCREMENT, "id", deadline())
    assert again == first
    for other, policy in (
        ([entry("a", 5), entry("b", 1)], INCREMENT),
        ([entry("a", 6, name="A"), entry("b", 1)], INCREMENT),
        (entries, SET),
    ):
        with pytest.raises(InvalidFields, match="request_id"):
            await boards.submit(space, "b", other, policy, "id", deadline())
    elsewhere = await boards.submit(space, "c", entries, INCREMENT, "id", deadline())
    assert elsewhere.entries[0].score == 5
    ranks = await boards.get_ranks(space, "b", ["a", "b"], deadline())
    assert [one.ranked.score for one in ranks.entries if one] == [5, 100]


async def test_a_repeat_may_have_its_attributes_in_another_order(
    boards: LeaderboardEngine, other_boards: LeaderboardEngine, space: Namespace, deadline: Deadline
) -> None:
    attributes = {f"a{number}": "x" for number in range(5)}
    mirrored = dict(reversed(attributes.items()))  # a map of a message has no order of its own
    first, again = ([ScoreEntry("a", 5, one)] for one in (attributes, mirrored))
    scores = await boards.submit(space, "b", first, INCREMENT, "id", deadline())
    assert await other_boards.submit(space, "b", again, INCREMENT, "id", deadline()) == scores


async def test_the_repeat_of_a_submit_to_a_deleted_board_begins_none(
    boards: LeaderboardEngine, space: Namespace, deadline: Deadline
) -> None:
    first = await boards.submit(space, "b", [entry("a", 5)], INCREMENT, "id", deadline())
    await boards.delete(space, "b", deadline())
    assert await boards.submit(space, "b", [entry("a", 5)], INCREMENT, "id", deadline()) == first
    assert (await boards.describe(space, "b", [], deadline())).count == 0


async def test_a_score_that_would_be_infinite_changes_nothing(
    boards: LeaderboardEngine, space: Namespace, deadline: Deadline
) -> None:
    await boards.submit(space, "b", [entry("a", 1.7e308)], SET, "", deadline())
    with pytest.raises(InvalidFields, match=r"entries\[1\].score"):
        await boards.submit(
            space, "b", [entry("new", 1), entry("a", 1.7e308)], INCREMENT, "id", deadline()
        )
    page = await boards.list_by_rank(space, "b", 1, 10, deadline())
    assert page.entries == [Ranked("a", 1.7e308, 1, {})]


async def test_a_board_keeps_the_best_of_its_members(
    boards: LeaderboardEngine, space: Namespace, deadline: Deadline
) -> None:
    bounded = with_boards(space, b=BoardConfig(max_members=2, order=BoardOrder.LOWEST))
    times = [entry("slow", 30), entry("fast", 10), entry("middle", 20)]
    scores = await boards.submit(bounded, "b", times, BEST, "", deadline())
    assert scores.entries == [
        Submitted(30, 0, 0, False),
        Submitted(10, 1, 0, True),
        Submitted(20, 2, 0, True),
    ]
    await boards.submit(bounded, "b", [entry("tied", 20)], BEST, "", deadline())
    ranks = await boards.get_ranks(bounded, "b", ["tied", "slow", "middle"], deadline())
    assert [one is not None for one in ranks.entries] == [False, False, True]


async def test_a_bound_that_is_lowered_is_reached(
    boards: LeaderboardEngine, space: Namespace, deadline: Deadline
) -> None:
    for part in range(3):
        entries = [entry(f"m{part}.{number}", number) for number in range(1000)]
        await boards.submit(space, "b", entries, SET, "", deadline())
    bounded = with_boards(space, b=BoardConfig(max_members=5))
    for _ in range(3):
        await boards.submit(bounded, "b", [entry("m0.999", 999)], SET, "", deadline())
    page = await boards.list_by_rank(bounded, "b", 1, 10, deadline())
    assert [one.member for one in page.entries] == [
        *(f"m{part}.999" for part in range(3)),
        *(f"m{part}.998" for part in range(2)),
    ]


async def test_boards_are_described_by_name_then_by_the_first_pattern(space: Namespace) -> None:
    described = with_boards(
        space,
        **{
            "race-*": BoardConfig(order=BoardOrder.LOWEST),
            "race-cup-*": BoardConfig(max_members=1),
            "race-cup-7": BoardConfig(max_members=7),
        },
    )
    assert board_of(described, "race-cup-7").config.max_members == 7
    assert board_of(described, "race-cup-8").config == BoardConfig(order=BoardOrder.LOWEST)
    assert board_of(described, "other").config == BoardConfig()
    strict = replace(described, config=described.config.model_copy(update={"strict_boards": True}))
    with pytest.raises(BoardUnknown, match="strict_boards"):
        board_of(strict, "other")
    assert board_of(strict, "race-1").config.order is BoardOrder.LOWEST


async def test_a_board_keeps_the_order_that_it_began_with(
    boards: LeaderboardEngine, space: Namespace, deadline: Deadline
) -> None:
    await boards.submit(space, "b", [entry("a", 1), entry("b", 2)], SET, "", deadline())
    changed = with_boards(space, b=BoardConfig(order=BoardOrder.LOWEST))
    scores = await boards.submit(changed, "b", [entry("c", 3)], BEST, "", deadline())
    assert scores.entries == [Submitted(3, 1, 0, True)]
    assert (await boards.describe(changed, "b", [], deadline())).order is BoardOrder.HIGHEST
    assert await boards.delete(changed, "b", deadline())
    assert not await boards.delete(changed, "b", deadline())
    await boards.submit(changed, "b", [entry("a", 1), entry("b", 2)], SET, "", deadline())
    described = await boards.describe(changed, "b", [100], deadline())
    assert (described.order, described.percentiles) == (BoardOrder.LOWEST, [1])


async def test_what_a_board_leaves_is_what_is_documented(
    boards: LeaderboardEngine, store: Store, space: Namespace, deadline: Deadline
) -> None:
    timed = with_boards(space, b=BoardConfig(period=Period.DAY))
    await boards.submit(timed, "b", [entry("a", 5), entry("b", 1)], SET, "id", deadline())
    await boards.remove(timed, "b", ["b"], deadline())
    kept = await keys_of(store, timed, "b", deadline())
    kinds = sorted((key[:1], ttl > 0) for key, ttl in kept.items())
    # The board, and the newest period of it, stay; the answer to the request id goes.
    assert kinds == [(b"a", False), (b"b", False), (b"r", True), (b"s", False)]
    assert max(kept.values()) <= 600_000
    await boards.delete(timed, "b", deadline())
    assert {key[:1] for key in await keys_of(store, timed, "b", deadline())} == {b"r"}


async def test_a_name_that_holds_another_kind_is_refused(
    boards: LeaderboardEngine, store: Store, space: Namespace, deadline: Deadline
) -> None:
    board = board_of(space, "taken")
    place = named(board.tag, "taken")
    for command in (("GEOADD", place, 13.4, 52.5, "a"), ("SET", place, "5")):
        clear, put = (pack(*one) for one in (("DEL", place), command))
        await store.call(Request(board.slot, (clear, put), "t", repeatable=True), deadline())
        calls: list[Any] = [
            boards.submit(space, "taken", [entry("a", 1)], SET, "", deadline()),
            boards.get_ranks(space, "taken", ["a"], deadline()),
            boards.list_by_rank(space, "taken", 1, 1, deadline()),
            boards.list_by_score(space, "taken", 0, 1, 1, deadline()),
            boards.list_around(space, "taken", "a", 1, deadline()),
            boards.remove(space, "taken", ["a"], deadline()),
            boards.describe(space, "taken", [], deadline()),
            boards.delete(space, "taken", deadline()),
        ]
        for call in calls:
            with pytest.raises(WrongKind, match="taken"):
                await call
        [there] = await store.call(read(board.slot, "t", ("EXISTS", place)), deadline())
        assert there == 1


@pytest.mark.parametrize("evicted", [keys.scores, keys.members])
async def test_half_a_board_is_none(
    evicted: Any, boards: LeaderboardEngine, store: Store, space: Namespace, deadline: Deadline
) -> None:
    board = board_of(space, "b")
    lost = pack("DEL", evicted(board.tag, "b", b"0"))

    async def reset() -> None:
        await boards.submit(space, "b", [entry("a", 1), entry("b", 2)], SET, "", deadline())
        await store.call(Request(board.slot, (lost,), "b", repeatable=True), deadline())

    await reset()
    assert (await boards.list_by_rank(space, "b", 1, 10, deadline())).entries == []
    await reset()
    ranks = await boards.get_ranks(space, "b", ["a"], deadline(), shared=True)
    assert (ranks.count, ranks.entries) == (0, [None])
    await reset()
    assert (await boards.describe(space, "b", [50], deadline())).count == 0
    await reset()
    assert (await boards.list_around(space, "b", "a", 1, deadline())).entries == []
    await reset()
    assert (await boards.remove(space, "b", ["a"], deadline())).entries == [False]
    await reset()
    scores = await boards.submit(space, "b", [entry("a", 3)], INCREMENT, "", deadline())
    assert scores.entries == [Submitted(3, 1, 0, True)]
    page = await boards.list_by_score(space, "b", 0, 9, 10, deadline())
    assert (page.count, page.entries) == (1, [Ranked("a", 3, 1, {})])


async def test_names_can_not_take_the_place_of_others(
    boards: LeaderboardEngine, space: Namespace, deadline: Deadline
) -> None:
    whole = replace(space, partitions=space.partitions[:1])
    names = ["b", "0:b", "b}", "{b}", "b:0", "é"]
    for number, name in enumerate(names):
        await boards.submit(whole, name, [entry("a", number)], SET, "", deadline())
    for number, name in enumerate(names):
        page = await boards.list_by_rank(whole, name, 1, 10, deadline())
        assert [one.score for one in page.entries] == [number]
    tag = whole.partitions[0].tag
    places = {keys.scores(tag, name, b"0") for name in names} | {
        keys.board(tag, name) for name in names
    }
    assert len(places) == 2 * len(names)
