"""Where counters and sets of uniques live in Redis (role `state`).

Both expire by their ttl, where they were given one or their namespace has a `counter_ttl`; else
never: a counter is there until it is reset, a set until it is deleted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pantler_server.core import keyspace
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.store import answers


def place(space: Namespace, name: str) -> tuple[Partition, bytes]:
    """The partition of a counter, and its key: `s{namespace:partition}NAME`, a string of an
    integer."""
    partition = space.partition_of(name)
    return partition, keyspace.named(partition.tag, name)


@dataclass(frozen=True, slots=True)
class Group:
    """Counters of one partition, out of the names of a batch."""

    partition: Partition
    indexes: list[int]
    """Which names of the batch."""
    places: list[bytes]
    """Their keys in Redis, in the same order."""


def group(space: Namespace, names: Sequence[str]) -> list[Group]:
    """The names of a batch by partition."""
    groups: dict[Partition, Group] = {}
    for index, name in enumerate(names):
        partition, counter = place(space, name)
        found = groups.setdefault(partition, Group(partition, [], []))
        found.indexes.append(index)
        found.places.append(counter)
    return list(groups.values())


def answer(partition: Partition, name: str, request_id: str) -> bytes:
    """The first answer to a request id of a counter. Expires after 10 minutes."""
    return keyspace.answer(partition.tag, answers.digest("counter", name, request_id))


def uniques(space: Namespace, name: str) -> tuple[Partition, bytes]:
    """The partition of a set of uniques, and its key: `u{namespace:0}NAME`, a HyperLogLog.

    All of a namespace are in its first partition, so that any of them can be counted together, on
    a Cluster too: there one server has them all.
    """
    partition = space.partitions[0]
    return partition, b"u%b%b" % (partition.tag, name.encode())
