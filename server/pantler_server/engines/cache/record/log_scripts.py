"""What the log of the writes that wait asks of Redis, and what it answers. What the scripts do
stands at the top of each file."""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from pantler_server.core.namespace import Namespace, Partition
from pantler_server.core.record import Operation, Record
from pantler_server.engines.cache import entry
from pantler_server.engines.cache import keys as cache_keys
from pantler_server.engines.cache.record import keys
from pantler_server.engines.cache.record.loading import VERSION_BYTES
from pantler_server.engines.cache.record.scripts import load
from pantler_server.store import answers
from pantler_server.store.link import Reply
from pantler_server.store.request import Argument, Request, read

OWN_MS = 5_000
"""For how long a log stays with an owner that has died."""

NOTED, REUSED, FULL, CHANGED, WRITTEN = 1, 2, 3, 4, 5
"""What append.lua answers first."""


_APPEND = load("append.lua")
_CLAIM = load("claim.lua")
_BEGIN_BATCH = load("begin_batch.lua")
_SETTLE = load("settle.lua")
_NOTE_DEAD = load("note_dead.lua")
_RETRY_DEAD = load("retry_dead.lua")
_DISCARD_DEAD = load("discard_dead.lua")
_RELEASE = load("release.lua")


class Pending(NamedTuple):
    """The record of a key as it will be when all its writes are done."""

    version: bytes
    """Of the newest write that it holds, packed: tells it from others of the key."""
    record: bytes
    """Canonical JSON; empty if it will be gone."""


def pending_of(raw: Reply) -> Pending | None:
    """What HGET of `keys.pending` gave."""
    return None if raw is None else Pending(raw[:VERSION_BYTES], raw[VERSION_BYTES:])


def read_pending(space: Namespace, key: str) -> Request:
    """The reply goes to `pending_of`."""
    partition = space.partition_of(key)
    return read(partition.slot, key, ("HGET", keys.pending(partition), key))


@dataclass(frozen=True, slots=True)
class Append:
    """A write as it goes into the log."""

    key: str
    operation: Operation
    fields: bytes
    """JSON."""
    record: bytes
    """As it will be, in JSON; empty if it will be gone."""
    version_at: int | None
    """Where in it 16 digits stand for the version that the write is given."""
    in_part: bool
    """Whether only the origin knows the whole of it."""
    seen: bytes
    """What it was made from, as append.lua takes it."""
    request_id: str
    fingerprint: bytes


@lru_cache(maxsize=4096)
def _places(partition: Partition) -> tuple[bytes, ...]:
    """Those that every write of a partition goes to."""
    return (
        cache_keys.marks(partition),
        cache_keys.tombstones(partition),
        cache_keys.label_marks(partition),
        cache_keys.history(partition),
        keys.log(partition),
        keys.pending(partition),
        keys.log_state(partition),
        keys.dead(partition),
        keys.log_owner(partition),
    )


