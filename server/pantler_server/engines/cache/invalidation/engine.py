"""Invalidation: by key, tag, namespace, age, pattern and dependency.

What is acknowledged is as the marks say (marks.py), in every partition (applying.py); what a
failover may lose is done again (failover.py).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

from prometheus_client import Gauge

from pantler_server.core.errors import FieldViolation, InvalidFields, ServiceError, StoreUnavailable
from pantler_server.core.keyspace import hash_tag
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.cache import entry, keys, marks
from pantler_server.engines.cache.failover import Failover, OfLabel, OfPartitions
from pantler_server.engines.cache.first_level import FirstLevel
from pantler_server.engines.cache.invalidation import scripts
from pantler_server.engines.cache.invalidation.applying import Applier, in_part
from pantler_server.engines.cache.invalidation.cascade import Cascade, invalidate_keys
from pantler_server.engines.cache.invalidation.listing import KeyIndex, Lister
from pantler_server.engines.cache.invalidation.model import Dependent, Progress
from pantler_server.engines.cache.invalidation.pattern import PatternWalk
from pantler_server.engines.cache.reading import Reader, Sight
from pantler_server.engines.cache.scripts import KeyEvent
from pantler_server.engines.cache.stats import CacheStats
from pantler_server.engines.cache.sweeper import Sweeper
from pantler_server.store.request import read
from pantler_server.store.store import Store

_LABEL_MARKS = Gauge(
    "pantler_cache_label_marks",
    "Tags and dependencies whose invalidations are remembered one by one, where there are most",
    ("namespace",),
    multiprocess_mode="mostrecent",
)
DECLARE_PAUSE_S = 0.02  # at most, where others declare the same key at the same time


class InvalidationEngine:
    """All raise the StoreErrors and NotReplicated: then the caller repeats the call, which may have
    been done in part. Deadlines are times of the event loop."""

    def __init__(
        self,
        store: Store,
        stats: CacheStats,
        reader: Reader,
        sweeper: Sweeper,
        failover: Failover,
        first_level: FirstLevel,
    ) -> None:
        self._store = store
        self._failover = failover
        self._stats = stats
        self._sweeper = sweeper
        self._applier = Applier(store, failover, first_level)
        self._walk = PatternWalk(store, self._applier, first_level)
        self._lister = Lister(store, reader)

    async def invalidate_keys(
        self,
        space: Namespace,
        named: Sequence[str],
        deadline: float,
        *,
        soft: bool = False,
        cascade: bool = False,
    ) -> list[str]:
        """Keys, with `cascade` also what depends on them; all that were invalidated. One round
        trip, and one for each step of a cascade. Raises CascadeTooWide."""
        distinct = list(dict.fromkeys(named))
        await invalidate_keys(
            self._applier, space, distinct, KeyEvent.INVALIDATION, deadline, soft=soft
        )
        if cascade:
            walk = Cascade(self._applier, space, deadline, soft=soft)
            with in_part(self._store.role):
                distinct = await walk.invalidate(distinct)
        self._done(space, len(distinct))
        return distinct

    async def invalidate_tags(
        self, space: Namespace, tags: Sequence[str], deadline: float, *, soft: bool = False
    ) -> None:
        """Every entry with one of the tags. One round trip."""
        members = [marks.tag_member(tag, soft=soft) for tag in dict.fromkeys(tags)]
        marked = await self._applier.everywhere(
            space,
            lambda partition: scripts.mark_labels(space, partition, members),
            [OfLabel(member) for member in members],
            deadline,
        )
        _LABEL_MARKS.labels(space.name).set(max(map(int, marked)))
        self._done(space, len(members))

    async def invalidate_namespace(
        self, space: Namespace, deadline: float, *, soft: bool = False
    ) -> int:
        """All entries; the version that the namespace has now. One round trip."""
        event = OfPartitions(marks.SOFT if soft else marks.HARD)
        version, *_ = await self._mark_partitions(space, event, [event], deadline)
        return version

    async def invalidate_older_than(
        self, space: Namespace, before_us: int, deadline: float, *, soft: bool = False
    ) -> None:
        """All entries whose fill began before a time (Unix us). One round trip. Raises
        InvalidFields for `created_before`, if it lies in the future by Redis's clock."""
        event = OfPartitions(marks.SOFT_AGE if soft else marks.HARD_AGE, before_us)
        noted = self._failover.note(space, [event])  # here, to take it back if it is refused
        marked = await self._mark_partitions(space, event, (), deadline)
        if not any(marked):
            noted.take_back()
        if 0 in marked:
            rule = "must not be in the future, by Redis's clock"
            if any(marked):
                rule += "s, which differ: some servers have done it"
            raise InvalidFields([FieldViolation("created_before", rule)])

    async def invalidate_pattern(
        self, space: Namespace, pattern: str, *, dry_run: bool = False
    ) -> AsyncIterator[Progress]:
        """All entries whose keys match, as PatternWalk has it."""
        if not dry_run:
            self._done(space, 1)
        async for progress in self._walk.invalidate(space, pattern, dry_run=dry_run):
            yield progress

    async def _mark_partitions(
        self,
        space: Namespace,
        event: OfPartitions,
        to_note: Sequence[OfPartitions],
        deadline: float,
    ) -> list[int]:
        replies = await self._applier.everywhere(
            space,
            lambda partition: scripts.mark_partition(space, partition, *event),
            to_note,
            deadline,
        )
        self._done(space, 1)
        return list(map(int, replies))

    def _done(self, space: Namespace, count: int) -> None:
        self._stats.of(space.name).invalidations += count
        self._sweeper.note(space)

    async def declare_dependencies(
        self, space: Namespace, key: str, depends_on: Sequence[str], deadline: float
    ) -> None:
        """Says what a key depends on, in place of what was said before. Two round trips, and again
        as often as others were faster."""
        partition, _ = keys.place(space, key)
        known = read(partition.slot, key, ("SMEMBERS", keys.declared_dependencies(partition, key)))
        loop = asyncio.get_running_loop()
        pause = 0.0
        while loop.time() + pause < deadline:
            await asyncio.sleep(pause)
            [before] = await self._store.call(known, deadline)
            said = [one.decode() for one in before]
            if set(said) == set(depends_on):
                return
            [done] = await self._store.call(
                scripts.declare(space, key, said, list(dict.fromkeys(depends_on))), deadline
            )
            if done:
                return
            pause = random.uniform(0, DECLARE_PAUSE_S)
        raise StoreUnavailable(
            f"the dependencies of {key!r} are being declared by others; nothing was done",
            self._store.role,
        )

    async def list_dependents(
        self, space: Namespace, key: str, page_size: int, page_token: str, deadline: float
    ) -> tuple[list[Dependent], str]:
        """Keys that depend directly on a key, and the token of the next page, empty if there is
        none. Two round trips for each partition, and up to four for the keys. Raises InvalidFields
        for `page_token`."""

        def belongs(sight: Sight) -> bool:
            assert sight.raw is not None
            return key in entry.read_labels(sight.raw).depends_on

        by_entry = [KeyIndex(one, keys.dependents(one, key)) for one in space.partitions]
        declared = [KeyIndex(one, keys.declared_dependents(one, key)) for one in space.partitions]
        indexes = by_entry + declared
        listed, token = await self._lister.page(indexes, page_size, page_token, deadline)
        of_entries = [one for one in listed if one.number < len(by_entry)]
        # Those whose entries have gone stay: what was made of them depends on this key still.
        kept, _ = await self._lister.check(space, of_entries, belongs, deadline)
        dependents = [Dependent(one.key, declared=False) for one, _ in kept]
        dependents += [
            Dependent(one.key, declared=True) for one in listed if one.number >= len(by_entry)
        ]
        return dependents, token

    async def versions(self, names: Sequence[str], deadline: float) -> list[int]:
        """The version of each namespace: of its last invalidation, 0 if there was none. One round
        trip."""
        requests = []
        for name in names:
            tag = hash_tag(name, 0)
            first = Partition(tag.encode(), Store.slot_of(tag))
            requests.append(read(first.slot, name, ("HGET", keys.marks(first), "state")))
        versions: list[int] = []
        for outcome in await self._store.call_each(requests, deadline):
            if isinstance(outcome, ServiceError):
                raise outcome
            whole, _ = marks.whole((outcome[0] or b"")[marks.HARD :])
            versions.append(max(whole.hard, whole.soft))
        return versions
