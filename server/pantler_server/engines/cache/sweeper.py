"""Forgets what deletes and invalidations left behind, where nothing happens any more that would
trim it.

Deletes leave tombstones for as long as a fill token lives (functions/bury.lua), invalidations of
labels leave marks for as long as an entry does (functions/mark_labels.lua). Later events of the
partition trim them; in a partition that falls silent they would stay, up to their bound, and no
eviction may take them. So each worker comes back to the namespaces in which it left some.
"""

import asyncio
import math

from pantler_server.core import background
from pantler_server.core.errors import ServiceError
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.cache import scripts
from pantler_server.store.store import Store

SWEEP_INTERVAL_S = 30.0  # tombstones are gone within 90 s


class Sweeper:
    """`start` before use, `stop` after it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._noted: dict[str, tuple[Namespace, float]] = {}  # and when to come (loop time)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = background.start(self._keep_sweeping(), "sweeper")

    async def stop(self) -> None:
        if self._task is not None:
            await background.stop((self._task,))

    def note(self, space: Namespace, after_s: float = 0.0) -> None:
        """There will be something to forget in this namespace after a time."""
        _, due = self._noted.get(space.name, (space, math.inf))
        self._noted[space.name] = (space, min(due, asyncio.get_running_loop().time() + after_s))

    def note_if_short(self, space: Namespace, ttl_ms: int | None) -> None:
        """An entry was set or touched with this ttl (None: the namespace's). It leaves a tombstone
        if it is kept for less than a fill token lives."""
        if (space.ttl_ms if ttl_ms is None else ttl_ms) + space.grace_ms < scripts.MAX_FILL_MS:
            self.note(space)

    async def sweep(self) -> None:
        """One round of what is due. What is left, or could not be reached, stays noted."""
        now = asyncio.get_running_loop().time()
        for space in [space for space, due in self._noted.values() if due <= now]:
            del self._noted[space.name]
            partitions = list(space.partitions)
            while partitions:
                partitions = await self._sweep(space, partitions)

    async def _sweep(self, space: Namespace, partitions: list[Partition]) -> list[Partition]:
        """One step; the partitions where another may find more."""
        outcomes = await self._store.call_each(
            [scripts.sweep(space, partition) for partition in partitions],
            asyncio.get_running_loop().time() + self._store.timeout_s,
        )
        more: list[Partition] = []
        for partition, outcome in zip(partitions, outcomes, strict=True):
            if isinstance(outcome, ServiceError):
                self.note(space)
                continue
            [[forgotten, tombstones, mark_left_us]] = outcome
            if forgotten:
                more.append(partition)
            elif tombstones:
                self.note(space)
            elif mark_left_us:
                self.note(space, mark_left_us / 1e6)
        return more

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            await self.sweep()
