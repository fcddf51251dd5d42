"""What reads and writes came to, by namespace.

Calls count in plain integers. Once a second the counts go to Prometheus and are added to those of
the deployment in Redis (role `state`), so that counting costs a call next to nothing.
"""

import asyncio

from prometheus_client import Counter

from pantler_server.core import background
from pantler_server.core.errors import OutcomeUnknown, StoreError
from pantler_server.core.keyspace import hash_tag
from pantler_server.engines.cache.model import Hit, Miss, MissReason
from pantler_server.store.request import Request, pack, read
from pantler_server.store.store import Store

FLUSH_INTERVAL_S = 1.0
FIELDS = (
    "hits",
    "stale_hits",
    "misses_unknown",
    "misses_expired",
    "misses_hidden_by_key",
    "misses_hidden_by_tag",
    "misses_hidden_by_namespace",
    "misses_hidden_by_dependency",
    "misses_hidden_by_age",
    "leases",
    "sets",
    "fills_lost",
    "deletes",
    "invalidations",
    "renewals_failed",
    "l1_hits",
)

_READS = Counter(
    "pantler_cache_reads", "Reads of a key, by what they found", ("namespace", "outcome")
)
_WRITES = Counter(
    "pantler_cache_writes", "Entries set and deleted, and fills refused", ("namespace", "operation")
)
_L1_HITS = Counter(
    "pantler_l1_hits", "Reads of a key that the first level answered", ("namespace",)
)
_LEASES = Counter("pantler_cache_leases", "Leases given to callers", ("namespace",))
_READ_OUTCOMES = {
    "hits": "hit",
    "stale_hits": "stale_hit",
    "misses_unknown": "miss_unknown",
    "misses_expired": "miss_expired",
    "misses_hidden_by_key": "miss_hidden_by_key",
    "misses_hidden_by_tag": "miss_hidden_by_tag",
    "misses_hidden_by_namespace": "miss_hidden_by_namespace",
    "misses_hidden_by_dependency": "miss_hidden_by_dependency",
    "misses_hidden_by_age": "miss_hidden_by_age",
}
_WRITE_OPERATIONS = {
    "sets": "set",
    "fills_lost": "fill_lost",
    "deletes": "delete",
    "invalidations": "invalidation",
    "renewals_failed": "renewal_failed",
}
_MISSES = {
    MissReason.UNKNOWN: "misses_unknown",
    MissReason.EXPIRED: "misses_expired",
    MissReason.HIDDEN_BY_KEY: "misses_hidden_by_key",
    MissReason.HIDDEN_BY_TAG: "misses_hidden_by_tag",
    MissReason.HIDDEN_BY_NAMESPACE: "misses_hidden_by_namespace",
    MissReason.HIDDEN_BY_DEPENDENCY: "misses_hidden_by_dependency",
    MissReason.HIDDEN_BY_AGE: "misses_hidden_by_age",
}


class NamespaceStats:
    """Counts of one namespace."""

    __slots__ = FIELDS

    def __init__(self) -> None:
        self.hits = 0
        """Reads of a key that found a fresh entry."""
        self.stale_hits = 0
        """Reads of a key that found a stale entry and accepted it."""
        self.misses_unknown = 0
        """Reads of a key that found no record."""
        self.misses_expired = 0
        """Reads of a key whose entry had expired."""
        self.misses_hidden_by_key = 0
        """Reads of a key whose entry a SOFT invalidation of it had made stale."""
        self.misses_hidden_by_tag = 0
        """Reads of a key whose entry had a tag that was invalidated."""
        self.misses_hidden_by_namespace = 0
        """Reads of a key whose namespace was invalidated, or whose entry was of an earlier
        generation."""
        self.misses_hidden_by_dependency = 0
        """Reads of a key whose entry depended on a key that was invalidated."""
        self.misses_hidden_by_age = 0
        """Reads of a key whose entry was older than an invalidation by age allows."""
        self.leases = 0
        """Leases given to callers."""
        self.sets = 0
        """Entries stored."""
        self.fills_lost = 0
        """Sets refused because something happened to the key since their fill began."""
        self.invalidations = 0
        """Keys, tags, namespaces, ages and patterns that were invalidated."""
        self.deletes = 0
        """Deletes of a key, whether or not it was there."""
        self.renewals_failed = 0
        """Hits that Redis could neither slide nor offer for refresh."""
        self.l1_hits = 0
        """Reads of a key that the first level answered; each is counted above too."""

    def count_read(self, found: Hit | Miss) -> None:
        if isinstance(found, Miss):
            field = _MISSES[found.reason]
            setattr(self, field, getattr(self, field) + 1)
        elif found.stale:
            self.stale_hits += 1
        else:
            self.hits += 1
        if found.lease is not None:
            self.leases += 1

    def values(self) -> tuple[int, ...]:
        """In the order of FIELDS."""
        return tuple(getattr(self, field) for field in FIELDS)


