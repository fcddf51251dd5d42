"""Where sets of places live in Redis (role `state`).

A set is a sorted set: members by the 52 bits of their geohash, as GEOADD has it. It never expires:
it is there until its last member, or it as a whole, is removed.
"""

from pantler_server.core.keyspace import named
from pantler_server.core.namespace import Namespace, Partition


def place(space: Namespace, name: str) -> tuple[Partition, bytes]:
    """The partition of a set, and its key: `s{namespace:partition}NAME`."""
    partition = space.partition_of(name)
    return partition, named(partition.tag, name)
