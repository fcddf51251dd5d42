"""CDN targets of a test's own, and workers that send to them."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

from pantler_server.cdns.open import Targets
from pantler_server.cdns.target import Batch, Kind, Limits
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cdn import keys
from pantler_server.engines.cdn.drain import TargetDrain
from pantler_server.engines.cdn.engine import CdnEngine
from pantler_server.engines.cdn.invalidation import PurgedInvalidation
from pantler_server.engines.cdn.purge_model import Purge, PurgeState, PurgeStatus, Receipt
from pantler_server.store.link import Reply
from pantler_server.store.request import Argument, Request, pack
from pantler_server.store.store import Store

from tests.cdns.targets import targets
from tests.servers.vendor import VendorServer

PATIENCE_S = 15.0
_names = count(random.randrange(10**6) * 1000)  # others may use the same Redis


def soon() -> float:
    return asyncio.get_running_loop().time() + 5.0


def a_name() -> str:
    """Of a target that no other test uses."""
    return f"edge{next(_names)}"


async def redis(store: Store, *command: Argument) -> Any:
    """What Redis answers, where purges live."""
    request = Request(Store.slot_of(keys.TAG), (pack(*command),), "test", repeatable=False)
    [reply] = await store.call(request, soon())
    return reply


@asynccontextmanager
async def worker(
    store: Store, **vendors: VendorServer | dict[str, Any]
) -> AsyncIterator[CdnEngine]:
    """A worker's engine, with targets by name."""
    configs = {
        name: vendor.target if isinstance(vendor, VendorServer) else vendor
        for name, vendor in vendors.items()
    }
    opened = targets(**configs)
    async with worker_of(store, opened) as running:
        yield running


@asynccontextmanager
async def worker_of(store: Store, opened: Targets) -> AsyncIterator[CdnEngine]:
    running = CdnEngine(store, opened)
    running.start()
    try:
        yield running
    finally:
        await running.stop()
        await opened.stop()


def purging_of(cache: CacheEngine, cdn: CdnEngine | None = None) -> PurgedInvalidation:
    """Invalidations of a worker, without targets unless it has some."""
    cdn = cdn or CdnEngine(cache._store, targets())
    return PurgedInvalidation(cache.invalidation, cache, cdn)


async def purge(engine: CdnEngine, name: str, *tags: str, **said: Any) -> str:
    """Its id."""
    return (await engine.purge(Purge(name, tags=tags, **said), soon())).purge_id


async def receipt(engine: CdnEngine, purge_id: str) -> Receipt:
    """Of a purge of one target."""
    [found] = (await engine.get_purge(purge_id, soon())).receipts
    return found


async def over(engine: CdnEngine, purge_id: str) -> PurgeStatus:
    """What became of it, once no target is pending."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            status = await engine.get_purge(purge_id, soon())
            if all(one.state is not PurgeState.PENDING for one in status.receipts):
                return status
            await asyncio.sleep(0.01)


async def ended(engine: CdnEngine, purge_id: str) -> Receipt:
    """Of a purge of one target, once it is not pending."""
    [found] = (await over(engine, purge_id)).receipts
    return found


async def queue_length(store: Store, name: str) -> int:
    length: int = await redis(store, "XLEN", keys.queue(name))
    return length


async def forget_owner(store: Store, name: str) -> None:
    """As when its time is over."""
    await redis(store, "DEL", keys.owner(name))


class Died(Exception):
    """A process dies here."""


class Mortal:
    """The world of a worker that dies at one of its steps: before or behind a command to Redis or a
    request to the target. Nothing that it does after that takes effect."""

    def __init__(self, store: Store, name: str, vendor: VendorServer, dies_at: int) -> None:
        self._store = store
        self._opened = targets(**{name: vendor.target})
        self._target = self._opened.of(name)
        self.steps = 0
        self._dies_at = dies_at
        self.died = asyncio.Event()
        self._buried = False

    async def step(self) -> None:
        if self.steps == self._dies_at:
            self.died.set()
        self.steps += 1
        if self._buried:
            raise Died
        if self.died.is_set():
            await asyncio.Event().wait()  # until it is cancelled

    # As a store
    timeout_s = 5.0

    async def call(self, request: Request, deadline: float) -> list[Reply]:
        await self.step()
        reply = await self._store.call(request, deadline)
        await self.step()
        return reply

    async def call_each(self, requests: Sequence[Request], deadline: float) -> list[Any]:
        await self.step()
        replies = await self._store.call_each(requests, deadline)
        await self.step()
        return list(replies)

    # As a target
    can_soft = True

    @property
    def kinds(self) -> frozenset[Kind]:
        return self._target.kinds

    @property
    def fingerprint(self) -> bytes:
        return self._target.fingerprint

    @property
    def limits(self) -> Limits:
        return self._target.limits

    async def purge(self, batch: Batch) -> None:
        await self.step()
        await self._target.purge(batch)
        await self.step()

    def drain(self, name: str) -> TargetDrain:
        world: Any = self
        return TargetDrain(world, f"pantler:purge:mortal{next(_names)}", name, lambda _: world)

    async def bury(self, drain: TargetDrain) -> None:
        """Cleans up behind one that has died."""
        self._buried = True
        with suppress(Died):
            await drain.stop()
        await self._opened.stop()
