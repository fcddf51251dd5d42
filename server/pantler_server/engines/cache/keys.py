"""Where the cache keeps things in Redis (role `cache`). Every key begins with its partition's hash
tag.

Built as bytes: this runs for every key of every call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from pantler_server.core.keyspace import partition_of
from pantler_server.core.namespace import Namespace, Partition


def place(namespace: Namespace, key: str) -> tuple[Partition, bytes]:
    """The partition of an entry, and its key in Redis: `{namespace:partition}e:key`, a string."""
    encoded = key.encode()
    partitions = namespace.partitions
    if len(partitions) == 1:
        partition = partitions[0]
    else:
        partition = partitions[partition_of(encoded, len(partitions))]
    return partition, b"%be:%b" % (partition.tag, encoded)


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
        beginning = partitions[0].tag + b"e:"
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
    """`{namespace:partition}m`, a hash. Its field `state` has the generation (8 random bytes), the
    sequence of the newest event (8 bytes) and, once a lease was given, until when one may last (8
    bytes, Unix us). No expiry, so that eviction cannot take it."""
    return partition.tag + b"m"


def tombstones(partition: Partition) -> bytes:
    """`{namespace:partition}d`, a sorted set (functions/bury.lua). No expiry."""
    return partition.tag + b"d"


def tombstone(key: str) -> bytes:
    """What the tombstones call a key: itself or, if it is long, its digest, so that their bound is
    one of bytes too."""
    name = key.encode()
    return name if len(name) <= 32 else blake2b(name, digest_size=16).digest()


def lease(partition: Partition, place: bytes) -> bytes:
    """`{namespace:partition}l:key`, a hash (functions/void_lease.lua). Expires with the lease."""
    return partition.tag + b"l" + place[len(partition.tag) + 1 :]


def failure(partition: Partition, place: bytes) -> bytes:
    """`{namespace:partition}f:key`, a string: the version of the entry whose fetch failed. Expires
    after FAILURE_MS."""
    return partition.tag + b"f" + place[len(partition.tag) + 1 :]


def answered(partition: Partition, place: bytes, request_id: str) -> bytes:
    """`{namespace:partition}r:request_id:key`, a string: what the first Set of the key with the id
    came to. Expires after 10 minutes."""
    return b"%br:%b%b" % (partition.tag, request_id.encode(), place[len(partition.tag) + 1 :])
