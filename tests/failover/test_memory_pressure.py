"""What a full Redis drops, and what it keeps."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pantler_server.core.board_config import BoardConfig
from pantler_server.core.calendar import Period
from pantler_server.core.config import NamespaceConfig, Settings
from pantler_server.core.errors import StoreOutOfMemory
from pantler_server.core.namespace import Namespace
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.model import NewEntry
from pantler_server.engines.cache.record.model import Found, Source
from pantler_server.engines.cache.stats import CacheStats
from pantler_server.engines.counter.engine import CounterEngine
from pantler_server.engines.counter.model import MAX_VALUE, Increment
from pantler_server.engines.geo.engine import GeoEngine
from pantler_server.engines.geo.model import Point
from pantler_server.engines.leaderboard.engine import LeaderboardEngine
from pantler_server.engines.leaderboard.model import ScoreEntry, ScorePolicy
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.store.open import open_store
from pantler_server.store.store import Store

from tests.engines.behind import soon, worker_on
from tests.engines.people import People
from tests.servers.valkey import ValkeyServer

MEMBERS = 1_000
COUNTERS = 500
ADD_ONE = Increment(1, -MAX_VALUE, MAX_VALUE, 0, "")
BOARDS = {"daily": BoardConfig(period=Period.DAY)}


@dataclass(frozen=True)
class Worker:
    """All that shares one Redis."""

    redis: ValkeyServer
    store: Store
    space: Namespace

    @property
    def deadline(self) -> float:
        return asyncio.get_running_loop().time() + 10

    async def submit(self, board: str, score: float = 1) -> None:
        entries = [ScoreEntry(f"m{number}", number * score, {}) for number in range(MEMBERS)]
        boards = LeaderboardEngine(self.store)
        await boards.submit(self.space, board, entries, ScorePolicy.SET, "", self.deadline)


@asynccontextmanager
async def worker_over(*options: str) -> AsyncIterator[Worker]:
    async with ValkeyServer(*options) as redis:
        store = open_store("state", RedisConfig(url=redis.url), None)
        await store.start()
        settings = Settings(namespace_defaults=NamespaceConfig(boards=BOARDS))
        namespaces = NamespaceEngine(store, store, settings)
        space = await namespaces.resolve("full", asyncio.get_running_loop().time() + 5)
        yield Worker(redis, store, space)
        await store.stop()


async def test_boards_places_and_counters_survive_while_entries_are_evicted() -> None:
    async with worker_over("--maxmemory", "10mb", "--maxmemory-policy", "volatile-lfu") as worker:
        store, space = worker.store, worker.space
        boards, counters, places = LeaderboardEngine(store), CounterEngine(store), GeoEngine(store)
        for board in ("plain", "daily"):
            await worker.submit(board)
        names = [f"c{number}" for number in range(COUNTERS)]
        for name in names:
            await counters.increment(space, name, ADD_ONE, worker.deadline)
        await counters.add_unique(space, "seen", names, 0, worker.deadline)
        there = [(f"p{number}", Point(number / 10, 0)) for number in range(MEMBERS)]
        await places.add(space, "places", there, worker.deadline)

        cache = CacheEngine(store, CacheStats(store), HotKeys(store))
        cache.start()
        for batch in range(12):
            fillers = [NewEntry(f"filler{batch}-{index}", b"x" * 1_000) for index in range(1_000)]
            await cache.set_many(space, fillers, worker.deadline)
        await cache.stop()
        async with worker.redis.client() as client:
            assert (await client.info("stats"))["evicted_keys"] > 3_000

        for board in ("plain", "daily"):
            page = await boards.list_by_rank(space, board, 1, MEMBERS, worker.deadline)
            assert [one.score for one in page.entries] == [*range(MEMBERS - 1, -1, -1)]
        assert await counters.get(space, names, worker.deadline) == [1] * COUNTERS
        seen = await counters.count_unique(space, ["seen"], worker.deadline)
        assert abs(seen - COUNTERS) < 0.05 * COUNTERS
        found = await places.positions(space, "places", ["p0", "p999"], worker.deadline)
        assert None not in found


async def test_records_are_read_while_redis_is_full_and_not_cached(tmp_path: Path) -> None:
    origin = People(tmp_path / "people.db")
    await origin.start()
    names = [f"p{number}" for number in range(4)]
    origin.execute("INSERT INTO people (id) VALUES ('p0'), ('p1'), ('p2'), ('p3')")
    async with (
        ValkeyServer("--maxmemory-policy", "noeviction") as redis,
        worker_on(origin, {"url": redis.url}) as worker,
    ):
        await worker.read("p0")
        await redis.execute("CONFIG", "SET", "maxmemory", 1)
        assert (await worker.read("p0")).source is Source.CACHE
        for _ in range(2):
            found = await worker.read("p1")
            assert (b"p1" in found.value, found.source, found.version) == (True, Source.ORIGIN, 0)
        loads = origin.loads
        batch = await worker.reads.get_many(worker.space, origin, [*names, "none"], soon())
        assert [isinstance(one, Found) and one.source for one in batch] == [
            Source.CACHE,
            *[Source.ORIGIN] * 4,
        ]
        assert origin.loads == loads + 1, "one query for all that are not cached"
        loads = origin.loads
        await asyncio.gather(*(worker.read("p2") for _ in range(100)))
        assert origin.loads <= loads + 2, "one at a time"
        origin.execute("UPDATE people SET name = 'Ann' WHERE id = 'p0'")
        forced = await worker.reads.get(worker.space, origin, "p0", soon(), force_refresh=True)
        assert (b"Ann" in forced.value, forced.source) == (True, Source.ORIGIN)
        batch = await worker.reads.get_many(
            worker.space, origin, [*names, "none"], soon(), force_refresh=True
        )
        sources = [isinstance(one, Found) and one.source for one in batch]
        assert sources == [Source.ORIGIN] * 5
        assert b"Ann" not in (await worker.read("p0")).value, "what is cached stays"
        await redis.execute("CONFIG", "SET", "maxmemory", 0)
        assert (await worker.read("p1")).version, "it is cached again"
        forced = await worker.reads.get(worker.space, origin, "p0", soon(), force_refresh=True)
        assert (forced.version > 0, (await worker.read("p0")).value) == (True, forced.value)
    await origin.stop()


async def test_what_a_full_redis_refuses_is_not_done_in_part() -> None:
    async with worker_over("--maxmemory-policy", "noeviction") as worker:
        boards, counters = LeaderboardEngine(worker.store), CounterEngine(worker.store)
        await worker.submit("plain")
        await counters.increment(worker.space, "c", ADD_ONE, worker.deadline)
        await worker.redis.execute("CONFIG", "SET", "maxmemory", 1)
        for board in ("plain", "daily"):
            with pytest.raises(StoreOutOfMemory):
                await worker.submit(board, score=-2)
        with pytest.raises(StoreOutOfMemory):
            await counters.increment(worker.space, "c", ADD_ONE, worker.deadline)
        await worker.redis.execute("CONFIG", "SET", "maxmemory", 0)
        page = await boards.list_by_rank(worker.space, "plain", 1, 2, worker.deadline)
        assert [one.score for one in page.entries] == [999, 998]
        assert (await boards.describe(worker.space, "daily", [], worker.deadline)).count == 0
        assert await counters.get(worker.space, ["c"], worker.deadline) == [1]
