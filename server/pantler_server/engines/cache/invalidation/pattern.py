"""Invalidation by pattern: a walk over all keys of every primary.

    1. The floor for fills is raised in every partition: what began before can't land any more.
    2. SCAN goes over the keys of each primary; entries that match, and whose fill began before the
       floor, are removed.

Without 1, a fill could land behind the walk. With it, whatever is there after the walk began after
the floor: SCAN returns every key that is there from its beginning to its end. Where the servers
change meanwhile it may miss some, and the walk fails instead of saying that it is done.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from pantler_server.core.errors import FieldViolation, InvalidFields
from pantler_server.core.glob import Glob, compile_glob, redis_glob
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.cache import marks
from pantler_server.engines.cache.failover import OfPartitions
from pantler_server.engines.cache.first_level import FirstLevel
from pantler_server.engines.cache.invalidation import scripts
from pantler_server.engines.cache.invalidation.applying import Applier, in_part
from pantler_server.engines.cache.invalidation.model import Progress
from pantler_server.store.store import Store

SCAN_AT_ONCE = 500  # keys of one SCAN, a few tenths of a millisecond of Redis
REMOVE_AT_ONCE = 100  # entries of one script, about as long
EXAMPLES = 10
TELL_S = 0.2  # between two messages
MATCH_S = 0.002  # of matching at once: the worst pattern takes a millisecond a key


class PatternWalk:
    """Removes what matches a pattern."""

    def __init__(self, store: Store, applier: Applier, first_level: FirstLevel) -> None:
        self._store = store
        self._applier = applier
        self._first_level = first_level

    async def invalidate(
        self, space: Namespace, pattern: str, *, dry_run: bool
    ) -> AsyncIterator[Progress]:
        """How far it is, from time to time, and a last one that is done. Each step has the store's
        time-out; the whole takes as long as it takes, and ends where its caller stops. Raises
        InvalidFields for `pattern`, and the StoreErrors."""
        try:
            glob = compile_glob(pattern)
        except ValueError as exc:
            raise InvalidFields([FieldViolation("pattern", str(exc))]) from None
        floors = {} if dry_run else await self._raise_floor(space)
        with in_part(self._store.role, begun=not dry_run):
            async for progress in self._walk(space, glob, floors, dry_run=dry_run):
                if progress.done and not dry_run:
                    await self._tell(space, pattern)
                yield progress

    async def _walk(
        self, space: Namespace, glob: Glob, floors: Mapping[bytes, int], *, dry_run: bool
    ) -> AsyncIterator[Progress]:
        partitions = {partition.tag: partition for partition in space.partitions}
        total = await self._store.count_keys(self._soon())
        scanned = invalidated = 0
        examples: list[str] = []
        told, shown = asyncio.get_running_loop().time(), 0
        match = f"{{{space.name}:*}}e:{redis_glob(glob.prefix)}".encode()
        async for step in self._store.scan(match, SCAN_AT_ONCE):
            scanned += step.scanned
            found: dict[Partition, list[bytes]] = {}
            async for place, tag, key in _matching(glob, step.keys):
                partition = partitions.get(tag)
                if partition is not None:
                    found.setdefault(partition, []).append(place)
                    if len(examples) < EXAMPLES:
                        examples.append(key)
            for partition, places in found.items():
                if dry_run:
                    invalidated += len(places)
                else:
                    invalidated += await self._remove(partition, places, floors[partition.tag])
                    self._first_level.forget_places(space, places)
            now = asyncio.get_running_loop().time()
            if now - told >= TELL_S:
                yield Progress(min(scanned, total), total, invalidated, tuple(examples[shown:]))
                told, shown = now, len(examples)
        yield Progress(total, total, invalidated, tuple(examples[shown:]), done=True)

    async def _raise_floor(self, space: Namespace) -> dict[bytes, int]:
        """The sequence of the floor in each partition, by its tag."""
        replies = await self._applier.everywhere(
            space,
            lambda partition: scripts.mark_partition(space, partition, marks.FILL_FLOOR),
            [OfPartitions(marks.FILL_FLOOR)],
            self._soon(),
        )
        return {
            partition.tag: int(reply)
            for partition, reply in zip(space.partitions, replies, strict=True)
        }

    async def _tell(self, space: Namespace, pattern: str) -> None:
        """Tells those who watch, once everything is gone: who reads again then finds nothing."""
        await self._applier.everywhere(
            space,
            lambda partition: scripts.tell_pattern(space, partition, pattern),
            (),
            self._soon(),
        )

    async def _remove(self, partition: Partition, places: list[bytes], floor: int) -> int:
        removed = 0
        for first in range(0, len(places), REMOVE_AT_ONCE):
            part = places[first : first + REMOVE_AT_ONCE]
            [count] = await self._store.call(
                scripts.remove_matched(partition, part, floor), self._soon()
            )
            removed += count
        return removed

    def _soon(self) -> float:
        return asyncio.get_running_loop().time() + self._store.timeout_s


async def _matching(glob: Glob, places: Sequence[bytes]) -> AsyncIterator[tuple[bytes, bytes, str]]:
    """Those whose keys match, with the hash tag and the key. Lets others go on in between."""
    loop = asyncio.get_running_loop()
    until = loop.time() + MATCH_S
    for place in places:
        if loop.time() > until:
            await asyncio.sleep(0)
            until = loop.time() + MATCH_S
        tag, _, encoded = place.partition(b"}e:")
        key = encoded.decode(errors="replace")
        if glob.matches(key):
            yield place, tag + b"}", key
