"""The cache's scripts, each with its typed call. What they do stands at the top of each file."""

import random

from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import keys
from pantler_server.engines.cache.entry import pack_version
from pantler_server.engines.cache.model import NewEntry
from pantler_server.store.request import Request, Script

_SET = Script.load(__package__, "set.lua")
_DELETE = Script.load(__package__, "delete.lua")


def set_entry(namespace: Namespace, new: NewEntry, ttl_ms: int, version: int) -> Request:
    """The reply is the hard expiry, Unix ms."""
    partition, place = keys.place(namespace, new.key)
    arguments = (
        new.value,
        ttl_ms,
        pack_version(version),
        new.content_type,
        random.randbytes(8),
    )
    return _SET.request(partition.slot, (place, keys.marks(partition)), arguments, new.key)


def delete_entry(namespace: Namespace, key: str) -> Request:
    """The reply is 1 if the entry was readable, else 0."""
    partition, place = keys.place(namespace, key)
    return _DELETE.request(partition.slot, (place, keys.marks(partition)), (), key)
