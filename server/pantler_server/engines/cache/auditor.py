"""The auditor of the first level: compares some of its answers with Redis, and counts.

It measures what the first level promises, and sees what nobody thought of: an answer that Redis had
changed before it was given is counted as stale, with its age. A few milliseconds are the way that
the word of a change takes; more than the namespace's bound would be a defect.
"""

import asyncio

from prometheus_client import Counter, Histogram

from pantler_server.core import background
from pantler_server.core.errors import ServiceError
from pantler_server.engines.cache.describe import describe
from pantler_server.engines.cache.model import Description, Hit, Miss
from pantler_server.engines.cache.reading import Place, Reader
from pantler_server.store.store import Store

MOST_AT_ONCE = 16  # under way in a worker; one more is left out

_AUDITS = Counter(
    "pantler_l1_audits",
    "Answers of the first level that were compared with Redis: same, changed (since), stale",
    ("namespace", "outcome"),
)
_STALE_SECONDS = Histogram(
    "pantler_l1_stale_seconds",
    "How long ago what the first level answered had changed, where the auditor found it stale",
    ("namespace",),
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)


class Auditor:
    """`stop` after use."""

    def __init__(self, store: Store, reader: Reader) -> None:
        self._store = store
        self._reader = reader
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        await background.stop(tuple(self._tasks))

    def audit(self, at: Place, found: Hit | Miss, answered_us: int) -> None:
        """Begins to compare an answer, given at that time by Redis's clock (Unix us)."""
        if len(self._tasks) < MOST_AT_ONCE:
            task = background.start(self._compare(at, found, answered_us), "audit")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _compare(self, at: Place, found: Hit | Miss, answered_us: int) -> None:
        deadline = asyncio.get_running_loop().time() + self._store.timeout_s
        try:
            now = await describe(self._store, self._reader, at.space, at.key, deadline)
        except ServiceError:
            return  # Redis is away; there will be others
        changed_us = _changed_us(found, now)
        outcome = "same"
        if changed_us is not None:
            outcome = "stale" if 0 < changed_us < answered_us else "changed"
        if outcome == "stale" and changed_us is not None:
            _STALE_SECONDS.labels(at.space.name).observe((answered_us - changed_us) / 1e6)
        _AUDITS.labels(at.space.name, outcome).inc()


def _changed_us(found: Hit | Miss, now: Description) -> int | None:
    """Since when Redis has something else than was answered (Unix us): 0 if nobody knows, None if
    it has the same."""
    version = found.version if isinstance(found, Hit) else 0
    if not now.found:
        return now.missed_us if version else None
    assert now.entry is not None
    if now.entry.version == version:
        return None
    return now.entry.expires_us - now.entry.ttl_us  # when it was set, or touched last
