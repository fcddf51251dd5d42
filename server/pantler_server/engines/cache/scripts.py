"""The cache's scripts, each with its typed call. What they do stands at the top of each file."""

import random
from collections.abc import Sequence
from enum import Enum
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.cache import entry, fill_token, keys
from pantler_server.engines.cache.fill_token import FillToken
from pantler_server.engines.cache.model import Condition, LeaseAsk, NewEntry
from pantler_server.engines.cache.reading import Place
from pantler_server.store.request import Argument, Request, Script, read

MAX_FILL_MS = 60_000  # functions/trim_tombstones.lua, set.lua and touch.lua have it too

_ANSWER = Struct("<BQ8s")  # outcome, expiry (Unix us), version

_SET = Script.load(__package__, "set.lua")
_BEGIN = Script.load(__package__, "begin.lua")
_DELETE = Script.load(__package__, "delete.lua")
_TOUCH = Script.load(__package__, "touch.lua")
_INDEX = Script.load(__package__, "index.lua")
_LEASE = Script.load(__package__, "lease.lua")
_EXTEND_LEASE = Script.load(__package__, "extend_lease.lua")
_RELEASE_LEASE = Script.load(__package__, "release_lease.lua")
_SWEEP = Script.load(__package__, "sweep.lua")


class KeyEvent(Enum):
    """What the tombstones remember of a key that is no more (functions/bury.lua)."""

    DELETE = b"d"
    INVALIDATION = b"i"
    CASCADE = b"c"


def set_entry(space: Namespace, new: NewEntry, ttl_ms: int, version: int) -> Request:
    """The reply is the expiry (Unix us) of what was stored, or else a list, as set.lua says."""
    partition, place = keys.place(space, new.key)
    token = new.token
    sliding = space.config.sliding if new.sliding is None else new.sliding
    labels = entry.Labels(new.content_type, new.tags, new.depends_on)
    head, rest = entry.pack(version, ttl_ms * 1000, sliding=sliding, labels=labels, value=new.value)
    keep_ms = ttl_ms + space.grace_ms
    places: list[Argument] = [
        place,
        keys.marks(partition),
        keys.tombstones(partition),
        keys.lease(partition, place),
        keys.history(partition),
    ]
    arguments: list[Argument] = [head, rest, ttl_ms * 1000, keep_ms, random.randbytes(8)]
    indexes = label_indexes(space, partition, new.tags, new.depends_on)
    if (
        keep_ms < MAX_FILL_MS
        or new.condition is not None
        or token
        or new.request_id
        or indexes.places
    ):
        places.append(keys.label_marks(partition))
        fingerprint = b""
        if new.request_id:
            places.append(keys.answered(partition, place, new.request_id))
            fingerprint = _fingerprint(new)
        places += indexes.places
        arguments += (
            _condition(new.condition),
            keys.tombstone(new.key),
            fingerprint,
            new.key if indexes.places else b"",
            indexes.tags,
            _edge_life_us(space),
        )
        if token is not None:
            arguments += (
                token.generation,
                token.seq,
                entry.pack_version(token.version),
                b"" if token.lease_id == fill_token.NONE else token.lease_id,
                token.issued_us,
            )
    return _SET.request(
        partition.slot,
        places,
        arguments,
        new.key,
        repeatable=bool(new.request_id),
        only_on=b"" if token is None else token.primary,
    )


class Indexes(NamedTuple):
    """The indexes that an entry with certain labels stands in, those of its tags first."""

    places: list[bytes]
    tags: int
    """How many of them are of tags."""


def label_indexes(
    space: Namespace, partition: Partition, tags: Sequence[str], depends_on: Sequence[str]
) -> Indexes:
    """Tags have indexes where the namespace asks for them, dependencies always: cascades follow
    them."""
    if not space.config.tag_index:
        tags = ()
    places = [keys.tag_index(partition, tag) for tag in tags]
    places += [keys.dependents(partition, key) for key in depends_on]
    return Indexes(places, len(tags))


def _edge_life_us(space: Namespace) -> int:
    """How long cascades follow an entry's dependencies when it has gone: what was made of it may be
    there still."""
    return (space.ttl_ms + MAX_FILL_MS) * 1000


def longest_life_us(space: Namespace) -> int:
    """How long an entry may be kept after it was set, touched, or its fill began."""
    return (space.max_ttl_ms + space.grace_ms + MAX_FILL_MS) * 1000


def begin(space: Namespace, partition: Partition) -> Request:
    """The reply is the state, and the time as TIME has it."""
    places = (keys.marks(partition), keys.tombstones(partition))
    arguments = (random.randbytes(8),)
    return _BEGIN.request(partition.slot, places, arguments, space.name, repeatable=True)


