"""Writes that the origin refuses, however often it is tried: they are kept beside the log, hold
nothing back, and wait for somebody to retry or discard them.

A dead write is under its version in a hash of its partition: when it was refused (8 bytes, Unix us,
note_dead.lua), then JSON of the rest.
"""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from hashlib import blake2b
from struct import Struct

from pantler_server.core import canonical_json
from pantler_server.core.errors import (
    FieldViolation,
    InvalidFields,
    OutcomeUnknown,
    StoreUnavailable,
)
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.core.record import Operation
from pantler_server.engines.cache.record import keys, log_scripts
from pantler_server.engines.cache.record.model import DeadWrite
from pantler_server.origins.origin import Write
from pantler_server.store.link import Reply
from pantler_server.store.request import Request, read
from pantler_server.store.store import Store

AT_ONCE = 500  # writes in one step: a few ms of Redis

_WHEN = Struct("<Q")


def packed(write: Write, reason: str) -> bytes:
    """What is written down of a write that is dead, but for the time."""
    said = [write.key, write.operation.value, canonical_json.encode(write.fields).decode(), reason]
    return json.dumps(said, ensure_ascii=False).encode()


def _unpacked(index: int, version: int, raw: bytes) -> DeadWrite:
    [refused_us] = _WHEN.unpack_from(raw)
    key, operation, fields, reason = json.loads(raw[_WHEN.size :])
    return DeadWrite(
        f"{index}-{version}",
        key,
        Operation(operation),
        canonical_json.decode(fields),
        version,
        refused_us,
        reason,
    )


class DeadWrites:
    """Of all namespaces. Deadlines are times of the event loop. All raise the StoreErrors, and
    InvalidFields for ids and page tokens that are none."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(
        self, space: Namespace, page_token: str, page_size: int, deadline: float
    ) -> tuple[list[DeadWrite], str]:
        """A page of dead writes by partition and version, and the token of the next, '' at the end.
        O(dead writes of the partitions that it looks into)."""
        after_index, after_version = _after(space, page_token)
        found: list[DeadWrite] = []
        for index in range(after_index, len(space.partitions)):
            versions = await self._versions(space.partitions[index], deadline)
            floor = after_version if index == after_index else 0
            wanted = [one for one in versions if one > floor][: page_size + 1 - len(found)]
            raws = await self._read(space.partitions[index], wanted, deadline)
            found += [_unpacked(index, version, raw) for version, raw in raws.items()]
            if len(found) > page_size:
                return found[:page_size], _token(space, found[page_size - 1].id)
        return found, ""

    async def retry(self, space: Namespace, ids: Iterable[str] | None, deadline: float) -> int:
        """Puts dead writes, all for None, at the end of the log; how many. Leaves those alone that
        are still in it: their batch is not over. In each partition in
        their order, and each at most once: also if the outcome of the call is unknown."""
        moved = 0
        async for index, versions in self._each(space, ids, deadline):
            partition = space.partitions[index]
            raws = await self._read(partition, versions, deadline)
            dead = [_unpacked(index, version, raw) for version, raw in raws.items()]
            writes = [
                (one.version, one.key, one.operation, canonical_json.encode(one.fields))
                for one in dead
            ]
            primary = await self._store.find_primary(partition.slot, deadline)
            request = log_scripts.retry_dead(partition, writes, primary)
            moved += await self._count(request, deadline, begun=moved > 0)
        return moved

    async def discard(self, space: Namespace, ids: Iterable[str] | None, deadline: float) -> int:
        """Forgets dead writes, all for None, but those that are still in the log; how many."""
        gone = 0
        async for index, versions in self._each(space, ids, deadline):
            partition = space.partitions[index]
            request = log_scripts.discard_dead(partition, versions)
            gone += await self._count(request, deadline, begun=gone > 0)
        return gone

    async def _count(self, request: Request, deadline: float, *, begun: bool) -> int:
        try:
            [count] = await self._store.call(request, deadline)
        except StoreUnavailable as away:
            if not begun:
                raise
            raise OutcomeUnknown(
                "Redis went away before the whole was done: repeat the call", self._store.role
            ) from away
        return int(count)

    async def _each(
        self, space: Namespace, ids: Iterable[str] | None, deadline: float
    ) -> AsyncIterator[tuple[int, list[int]]]:
        """Partitions, with versions of a step each."""
        by_index: dict[int, list[int]] = {}
        if ids is None:
            for index, partition in enumerate(space.partitions):
                by_index[index] = await self._versions(partition, deadline)
        else:
            for one in ids:
                index, version = _id(space, one, "ids")
                by_index.setdefault(index, []).append(version)
        for index, versions in by_index.items():
            versions.sort()
            for begin in range(0, len(versions), AT_ONCE):
                yield index, versions[begin : begin + AT_ONCE]

    async def _versions(self, partition: Partition, deadline: float) -> list[int]:
        request = read(partition.slot, "dead writes", ("HKEYS", keys.dead(partition)))
        [found] = await self._store.call(request, deadline)
        return sorted(map(int, found))

    async def _read(
        self, partition: Partition, versions: Sequence[int], deadline: float
    ) -> Mapping[int, bytes]:
        """Those that are there, in the order asked."""
        if not versions:
            return {}
        request = read(partition.slot, "dead writes", ("HMGET", keys.dead(partition), *versions))
        [raws] = await self._store.call(request, deadline)
        found: list[Reply] = raws
        return {version: raw for version, raw in zip(versions, found, strict=True) if raw}


def _token(space: Namespace, after_id: str) -> str:
    """For the page behind a dead write; the digest tells it from those of other namespaces, and
    from what was made up."""
    digest = blake2b(f"{space.name} {after_id}".encode(), digest_size=8).hexdigest()
    return f"{after_id}-{digest}"


def _after(space: Namespace, token: str) -> tuple[int, int]:
    """The partition and the version behind which a page begins."""
    if not token:
        return 0, 0
    after_id = token.rpartition("-")[0]
    if _token(space, after_id) != token:
        rule = "must be the next_page_token of a page of the same list"
        raise InvalidFields([FieldViolation("page_token", rule)])
    return _id(space, after_id, "page_token")


def _id(space: Namespace, text: str, path: str) -> tuple[int, int]:
    """The partition and the version of `PARTITION-VERSION`."""
    index, _, version = text.partition("-")
    if index.isdecimal() and version.isdecimal() and int(index) < len(space.partitions):
        return int(index), int(version)
    raise InvalidFields([FieldViolation(path, "must be as ListDeadWrites gives it")])
