"""How names become places in Redis, for every engine.

The keys of one partition share the hash tag `{namespace:partition}`, so that a script may touch
several of them and a Cluster keeps them in one slot.
"""

import re
from zlib import crc32

NAMESPACE = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def hash_tag(namespace: str, partition: int) -> str:
    """The common beginning of all keys of a partition."""
    return f"{{{namespace}:{partition}}}"


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key: the same on every worker, in every version. It must never change."""
    return crc32(key) % partitions
