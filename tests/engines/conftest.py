"""One body of tests over every way to run Redis: the same engines, on five real topologies. Those
that are most like the others run test_cache.py at once, and all else with the slow tests; so do,
on a Cluster, records, which ask of it what entries do, and outboxes of CDNs, each in one slot."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pantler_server.core.config import Settings
from pantler_server.core.namespace import Namespace
from pantler_server.core.redis_config import EmbeddedRedis, RedisConfig
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.first_level import Level
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.stats import CacheStats, NamespaceStats
from pantler_server.engines.cdn import drain as cdn_drain
from pantler_server.engines.counter.engine import CounterEngine
from pantler_server.engines.geo.engine import GeoEngine
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.engines.rate_limit.engine import RateLimitEngine
from pantler_server.store.embedded import EmbeddedValkey
from pantler_server.store.open import open_store
from pantler_server.store.store import Store

from tests.engines.behind import Worker, behind_space, worker_of
from tests.engines.caller import Caller, value
from tests.engines.draining import Interrupted
from tests.engines.people import People
from tests.engines.recording import Records, RecordsFactory
from tests.servers.cluster import ClusterGroup
from tests.servers.redis_7_0 import redis_7_0
from tests.servers.sentinel import SERVICE, SentinelGroup
from tests.servers.valkey import ValkeyServer

Deadline = Callable[[], float]
LIKE_STANDALONE = {"embedded", "sentinel", "redis-7.0"}
LIKE_OTHERS_ON_A_CLUSTER = {
    "test_cdn_backlog.py",
    "test_cdn_drain.py",
    "test_cdn_failures.py",
    "test_cdn_kinds.py",
    "test_cdn_outbox.py",
    "test_cdn_owners.py",
    "test_cdn_pauses.py",
    "test_cdn_reload.py",
    "test_dead_writes.py",
    "test_drain.py",
    "test_drain_deaths.py",
    "test_drain_owners.py",
    "test_durability.py",
    "test_flights.py",
    "test_origin_failures.py",
    "test_read_through.py",
    "test_refresh_ahead.py",
    "test_warm_start.py",
    "test_warming.py",
    "test_write_behind.py",
    "test_write_orders.py",
    "test_write_through.py",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        topology = item.callspec.params.get("store") if hasattr(item, "callspec") else None
        is_like_standalone = topology in LIKE_STANDALONE and item.path.name != "test_cache.py"
        is_like_others = topology == "cluster" and item.path.name in LIKE_OTHERS_ON_A_CLUSTER
        if is_like_standalone or is_like_others:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def deadline() -> Deadline:
    return lambda: asyncio.get_running_loop().time() + 5.0


@pytest_asyncio.fixture(
    scope="session",
    params=[
        "embedded",
        "standalone",
        "sentinel",
        "cluster",
        pytest.param("redis-7.0", marks=pytest.mark.component("redis-server")),
    ],
)
async def store(
    request: pytest.FixtureRequest,
    valkey: ValkeyServer,
    sentinel_group: SentinelGroup,
    cluster_group: ClusterGroup,
) -> AsyncIterator[Store]:
    where: dict[str, Any] = {}
    socket = None
    owned: EmbeddedValkey | ValkeyServer | None = None
    match request.param:
        case "embedded":
            owned = embedded = EmbeddedValkey(EmbeddedRedis())
            socket = embedded.socket
        case "standalone":
            where = {"url": valkey.url}
        case "sentinel":
            where = {"sentinel": {"nodes": sentinel_group.addresses, "service": SERVICE}}
        case "cluster":
            where = {"cluster": {"nodes": cluster_group.addresses[:2]}}
        case "redis-7.0":
            owned = oldest = redis_7_0()
            where = {"url": oldest.url}
    if owned is not None:
        await owned.start()
    timeouts = {"connect_timeout": "5s", "command_timeout": "5s"}  # a busy machine stands still
    opened = open_store("cache", RedisConfig.model_validate({**where, **timeouts}), socket)
    await opened.start()
    yield opened
    await opened.stop()
    if owned is not None:
        await owned.stop()
    if isinstance(owned, EmbeddedValkey):
        owned.close()


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings.model_validate(
        {
            "namespaces": {
                "jittered": {"ttl": "100s", "ttl_jitter_ratio": 0.5},
                "spread": {"partitions": 7},
                "replicated": {"replica_reads": True},
                "graced": {"stale_while_revalidate": "1h"},
                "guarded": {"stale_if_error": "1h"},
                "sliding": {"sliding": True},
                "indexed": {"tag_index": True},
                "near": {"l1": {"audit_ratio": 0}},
                "near_misses": {"l1": {"negative": True, "audit_ratio": 0}},
            },
            "max_dynamic_namespaces": 10_000,
        }
    )


@pytest.fixture(scope="session")
def stats(store: Store) -> CacheStats:
    return CacheStats(store)


@pytest.fixture(scope="session")
def namespaces(store: Store, settings: Settings) -> NamespaceEngine:
    return NamespaceEngine(store, store, settings)


@pytest_asyncio.fixture(scope="session")
async def engine(store: Store, stats: CacheStats) -> AsyncIterator[CacheEngine]:
    running = CacheEngine(store, stats, HotKeys(store))
    running.start()
    yield running
    await running.stop()


@pytest_asyncio.fixture(scope="session")
async def other_engine(store: Store, stats: CacheStats) -> AsyncIterator[CacheEngine]:
    """As another worker has it: it shares nothing with `engine` but Redis and its address."""
    running = CacheEngine(store, stats, HotKeys(store))
    running.start()
    yield running
    await running.stop()


@pytest.fixture
def one(engine: CacheEngine, space: Namespace) -> Caller:
    """A caller in a namespace that no other test uses."""
    return Caller(engine, space)


@pytest.fixture
def whole(engine: CacheEngine, space: Namespace) -> Caller:
    """A caller in a namespace of its own with one partition."""
    return Caller(engine, replace(space, partitions=space.partitions[:1]))


@pytest.fixture
def other(other_engine: CacheEngine, space: Namespace) -> Caller:
    """A caller of another worker, in the same namespace."""
    return Caller(other_engine, space)


_numbers = count()


@pytest_asyncio.fixture
async def space(namespaces: NamespaceEngine, deadline: Deadline) -> Namespace:
    """A namespace that no other test uses."""
    return await namespaces.resolve(f"test{next(_numbers)}", deadline())


async def _configured(namespaces: NamespaceEngine, name: str, deadline: float) -> Namespace:
    """A namespace that no other test uses, with the configuration of another."""
    space = await namespaces.resolve(f"test{next(_numbers)}", deadline)
    model = await namespaces.resolve(name, deadline)
    return replace(model, name=space.name, partitions=space.partitions)


@pytest_asyncio.fixture
async def graced(engine: CacheEngine, namespaces: NamespaceEngine, deadline: Deadline) -> Caller:
    """A caller in a namespace of its own with an hour of stale-while-revalidate."""
    return Caller(engine, await _configured(namespaces, "graced", deadline()))


@pytest_asyncio.fixture
async def guarded(engine: CacheEngine, namespaces: NamespaceEngine, deadline: Deadline) -> Caller:
    """A caller in a namespace of its own with an hour of stale-if-error."""
    return Caller(engine, await _configured(namespaces, "guarded", deadline()))


@pytest_asyncio.fixture
async def sliding(engine: CacheEngine, namespaces: NamespaceEngine, deadline: Deadline) -> Caller:
    """A caller in a namespace of its own whose entries slide."""
    return Caller(engine, await _configured(namespaces, "sliding", deadline()))


@pytest_asyncio.fixture
async def indexed(engine: CacheEngine, namespaces: NamespaceEngine, deadline: Deadline) -> Caller:
    """A caller in a namespace of its own that keeps an index of its tags."""
    return Caller(engine, await _configured(namespaces, "indexed", deadline()))


@dataclass(frozen=True)
class Near:
    """Two workers in a namespace with a first level."""

    one: Caller
    other: Caller
    level: Level
    """The first level of `one`."""
    stats: NamespaceStats
    """Of both."""

    async def keep(self, key: str) -> None:
        """Reads until the first level of `one` answers."""
        async with asyncio.timeout(5):
            answered = self.stats.l1_hits
            while self.stats.l1_hits == answered:
                await self.one.get(key)

    async def until(self, key: str, expected: bytes | None, **said: bool) -> None:
        """Waits until `one` sees what Redis has, for as long as its bound allows."""
        async with asyncio.timeout(self.level.config.max_staleness.total_seconds()):
            while value(await self.one.get(key, **said)) != expected:
                await asyncio.sleep(0.001)


@dataclass(frozen=True)
class NearFactory:
    engine: CacheEngine
    other_engine: CacheEngine
    namespaces: NamespaceEngine
    stats: CacheStats

    async def make(self, name: str = "near", **config: Any) -> Near:
        """`config`: of the namespace, beyond that of this name."""
        space = await _configured(self.namespaces, name, asyncio.get_running_loop().time() + 5)
        space = replace(space, config=space.config.model_copy(update=config))
        level = self.engine._first_level.of(space)
        assert level is not None
        one, other = Caller(self.engine, space), Caller(self.other_engine, space)
        return Near(one, other, level, self.stats.of(space.name))


@pytest.fixture
def nears(
    engine: CacheEngine, other_engine: CacheEngine, namespaces: NamespaceEngine, stats: CacheStats
) -> NearFactory:
    return NearFactory(engine, other_engine, namespaces, stats)


@pytest_asyncio.fixture
async def near(nears: NearFactory) -> Near:
    return await nears.make()


@pytest_asyncio.fixture
async def origin(tmp_path: Path) -> AsyncIterator[People]:
    """An empty table of people."""
    opened = People(tmp_path / "people.db")
    await opened.start()
    yield opened
    await opened.stop()


@pytest.fixture(scope="session")
def rate_limit_settings() -> Settings:
    return Settings.model_validate(
        {"rate_limits": {"named": {"algorithm": "gcra", "limit": 2, "window": "1h"}}}
    )


@pytest_asyncio.fixture(scope="session")
async def limits(store: Store, rate_limit_settings: Settings) -> AsyncIterator[RateLimitEngine]:
    async with _rate_limits(store, rate_limit_settings) as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def other_limits(
    store: Store, rate_limit_settings: Settings
) -> AsyncIterator[RateLimitEngine]:
    """As another worker has it."""
    async with _rate_limits(store, rate_limit_settings) as running:
        yield running


@asynccontextmanager
async def _rate_limits(store: Store, settings: Settings) -> AsyncIterator[RateLimitEngine]:
    running = RateLimitEngine(store, settings)
    running.start()
    async with asyncio.timeout(5):
        while running._denials._subscription.sure_at < 0:  # it remembers nothing before
            await asyncio.sleep(0.005)
    yield running
    await running.stop()


@pytest.fixture(scope="session")
def geo(store: Store) -> GeoEngine:
    return GeoEngine(store)


@pytest.fixture(scope="session")
def counters(store: Store) -> CounterEngine:
    return CounterEngine(store)


@pytest.fixture(scope="session")
def other_counters(store: Store) -> CounterEngine:
    """As another worker has it."""
    return CounterEngine(store)


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a target failed to purge is tried again soon."""
    monkeypatch.setattr(cdn_drain, "FIRST_BACKOFF_S", 0.02)
    monkeypatch.setattr(cdn_drain, "LONGEST_BACKOFF_S", 0.2)


