"""Everything that is known of a key but its value, and why a read does not give it."""

from collections.abc import Sequence

from pantler_server.core.errors import WrongKind
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.cache import entry, keys, marks, scripts
from pantler_server.engines.cache.model import Description, MissReason, StoredEntry
from pantler_server.engines.cache.reading import Reader, Sight, view_of
from pantler_server.engines.cache.scripts import KeyEvent
from pantler_server.store.link import Reply
from pantler_server.store.request import read
from pantler_server.store.store import Store

LAST_HEADER_BYTE = (1 << 16) - 1  # a header's length is two bytes of it

_GONE = {
    KeyEvent.DELETE: MissReason.DELETED,
    KeyEvent.INVALIDATION: MissReason.HIDDEN_BY_KEY,
    KeyEvent.CASCADE: MissReason.HIDDEN_BY_DEPENDENCY,
}


async def describe(
    store: Store, reader: Reader, space: Namespace, key: str, deadline: float
) -> Description:
    """One round trip, or two. Raises StoreError, WrongKind."""
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
        ("ZMSCORE", tombstones, b"s" + name, *(event.value + name for event in _GONE)),
        ("HGET", keys.lease(partition, place), "expires_us"),
        ("GET", keys.failure(partition, place)),
        ("SMEMBERS", keys.declared_dependencies(partition, key)),
    )
    replies = await store.call(request, deadline)
    raw, size, left_ms, state, time, tombs, lease_us, failed, declared = replies
    lease_expires_us = int(lease_us or 0)
    view = view_of(request, state, time)
    event, gone_us = _last_event(tombs, view.now_us)
    if not raw:
        if event is None:
            return _absent(MissReason.UNKNOWN, 0, "", lease_expires_us)
        cause = ""
        if event is KeyEvent.CASCADE:
            cause = await _cause(store, partition, declared, deadline)
        return _absent(_GONE[event], gone_us, cause, lease_expires_us)
    if not entry.is_entry(raw):
        raise WrongKind(key)
    header = entry.read_header(raw)
    labels = entry.read_labels(raw)
    sight = await reader.complete(partition, raw, view, deadline)
    stored = StoredEntry(
        version=header.version,
        created_us=header.created_us,
        expires_us=header.expires_us,
        dropped_us=max(header.expires_us, view.now_us + left_ms * 1000),
        ttl_us=header.ttl_us,
        sliding=bool(header.flags & entry.SLIDING),
        value_bytes=size - header.header_bytes,
        content_type=labels.content_type,
        tags=labels.tags,
        depends_on=labels.depends_on,
    )
    failed_lately = failed == entry.raw_version(raw)
    return _present(sight, space, stored, lease_expires_us, gone_us, failed_lately=failed_lately)


def _last_event(tombs: Sequence[Reply], now_us: int) -> tuple[KeyEvent | None, int]:
    """What was last remembered of the key, and when. A tombstone's sequence is its time, but for a
    clock that stepped back. An older one may be there still, but nothing says then what came after
    it; nor does one that a Set followed that was to be short."""
    set_again, *events = (int(tomb or 0) for tomb in tombs)
    newest, event = max(zip(events, _GONE, strict=True), key=lambda found: found[0])
    if newest > max(set_again, now_us - scripts.MAX_FILL_MS * 1000):
        return event, newest
    return None, 0


async def _cause(
    store: Store, partition: Partition, declared: Sequence[bytes], deadline: float
) -> str:
    """Which of the keys that this one was declared to depend on was invalidated last."""
    if not declared:
        return ""
    members = [
        marks.dependency_member(one.decode(), soft=soft)
        for one in declared
        for soft in (False, True)
    ]
    request = read(partition.slot, "labels", ("ZMSCORE", keys.label_marks(partition), *members))
    [scores] = await store.call(request, deadline)
    newest, member = max(
        (float(score or 0), member) for score, member in zip(scores, members, strict=True)
    )
    return member[1:].decode() if newest else ""


def _absent(reason: MissReason, missed_us: int, cause: str, lease_expires_us: int) -> Description:
    return Description(
        found=False,
        stale=False,
        miss_reason=reason,
        missed_us=missed_us,
        cause=cause,
        entry=None,
        lease_expires_us=lease_expires_us,
    )


def _present(
    sight: Sight,
    space: Namespace,
    stored: StoredEntry,
    lease_expires_us: int,
    event_us: int,
    *,
    failed_lately: bool,
) -> Description:
    """What is to be said of an entry that is there, readable or not. `event_us` is when its key was
    invalidated last, as far as that is known."""
    cover = sight.cover()
    now_us = sight.view.now_us
    reason, missed_us, cause = None, 0, ""
    if cover is not None:
        by_key = cover.seq == 0 and not cover.is_hard
        reason, missed_us, cause = cover.reason, event_us if by_key else cover.seq, cover.cause
    elif now_us >= stored.expires_us:
        reason, missed_us = MissReason.EXPIRED, stored.expires_us
    grace_ms = space.grace_ms if failed_lately else space.stale_while_revalidate_ms
    kept = now_us < stored.expires_us + grace_ms * 1000
    return Description(
        found=reason is None,
        stale=reason is not None and kept and not (cover is not None and cover.is_hard),
        miss_reason=reason,
        missed_us=missed_us,
        cause=cause,
        entry=stored,
        lease_expires_us=lease_expires_us,
    )
