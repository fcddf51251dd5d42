"""Everything that is known of a key but its value, and why a read does not give it."""

from pantler_server.core.errors import WrongKind
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import entry, fill_token, keys, scripts
from pantler_server.engines.cache.model import Description, MissReason, StoredEntry
from pantler_server.store.request import read
from pantler_server.store.store import Store

LAST_HEADER_BYTE = (1 << 16) - 1  # a header's length is two bytes of it


async def describe(store: Store, space: Namespace, key: str, deadline: float) -> Description:
    """One round trip. Raises StoreError, WrongKind."""
    partition, place = keys.place(space, key)
    tombstones, name = keys.tombstones(partition), keys.tombstone(key)
    request = read(
        partition.slot,
        key,
        ("GETRANGE", place, 0, LAST_HEADER_BYTE),
        ("STRLEN", place),
        ("PTTL", place),
        ("HGET", keys.marks(partition), "state"),
        ("TIME",),
        ("ZMSCORE", tombstones, b"d" + name, b"s" + name),
        ("HGET", keys.lease(partition, place), "expires_us"),
        ("GET", keys.failure(partition, place)),
    )
    raw, size, left_ms, state, time, tombs, lease_us, failed = await store.call(request, deadline)
    lease_expires_us = int(lease_us or 0)
    now_us = int(time[0]) * 1_000_000 + int(time[1])
    if not raw:
        # A tombstone's sequence is its time, but for a clock that stepped back. An older one may be
        # there still, but nothing says then what came after it.
        deleted, set_again = (int(tomb or 0) for tomb in tombs)
        if deleted > max(set_again, now_us - scripts.MAX_FILL_MS * 1000):
            return Description(False, False, MissReason.DELETED, deleted, None, lease_expires_us)
        return Description(False, False, MissReason.UNKNOWN, 0, None, lease_expires_us)
    if not entry.is_entry(raw):
        raise WrongKind(key)
    header = entry.read_header(raw)
    labels = entry.read_labels(raw)
    stored = StoredEntry(
        version=header.version,
        created_us=header.created_us,
        expires_us=header.expires_us,
        dropped_us=max(header.expires_us, now_us + left_ms * 1000),
        ttl_us=header.ttl_us,
        sliding=bool(header.flags & entry.SLIDING),
        value_bytes=size - header.header_bytes,
        content_type=labels.content_type,
        tags=labels.tags,
        depends_on=labels.depends_on,
    )
    if header.generation != (state or fill_token.NONE)[:8]:
        reason = MissReason.HIDDEN_BY_NAMESPACE
        return Description(False, False, reason, 0, stored, lease_expires_us)
    if now_us < header.expires_us:
        return Description(True, False, None, 0, stored, lease_expires_us)
    failed_lately = failed == entry.raw_version(raw)
    grace_ms = space.grace_ms if failed_lately else space.stale_while_revalidate_ms
    stale = now_us < header.expires_us + grace_ms * 1000
    return Description(
        False, stale, MissReason.EXPIRED, header.expires_us, stored, lease_expires_us
    )