def append(
    space: Namespace, new: Append, partition: Partition, ttl_ms: int, keep_ms: int, primary: bytes
) -> Request:
    """By this primary only. The reply is as append.lua has it."""
    place = partition.tag + cache_keys.ENTRY + new.key.encode()
    head, rest = entry.pack(0, ttl_ms * 1000, sliding=False, labels=entry.NO_LABELS, value=b"")
    marks, tombstones, *others = _places(partition)
    places = [place, marks, tombstones, cache_keys.lease(partition, place), *others]
    config = space.config.write_behind
    arguments: list[Argument] = [
        new.key,
        cache_keys.tombstone(new.key),
        new.operation.value,
        new.fields,
        new.record,
        b"1" if new.in_part else b"",
        head[:4],
        rest,
        ttl_ms * 1000,
        keep_ms,
        random.randbytes(8),
        primary,
        -(-config.max_backlog // len(space.partitions)),
        config.batch_size,
        partition.tag,
        new.seen,
        b"" if new.version_at is None else new.version_at,
    ]
    if new.request_id:
        places.append(_answer(partition, new.key, new.request_id))
        arguments.append(new.fingerprint)
    return _APPEND.request(
        partition.slot,
        places,
        arguments,
        new.key,
        repeatable=bool(new.request_id),
        only_on=primary,
    )


def read_answer(space: Namespace, key: str, request_id: str) -> Request:
    """The reply is what was remembered of a request id, if anything was."""
    partition = space.partition_of(key)
    return read(partition.slot, key, ("GET", _answer(partition, key, request_id)))


class Claim(NamedTuple):
    """The ownership of a log."""

    epoch: int
    begun: tuple[int, ...]
    """Where the batches end that the origin may have: they are sent again as they were."""
    deployment: str
    """That the log is of, as its first owner said."""


def claim(partition: Partition, channel: str, epoch: int, deployment: str) -> Request:
    """The reply goes to `claimed`. `epoch`: in which this worker owned it last, or 0."""
    places = (keys.log_owner(partition), keys.log_state(partition))
    arguments = (channel, OWN_MS, partition.tag, epoch or b"", deployment)
    return _CLAIM.request(partition.slot, places, arguments, _subject(partition), repeatable=True)


def claimed(reply: Reply) -> Claim | None:
    """None if another owns it."""
    if not reply:
        return None
    epoch, begun, deployment = reply
    return Claim(epoch, tuple(map(int, begun.split())), deployment.decode())


def begin_batch(
    partition: Partition, channel: str, epoch: int, ends: Iterable[int], primary: bytes
) -> Request:
    """By this primary only; keeps the ownership, too. `ends`: of all batches that the origin may
    have from now on; none to leave them as they are. The reply is the time (Unix us) and the newest
    version, 0 if another has owned the log since."""
    return _BEGIN_BATCH.request(
        partition.slot,
        (keys.log_state(partition), keys.log_owner(partition)),
        (channel, epoch, OWN_MS, " ".join(map(str, ends))),
        _subject(partition),
        repeatable=True,
        only_on=primary,
    )


class Logged(NamedTuple):
    """A write as it stands in the log."""

    version: int
    key: str
    operation: Operation
    fields: Record
    appended_us: int
    in_part: bool
    """Whether its cached entry is not what the origin makes of it."""


def read_batch(partition: Partition, after: int, end: int | None, most: int) -> Request:
    """The writes after a version, up to `end` or, where that is not known, so many at most. The
    reply goes to `logged`."""
    last = "+" if end is None else f"{end}-0"
    bound = ("COUNT", most) if end is None else ()
    search = ("XRANGE", keys.log(partition), f"({after}-0", last, *bound)
    return read(partition.slot, _subject(partition), search)


_OPERATIONS = {str(one.value).encode(): one for one in Operation}


def logged(found: Reply) -> list[Logged]:
    # All at once: the decoder takes longer to be called than to decode a record.
    fields = json.loads(b"[%b]" % b",".join([said[5] for _, said in found]))
    return [
        Logged(
            int(name[:-2]),  # without its `-0`
            said[1].decode(),
            _OPERATIONS[said[3]],
            its,
            int(said[7]),
            said[9] != b"",
        )
        for (name, said), its in zip(found, fields, strict=True)
    ]


def bytes_of(found: Reply) -> int:
    """Of the fields in what goes to `logged`."""
    return sum(len(said[5]) for _, said in found)


class CameTo(Enum):
    """What a write of a batch came to (settle.lua)."""

    WRITTEN = b"w"
    WRITTEN_OTHERWISE = b"x"
    """The origin has more of the record than the cache."""
    DEAD = b"d"
    SEEN_TO = b"s"
    """An earlier owner brought it to the origin, and did not say what it came to."""


class Settled(NamedTuple):
    """A write that the origin has had."""

    key: str
    version: int
    came_to: CameTo


def settle(
    space: Namespace,
    partition: Partition,
    last: int | None,
    writes: Iterable[Settled],
    primary: bytes,
) -> Request:
    """By this primary only. With `last`, the log up to that version goes."""
    places = [
        keys.log(partition),
        keys.pending(partition),
        keys.log_state(partition),
        keys.dead(partition),
        cache_keys.marks(partition),
        cache_keys.tombstones(partition),
        cache_keys.history(partition),
    ]
    arguments: list[Argument] = []
    dropped: list[Argument] = []
    for key, version, came_to in writes:
        arguments += (key, version, came_to.value)
        if came_to is not CameTo.WRITTEN:
            dropped.append(cache_keys.tombstone(key))
            place = partition.tag + cache_keys.ENTRY + key.encode()
            places += (place, cache_keys.lease(partition, place))
    return _SETTLE.request(
        partition.slot,
        places,
        (last or b"", len(arguments), *arguments, *dropped),
        space.name,
        repeatable=True,
        only_on=primary,
    )


def note_dead(
    partition: Partition, epoch: int, said: Iterable[tuple[int, bytes]], primary: bytes
) -> Request:
    """By this primary only. What is said of each version is empty if the write is not dead. The
    reply is 0 if another has owned the log since."""
    places = (keys.dead(partition), keys.log_state(partition))
    arguments: list[Argument] = [epoch]
    for version, what in said:
        arguments += (version, what)
    return _NOTE_DEAD.request(
        partition.slot,
        places,
        arguments,
        _subject(partition),
        repeatable=True,
        only_on=primary,
    )


def retry_dead(
    partition: Partition,
    writes: Iterable[tuple[int, str, Operation, bytes]],
    primary: bytes,
) -> Request:
    """By this primary only, of writes by version, key, operation and fields. The reply is how many
    were still dead."""
    places = (keys.dead(partition), keys.log(partition), keys.log_state(partition))
    arguments: list[Argument] = [primary]
    for version, key, operation, fields in writes:
        arguments += (version, key, operation.value, fields)
    return _RETRY_DEAD.request(
        partition.slot, places, arguments, _subject(partition), only_on=primary
    )


def discard_dead(partition: Partition, versions: Iterable[int]) -> Request:
    """The reply is how many were still dead."""
    places = (keys.dead(partition), keys.log(partition))
    return _DISCARD_DEAD.request(partition.slot, places, tuple(versions), _subject(partition))


def release(partition: Partition, channel: str) -> Request:
    return _RELEASE.request(
        partition.slot,
        (keys.log_owner(partition),),
        (channel,),
        _subject(partition),
        repeatable=True,
    )


def _answer(partition: Partition, key: str, request_id: str) -> bytes:
    return keys.answer(partition, answers.digest(key, request_id))


def _subject(partition: Partition) -> str:
    return partition.tag.decode()
