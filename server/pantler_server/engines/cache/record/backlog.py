"""How much waits for an origin, and waiting until it has gone."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from pantler_server.core.errors import ServiceError
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.cache.record import keys
from pantler_server.engines.cache.record.drainer import age_us, look
from pantler_server.engines.cache.record.model import Flushed, WriteBacklog
from pantler_server.store.link import Reply
from pantler_server.store.request import Request, read
from pantler_server.store.store import Store

LOOK_S = 0.02  # how soon a flush notices that it is done
HURRY_S = 1.0  # how often it asks for haste: a new owner knows nothing of it

Hurry = Callable[[Iterable[Partition]], None]
"""Has what waits in partitions drained now."""


class _Mark(NamedTuple):
    """How far a log was at the beginning of a flush."""

    waiting: int
    last: bytes
    """The id of its newest write."""
    added: int
    """How many it has ever had."""


class Backlog:
    """Deadlines are times of the event loop. All raise the StoreErrors."""

    def __init__(self, store: Store, hurry: Hurry) -> None:
        self._store = store
        self._hurry = hurry
        self._loop = asyncio.get_running_loop()

    async def tell(self, space: Namespace, deadline: float) -> WriteBacklog:
        """What waits now. One round trip."""
        requests = [
            read(one.slot, space.name, *look(one), ("HGET", keys.log_state(one), "error"))
            for one in space.partitions
        ]
        pending = dead = oldest_us = 0
        last_error = ""
        for outcome in await self._store.call_each(requests, deadline):
            if isinstance(outcome, ServiceError):
                raise outcome
            waiting, oldest, refused, time, error = outcome
            pending += waiting
            dead += refused
            oldest_us = max(oldest_us, age_us(oldest, time))
            last_error = error.decode() if error else last_error
        return WriteBacklog(pending, oldest_us, dead, last_error)

    async def flush(self, space: Namespace, timeout_s: float | None, deadline: float) -> Flushed:
        """Waits until the origin has had all writes that were acknowledged before the call, or the
        time is up; dead ones count as had."""
        if timeout_s is not None:
            deadline = min(deadline, self._loop.time() + timeout_s)
        marks = await self._marks(space, space.partitions)
        total = sum(mark.waiting for mark in marks.values())
        left = dict(marks)
        hurry_at = 0.0
        while left and self._loop.time() < deadline:
            if self._loop.time() >= hurry_at:
                self._hurry(left)
                hurry_at = self._loop.time() + HURRY_S
            await asyncio.sleep(min(LOOK_S, max(0.0, deadline - self._loop.time())))
            left = await self._left(space, left)
        remaining = await self._remaining(space, left) if left else 0
        return Flushed(total - remaining, remaining)

    async def _marks(
        self, space: Namespace, partitions: Iterable[Partition]
    ) -> dict[Partition, _Mark]:
        """How far the logs are in which something waits. Two round trips."""
        newest = {
            one: read(one.slot, space.name, ("XREVRANGE", keys.log(one), "+", "-", "COUNT", 1))
            for one in partitions
        }
        found = await self._replies(newest)
        # Only where there is a stream: XINFO fails for one that never was.
        told = {
            one: read(one.slot, space.name, ("XINFO", "STREAM", keys.log(one)))
            for one, last in found.items()
            if last
        }
        return {
            one: _Mark(
                int(said[b"length"]), said[b"last-generated-id"], int(said[b"entries-added"])
            )
            for one, said in (await self._replies(told)).items()
            if said[b"length"]
        }

    async def _replies(self, requests: Mapping[Partition, Request]) -> dict[Partition, Reply]:
        soon = self._loop.time() + self._store.timeout_s
        outcomes = await self._store.call_each(list(requests.values()), soon)
        replies: dict[Partition, Reply] = {}
        for one, outcome in zip(requests, outcomes, strict=True):
            if isinstance(outcome, ServiceError):
                raise outcome
            [replies[one]] = outcome
        return replies

    async def _left(
        self, space: Namespace, marks: dict[Partition, _Mark]
    ) -> dict[Partition, _Mark]:
        """Those whose log still has writes at or before the mark."""
        requests = [
            read(one.slot, space.name, ("XRANGE", keys.log(one), "-", mark.last, "COUNT", 1))
            for one, mark in marks.items()
        ]
        soon = self._loop.time() + self._store.timeout_s
        found: list[list[Reply] | ServiceError] = await self._store.call_each(requests, soon)
        return {
            one: mark
            for (one, mark), reply in zip(marks.items(), found, strict=True)
            if isinstance(reply, ServiceError) or reply[0]
        }

    async def _remaining(self, space: Namespace, marks: dict[Partition, _Mark]) -> int:
        """How many writes at or before the marks are left: the log goes from its beginning on."""
        now = await self._marks(space, marks)
        remaining = 0
        for one, mark in marks.items():
            if one in now:
                gone = mark.waiting + (now[one].added - mark.added) - now[one].waiting
                remaining += min(mark.waiting, max(0, mark.waiting - gone))
        return remaining
