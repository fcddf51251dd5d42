"""Where the cache keeps things in Redis (role `cache`). Every key begins with its partition's hash
tag, but for the history.

Built as bytes: this runs for every key of every call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from pantler_server.core.keyspace import partition_of
from pantler_server.core.namespace import Namespace, Partition

ENTRY, MARKS = b"e:", b"m"
"""How the key of an entry goes on after the hash tag, and what follows it in that of the marks."""
HISTORY = b"v"
"""What stands before the hash tag in the key of a history."""


def of_namespace(name: str) -> bytes:
    """How all keys of a namespace begin."""
    return b"{%b:" % name.encode()


def place(namespace: Namespace, key: str) -> tuple[Partition, bytes]:
    """The partition of an entry, and its key in Redis: `{namespace:partition}e:key`, a string."""
    encoded = key.encode()
    partitions = namespace.partitions
    if len(partitions) == 1:
        partition = partitions[0]
    else:
        partition = partitions[partition_of(encoded, len(partitions))]
    return partition, partition.tag + ENTRY + encoded


@dataclass(frozen=True, slots=True)
class Group:
    """Entries of one partition, out of the keys of a batch."""

    partition: Partition
    indexes: Sequence[int]
    """Which keys of the batch."""
    places: Sequence[bytes]
    """Their keys in Redis, in the same order."""


def group(namespace: Namespace, keys: Sequence[str]) -> list[Group]:
    """The keys of a batch by partition."""
    partitions = namespace.partitions
    if len(partitions) == 1:
        beginning = partitions[0].tag + ENTRY
        places = [beginning + key.encode() for key in keys]
        return [Group(partitions[0], range(len(places)), places)]
    found: dict[Partition, tuple[list[int], list[bytes]]] = {}
    for index, key in enumerate(keys):
        partition, entry = place(namespace, key)
        indexes, places = found.setdefault(partition, ([], []))
        indexes.append(index)
        places.append(entry)
    return [Group(partition, *members) for partition, members in found.items()]


def marks(partition: Partition) -> bytes:
    """`{namespace:partition}m`, a hash. Its field `state` is packed (marks.py): the generation and
    the sequence of the newest event, then, as far as there was any, until when a lease may last,
    and what was invalidated as a whole. `primary` is the run id of the Redis that served it last,
    where a failover hides everything. No expiry, so that eviction cannot take it."""
    return partition.tag + MARKS


def label_marks(partition: Partition) -> bytes:
    """`{namespace:partition}t`, a sorted set: when each tag and dependency was invalidated
    (functions/mark_labels.lua). No expiry."""
    return partition.tag + b"t"


def tag_index(partition: Partition, tag: str) -> bytes:
    """`{namespace:partition}g:tag`, a sorted set: the keys of the partition that have the tag
    (functions/index.lua). Expires with the last of them."""
    return b"%bg:%b" % (partition.tag, tag.encode())


def dependents(partition: Partition, key: str) -> bytes:
    """`{namespace:partition}x:key`, a sorted set: the keys of the partition whose entries depend on
    the key (functions/index.lua). Expires with the last of them."""
    return b"%bx:%b" % (partition.tag, key.encode())


def declared_dependents(partition: Partition, key: str) -> bytes:
    """`{namespace:partition}y:key`, a sorted set: the keys of the partition that were declared to
    depend on the key, by the time of that. No expiry."""
    return b"%by:%b" % (partition.tag, key.encode())


def declared_dependencies(partition: Partition, key: str) -> bytes:
    """`{namespace:partition}z:key`, a set: what the key was declared to depend on. No expiry."""
    return b"%bz:%b" % (partition.tag, key.encode())


def tombstones(partition: Partition) -> bytes:
    """`{namespace:partition}d`, a sorted set (functions/bury.lua). No expiry."""
    return partition.tag + b"d"


def tombstone(key: str) -> bytes:
    """What the tombstones call a key: itself or, if it is long, its digest, so that their bound is
    one of bytes too."""
    name = key.encode()
    return name if len(name) <= 32 else blake2b(name, digest_size=16).digest()


def history(partition: Partition) -> bytes:
    """`v{namespace:partition}`, a stream: what happened, for those who watch (functions/tell.lua).
    Expires 10 minutes after the newest event."""
    return HISTORY + partition.tag


def histories(name: str) -> bytes:
    """How the histories of a namespace begin, and nothing else: one prefix to follow, since Redis
    compares each key that is written with all prefixes."""
    return HISTORY + of_namespace(name)


def owner(partition: Partition) -> bytes:
    """`{namespace:partition}o`, a string: the worker that frees what is hidden in it
    (invalidation/reclaim.py). Expires after OWN_MS."""
    return partition.tag + b"o"


def replicated(partition: Partition) -> bytes:
    """`{namespace:partition}w`, an empty string that is written to see that replicas have what came
    before. Expires after a second."""
    return partition.tag + b"w"


def lease(partition: Partition, place: bytes) -> bytes:
    """`{namespace:partition}l:key`, a hash (functions/void_lease.lua). Expires with the lease."""
    return partition.tag + b"l" + place[len(partition.tag) + 1 :]


def fences(partition: Partition, place: bytes) -> bytes:
    """`{namespace:partition}n:key`, a sorted set: the writes of the key that are on their way
    through to the origin, by when each can't take effect any more (Unix ms; record/fence.lua).
    Expires then."""
    return partition.tag + b"n" + place[len(partition.tag) + 1 :]


def failure(partition: Partition, place: bytes) -> bytes:
    """`{namespace:partition}f:key`, a string: the version of the entry whose fetch failed. Expires
    after FAILURE_MS."""
    return partition.tag + b"f" + place[len(partition.tag) + 1 :]


def answered(partition: Partition, place: bytes, request_id: str) -> bytes:
    """`{namespace:partition}r:key`, a zero byte, which neither may have, and the request id, a
    string: what the first Set of the key with the id came to. Expires after 10 minutes."""
    return b"%br%b\0%b" % (partition.tag, place[len(partition.tag) + 1 :], request_id.encode())
