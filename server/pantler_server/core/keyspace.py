"""How names become places in Redis, for every engine.

The keys of one partition share the hash tag `{namespace:partition}`, so that a script may touch
several of them and a Cluster keeps them in one slot.
"""

import re
from zlib import crc32

NAMESPACE = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
MAX_KEY_BYTES = 512
MAX_TAG_BYTES = 256
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""What neither a key nor a tag has in it."""


def hash_tag(namespace: str, partition: int) -> str:
    """The common beginning of all keys of a partition."""
    return f"{{{namespace}:{partition}}}"


def named(tag: bytes, name: str) -> bytes:
    """`s{namespace:partition}NAME` (role `state`): the place of what a caller has named. It is one
    for boards (a hash), sets of places (a sorted set) and counters (a string), so that a name that
    holds one kind is refused for the others by Redis itself."""
    return b"s%b%b" % (tag, name.encode())


def answer(tag: bytes, digest: bytes) -> bytes:
    """`r{namespace:partition}DIGEST` (role `state`), a string: the first answer to a request id
    (store/answers.py). Expires after 10 minutes."""
    return b"r%b%b" % (tag, digest)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key: the same on every worker, in every version. It must never change."""
    return crc32(key) % partitions
