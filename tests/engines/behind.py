"""A worker that writes behind, as the tests tell the story."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from pantler_server.core import canonical_json
from pantler_server.core.config import NamespaceConfig, Settings
from pantler_server.core.errors import ServiceError
from pantler_server.core.namespace import Namespace
from pantler_server.core.record import Operation, Record
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.model import Hit
from pantler_server.engines.cache.record import keys, log_scripts
from pantler_server.engines.cache.record.backlog import Backlog
from pantler_server.engines.cache.record.base import Base, Bases
from pantler_server.engines.cache.record.dead_writes import DeadWrites
from pantler_server.engines.cache.record.drainer import Drainer
from pantler_server.engines.cache.record.durability import Safekeeping
from pantler_server.engines.cache.record.loading import Loader
from pantler_server.engines.cache.record.log_drain import Deployment
from pantler_server.engines.cache.record.model import (
    DeadWrite,
    Flushed,
    Found,
    Put,
    WriteBacklog,
    Written,
)
from pantler_server.engines.cache.record.read_through import ReadThrough
from pantler_server.engines.cache.record.refresh import Refresher
from pantler_server.engines.cache.record.write_behind import WriteBehind
from pantler_server.engines.cache.stats import CacheStats
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.origins.origin import Origin
from pantler_server.store.open import open_store
from pantler_server.store.request import Argument, Request, pack
from pantler_server.store.store import Store

INSERT, UPDATE, UPSERT, DELETE = Operation
PATIENCE_S = 10.0
_numbers = count()


def soon() -> float:
    return asyncio.get_running_loop().time() + 5.0


async def behind_space(
    namespaces: NamespaceEngine,
    *,
    namespace: dict[str, Any] | None = None,
    whole: bool = False,
    **write_behind: Any,
) -> Namespace:
    """A namespace that no other test uses; `whole`: of one partition. It drains when it is asked
    to, or after a minute."""
    space = await namespaces.resolve(f"behind{next(_numbers)}", soon())
    if whole:
        space = replace(space, partitions=space.partitions[:1])
    config = NamespaceConfig.model_validate(
        {
            "origin": {"sql": {"url": "sqlite:///people.db", "table": "people"}},
            "writes": "behind",
            "write_behind": {"interval": "1m", "fsync": False, **write_behind},
            **(namespace or {}),
        }
    )
    return replace(space, config=config)


@dataclass
class Worker:
    """One worker's engine over one namespace. Every call has five seconds."""

    store: Store
    cache: CacheEngine
    space: Namespace
    origin: Origin
    drainer: Drainer
    writes: WriteBehind
    bases: Bases
    reads: ReadThrough
    backlogs: Backlog
    dead_writes: DeadWrites
    durability: Safekeeping
    deployment: Deployment

    async def put(self, key: str, operation: Operation, request_id: str = "", **fields: Any) -> int:
        """Its version."""
        return (await self.written(key, operation, request_id, **fields)).version

    async def written(
        self, key: str, operation: Operation, request_id: str = "", **fields: Any
    ) -> Written:
        put = Put(key, operation, fields, request_id)
        return await self.writes.put(self.space, self.origin, put, soon())

    async def put_many(self, puts: Iterable[Put]) -> list[Written | ServiceError]:
        return await self.writes.put_many(self.space, self.origin, list(puts), soon())

    async def cached(self, key: str) -> Record | str | None:
        """The record that the cache has, None if that there is none; `miss` without an entry."""
        found = await self.cache.get(self.space, key, soon())
        if not isinstance(found, Hit):
            return "miss"
        return canonical_json.decode(found.value) if found.value else None

    async def pending(self, key: str) -> Record | str | None:
        """The record that waits, None if it will be gone; `none` if nothing waits."""
        [raw] = await self.store.call(log_scripts.read_pending(self.space, key), soon())
        found = log_scripts.pending_of(raw)
        if found is None:
            return "none"
        return canonical_json.decode(found.record) if found.record else None

    async def read(self, key: str) -> Found:
        """What a get gives."""
        return await self.reads.get(self.space, self.origin, key, soon())

    async def base(self, key: str) -> Base:
        return await self.bases.base(self.space, self.origin, key, soon())

    async def flush(self, timeout_s: float = PATIENCE_S) -> Flushed:
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        return await self.backlogs.flush(self.space, timeout_s, deadline)

    async def backlog(self) -> WriteBacklog:
        return await self.backlogs.tell(self.space, soon())

    async def dead(self) -> list[DeadWrite]:
        found, after = await self.dead_writes.page(self.space, "", 1000, soon())
        assert not after
        return found

    async def redis(self, *command: Argument, index: int = 0) -> Any:
        """What Redis answers, in the slot of a partition."""
        slot = self.space.partitions[index].slot
        request = Request(slot, (pack(*command),), "test", repeatable=False)
        [reply] = await self.store.call(request, soon())
        return reply

    async def log_length(self) -> int:
        lengths = [
            await self.redis("XLEN", keys.log(one), index=index)
            for index, one in enumerate(self.space.partitions)
        ]
        return sum(lengths)

    async def until_drained(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await self.log_length():
                await asyncio.sleep(0.01)

    def with_config(self, **write_behind: Any) -> None:
        """Goes on with another configuration, as after a reload."""
        config = self.space.config
        behind = config.write_behind.model_copy(update=write_behind)
        self.space = replace(self.space, config=config.model_copy(update={"write_behind": behind}))
        self.drainer.prepare(self.space)


async def deployed(_: float) -> bytes:
    return b"deployed"


@asynccontextmanager
async def worker_of(
    store: Store,
    space: Namespace,
    origin: Origin,
    *,
    drains: bool = True,
    deployment: Deployment = deployed,
) -> AsyncIterator[Worker]:
    """With `drains` unset nothing leaves the log by itself."""
    hot = HotKeys(store)
    cache = CacheEngine(store, CacheStats(store), hot)
    cache.start()
    durability = Safekeeping(store)
    drainer = Drainer(store, cache, durability, lambda _: origin, deployment)
    loader = Loader(store, cache, hot)
    refresher = Refresher(store, cache, loader, hot)
    reads = ReadThrough(cache, loader, refresher)
    bases = Bases(store, reads)
    writes = WriteBehind(store, cache, hot, bases, durability, drainer.appended)
    backlog, dead = Backlog(store, drainer.hurry), DeadWrites(store)
    if drains:
        drainer.start()
    drainer.prepare(space)
    try:
        yield Worker(
            store,
            cache,
            space,
            origin,
            drainer,
            writes,
            bases,
            reads,
            backlog,
            dead,
            durability,
            deployment,
        )
    finally:
        await drainer.stop()
        await refresher.stop()
        await reads.stop()
        await loader.stop()
        await cache.stop()


@asynccontextmanager
async def worker_on(
    origin: Origin, config: dict[str, Any], **write_behind: Any
) -> AsyncIterator[Worker]:
    """A worker over a Redis of its own, in a namespace so configured."""
    store = open_store("cache", RedisConfig.model_validate(config), None)
    await store.start()
    try:
        namespaces = NamespaceEngine(store, store, Settings())
        space = await behind_space(namespaces, **write_behind)
        async with worker_of(store, space, origin, deployment=namespaces.deployment) as worker:
            yield worker
    finally:
        await store.stop()
