"""What is done about invalidations that a failover may have lost.

Replication is asynchronous: a replica that is promoted may lack the newest writes, and nothing can
tell which. So each worker keeps what it invalidated in the last minute, and does it again on each
new primary before it serves from there. What other workers invalidated, they repeat: until then
this one may show it. Namespaces that are configured so hide everything instead, strict and cold.

A restarted Redis is a new primary too: it may have come back with an older snapshot.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

import structlog
from prometheus_client import Counter

from pantler_server.core import background
from pantler_server.core.config import OnFailover
from pantler_server.core.errors import ServiceError
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.cache.invalidation.scripts import mark_labels, mark_partition, settle
from pantler_server.engines.cache.scripts import KeyEvent, delete_entry
from pantler_server.store.link import Link, ReplyError, ReplyFailed
from pantler_server.store.request import Request, pack
from pantler_server.store.store import Store

KEEP_S = 60.0  # longer than replicas lag and failovers take
# Of keys, and as many of all else; some 30 MB each. Past it the oldest are forgotten, and counted.
MAX_EVENTS = 100_000
LOOK_INTERVAL_S = 0.5  # how soon a worker without calls notices a new primary
AT_ONCE = 500  # commands in one step, or labels in one command: a few ms of Redis and of the loop

# A full Redis, or a key that is not ours: no reason not to serve the rest.
_PASSED_OVER = frozenset({"OOM", "WRONGTYPE"})

_FORGOTTEN = Counter(
    "pantler_invalidations_forgotten",
    "Invalidations that a worker could not keep for a minute, to repeat them after a failover",
)
_REPEATED = Counter(
    "pantler_invalidations_repeated", "Invalidations that were done again on a new primary"
)

log = structlog.get_logger(__name__)


class OfKey(NamedTuple):
    """A key was deleted or invalidated."""

    key: str
    slot: int
    event: KeyEvent
    flag: int
    if_version: int = 0


class OfLabel(NamedTuple):
    """A tag or a dependency was invalidated: its member in the marks."""

    member: bytes


class OfPartitions(NamedTuple):
    """Something happened to all entries, as invalidation/mark_partition.lua has it."""

    at: int
    before_us: int = 0


Event = OfKey | OfLabel | OfPartitions

_Place = tuple[str, int]  # a namespace, and a slot
_ALL_SLOTS = -1


class _Note:
    """That an event happened. Each call that says so has a part in it."""

    __slots__ = ("calls", "event", "place", "when")

    def __init__(self, place: _Place, event: Event) -> None:
        self.place = place
        self.event = event
        self.when = 0.0
        self.calls = 0


class _Book:
    """Notes, by where they are to be repeated."""

    def __init__(self) -> None:
        self.at: dict[_Place, dict[Event, _Note]] = {}
        self._by_age: OrderedDict[_Note, None] = OrderedDict()  # the oldest first

    def write(self, place: _Place, event: Event, now: float) -> _Note:
        there = self.at.setdefault(place, {})
        note = there.get(event)
        if note is None:
            note = there[event] = _Note(place, event)
        note.when = now
        note.calls += 1
        self._by_age[note] = None
        self._by_age.move_to_end(note)
        if len(self._by_age) > MAX_EVENTS:
            self._strike(next(iter(self._by_age)))
            _FORGOTTEN.inc()
        return note

    def take_back(self, note: _Note) -> None:
        note.calls -= 1
        if not note.calls and note in self._by_age:
            self._strike(note)

    def forget_until(self, past: float) -> None:
        while self._by_age and (oldest := next(iter(self._by_age))).when <= past:
            self._strike(oldest)

    def _strike(self, note: _Note) -> None:
        del self._by_age[note]
        there = self.at[note.place]
        del there[note.event]
        if not there:
            del self.at[note.place]


class Noted:
    """What one call has noted."""

    def __init__(self, notes: Sequence[tuple[_Book, _Note]]) -> None:
        self._notes = notes

    def take_back(self) -> None:
        """It was not done. What another call has noted of the same stays."""
        for book, note in self._notes:
            book.take_back(note)


class _Journal:
    """Times are those of the event loop. Events of keys have room of their own, so that no burst of
    them lets a tag be forgotten."""

    def __init__(self) -> None:
        self._spaces: dict[str, Namespace] = {}
        self._keys = _Book()
        self._others = _Book()

    @property
    def spaces(self) -> list[Namespace]:
        """Those with events, each as it was last used."""
        return list(self._spaces.values())

    def note(self, space: Namespace, events: Sequence[Event], now: float) -> Noted:
        if events:
            self._spaces[space.name] = space
        notes: list[tuple[_Book, _Note]] = []
        for event in events:
            by_key = isinstance(event, OfKey)
            book = self._keys if by_key else self._others
            slot = event.slot if isinstance(event, OfKey) else _ALL_SLOTS
            notes.append((book, book.write((space.name, slot), event, now)))
        return Noted(notes)

    def forget_until(self, past: float) -> None:
        """Whatever was noted by then."""
        self._keys.forget_until(past)
        self._others.forget_until(past)
        left = {name for book in (self._keys, self._others) for name, _ in book.at}
        self._spaces = {name: space for name, space in self._spaces.items() if name in left}

    def requests(self, space: Namespace, partition: Partition) -> Iterator[Request]:
        """What does it again in a partition: all that is noted now, made one by one as it is asked
        for."""
        of_keys = tuple(self._keys.at.get((space.name, partition.slot), ()))
        others = tuple(self._others.at.get((space.name, _ALL_SLOTS), ()))
        return _requests(space, partition, (*others, *of_keys))


def _requests(space: Namespace, partition: Partition, events: Sequence[Event]) -> Iterator[Request]:
    members: list[bytes] = []
    for event in events:
        match event:
            case OfKey(key, _, kind, flag, if_version):
                yield delete_entry(space, key, if_version, kind, flag)
            case OfPartitions(at, before_us):
                yield mark_partition(space, partition, at, before_us)
            case OfLabel(member):
                members.append(member)
                if len(members) == AT_ONCE:
                    yield mark_labels(space, partition, members)
                    members = []
    if members:
        yield mark_labels(space, partition, members)


class Failover:
    """`start` before use, `stop` after it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._journal = _Journal()
        self._building = asyncio.Lock()
        self._strict: dict[str, Namespace] = {}
        self._task: asyncio.Task[None] | None = None
        store.welcome = self._welcome

    def start(self) -> None:
        self._task = background.start(self._keep_looking(), "failover")

    async def stop(self) -> None:
        if self._task is not None:
            await background.stop((self._task,))

    async def prepare(self, space: Namespace, deadline: float) -> None:
        """Comes before the first use of a namespace, and of its changed configuration. Raises the
        StoreErrors."""
        if space.config.on_failover is not OnFailover.HIDE_ALL:
            self._strict.pop(space.name, None)
            return
        self._strict[space.name] = space  # first: a primary may change meanwhile
        requests = [settle(space, one) for one in space.partitions]
        for outcome in await self._store.call_each(requests, deadline):
            if isinstance(outcome, ServiceError):
                raise outcome

    def note(self, space: Namespace, events: Sequence[Event]) -> Noted:
        """Keeps what is about to be done, to do it again should it be lost; to be taken back if it
        turns out that it was not done."""
        return self._journal.note(space, events, self._loop.time())

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            self._journal.forget_until(self._loop.time() - KEEP_S)
            spaces = [*self._strict.values(), *self._journal.spaces]
            slots = {partition.slot for space in spaces for partition in space.partitions}
            await self._store.settle(slots, self._loop.time() + self._store.timeout_s)

    async def _welcome(self, slot: int, link: Link) -> None:
        """Makes a new primary of a slot fit to serve it. Raises LinkLost, ReplyFailed."""
        settling = [
            settle(space, partition)
            for space in self._strict.values()
            for partition in _of_slot(space, slot)
        ]
        repeating = [
            self._journal.requests(space, partition)
            for space in self._journal.spaces
            if space.name not in self._strict
            for partition in _of_slot(space, slot)
        ]
        count = await self._do(link, chain(settling, *repeating))
        if count:
            log.info("repeated invalidations on a new primary", slot=slot, count=count)

    async def _do(self, link: Link, requests: Iterable[Request]) -> int:
        """Past the store, which waits for this; how many there were."""
        left = iter(requests)
        count = 0
        known: set[bytes] = set()  # scripts
        while part := await self._next(left):
            count += len(part)
            scripts = {one.if_no_script.source for one in part if one.if_no_script is not None}
            loads = [pack("SCRIPT", "LOAD", source) for source in scripts - known]
            known |= scripts
            commands = [command for one in part for command in one.commands]
            if loads:
                await link.submit(loads, self._loop.time() + self._store.timeout_s)
            try:
                await link.submit(commands, self._loop.time() + self._store.timeout_s)
            except ReplyFailed as failed:
                errors = [reply for reply in failed.replies if isinstance(reply, ReplyError)]
                if not _PASSED_OVER.issuperset(error.code for error in errors):
                    raise
                log.warning("could not repeat some invalidations", error=str(errors[0]))
            _REPEATED.inc(len(part))
        return count

    async def _next(self, requests: Iterator[Request]) -> list[Request]:
        """Those of one step. Of all slots that are welcomed at once one makes its requests at a
        time, and lets all else go on before the next."""
        async with self._building:
            part = list(islice(requests, AT_ONCE))
            await asyncio.sleep(0)
        return part


def _of_slot(space: Namespace, slot: int) -> Iterator[Partition]:
    return (partition for partition in space.partitions if partition.slot == slot)