class CacheStats:
    """The counts of this worker, and through Redis those of all."""

    def __init__(self, state: Store) -> None:
        self._state = state
        self._worker: dict[str, NamespaceStats] = {}
        self._exported: dict[str, tuple[int, ...]] = {}
        self._added: dict[str, tuple[int, ...]] = {}
        self._task: asyncio.Task[None] | None = None

    def of(self, namespace: str) -> NamespaceStats:
        """The counts of this worker since it started."""
        stats = self._worker.get(namespace)
        if stats is None:
            stats = self._worker[namespace] = NamespaceStats()
        return stats

    def start(self) -> None:
        self._task = background.start(self._keep_flushing(), "cache stats")

    async def stop(self) -> None:
        """Flushes a last time, if Redis is there."""
        if self._task is not None:
            await background.stop((self._task,))
        await self.flush()

    async def deployment(self, namespace: str, deadline: float) -> NamespaceStats:
        """The counts of all workers. One round trip. Raises StoreError."""
        request = read(self._slot(namespace), namespace, ("HMGET", _place(namespace), *FIELDS))
        [counts] = await self._state.call(request, deadline)
        stats = NamespaceStats()
        for field, count in zip(FIELDS, counts, strict=True):
            setattr(stats, field, int(count or 0))
        return stats

    async def flush(self) -> None:
        """Hands on what was counted since the last time."""
        deadline = asyncio.get_running_loop().time() + FLUSH_INTERVAL_S
        for namespace, stats in tuple(self._worker.items()):
            values = stats.values()
            self._export(namespace, values)
            added = self._added.get(namespace, (0,) * len(FIELDS))
            if values != added:
                try:
                    await self._add(namespace, values, added, deadline)
                except OutcomeUnknown:
                    pass  # counted or not: once is nearer to the truth than perhaps twice
                except StoreError:
                    continue  # kept for the next time
                self._added[namespace] = values

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            await self.flush()

    async def _add(
        self, namespace: str, values: tuple[int, ...], added: tuple[int, ...], deadline: float
    ) -> None:
        place = _place(namespace)
        commands = [
            pack("HINCRBY", place, field, now - before)
            for field, now, before in zip(FIELDS, values, added, strict=True)
            if now != before
        ]
        request = Request(self._slot(namespace), commands, namespace, repeatable=False)
        await self._state.call(request, deadline)

    def _export(self, namespace: str, values: tuple[int, ...]) -> None:
        before = self._exported.get(namespace, (0,) * len(FIELDS))
        if values == before:
            return
        new = {field: now - then for field, now, then in zip(FIELDS, values, before, strict=True)}
        for field, outcome in _READ_OUTCOMES.items():
            _READS.labels(namespace, outcome).inc(new[field])
        for field, operation in _WRITE_OPERATIONS.items():
            _WRITES.labels(namespace, operation).inc(new[field])
        _LEASES.labels(namespace).inc(new["leases"])
        _L1_HITS.labels(namespace).inc(new["l1_hits"])
        self._exported[namespace] = values

    def _slot(self, namespace: str) -> int:
        return self._state.slot_of(_place(namespace))


def _place(namespace: str) -> str:
    """`{namespace:0}stats` (role `state`), a hash of counts. No expiry."""
    return f"{hash_tag(namespace, 0)}stats"
