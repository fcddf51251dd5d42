"""The cache: entries under keys, in namespaces, until they expire.

A read is one round trip and no script (reading.py); what it finds may ask for one more: a lease, or
a sliding entry's new ttl (follow_up.py). A write is one script.
"""

from collections.abc import Iterator, Sequence

from pantler_server.core.config import Settings
from pantler_server.core.errors import (
    FieldViolation,
    InvalidFields,
    PrimaryChanged,
    ServiceError,
)
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import describe, entry, keys, scripts
from pantler_server.engines.cache.batch_get import BatchGet
from pantler_server.engines.cache.estimate import estimate_size
from pantler_server.engines.cache.failover import Failover, OfKey
from pantler_server.engines.cache.fill_token import FillToken
from pantler_server.engines.cache.first_level import FirstLevel, Ticket
from pantler_server.engines.cache.follow_up import FollowUp, is_final, left_ratio
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.invalidation.engine import InvalidationEngine
from pantler_server.engines.cache.invalidation.reclaim import Reclaimer
from pantler_server.engines.cache.invalidation.tags import TagEngine
from pantler_server.engines.cache.leases import Leases
from pantler_server.engines.cache.look import Lookups
from pantler_server.engines.cache.model import (
    Description,
    Hit,
    LeaseAsk,
    Miss,
    NewEntry,
    SetOutcome,
    SetResult,
    Size,
)
from pantler_server.engines.cache.reading import (
    Reader,
    judge,
    place_of,
    plain_hit,
)
from pantler_server.engines.cache.scripts import KeyEvent
from pantler_server.engines.cache.stats import CacheStats, NamespaceStats
from pantler_server.engines.cache.sweeper import Sweeper
from pantler_server.engines.cache.touching import touch
from pantler_server.engines.cache.ttl import jittered_ms
from pantler_server.engines.cache.waiting import WaitingRooms
from pantler_server.engines.cache.watch.engine import WatchEngine
from pantler_server.store.link import Reply
from pantler_server.store.store import Store
from pantler_server.store.tracking import Tracking

_REQUEST_ID_REUSED, _STORED_HIDDEN = 4, 5  # outcomes of set.lua; the others are these
MOST_LABELS_AT_ONCE = 2000  # each is some 5 us of Redis, where it has an index
_FILL_LOST = (3, 0, b"")  # a reply of set.lua
_OUTCOMES = {1: SetOutcome.STORED, 2: SetOutcome.CONDITION_NOT_MET, 3: SetOutcome.FILL_LOST}


