"""A new ttl for an entry, by Touch or by a read of a sliding one."""

from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import entry, keys, scripts
from pantler_server.store.store import Store


async def touch(
    store: Store, space: Namespace, key: str, ttl_ms: int, deadline: float, version: bytes = b""
) -> int:
    """When a fresh entry expires now (Unix us), 0 if there is none; with `version`, as it stands in
    a header, none but that one. One round trip; one more moves it in the indexes of its labels, if
    it stands in any. Should that fail, it leaves them early. Raises the StoreErrors, WrongKind."""
    [reply] = await store.call(scripts.touch_entry(space, key, ttl_ms, version), deadline)
    if isinstance(reply, int):
        return reply
    expires_us: int = reply[0]
    labels = entry.read_labels(reply[1], 0)
    partition, _ = keys.place(space, key)
    indexes = scripts.label_indexes(space, partition, labels.tags, labels.depends_on)
    if indexes.places:
        until_us = expires_us + space.grace_ms * 1000
        await store.call(scripts.index_entry(space, key, indexes, until_us), deadline)
    return expires_us
