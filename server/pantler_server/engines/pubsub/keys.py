"""Where the channels of a namespace live in Redis (role `state`): all in its first partition, so
that their messages have one order.

The keys begin before the hash tag: first levels are told of all that begins with it.
"""

from pantler_server.core import keyspace
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.store import answers


def partition(space: Namespace) -> Partition:
    return space.partitions[0]


def counts(space: Namespace) -> bytes:
    """`p{namespace:0}`, a hash: `sequence` of the newest message; `gap`, the number with which its
    epoch began, and `primary`, whose epoch it is (functions/epoch.lua). Only where there is a
    history; never expires, as sequences would begin anew."""
    return b"p" + partition(space).tag


def history(space: Namespace) -> bytes:
    """`p{namespace:0}h`, a stream: the messages that are kept, by their sequence (`SEQ-0`), each
    with its `c`hannel, content `t`ype and `p`ayload. Expires the `ttl` after the newest."""
    return counts(space) + b"h"


def answer(space: Namespace, request_id: str) -> bytes:
    """As keyspace.answer has it."""
    return keyspace.answer(partition(space).tag, answers.digest("publish", request_id))


def channel(space: Namespace, name: str) -> str:
    """`pantler:channel:NAMESPACE:NAME`, the channel in Redis. A namespace has no colon."""
    return f"pantler:channel:{space.name}:{name}"
