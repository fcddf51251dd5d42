"""The engines in the benchmark's own process, as a worker has them."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pantler_server.core.config import LogConfig, Settings
from pantler_server.core.logs import configure_logs
from pantler_server.core.namespace import Namespace
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.record.engine import RecordEngine
from pantler_server.engines.cache.stats import CacheStats
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.engines.rate_limit.engine import RateLimitEngine
from pantler_server.origins.open import Origins
from pantler_server.origins.origin import Origin
from pantler_server.store.open import open_store
from pantler_server.store.store import Store
from pantler_server.worker import GC_THRESHOLD

TIMEOUT_S = 60.0  # beyond what a call takes: only a defect meets it


@dataclass(frozen=True, slots=True)
class OpenEngine:
    """The engine with what its calls need."""

    cache: CacheEngine
    store: Store
    namespaces: NamespaceEngine

    async def namespace(self, name: str) -> Namespace:
        return await self.namespaces.resolve(name, deadline())


def deadline() -> float:
    return asyncio.get_running_loop().time() + TIMEOUT_S


@asynccontextmanager
async def open_engine(
    redis_socket: str, settings: Settings | None = None
) -> AsyncIterator[OpenEngine]:
    """An engine that has started, on the Valkey behind a socket; its namespaces are as the settings
    say, or the default."""
    async with _open_store("cache", redis_socket) as store:
        cache = CacheEngine(store, CacheStats(store), HotKeys(store))
        cache.start()
        try:
            yield OpenEngine(cache, store, NamespaceEngine(store, store, settings or Settings()))
        finally:
            await cache.stop()


@dataclass(frozen=True, slots=True)
class OpenRecords:
    """The record engine with what its calls need."""

    records: RecordEngine
    cache: CacheEngine
    namespaces: NamespaceEngine

    def start(self) -> None:
        """Begins to drain what waits."""
        self.records.start(self.namespaces.take_up)

    async def namespace(self, name: str) -> Namespace:
        return await self.namespaces.resolve(name, deadline())


@asynccontextmanager
async def open_records(
    redis_socket: str,
    settings: Settings,
    around: Callable[[Origin], Origin] = lambda origin: origin,
) -> AsyncIterator[OpenRecords]:
    """As `open_engine`, for records, which are not drained yet. `around` gives what stands around
    the origins that the settings have."""
    surrounded: dict[Origin, Origin] = {}

    def found(name: str) -> Origin | None:
        origin = origins.of(name)
        if origin is None or around is None:
            return origin
        if origin not in surrounded:
            surrounded[origin] = around(origin)
        return surrounded[origin]

    async with _open_store("cache", redis_socket) as store:
        origins, hot = Origins(settings), HotKeys(store)
        cache = CacheEngine(store, CacheStats(store), hot)

        async def prepare(space: Namespace, until: float) -> None:
            await cache.prepare(space, until)
            records.prepare(space)

        namespaces = NamespaceEngine(store, store, settings, prepare)
        records = RecordEngine(store, cache, found, hot, namespaces.deployment)
        await origins.start()
        cache.start()
        try:
            yield OpenRecords(records, cache, namespaces)
        finally:
            await records.stop(deadline())
            await cache.stop()
            await origins.stop()


@dataclass(frozen=True, slots=True)
class OpenLimits:
    """The rate limit engine and its store."""

    engine: RateLimitEngine
    store: Store


@asynccontextmanager
async def open_limits(redis_socket: str, settings: Settings) -> AsyncIterator[OpenLimits]:
    """As `open_engine`, for rate limits, with the rules of the settings."""
    async with _open_store("state", redis_socket) as store:
        engine = RateLimitEngine(store, settings)
        engine.start()
        try:
            yield OpenLimits(engine, store)
        finally:
            await engine.stop()


@dataclass(frozen=True, slots=True)
class OpenState:
    """What engines without a configuration of their own need."""

    store: Store
    namespaces: NamespaceEngine

    async def namespace(self, name: str) -> Namespace:
        return await self.namespaces.resolve(name, deadline())


@asynccontextmanager
async def open_state(redis_socket: str) -> AsyncIterator[OpenState]:
    """As `open_engine`, for boards, places and counters."""
    async with _open_store("state", redis_socket) as store:
        yield OpenState(store, NamespaceEngine(store, store, Settings()))


@asynccontextmanager
async def _open_store(role: str, redis_socket: str) -> AsyncIterator[Store]:
    configure_logs(LogConfig(level="warning"))  # that Redis is connected is no news here
    store = open_store(role, RedisConfig(), Path(redis_socket))
    await store.start()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    try:
        yield store
    finally:
        await store.stop()
