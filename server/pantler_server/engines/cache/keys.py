"""Where the cache keeps things in Redis (role `cache`). Every key begins with its partition's hash
tag.

Built as bytes: this runs for every key of every call.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
    """`{namespace:partition}m`, a hash: `generation` (8 random bytes) and `seq`, the number of the
    partition's newest invalidation. No expiry, so that eviction cannot take it."""
    return partition.tag + b"m"
