"""Loads: from what waits for the origin, else from the origin itself, into the cache.

A load runs beside the calls that wait for it: a caller that goes away does not end it. It has the
lease of its key, so that there is one for all workers, and its fill is refused if the key was
written or invalidated since the lease was given.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from pantler_server.core import background, canonical_json
from pantler_server.core.errors import OriginUnavailable, ServiceError
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import fill_token
from pantler_server.engines.cache import keys as cache_keys
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.fill_token import FillToken
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.keys import group
from pantler_server.engines.cache.model import Lease, NewEntry, SetOutcome, SetResult
from pantler_server.engines.cache.record import keys
from pantler_server.engines.cache.record.model import Found, Source
from pantler_server.origins.origin import Origin, RecordOutcome
from pantler_server.store.link import Reply
from pantler_server.store.request import read
from pantler_server.store.store import Store

VERSION_BYTES = 8  # a pending write begins with its version; the record follows
MARGIN_S = 1.0  # a lease outlives its load by that, so that the fill still lands

Outcome = Found | ServiceError


class Mine(NamedTuple):
    """A key whose lease a load has."""

    key: str
    token: FillToken

    @classmethod
    def of(cls, key: str, lease: Lease) -> "Mine":
        token = fill_token.read(lease.token)
        assert token is not None
        return cls(key, token)


class _Turns:
    """Loads of one key, one after the other."""

    __slots__ = ("next", "turn")

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.next: asyncio.Task[Found] | None = None
        """That which has not begun yet."""


class Loader:
    """The loads of a worker. `stop` after use."""

    def __init__(self, store: Store, cache: CacheEngine, hot: HotKeys) -> None:
        self._store = store
        self._cache = cache
        self._hot = hot
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[object]] = set()
        self._turns: dict[tuple[str, str], _Turns] = {}

    async def stop(self) -> None:
        await background.stop(tuple(self._tasks))

    async def load(self, space: Namespace, origin: Origin, mine: Mine) -> Found:
        """One key, into the cache. Raises what kept the origin from answering."""
        outcomes = await self.load_many(space, origin, [mine])
        found = outcomes[mine.key]
        if isinstance(found, ServiceError):
            raise found
        return found

    async def load_many(
        self, space: Namespace, origin: Origin, mine: Sequence[Mine]
    ) -> Mapping[str, Outcome]:
        """Keys, each once, with one query for all. What keeps the origin from answering, for all of
        them or for some, stands in the place of each."""
        task = asyncio.create_task(self._load(space, origin, mine), name="load records")
        background.keep(self._tasks, task)
        return await asyncio.shield(task)

    async def load_uncached(self, space: Namespace, origin: Origin, key: str) -> Found:
        """One key, for callers that may not fill the cache now, as the key is being written or
        Redis is full. One load at a time, for all who asked before it began."""
        turns = self._turns.setdefault((space.name, key), _Turns())
        if turns.next is None:
            work = self._in_turn(turns, space, origin, key)
            turns.next = asyncio.create_task(work, name="load a record")
            background.keep(self._tasks, turns.next)
        return await asyncio.shield(turns.next)

    async def _in_turn(self, turns: "_Turns", space: Namespace, origin: Origin, key: str) -> Found:
        try:
            async with turns.turn:
                turns.next = None  # what is written from now on may be missing in what this loads
                found = (await self._values(space, origin, [key]))[key]
            if isinstance(found, ServiceError):
                raise found
            return found
        finally:
            if turns.next is None:
                self._turns.pop((space.name, key), None)

    async def load_many_uncached(
        self, space: Namespace, origin: Origin, wanted: Sequence[str]
    ) -> dict[str, Outcome]:
        """As `load_many`, of keys whose leases Redis could not give."""
        try:
            return await self._values(space, origin, wanted)
        except ServiceError as error:
            return dict.fromkeys(wanted, error)

    async def is_being_written(self, space: Namespace, key: str, deadline: float) -> bool:
        """Whether a writer keeps all from filling the cache. One round trip."""
        partition, place = cache_keys.place(space, key)
        newest = ("ZREVRANGE", cache_keys.fences(partition, place), 0, 0, "WITHSCORES")
        request = read(partition.slot, key, newest, ("TIME",))
        fence, time = await self._store.call(request, deadline)
        now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
        return bool(fence) and float(fence[0][1]) > now_ms

    async def _load(
        self, space: Namespace, origin: Origin, mine: Sequence[Mine]
    ) -> Mapping[str, Outcome]:
        outcomes = await self.load_many_uncached(space, origin, [one.key for one in mine])
        limit = space.config.max_value_bytes
        failed: list[Mine] = []
        fills: list[tuple[Mine, Found]] = []
        unfilled: list[Mine] = []
        for one in mine:
            found = outcomes[one.key]
            if isinstance(found, ServiceError):
                failed.append(one)
            elif len(found.value) <= limit:
                fills.append((one, found))
            else:
                unfilled.append(one)
        if failed:
            await self._give_up(space, failed)
        new = [self._entry(space, one, found.value) for one, found in fills]
        results = await self._cache.set_many(space, new, self._deadline()) if new else []
        for (one, found), result in zip(fills, results, strict=True):
            if isinstance(result, ServiceError):  # Redis is full, say
                unfilled.append(one)
            else:
                outcomes[one.key] = _cached_as(found, one.token, result)
        for one in unfilled:  # who waits need not wait for the end of the lease
            await self._release(space, one, failed=False)
        return outcomes

    def _entry(self, space: Namespace, one: Mine, value: bytes) -> NewEntry:
        ttl_ms = self._hot.ttl_ms(space, one.key) if value else negative_ttl_ms(space)
        return NewEntry(one.key, value, ttl_ms, token=one.token)

    async def _values(
        self, space: Namespace, origin: Origin, wanted: Sequence[str]
    ) -> dict[str, Outcome]:
        """The records of keys, an error for each that the origin can't read. What waits for the
        origin comes first, whatever writes do now: the configuration may have changed, or be
        another yet for other workers. The origin is asked after that was looked for, so it has what
        no longer waited. Raises what keeps it, or Redis, from answering at all."""
        deadline = self._loop.time() + load_s(space)
        waiting = await self.pending(space, wanted, deadline)
        values: dict[str, Outcome] = {
            key: Found(value, Source.CACHE) for key, value in waiting.items()
        }
        missing = [key for key in wanted if key not in values]
        records: Mapping[str, RecordOutcome | None] = {}
        if len(missing) == 1:
            records = {missing[0]: await origin.load(missing[0], deadline)}
        elif missing:
            records = await origin.load_many(missing, deadline)
        for key in missing:
            record = records.get(key)
            if isinstance(record, ServiceError):
                values[key] = record
            else:
                value = b"" if record is None else canonical_json.encode(record)
                values[key] = Found(value, Source.ORIGIN)
        return values

    async def pending(
        self, space: Namespace, wanted: Sequence[str], deadline: float
    ) -> dict[str, bytes]:
        """The records that writes which wait for the origin make of keys: those that there are,
        each empty if it will be gone. One round trip."""
        groups = group(space, wanted)
        requests = [
            read(
                one.partition.slot,
                space.name,
                ("HMGET", keys.pending(one.partition), *(wanted[index] for index in one.indexes)),
            )
            for one in groups
        ]
        values: dict[str, bytes] = {}
        outcomes = await self._store.call_each(requests, deadline)
        for one, outcome in zip(groups, outcomes, strict=True):
            if isinstance(outcome, ServiceError):
                raise outcome
            raws: Sequence[Reply] = outcome[0]
            for index, raw in zip(one.indexes, raws, strict=True):
                if raw is not None:
                    values[wanted[index]] = raw[VERSION_BYTES:]
        return values

    async def _give_up(self, space: Namespace, mine: Sequence[Mine]) -> None:
        """Those who wait learn that the load failed, and get what is kept for that."""
        await asyncio.gather(*(self._release(space, one, failed=True) for one in mine))

    async def _release(self, space: Namespace, one: Mine, *, failed: bool) -> None:
        try:
            await self._cache.release_lease(
                space, one.key, one.token, self._deadline(), failed=failed
            )
        except ServiceError:
            return  # it ends by itself

    def _deadline(self) -> float:
        return self._loop.time() + self._store.timeout_s


def load_s(space: Namespace) -> float:
    """How long a load may take."""
    assert space.config.origin is not None
    return space.config.origin.timeout.total_seconds()


def negative_ttl_ms(space: Namespace) -> int:
    """How long it is remembered that there is no record."""
    return round(space.config.negative_ttl.total_seconds() * 1000)


def away(space: Namespace) -> OriginUnavailable:
    """The error for a load that did not come in time."""
    return OriginUnavailable("the record did not come in time; try again", space.name)


def _cached_as(loaded: Found, token: FillToken, result: SetResult) -> Found:
    """Where the fill was refused, since the key was written meanwhile, or is hidden by what was
    invalidated meanwhile, the caller still gets what the origin had after it asked."""
    if result.outcome is not SetOutcome.STORED or not result.visible:
        return loaded
    return replace(
        loaded, version=result.version, created_us=token.issued_us, expires_us=result.expires_us
    )
