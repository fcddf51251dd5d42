"""Where a namespace with a system of record keeps more than its entries (role `cache`), beside the
entries of its partitions: so one script may touch both.

What waits for the origin has no expiry: eviction can't take it.
"""

from pantler_server.core.namespace import Partition


def log(partition: Partition) -> bytes:
    """`{namespace:partition}q`, a stream: the writes that wait for the origin, each under its
    version as id (append.lua). No expiry; what the origin has is removed."""
    return partition.tag + b"q"


def pending(partition: Partition) -> bytes:
    """`{namespace:partition}p`, a hash: of each key with writes in the log the version of the
    newest (8 bytes) and the record as it will be (canonical JSON, empty if it will be gone). No
    expiry."""
    return partition.tag + b"p"


def log_state(partition: Partition) -> bytes:
    """`{namespace:partition}b`, a hash: `last`, the version of the newest write; `primary`, the run
    id of the Redis that gave it; `epoch`, of the newest owner; `begun`, where the batches end that
    the origin may have (begin_batch.lua); `deployment`, that the log is of; `error`, why the newest
    could not be done. No expiry."""
    return partition.tag + b"b"


def log_owner(partition: Partition) -> bytes:
    """`{namespace:partition}k`, a string: the channel of the worker that takes the log to the
    origin. Expires when it has not been renewed for OWN_MS."""
    return partition.tag + b"k"


def dead(partition: Partition) -> bytes:
    """`{namespace:partition}j`, a hash: the writes that the origin refused, by version
    (dead_writes.py). No expiry."""
    return partition.tag + b"j"


def warming(partition: Partition) -> bytes:
    """`{namespace:0}h`, a hash: how far the warming at the start is (warm_claim.lua). Expires an
    hour after it was last noted, or 10 minutes after the warming has ended."""
    return partition.tag + b"h"


def answer(partition: Partition, digest: bytes) -> bytes:
    """`{namespace:partition}aDIGEST`, a string: the first answer to a request id
    (store/answers.py). Expires after 10 minutes."""
    return partition.tag + b"a" + digest


def stopped(partition: Partition, key: str) -> bytes:
    """`{namespace:partition}s:key`, a string: when the refreshing ahead of what was loaded before
    was stopped (Unix us). Expires when that has."""
    return b"%bs:%b" % (partition.tag, key.encode())


def all_stopped(partition: Partition) -> bytes:
    """`{namespace:partition}s`, a string: as `stopped`, for all keys of the partition."""
    return partition.tag + b"s"
