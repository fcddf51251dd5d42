"""What is written down of dead writes before the origin commits the rest of their batch, and struck
out if it does not (log_drain.py, 5)."""

import asyncio
from collections.abc import Iterable, Mapping

import structlog

from pantler_server.core.errors import ServiceError, StoreUnavailable
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.cache.record import dead_writes, log_scripts
from pantler_server.engines.cache.record.durability import Safekeeping
from pantler_server.origins.origin import Write
from pantler_server.store.store import Store

CONFIRM_S = 5.0  # for dead writes to be safe: with `appendfsync everysec` that takes 1 to 2 s

log = structlog.get_logger(__name__)


class DeadNotes:
    """Those of one log, by its owner. `reasons` are by version of the write; `primary` is the run
    id of the Redis that the batch was taken from."""

    def __init__(
        self, store: Store, durability: Safekeeping, partition: Partition, name: str
    ) -> None:
        self._store = store
        self._durability = durability
        self._partition = partition
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._safe: set[int] = set()  # versions that are safe, and not settled

    def are_safe(self, reasons: Mapping[int, str]) -> bool:
        return reasons.keys() <= self._safe

    def settled(self, reasons: Iterable[int]) -> None:
        """The batch is committed."""
        self._safe.difference_update(reasons)

    def forget_safe(self) -> None:
        """Another Redis may not have them."""
        self._safe.clear()

    async def note(
        self, writes: Iterable[Write], reasons: Mapping[int, str], epoch: int, primary: bytes
    ) -> bool:
        """Writes down those of the writes that are dead; whether the log is still owned. Raises the
        StoreErrors: then nothing may be committed."""
        said = [
            (write.version, dead_writes.packed(write, reasons[write.version]))
            for write in writes
            if write.version in reasons
        ]
        request = log_scripts.note_dead(self._partition, epoch, said, primary)
        [noted] = await self._store.call(request, self._soon())
        if not noted:
            return False
        for version, _ in said:
            log.warning("a write is dead", log=self._name, version=version, reason=reasons[version])
        return True

    async def make_safe(self, space: Namespace, reasons: Iterable[int], primary: bytes) -> None:
        """Waits until what was noted is as safe as the writes were acknowledged. Raises the
        StoreErrors: then nothing may be committed."""
        done = [(self._partition, primary)]
        unmet = await self._durability.confirm(space, done, self._loop.time() + CONFIRM_S)
        if unmet:
            raise StoreUnavailable(
                "dead writes are not as safe in Redis as their namespace asks for", self._store.role
            )
        self._safe.update(reasons)

    async def strike_out(self, reasons: Iterable[int], epoch: int, primary: bytes) -> None:
        self._safe.difference_update(reasons)
        said = [(version, b"") for version in reasons]
        request = log_scripts.note_dead(self._partition, epoch, said, primary)
        try:
            await self._store.call(request, self._soon())
        except ServiceError as error:  # whoever does the batch next sees to it
            log.debug("dead writes could not be struck out", log=self._name, detail=error.message)

    def _soon(self) -> float:
        return self._loop.time() + self._store.timeout_s
