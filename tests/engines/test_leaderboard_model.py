"""The leaderboard engine against a plain sorted list: whatever is submitted and removed, every
answer is the list's."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import count
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pantler_server.core.board_config import BoardConfig, BoardOrder
from pantler_server.core.config import NamespaceConfig, Settings
from pantler_server.core.errors import InvalidFields
from pantler_server.core.namespace import Namespace
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.leaderboard.engine import LeaderboardEngine
from pantler_server.engines.leaderboard.model import ScoreEntry, ScorePolicy
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.store.open import open_store
from pantler_server.store.store import Store

from tests.engines.leaderboard_oracle import Infinite, Oracle
from tests.engines.machine import own_loop
from tests.servers.valkey import ValkeyServer

MEMBERS = ("a", "b", "c", "dé", "e e", "f")
SCORES = st.sampled_from(
    [0.0, -0.0, 1.0, 2.0, 2.0, -1.0, 0.1, 0.3, 2.0**53, 2.0**53 + 2, 1e308, -1e308, 5e-324]
)
ENTRIES = st.builds(
    ScoreEntry,
    st.sampled_from(MEMBERS),
    SCORES,
    st.sampled_from([{}, {}, {"name": "Ada"}, {"name": "Grace\n", "é": "☃"}]),
)
SUBMITS = st.tuples(st.sampled_from(ScorePolicy), st.lists(ENTRIES, min_size=1, max_size=6))
REMOVALS = st.lists(st.sampled_from(MEMBERS), min_size=1, max_size=2)
STEPS = st.lists(st.one_of(SUBMITS, SUBMITS, SUBMITS, REMOVALS), min_size=1, max_size=8)
PERCENTILES = (0, 7, 16.1, 50, 90, 99.9, 100)

_numbers = count()


class Boards:
    """The engine, in a namespace of its own, called from outside of its loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, url: str) -> None:
        self._loop = loop
        self._store = self.run(self._opened(url))
        self.engine = LeaderboardEngine(self._store)

    async def _opened(self, url: str) -> Store:
        store = open_store("state", RedisConfig(url=url), None)
        await store.start()
        return store

    def run(self, call: Any) -> Any:
        return self._loop.run_until_complete(call)

    def stop(self) -> None:
        self.run(self._store.stop())

    def space(self, config: BoardConfig) -> Namespace:
        defaults = NamespaceConfig(boards={"*": config})
        namespaces = NamespaceEngine(
            self._store, self._store, Settings(namespace_defaults=defaults)
        )
        space: Namespace = self.run(namespaces.resolve(f"ranked{next(_numbers)}", self.deadline))
        return space

    @property
    def deadline(self) -> float:
        return self._loop.time() + 5


@pytest.fixture(scope="module")
def boards(valkey: ValkeyServer) -> Iterator[Boards]:
    with own_loop() as loop:
        running = Boards(loop, valkey.url)
        yield running
        running.stop()


@settings(max_examples=60)
@given(order=st.sampled_from(BoardOrder), max_members=st.sampled_from([0, 0, 3]), steps=STEPS)
def test_every_answer_is_that_of_a_sorted_list(
    boards: Boards, order: BoardOrder, max_members: int, steps: Sequence[Any]
) -> None:
    space = boards.space(BoardConfig(order=order, max_members=max_members))
    oracle = Oracle(order, max_members)
    for step in steps:
        if isinstance(step, list):
            removed = boards.run(boards.engine.remove(space, "b", step, boards.deadline))
            assert removed.entries == oracle.remove(step)
            continue
        policy, entries = step
        submit = boards.engine.submit(space, "b", entries, policy, "", boards.deadline)
        try:
            expected = oracle.submit(entries, policy)
        except Infinite:
            with pytest.raises(InvalidFields, match="infinite"):
                boards.run(submit)
        else:
            assert boards.run(submit).entries == expected
    boards.run(compare(boards, space, oracle))


async def compare(boards: Boards, space: Namespace, oracle: Oracle) -> None:
    """All that can be read."""
    engine, until, size = boards.engine, boards.deadline, len(oracle.members)
    for shared in (False, True):
        ranks = await engine.get_ranks(space, "b", MEMBERS, until, shared=shared)
        assert ranks.count == size
        assert [one and one.ranked for one in ranks.entries] == [
            next(iter(oracle.around(member, 1, shared=shared)), None) for member in MEMBERS
        ]
        friends = await engine.get_ranks(space, "b", MEMBERS[:3], until, shared=shared)
        assert [one and one.group_rank for one in friends.entries] == [
            oracle.among(MEMBERS[:3]).rank(member, shared=shared) or None for member in MEMBERS[:3]
        ]
        for start in (1, 2, size + 1):
            page = await engine.list_by_rank(space, "b", start, 3, until, shared=shared)
            assert (page.count, page.entries) == (
                size,
                oracle.page(start - 1, start + 2, shared=shared),
            )
        for least, most in ((-inf, inf), (0.0, 2.0), (2.0, 2.0), (3.0, 1e300)):
            found = oracle.between(least, most)
            page = await engine.list_by_score(space, "b", least, most, 2, until, shared=shared)
            assert page.matched == len(found)
            first = oracle.sorted().index(found[0]) if found else 0
            expected = oracle.page(first, first + min(2, len(found)), shared=shared)
            assert page.entries == expected
        for member in MEMBERS:
            for limit in (1, 2, 3, 9):
                around = await engine.list_around(space, "b", member, limit, until, shared=shared)
                assert around.entries == oracle.around(member, limit, shared=shared)
    board = await engine.describe(space, "b", PERCENTILES, until)
    assert (board.count, board.order) == (size, oracle.order)
    whole = oracle.page(0, size, shared=False)
    assert [board.best, board.worst] == ([whole[0], whole[-1]] if whole else [None, None])
    assert board.percentiles == ([oracle.percentile(one) for one in PERCENTILES] if whole else [])
