"""Write-through: the origin first, then the cache.

Two writers of one key can't leave the older value cached, and neither can a reader that loads
meanwhile. A writer puts up a fence before its commit, which removes the entry and ends the lease of
whoever loads just then; while a fence stands, nobody gets the lease, so nobody fills. A writer that
was alone has the lease itself, and fills at its end if it still has:

    1. W1 fences (alone: it has the lease)        1. W1 fences
    2. W2 fences: ends W1's lease                 2. W1 commits, and dies
    3. W2 commits, W1 commits                     3. a reader misses: no lease, it loads for itself
    4. W2 ends: it was not alone, no entry        4. the fence is over; W1 can't commit any more
    5. W1 ends: its lease is over, no entry       5. a reader gets the lease, loads and fills
    6. a reader loads what W1 has committed

A fence lasts for longer than a write may take effect (`Origin.store`), whose time begins before
that of its fence does. If Redis loses the fence (a failover, eviction), its writer finds that out
at its end, and leaves no entry.
"""

import asyncio
from collections.abc import Mapping

from pantler_server.core import background, canonical_json
from pantler_server.core.errors import (
    InternalError,
    OriginOutcomeUnknown,
    OriginUnavailable,
    ServiceError,
    StoreError,
    StoreUnavailable,
)
from pantler_server.core.namespace import Namespace
from pantler_server.core.record import Operation
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.entry import new_version
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.record import scripts
from pantler_server.engines.cache.record.loading import load_s, negative_ttl_ms
from pantler_server.engines.cache.record.model import Durability, Put, Written
from pantler_server.engines.cache.record.scripts import Writer
from pantler_server.engines.cache.ttl import jittered_ms
from pantler_server.origins.origin import Origin, Stored, Write
from pantler_server.store import answers
from pantler_server.store.link import Reply
from pantler_server.store.store import Store

FENCE_MARGIN_S = 1.0  # beyond twice the time that a write may take: it may be waiting for its turn


class WriteThrough:
    """`stop` after use."""

    def __init__(self, store: Store, cache: CacheEngine, hot: HotKeys) -> None:
        self._store = store
        self._cache = cache
        self._hot = hot
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Written]] = set()

    async def stop(self) -> None:
        """Lets writes under way come to their end."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def put(self, space: Namespace, origin: Origin, put: Put, deadline: float) -> Written:
        """One write: two round trips, and the origin's commit. It goes on if the caller goes
        away."""
        task = asyncio.create_task(self._put(space, origin, put, deadline), name="write through")
        background.keep(self._tasks, task)
        return await asyncio.shield(task)

    async def _put(self, space: Namespace, origin: Origin, put: Put, deadline: float) -> Written:
        fields = await origin.check(put.key, put.operation, put.fields, deadline)
        origin.require()  # what is cached is given up only for a write that can be tried
        said = (str(put.operation.value), canonical_json.encode(put.fields))
        writer = scripts.writer_of(space, put.key, put.request_id, answers.fingerprint(*said))
        ends = min(deadline, self._loop.time() + load_s(space))
        version = await self._fence(space, writer, deadline)
        if isinstance(version, Written):
            return version
        try:
            stored = await origin.store(Write(put.key, put.operation, fields, version), ends)
        except OriginOutcomeUnknown:
            raise  # the fence stands until the write can't take effect any more
        except ServiceError:
            await self._finish(space, writer, None, None)
            raise
        existed = stored.existed if put.operation is Operation.DELETE else None
        written = Written(Durability.WRITTEN, stored.version or version, existed)
        await self._finish(space, writer, stored, written)
        return written

    async def _fence(self, space: Namespace, writer: Writer, deadline: float) -> int | Written:
        """The version of the write; or what the first with this request id came to."""
        fence_ms = round((2 * load_s(space) + FENCE_MARGIN_S) * 1000)
        self._cache.note_change(space, writer.key)
        try:
            run_id = await self._store.find_primary(writer.partition.slot, deadline)
            [reply] = await self._store.call(scripts.fence(writer, fence_ms, run_id), deadline)
        except StoreError as error:
            raise StoreUnavailable(
                "the cache Redis can't be reached now; nothing was written", self._store.role
            ) from error
        finally:
            self._cache.forget(space, (writer.key,))
        match reply:
            case [1, version, _]:
                return int(version)
            case [2]:
                raise answers.reused()
            case [3]:
                raise OriginUnavailable(
                    "earlier writes still wait for the origin; nothing was done: try again in a "
                    "moment",
                    space.name,
                )
            case [4]:
                raise OriginOutcomeUnknown(space.name)
            case [5, version, existed, queued]:
                return _first(version, existed, queued)
        raise InternalError("fence.lua gave an answer that it can't give")

    async def _finish(
        self, space: Namespace, writer: Writer, stored: Stored | None, written: Written | None
    ) -> None:
        """Takes the fence down. If Redis is away it falls by itself."""
        value, ttl_ms = self._value(space, writer.key, stored)
        answer = None if written is None else (written.version, _EXISTED[written.existed])
        request = scripts.finish(space, writer, value, new_version(), ttl_ms, answer)
        deadline = self._loop.time() + self._store.timeout_s
        try:
            await self._store.call(request, deadline)
        except ServiceError:
            return
        finally:
            self._cache.forget(space, (writer.key,))

    def _value(self, space: Namespace, key: str, stored: Stored | None) -> tuple[bytes | None, int]:
        """What is cached after a write, and for how long (ms)."""
        if stored is None or not stored.is_known:
            return None, 0
        if stored.record is None:
            return b"", jittered_ms(space, negative_ttl_ms(space))
        value = canonical_json.encode(stored.record)
        if len(value) > space.config.max_value_bytes:
            return None, 0
        return value, jittered_ms(space, self._hot.ttl_ms(space, key))


_EXISTED: Mapping[bool | None, int] = {None: 0, False: 1, True: 2}
_OF_EXISTED = {code: existed for existed, code in _EXISTED.items()}


def _first(version: Reply, existed: Reply, queued: Reply) -> Written:
    """What an answer that was remembered says."""
    durability = Durability.QUEUED if queued else Durability.WRITTEN
    return Written(durability, int(version), _OF_EXISTED[int(existed)])
