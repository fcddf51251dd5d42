"""One who watches: what it is still to be told, within bounds."""

import asyncio
from collections import deque
from collections.abc import Iterable

from prometheus_client import Counter

from pantler_server.core.errors import ShuttingDown
from pantler_server.engines.cache.watch.model import Change, Told

# Of what a watcher has not taken yet. Those of a namespace share it, so that many slow ones keep
# little more than one.
MAX_EVENTS = 10_000
MAX_BYTES = 4 << 20

GAPS = Counter(
    "pantler_watch_gaps", "Gaps that watchers were told of, by what made them", ("cause",)
)


class Batch:
    """Changes of one namespace that were read at once, made once for all who watch it."""

    __slots__ = ("anew", "changes", "gap", "name", "part", "size", "told")

    def __init__(
        self,
        name: str,
        changes: Iterable[Change],
        part: bytes,
        *,
        gap: bool = False,
        anew: bool = False,
    ) -> None:
        self.name = name
        self.changes = tuple(changes)
        self.gap = gap
        self.anew = anew
        """Whether Redis may have lost everything, also what tells the deployment."""
        self.part = part
        """Of a resume token, as of after this."""
        self.size = sum(len(change.name) for change in self.changes)
        self.told: Told | None = None
        """For those who watch this namespace alone."""


class Watcher:
    """What it can't take in time is dropped, and becomes a gap."""

    def __init__(self) -> None:
        self._queue: deque[Batch] = deque()
        self._events = 0
        self._bytes = 0
        self._wake = asyncio.Event()
        self._dismissed = False

    @property
    def queued(self) -> int:
        """How many events wait, a gap counting as one."""
        return self._events

    def put(self, batch: Batch) -> None:
        self._queue.append(batch)
        self._events += len(batch.changes) or 1
        self._bytes += batch.size
        if self._events > MAX_EVENTS or self._bytes > MAX_BYTES:
            self._drop()
        self._wake.set()

    def check(self) -> None:
        """Raises ShuttingDown once it was dismissed."""
        if self._dismissed:
            raise ShuttingDown("this worker is shutting down: watch on with the newest token")

    def take(self) -> Batch | None:
        """The oldest, None if there is none. Raises as `check` does."""
        self.check()
        if not self._queue:
            self._wake.clear()
            return None
        batch = self._queue.popleft()
        self._events -= len(batch.changes) or 1
        self._bytes -= batch.size
        return batch

    async def wait(self, for_s: float) -> None:
        """Until there is something to take, or it was dismissed, but no longer."""
        try:
            async with asyncio.timeout(for_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    def dismiss(self) -> None:
        self._dismissed = True
        self._wake.set()

    def _drop(self) -> None:
        newest = {batch.name: batch.part for batch in self._queue}
        anew = {batch.name for batch in self._queue if batch.anew}
        self._queue = deque(
            Batch(name, (), part, gap=True, anew=name in anew) for name, part in newest.items()
        )
        self._events = len(self._queue)
        self._bytes = 0
        GAPS.labels("slow").inc(len(newest))
