"""What is done about invalidations that a failover may have lost.

Replication is asynchronous: a replica that is promoted may lack the newest writes, and nothing can
tell which. So each worker keeps what it invalidated in the last minute, and does it again on each
new primary before it serves from there. What other workers invalidated, they repeat: until then
this one may show it. Namespaces that are configured so hide everything instead, strict and cold.

A restarted Redis is a new primary too: it may have come back with an older snapshot.
"""

import asyncio
from collections.abc import Iterator, Sequence
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
MAX_EVENTS = 100_000  # some 30 MB; past it the oldest are forgotten, and counted
LOOK_INTERVAL_S = 0.5  # how soon a worker without calls notices a new primary
AT_ONCE = 500  # commands in one step, a few ms of Redis

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


class OfLabel(NamedTuple):
    """A tag or a dependency was invalidated: its member in the marks."""

    member: bytes


class OfPartitions(NamedTuple):
    """Something happened to all entries, as invalidation/mark_partition.lua has it."""

    at: int
    before_us: int = 0


Event = OfKey | OfLabel | OfPartitions


class _Journal:
    """What was invalidated in one namespace, and when (loop time), the oldest first."""

    def __init__(self, space: Namespace) -> None:
        self.space = space
        self.events: dict[Event, float] = {}

    def requests(self, partition: Partition) -> list[Request]:
        """What does it again in a partition."""
        space = self.space
        requests: list[Request] = []
        members: list[bytes] = []
        for event in self.events:
            match event:
                case OfKey(key, slot, kind, flag):
                    if slot == partition.slot:
                        requests.append(delete_entry(space, key, 0, kind, flag))
                case OfLabel(member):
                    members.append(member)
                case OfPartitions(at, before_us):
                    requests.append(mark_partition(space, partition, at, before_us))
        for first in range(0, len(members), AT_ONCE):
            part = members[first : first + AT_ONCE]
            requests.append(mark_labels(space, partition, part))
        return requests


class Failover:
    """`start` before use, `stop` after it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._journals: dict[str, _Journal] = {}
        self._count = 0
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

    def note(self, space: Namespace, events: Sequence[Event]) -> None:
        """Keeps what is about to be done, to do it again should it be lost."""
        journal = self._journals.get(space.name)
        if journal is None:
            journal = self._journals[space.name] = _Journal(space)
        journal.space = space
        now = self._loop.time()
        kept = journal.events
        for event in events:
            if kept.pop(event, None) is None:
                self._count += 1
            kept[event] = now
        while self._count > MAX_EVENTS:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = min(
            (one for one in self._journals.values() if one.events),
            key=lambda one: next(iter(one.events.values())),
        )
        del oldest.events[next(iter(oldest.events))]
        self._count -= 1
        _FORGOTTEN.inc()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            self._forget_old()
            spaces = [*self._strict.values(), *(one.space for one in self._journals.values())]
            slots = {partition.slot for space in spaces for partition in space.partitions}
            await self._store.settle(slots, self._loop.time() + self._store.timeout_s)

    def _forget_old(self) -> None:
        past = self._loop.time() - KEEP_S
        for name, journal in tuple(self._journals.items()):
            while journal.events:
                event, when = next(iter(journal.events.items()))
                if when > past:
                    break
                del journal.events[event]
                self._count -= 1
            if not journal.events:
                del self._journals[name]

    async def _welcome(self, slot: int, link: Link) -> None:
        """Makes a new primary of a slot fit to serve it. Raises LinkLost, ReplyFailed."""
        self._forget_old()
        requests = [
            settle(space, partition)
            for space in self._strict.values()
            for partition in _of_slot(space, slot)
        ]
        for journal in self._journals.values():
            if journal.space.name not in self._strict:
                for partition in _of_slot(journal.space, slot):
                    requests += journal.requests(partition)
        if requests:
            await self._do(link, requests)
            log.info("repeated invalidations on a new primary", slot=slot, count=len(requests))

    async def _do(self, link: Link, requests: Sequence[Request]) -> None:
        """Past the store, which waits for this."""
        scripts = {one.if_no_script.source for one in requests if one.if_no_script is not None}
        loads = [pack("SCRIPT", "LOAD", source) for source in scripts]
        await link.submit(loads, self._loop.time() + self._store.timeout_s)
        for first in range(0, len(requests), AT_ONCE):
            part = requests[first : first + AT_ONCE]
            commands = [command for one in part for command in one.commands]
            try:
                await link.submit(commands, self._loop.time() + self._store.timeout_s)
            except ReplyFailed as failed:
                errors = [reply for reply in failed.replies if isinstance(reply, ReplyError)]
                if not _PASSED_OVER.issuperset(error.code for error in errors):
                    raise
                log.warning("could not repeat some invalidations", error=str(errors[0]))
            _REPEATED.inc(len(part))


def _of_slot(space: Namespace, slot: int) -> Iterator[Partition]:
    return (partition for partition in space.partitions if partition.slot == slot)