def delete_entry(
    space: Namespace,
    key: str,
    if_version: int = 0,
    event: KeyEvent = KeyEvent.DELETE,
    flag: int = 0,
) -> Request:
    """The reply is 1 if the entry was readable, else 0. With `if_version`, only that version goes,
    and 0 says that nothing was done. With a `flag` (entry.py) it is made stale instead."""
    partition, place = keys.place(space, key)
    places = (
        place,
        keys.marks(partition),
        keys.tombstones(partition),
        keys.lease(partition, place),
        keys.label_marks(partition),
        keys.history(partition),
    )
    arguments = (
        keys.tombstone(key),
        random.randbytes(8),
        entry.pack_version(if_version),
        event.value,
        flag,
    )
    repeatable = event is not KeyEvent.DELETE
    return _DELETE.request(partition.slot, places, arguments, key, repeatable=repeatable)


def touch_entry(space: Namespace, key: str, ttl_ms: int, version: bytes = b"") -> Request:
    """The reply is the expiry (Unix us), 0 if there is no such entry, or a list of the expiry and
    its labels. With `version`, as it stands in a header, no other is touched."""
    partition, place = keys.place(space, key)
    places = (
        place,
        keys.marks(partition),
        keys.tombstones(partition),
        keys.label_marks(partition),
        keys.history(partition),
    )
    arguments = (version, ttl_ms * 1000, ttl_ms + space.grace_ms, keys.tombstone(key))
    return _TOUCH.request(partition.slot, places, arguments, key, repeatable=True)


def index_entry(space: Namespace, key: str, indexes: Indexes, until_us: int) -> Request:
    """Notes an entry that lives until then (Unix us) in its indexes."""
    partition, _ = keys.place(space, key)
    arguments = (key, indexes.tags, until_us, _edge_life_us(space))
    return _INDEX.request(partition.slot, indexes.places, arguments, key, repeatable=True)


def take_lease(at: Place, version: int, ask: LeaseAsk, content: bool, channel: str) -> Request:
    """The reply is 0 if the entry is not of this version any more, else that of lease.lua. As the
    ask names a holder, the script may run twice."""
    partition, place = at.partition, at.entry
    places = [
        place,
        keys.marks(partition),
        keys.tombstones(partition),
        keys.lease(partition, place),
        keys.failure(partition, place),
    ]
    if at.space.config.origin is not None:
        places.append(keys.fences(partition, place))
    arguments = (
        entry.pack_version(version),
        random.randbytes(8),
        ask.holder,
        ask.ttl_ms,
        channel,
        random.randbytes(8),
        int(content),
    )
    return _LEASE.request(partition.slot, places, arguments, at.key, repeatable=True)


def extend_lease(space: Namespace, key: str, token: FillToken, ttl_ms: int) -> Request:
    """The reply is the expiry (Unix us), 0 if the lease is over."""
    partition, place = keys.place(space, key)
    places = (keys.marks(partition), keys.lease(partition, place))
    return _EXTEND_LEASE.request(
        partition.slot,
        places,
        (token.lease_id, ttl_ms),
        key,
        repeatable=True,
        only_on=token.primary,
    )


def release_lease(space: Namespace, key: str, token: FillToken, failed_ms: int) -> Request:
    """The reply is 1, 0 if the lease was over. `failed_ms`: how long to remember that the fetch
    failed, 0 if it did not."""
    partition, place = keys.place(space, key)
    places = (place, keys.lease(partition, place), keys.failure(partition, place))
    return _RELEASE_LEASE.request(
        partition.slot, places, (token.lease_id, failed_ms), key, only_on=token.primary
    )


def sweep(space: Namespace, partition: Partition) -> Request:
    """The reply is how much was forgotten, how many tombstones are left, and for how long (us) the
    oldest mark of a label must stay, 0 if there is none."""
    places = (keys.tombstones(partition), keys.label_marks(partition))
    arguments = (longest_life_us(space),)
    return _SWEEP.request(partition.slot, places, arguments, "tombstones", repeatable=True)


def read_failure(at: Place) -> Request:
    """The reply is the version, as it stands in a header, of the entry whose fetch failed lately,
    if any."""
    return read(at.partition.slot, at.key, ("GET", keys.failure(at.partition, at.entry)))


def read_answer(space: Namespace, new: NewEntry) -> Request:
    """The reply is what the first Set with the entry's request id came to, if that is known."""
    partition, place = keys.place(space, new.key)
    return read(partition.slot, new.key, ("GET", keys.answered(partition, place, new.request_id)))


def answer_to(new: NewEntry, record: bytes) -> tuple[int, int, bytes] | None:
    """A record as set.lua gives it; None if it is of another request."""
    if record[:16] != _fingerprint(new):
        return None
    outcome, expires_us, version = _ANSWER.unpack(record[16:])
    return outcome, expires_us, version


def _condition(condition: Condition | int | None) -> bytes:
    match condition:
        case None:
            return b""
        case Condition.ABSENT:
            return b"absent"
        case Condition.PRESENT:
            return b"present"
        case version:
            return entry.pack_version(version)


def _fingerprint(new: NewEntry) -> bytes:
    """What tells two requests with one id apart."""
    token = "" if new.token is None else new.token.write()
    said = (new.ttl_ms, new.content_type, new.tags, new.depends_on, new.sliding, token)
    return blake2b(
        repr(said).encode() + _condition(new.condition) + b"\0" + new.value, digest_size=16
    ).digest()
