"""What a record is before a write changes it: what waits for the origin, else what is cached, else
what the origin says."""

from typing import NamedTuple

from pantler_server.core.namespace import Namespace
from pantler_server.core.record import Record
from pantler_server.engines.cache.record import log_scripts
from pantler_server.engines.cache.record.loading import away
from pantler_server.engines.cache.record.read_through import ReadThrough, decoded
from pantler_server.origins.origin import Origin
from pantler_server.store.store import Store


class Base(NamedTuple):
    """A record, and by what a later change of it shows."""

    record: Record | None
    """None if there is none."""
    pending: bytes = b""
    """The version of the pending record that it is from, packed; empty if it is from elsewhere."""
    entry_version: int = 0
    """Of the cached entry that it is from; 0 if it is from elsewhere, or could not be cached."""


class Bases:
    """Deadlines are times of the event loop."""

    def __init__(self, store: Store, reads: ReadThrough) -> None:
        self._store = store
        self._reads = reads

    async def base(self, space: Namespace, origin: Origin, key: str, deadline: float) -> Base:
        """One round trip for what is pending, two for what is cached; else as `ReadThrough.get`.
        Raises the StoreErrors, and OriginUnavailable and OriginNotReady of a load."""
        [raw] = await self._store.call(log_scripts.read_pending(space, key), deadline)
        pending = log_scripts.pending_of(raw)
        if pending is not None:
            return Base(decoded(pending.record), pending=pending.version)
        found, record = await self._reads.get_record(space, origin, key, deadline)
        if found.stale:  # it is what the origin had once, and that does not answer
            raise away(space)
        return Base(record, entry_version=found.version)
