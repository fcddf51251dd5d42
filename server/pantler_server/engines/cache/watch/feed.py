"""Reads the histories of one namespace, once for all who watch it in this worker.

Redis tells that a history was written (store/tracking.py); then it is read on. That only makes it
fast: once a second all of them are read, whether or not anything was told, and what such a read
found to be all until it began is `sure`. A reader knows which event comes next in each partition,
and whose numbers they are. What is not there, or is another's, is a gap:

    this reader                             Redis
    reads: n is the newest
                                            n+1 is written, and evicted with the history
    reads: the marks count n+1, it is not there
    follows anew: n+1 is the newest         (whatever came until here is in the gap)
    tells of the gap, goes on with n+2

What concerns all partitions is put to the watchers once all have told of it (halves.py).
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from time import monotonic

import structlog
from prometheus_client import Counter

from pantler_server.core import background
from pantler_server.core.errors import ServiceError, StoreUnavailable
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache.watch import history, token
from pantler_server.engines.cache.watch.halves import HOLD_S, Halves
from pantler_server.engines.cache.watch.history import Lost, Position
from pantler_server.engines.cache.watch.model import Change
from pantler_server.engines.cache.watch.watcher import GAPS, Batch, Watcher
from pantler_server.store.store import Store

READ_ALL_S = 1.0
BEGIN_AGAIN_S = 0.1  # while calls wait for the first positions
FOLLOW_S = 60.0  # much less than KEEP_S, so that no history lapses that is read
LINGER_S = 5.0  # without watchers: one that comes back at once finds everything going
_ANEW = frozenset({"marks", "primary"})  # so lost, Redis may have lost everything
_UNKNOWN = Position(b"", b"", 0)

_EVENTS = Counter("pantler_watch_events", "Events sent to watchers, each one to each")

log = structlog.get_logger(__name__)


class Feed:
    """`start` before use, `stop` after it."""

    def __init__(self, store: Store, space: Namespace) -> None:
        self.space = space
        self.users = 0
        """Calls that need it. It ends when there was none for a while."""
        self.idle_since = monotonic()
        self._read_at = float("-inf")  # whatever was in force before has been read
        self._halves = Halves(len(space.partitions))
        self._store = store
        self._watchers: set[Watcher] = set()
        self._positions = [_UNKNOWN] * len(space.partitions)
        self._followed_at = [float("-inf")] * len(space.partitions)
        self._lost: dict[int, str] = {}  # partitions of which a gap is to be told, and why
        self._written: set[int] = set()
        self._all_due = 0.0
        self._wake = asyncio.Event()
        self._begun = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = background.start(self._keep_reading(), f"watch {self.space.name}")

    async def stop(self) -> None:
        if self._task is not None:
            await background.stop((self._task,))

    @property
    def is_over(self) -> bool:
        return not self.users and monotonic() - self.idle_since > LINGER_S

    @property
    def sure_at(self) -> float:
        """Whatever was in force before this time (of `monotonic`) has been put to the watchers."""
        return min(self._read_at, self._halves.sure_at)

    async def begun(self, deadline: float) -> None:
        """Waits until it knows where it is, no longer than Redis may take. Raises
        StoreUnavailable."""
        try:
            async with asyncio.timeout_at(min(deadline, self._soon())):
                await self._begun.wait()
        except TimeoutError:
            raise StoreUnavailable(
                "the history of invalidations can't be read now; nothing was done", self._store.role
            ) from None

    def attach(self, watcher: Watcher) -> Sequence[Position]:
        """From these positions on the watcher gets everything."""
        self._watchers.add(watcher)
        return tuple(self._positions)

    def detach(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)

    @property
    def part(self) -> bytes:
        """Of a resume token, as of what has been put to the watchers."""
        return token.pack(self.space.name, self._halves.before(self._positions))

    def written(self, index: int) -> None:
        """The history of a partition was written."""
        self._written.add(index)
        self._wake.set()

    def read_all(self) -> None:
        """Something may have been missed: read all now."""
        self._all_due = 0.0
        self._wake.set()

    def take_up(self, space: Namespace) -> None:
        """The namespace has another configuration."""
        changed = space.config.near_cache is not self.space.config.near_cache
        self.space = space
        if changed:
            self._followed_at = [float("-inf")] * len(self._followed_at)
            self.read_all()

    async def _keep_reading(self) -> None:
        while True:
            self._wake.clear()
            await self._follow()
            await self._read()
            left_s = BEGIN_AGAIN_S
            if self._begun.is_set():
                left_s = min(self._all_due, self._halves.due) - monotonic()
            try:
                async with asyncio.timeout(left_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _soon(self) -> float:
        return asyncio.get_running_loop().time() + self._store.timeout_s

    async def _follow(self) -> None:
        """Lets the histories be written further, and begins anew where something was lost."""
        now, space = monotonic(), self.space
        due = [
            index
            for index, at in enumerate(self._followed_at)
            if index in self._lost or now - at > FOLLOW_S
        ]
        requests = [history.follow(space, space.partitions[index]) for index in due]
        told: dict[str, None] = {}
        outcomes = await self._store.call_each(requests, self._soon()) if due else []
        for index, request, outcome in zip(due, requests, outcomes, strict=True):
            if isinstance(outcome, ServiceError):
                continue  # the next round tries again
            if space is self.space:  # else it may have been asked for too little
                self._followed_at[index] = now
            [[generation, newest]] = outcome
            position = Position(request.primary, generation, int(newest))
            if self._positions[index] is _UNKNOWN:
                self._positions[index] = position
            elif index in self._lost:
                told[self._lost.pop(index)] = None
                self._positions[index] = position
        if told:
            log.info("gap in a watch", namespace=self.space.name, causes=list(told))
            GAPS.labels(next(iter(told))).inc(len(self._watchers))
            self._halves.clear()
            self._put((), gap=True, anew=not _ANEW.isdisjoint(told))
            self._all_due = 0.0
        if _UNKNOWN not in self._positions:
            self._begun.set()

    async def _read(self) -> None:
        """What is new in the partitions that were written, or in all when it is time."""
        began = monotonic()
        whole = began >= self._all_due
        if whole:
            self._all_due = began + READ_ALL_S
        wanted = range(len(self._positions)) if whole else sorted(self._written)
        self._written = set()
        indexes = [
            index
            for index in wanted
            if index not in self._lost and self._positions[index] is not _UNKNOWN
        ]
        sure = whole and len(indexes) == len(self._positions)
        sure = await self._read_some(indexes) and sure
        if sure and began - min(self._followed_at) < history.KEEP_S - FOLLOW_S:
            self._read_at = began

    async def _read_some(self, indexes: Sequence[int]) -> bool:
        """Whether that was all there is of these partitions."""
        requests = [
            history.read_after(
                self.space, self.space.partitions[index], self._positions[index].number
            )
            for index in indexes
        ]
        outcomes = await self._store.call_each(requests, self._soon()) if requests else []
        is_all = True
        pending: list[Change] = []
        for index, request, outcome in zip(indexes, requests, outcomes, strict=True):
            if isinstance(outcome, ServiceError):
                is_all = False
                continue
            events = history.found(self._positions[index], request, outcome)
            if isinstance(events, Lost):
                is_all = False
                self._lost[index] = events.cause
                self._wake.set()
                continue
            if len(events) == history.AT_ONCE:
                is_all = False
                self.written(index)
            if events:
                found = history.changes(self.space, events)
                pending += self._halves.take(index, found, self._read_at)
                self._positions[index] = self._positions[index]._replace(number=events[-1][0])
            if len(pending) >= history.AT_ONCE:
                self._put(pending)
                pending = []
                await asyncio.sleep(0)  # those who watch take it
        pending += self._halves.overdue()
        if pending:
            self._put(pending)
        return is_all

    def _put(self, changes: Iterable[Change], *, gap: bool = False, anew: bool = False) -> None:
        batch = Batch(self.space.name, changes, self.part, gap=gap, anew=anew)
        _EVENTS.inc(len(batch.changes) * len(self._watchers))
        for watcher in self._watchers:
            watcher.put(batch)

    async def catch_up(
        self, numbers: Sequence[int], until: Sequence[Position]
    ) -> AsyncIterator[Batch]:
        """What came after these numbers, up to the positions; or a gap. Raises the StoreErrors."""
        at = [
            end._replace(number=min(number, end.number))
            for number, end in zip(numbers, until, strict=True)
        ]
        halves = Halves(len(until))
        while behind := [index for index, end in enumerate(until) if at[index].number < end.number]:
            requests = [
                history.read_after(self.space, self.space.partitions[index], at[index].number)
                for index in behind
            ]
            for index, request, outcome in zip(
                behind, requests, await self._store.call_each(requests, self._soon()), strict=True
            ):
                if isinstance(outcome, ServiceError):
                    raise outcome
                events = history.found(at[index], request, outcome)
                if isinstance(events, Lost):
                    GAPS.labels(events.cause).inc()
                    part = token.pack(self.space.name, until)
                    yield Batch(self.space.name, (), part, gap=True, anew=events.cause in _ANEW)
                    return
                wanted = [event for event in events if event[0] <= until[index].number]
                at[index] = at[index]._replace(number=at[index].number + len(wanted))
                changes = halves.take(index, history.changes(self.space, wanted), 0)
                if changes:
                    yield self._caught_up(changes, halves.before(at))
        if halves:
            # The other halves stand before the numbers, come after the positions, or never do.
            await asyncio.sleep(HOLD_S)
            yield self._caught_up(halves.all(), until)

    def _caught_up(self, changes: Sequence[Change], at: Sequence[Position]) -> Batch:
        _EVENTS.inc(len(changes))
        return Batch(self.space.name, changes, token.pack(self.space.name, at))
