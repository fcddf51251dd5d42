"""Where the cache keeps things in Redis (role `cache`). Every key begins with its partition's hash
tag.

Built as bytes: this runs for every key of every call.
"""

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


def marks(partition: Partition) -> bytes:
    """`{namespace:partition}m`, a hash: `generation` (8 random bytes) and `seq`, the number of the
    partition's newest invalidation. No expiry, so that eviction cannot take it."""
    return partition.tag + b"m"