@pytest_asyncio.fixture
async def make_records(
    store: Store,
    engine: CacheEngine,
    other_engine: CacheEngine,
    namespaces: NamespaceEngine,
    deadline: Deadline,
    tmp_path: Path,
) -> AsyncIterator[RecordsFactory]:
    async def space() -> Namespace:
        return await namespaces.resolve(f"test{next(_numbers)}", deadline())

    factory = RecordsFactory(engine, other_engine, store, space, tmp_path)
    yield factory
    await factory.stop()


@pytest_asyncio.fixture
async def records(make_records: RecordsFactory) -> Records:
    return await make_records()


@pytest_asyncio.fixture
async def others(make_records: RecordsFactory, records: Records) -> Records:
    """Another worker's, of the same table."""
    return await make_records(beside=records)


@pytest_asyncio.fixture
async def interrupted(origin: People) -> AsyncIterator[Interrupted]:
    """Another connection to the table of `origin`."""
    opened = Interrupted(origin.file)
    await opened.start()
    yield opened
    await opened.stop()


@pytest_asyncio.fixture
async def worker(
    store: Store, namespaces: NamespaceEngine, interrupted: Interrupted
) -> AsyncIterator[Worker]:
    """It drains when it is told to."""
    space = await behind_space(namespaces)
    async with worker_of(store, space, interrupted) as running:
        yield running


@pytest_asyncio.fixture
async def idle(
    store: Store, namespaces: NamespaceEngine, interrupted: Interrupted
) -> AsyncIterator[Worker]:
    """In a namespace of one partition, whose drain the test runs itself."""
    space = await behind_space(namespaces, whole=True, batch_size=10)
    async with worker_of(store, space, interrupted, drains=False) as running:
        yield running
