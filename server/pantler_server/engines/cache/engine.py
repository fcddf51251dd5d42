"""The cache: entries under keys, in namespaces, until they expire.

A read is one round trip and no script: the entry and its partition's marks, in that order, so that
an invalidation between the two can only hide. A write is one script.
"""

import random
from collections.abc import Sequence

from pantler_server.core.errors import ServiceError, WrongKind
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.cache import entry, keys, scripts
from pantler_server.engines.cache.estimate import estimate_size
from pantler_server.engines.cache.model import Entry, MissReason, NewEntry, Size, Stored
from pantler_server.engines.cache.stats import CacheStats, NamespaceStats
from pantler_server.store.request import Request, pack
from pantler_server.store.store import Store


class CacheEngine:
    """Get, Set and Delete, one by one and in batches. Deadlines are times of the event loop.

    All raise WrongKind and the StoreErrors; in a batch these stand in the place of their item.
    """

    def __init__(self, store: Store, stats: CacheStats) -> None:
        self._store = store
        self._stats = stats
        self._mark_reads: dict[bytes, bytes] = {}

    async def get(self, space: Namespace, key: str, deadline: float) -> Entry | MissReason:
        """One entry. One round trip."""
        partition, place = keys.place(space, key)
        request = Request(
            partition.slot, (pack("GET", place), self._read_marks(partition)), key, repeatable=True
        )
        raw, [generation] = await self._store.call(
            request, deadline, replica=space.config.replica_reads
        )
        found = entry.read(raw, generation, key)
        self._stats.of(space.name).count_read(found)
        return found

    async def get_many(
        self, space: Namespace, wanted: Sequence[str], deadline: float
    ) -> list[Entry | MissReason | ServiceError]:
        """Entries in the order asked. One round trip, in one pipeline for each partition."""
        groups = keys.group(space, wanted)
        outcomes = await self._store.call_each(
            [self._read_group(space, group) for group in groups],
            deadline,
            replica=space.config.replica_reads,
        )
        found: list[Entry | MissReason | ServiceError] = [MissReason.UNKNOWN] * len(wanted)
        hits = 0
        stats = self._stats.of(space.name)
        for group, outcome in zip(groups, outcomes, strict=True):
            if isinstance(outcome, ServiceError):
                for index in group.indexes:
                    found[index] = outcome
                continue
            raws, existing, [generation] = outcome
            suspicious = existing != len(raws) - raws.count(None)
            for index, raw in zip(group.indexes, raws, strict=True):
                if raw is None and suspicious:
                    found[index] = await self._alone(space, wanted[index], deadline)
                    continue
                try:
                    found[index] = one = entry.read(raw, generation, wanted[index])
                except WrongKind as error:
                    found[index] = error
                    continue
                if one.__class__ is Entry:
                    hits += 1
                else:
                    stats.count_read(one)
        stats.hits += hits
        return found

    def _read_group(self, space: Namespace, group: keys.Group) -> Request:
        """One MGET. It gives nil for a key of another type as for none, so EXISTS counts too: where
        it counts more, `get_many` asks for each missing key alone."""
        commands = (
            pack("MGET", *group.places),
            pack("EXISTS", *group.places),
            self._read_marks(group.partition),
        )
        return Request(group.partition.slot, commands, space.name, repeatable=True)

    async def _alone(
        self, space: Namespace, key: str, deadline: float
    ) -> Entry | MissReason | ServiceError:
        try:
            return await self.get(space, key, deadline)
        except ServiceError as error:
            return error

    async def set(self, space: Namespace, new: NewEntry, deadline: float) -> Stored:
        """Stores one entry. One round trip."""
        version = _new_version()
        request = scripts.set_entry(space, new, _ttl_ms(space, new), version)
        [expires_ms] = await self._store.call(request, deadline)
        self._stats.of(space.name).sets += 1
        return Stored(version, expires_ms)

    async def set_many(
        self, space: Namespace, new: Sequence[NewEntry], deadline: float
    ) -> list[Stored | ServiceError]:
        """Stores entries in their order, each on its own. One round trip."""
        versions = [_new_version() for _ in new]
        requests = [
            scripts.set_entry(space, one, _ttl_ms(space, one), version)
            for one, version in zip(new, versions, strict=True)
        ]
        outcomes = await self._store.call_each(requests, deadline)
        stored = [
            outcome if isinstance(outcome, ServiceError) else Stored(version, outcome[0])
            for version, outcome in zip(versions, outcomes, strict=True)
        ]
        self._stats.of(space.name).sets += sum(isinstance(one, Stored) for one in stored)
        return stored

    async def delete(self, space: Namespace, key: str, deadline: float) -> bool:
        """Removes one entry; whether it was readable. One round trip."""
        [deleted] = await self._store.call(scripts.delete_entry(space, key), deadline)
        self._stats.of(space.name).deletes += 1
        return bool(deleted)

    async def delete_many(
        self, space: Namespace, doomed: Sequence[str], deadline: float
    ) -> list[bool | ServiceError]:
        """Removes entries, each on its own. One round trip."""
        requests = [scripts.delete_entry(space, key) for key in doomed]
        outcomes = await self._store.call_each(requests, deadline)
        deleted = [
            outcome if isinstance(outcome, ServiceError) else bool(outcome[0])
            for outcome in outcomes
        ]
        self._stats.of(space.name).deletes += sum(isinstance(one, bool) for one in deleted)
        return deleted

    def _read_marks(self, partition: Partition) -> bytes:
        """The packed command, which is the same for every read of a partition."""
        command = self._mark_reads.get(partition.tag)
        if command is None:
            command = pack("HMGET", keys.marks(partition), "generation")
            self._mark_reads[partition.tag] = command
        return command

    async def statistics(
        self, space: Namespace, deadline: float
    ) -> tuple[NamespaceStats, NamespaceStats, Size | None]:
        """The counts of this worker and of the deployment, and an estimate of the size."""
        deployment = await self._stats.deployment(space.name, deadline)
        size = await estimate_size(self._store, space.name, deadline)
        return self._stats.of(space.name), deployment, size


def _new_version() -> int:
    """63 random bits: positive in every client's language, and never the same twice for one key."""
    return random.getrandbits(63) or 1


def _ttl_ms(namespace: Namespace, new: NewEntry) -> int:
    """The entry's ttl, shortened by the namespace's jitter, so that entries set together do not
    expire together."""
    ttl_ms = namespace.ttl_ms if new.ttl_ms is None else new.ttl_ms
    jitter = namespace.config.ttl_jitter_ratio
    return max(1, ttl_ms - int(random.random() * jitter * ttl_ms)) if jitter else ttl_ms