class CacheEngine:
    """Reads, writes and leases, one by one and in batches; `invalidation`, `tags` and `watching`
    have the rest, `lookups` the reads of the record engine. Deadlines are times of the event loop.
    `start` before use, `stop` after it.

    All raise WrongKind and the StoreErrors; in a batch these stand in the place of their item.
    """

    def __init__(self, store: Store, stats: CacheStats, hot_keys: HotKeys) -> None:
        self._store = store
        self._stats = stats
        self._hot_keys = hot_keys
        self._reader = Reader(store)
        self._leases = Leases(store)
        self._rooms = WaitingRooms(store, self._reader, self._leases)
        self._sweeper = Sweeper(store)
        self._failover = Failover(store)
        self._tracking = Tracking(store)
        self._first_level = FirstLevel(store, self._tracking, stats, self._reader, hot_keys)
        self.watching = WatchEngine(store, self._tracking)
        self.invalidation = InvalidationEngine(
            store, stats, self._reader, self._sweeper, self._failover, self._first_level
        )
        self.tags = TagEngine(store, self._reader, self._first_level)
        self._reclaimer = Reclaimer(store)
        self._after = FollowUp(store, stats, self._reader, self._leases, self._rooms, self._sweeper)
        self._batch = BatchGet(stats, self._reader, self._first_level, self._after, hot_keys)
        self.lookups = Lookups(
            stats, self._reader, self._first_level, self._leases, self._after, hot_keys
        )

    def start(self) -> None:
        self._rooms.start()
        self._sweeper.start()
        self._failover.start()
        self._reclaimer.start()
        self._tracking.start()
        self.watching.start()

    def dismiss(self) -> None:
        """Lets nobody wait for another's fill any more: all get the miss that they saw. Watches
        end."""
        self._rooms.dismiss()
        self.watching.dismiss()

    async def stop(self) -> None:
        await self._rooms.stop()
        await self._leases.stop()
        await self.watching.stop()
        await self._first_level.stop()
        await self._tracking.stop()
        await self._reclaimer.stop()
        await self._failover.stop()
        await self._sweeper.stop()

    async def prepare(self, space: Namespace, deadline: float) -> None:
        """Comes before the first use of a namespace, and of its changed configuration."""
        self._reclaimer.prepare(space)
        await self._failover.prepare(space, deadline)

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration where it must not wait for a call."""
        self._reclaimer.apply(settings)
        self.watching.apply(settings)

    async def get(
        self,
        space: Namespace,
        key: str,
        deadline: float,
        ask: LeaseAsk | None = None,
        *,
        accept_stale: bool = False,
    ) -> Hit | Miss:
        """One entry. One round trip, or two, none if the first level has it; with a lease that
        another holds, as long as the ask says."""
        self._hot_keys.count(space, key)
        at = place_of(space, key)
        left = left_ratio(space, ask)
        begun = self._first_level.begin(at, left, leased=ask is not None)
        if not isinstance(begun, Ticket):
            return begun
        with begun:
            sight = await self._reader.get(at, deadline, replica=space.config.replica_reads)
            hit = plain_hit(sight.raw, sight.view, left) if sight.raw else None
            found = hit or judge(sight, at, accept_stale=accept_stale)
            begun.keep(sight, found)
        stats = self._stats.of(space.name)
        if hit is not None:
            stats.hits += 1
            return hit
        if not is_final(at, sight, found, ask, accept_stale):
            found = await self._after.follow_up(at, sight, found, deadline, ask, accept_stale)
        stats.count_read(found)
        return found

    async def get_many(
        self,
        space: Namespace,
        wanted: Sequence[str],
        deadline: float,
        ask: LeaseAsk | None = None,
        *,
        accept_stale: bool = False,
    ) -> list[Hit | Miss | ServiceError]:
        """Entries in the order asked, each as `get` gives it, side by side."""
        return await self._batch.get(space, wanted, deadline, ask, accept_stale)

    async def release_lease(
        self, space: Namespace, key: str, token: FillToken, deadline: float, *, failed: bool
    ) -> bool:
        """Ends a lease without a fill; whether it still held. One round trip."""
        return await self._leases.release(space, key, token, deadline, failed=failed)

    async def extend_lease(
        self, space: Namespace, key: str, token: FillToken, ttl_ms: int, deadline: float
    ) -> int:
        """Lets a lease last for `ttl_ms` from now on; until when (Unix us). Raises LeaseLost. One
        round trip."""
        return await self._leases.extend(space, key, token, ttl_ms, deadline)

    async def set(self, space: Namespace, new: NewEntry, deadline: float) -> SetResult:
        """Stores one entry, if its condition and its token allow. One round trip. Raises
        InvalidFields if its request id had another request."""
        version = entry.new_version()
        request = scripts.set_entry(space, new, _ttl_ms(space, new.ttl_ms), version)
        try:
            [reply] = await self._store.call(request, deadline)
        except PrimaryChanged:
            reply = await self._first_answer(space, new, deadline)
        finally:  # whatever came of it, also where nobody waits for that any more
            self._first_level.forget(space, (new.key,))
        self._sweeper.note_if_short(space, new.ttl_ms)
        return self._set_result(space, version, reply)

    async def set_many(
        self, space: Namespace, new: Sequence[NewEntry], deadline: float
    ) -> list[SetResult | ServiceError]:
        """Stores entries in their order, each on its own. One round trip. They carry no request
        ids."""
        versions = [entry.new_version() for _ in new]
        requests = [
            scripts.set_entry(space, one, _ttl_ms(space, one.ttl_ms), version)
            for one, version in zip(new, versions, strict=True)
        ]
        results: list[SetResult | ServiceError] = []
        outcomes: list[list[Reply] | ServiceError] = []
        try:
            for part in _parts(new):
                outcomes += await self._store.call_each(requests[part], deadline)
        finally:
            self._first_level.forget(space, [one.key for one in new])
        for version, outcome in zip(versions, outcomes, strict=True):
            if isinstance(outcome, PrimaryChanged):
                results.append(self._set_result(space, version, _FILL_LOST))
            elif isinstance(outcome, ServiceError):
                results.append(outcome)
            else:
                results.append(self._set_result(space, version, outcome[0]))
        for ttl_ms in {one.ttl_ms for one in new}:
            self._sweeper.note_if_short(space, ttl_ms)
        return results

    def _set_result(self, space: Namespace, version: int, reply: Reply) -> SetResult:
        """What a reply of set.lua says."""
        stats = self._stats.of(space.name)
        if reply.__class__ is int:
            stats.sets += 1
            return SetResult(SetOutcome.STORED, version, reply, visible=True)
        outcome, expires_us, raw_version = reply
        if outcome == _REQUEST_ID_REUSED:
            rule = "had another request within the last 10 minutes: use a new one"
            raise InvalidFields([FieldViolation("request_id", rule)])
        visible = outcome != _STORED_HIDDEN
        if not visible or _OUTCOMES[outcome] is SetOutcome.STORED:
            stored = int.from_bytes(raw_version, "little")  # by the first request with this id
            stats.sets += stored == version
            return SetResult(SetOutcome.STORED, stored, expires_us, visible=visible)
        if _OUTCOMES[outcome] is SetOutcome.FILL_LOST:
            stats.fills_lost += 1
        return SetResult(_OUTCOMES[outcome])

    async def _first_answer(self, space: Namespace, new: NewEntry, deadline: float) -> Reply:
        """For a Set whose token is of another primary: what this one knows of its request id, in
        the form of set.lua."""
        if new.request_id:
            [record] = await self._store.call(scripts.read_answer(space, new), deadline)
            if record is not None:
                return scripts.answer_to(new, record) or (_REQUEST_ID_REUSED, 0, b"")
        return _FILL_LOST

    async def delete(
        self, space: Namespace, key: str, deadline: float, if_version: int = 0
    ) -> bool:
        """Removes one entry; whether it was readable. With `if_version`, only that version. One
        round trip."""
        request = scripts.delete_entry(space, key, if_version)
        event = OfKey(key, request.slot, KeyEvent.DELETE, 0)
        noted = self._failover.note(space, [event._replace(if_version=if_version)])
        try:
            [deleted] = await self._store.call(request, deadline)
        finally:
            self._first_level.forget(space, (key,))
        if if_version and deleted:  # whatever comes back of the key is older than that version
            self._failover.note(space, [event])
        if if_version:
            noted.take_back()
        self._stats.of(space.name).deletes += 1
        self._sweeper.note(space)
        return bool(deleted)

    async def delete_many(
        self, space: Namespace, doomed: Sequence[str], deadline: float
    ) -> list[bool | ServiceError]:
        """Removes entries, each on its own. One round trip."""
        requests = [scripts.delete_entry(space, key) for key in doomed]
        self._failover.note(
            space,
            [
                OfKey(key, request.slot, KeyEvent.DELETE, 0)
                for key, request in zip(doomed, requests, strict=True)
            ],
        )
        try:
            outcomes = await self._store.call_each(requests, deadline)
        finally:
            self._first_level.forget(space, doomed)
        deleted = [
            outcome if isinstance(outcome, ServiceError) else bool(outcome[0])
            for outcome in outcomes
        ]
        self._stats.of(space.name).deletes += sum(isinstance(one, bool) for one in deleted)
        self._sweeper.note(space)
        return deleted

    def note_change(self, space: Namespace, key: str) -> None:
        """Comes before the record engine changes the entry of a key: it is deleted on a new
        primary, should one come."""
        partition, _ = keys.place(space, key)
        self._failover.note(space, [OfKey(key, partition.slot, KeyEvent.DELETE, 0)])
        self._sweeper.note(space)

    def forget(self, space: Namespace, changed: Sequence[str]) -> None:
        """Comes when the record engine has changed the entries of these keys, before that is
        acknowledged: this worker's first level lets go of them."""
        self._first_level.forget(space, changed)

    async def touch(
        self, space: Namespace, key: str, ttl_ms: int | None, deadline: float
    ) -> int | None:
        """Gives a readable entry a new ttl from now on, the namespace's default for None; its
        expiry (Unix us), None if there is no such entry. One round trip, or two if it is in an
        index."""
        try:
            expires_us = await touch(self._store, space, key, _ttl_ms(space, ttl_ms), deadline)
        finally:
            self._first_level.forget(space, (key,))
        self._sweeper.note_if_short(space, ttl_ms)
        return expires_us or None

    async def describe(self, space: Namespace, key: str, deadline: float) -> Description:
        """Everything but the value. One round trip, or two."""
        return await describe.describe(self._store, self._reader, space, key, deadline)

    async def statistics(
        self, space: Namespace, deadline: float
    ) -> tuple[NamespaceStats, NamespaceStats, Size | None]:
        """The counts of this worker and of the deployment, and an estimate of the size."""
        deployment = await self._stats.deployment(space.name, deadline)
        size = await estimate_size(self._store, space.name, deadline)
        return self._stats.of(space.name), deployment, size


def _parts(new: Sequence[NewEntry]) -> Iterator[slice]:
    """A batch in parts that hold up Redis for a few tens of ms at the most: all at once if its
    entries have few labels."""
    begin = labels = 0
    for index, one in enumerate(new):
        labels += len(one.tags) + len(one.depends_on)
        if labels > MOST_LABELS_AT_ONCE and index > begin:
            yield slice(begin, index)
            begin, labels = index, 0
    yield slice(begin, len(new))


def _ttl_ms(space: Namespace, ttl_ms: int | None) -> int:
    """A ttl, the namespace's if none, with its jitter."""
    return jittered_ms(space, space.ttl_ms if ttl_ms is None else ttl_ms)
