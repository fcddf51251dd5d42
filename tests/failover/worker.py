"""A worker's engine over a Redis that fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pantler_server.core.config import Settings
from pantler_server.core.errors import StoreUnavailable
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.stats import CacheStats
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.store.open import open_store
from pantler_server.store.store import Store

from tests.engines.caller import Caller

FAILOVER_S = 15.0


@asynccontextmanager
async def caller_of(
    *, namespace: dict[str, object] | None = None, **config: object
) -> AsyncIterator[tuple[Caller, Store]]:
    """A worker's engine over a Redis, in the namespace `failover`, so configured."""
    store = open_store("cache", RedisConfig.model_validate(config), None)
    await store.start()
    engine = CacheEngine(store, CacheStats(store), HotKeys(store))
    engine.start()
    deadline = asyncio.get_running_loop().time() + 5
    settings = Settings.model_validate({"namespace_defaults": namespace or {}})
    namespaces = NamespaceEngine(store, store, settings, engine.prepare)
    space = await namespaces.resolve("failover", deadline)
    try:
        yield Caller(engine, space), store
    finally:
        await engine.stop()
        await store.stop()


async def until_served(caller: Caller) -> None:
    """Waits until Redis answers again."""
    async with asyncio.timeout(FAILOVER_S):
        while True:
            try:
                await caller.set("probe")
                return
            except StoreUnavailable:
                await asyncio.sleep(0.05)
