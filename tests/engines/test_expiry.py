"""Grace, sliding expiry, Touch and Describe, and what an entry carries beside its value."""

import asyncio
import struct

import pytest
from pantler_server.core.errors import WrongKind
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import entry, fill_token, scripts
from pantler_server.engines.cache.fill_token import FillToken
from pantler_server.engines.cache.model import Hit, Miss, MissReason
from pantler_server.engines.cache.stats import FIELDS, CacheStats
from pantler_server.store.store import Store

from tests.engines.caller import Caller, granted, on, value


async def test_a_stale_entry_is_given_only_to_those_who_accept_it(graced: Caller) -> None:
    await graced.set("k", ttl_ms=10, tags=("a",))
    await asyncio.sleep(0.03)
    strict = await graced.get("k")
    assert isinstance(strict, Miss)
    assert strict.reason is MissReason.EXPIRED
    stale = await graced.get("k", accept_stale=True)
    assert isinstance(stale, Hit)
    assert (stale.value, stale.stale, stale.tags) == (b"v", True, ("a",))
    assert stale.fill_token


async def test_a_fresh_entry_is_not_stale_to_those_who_would_accept_it(graced: Caller) -> None:
    await graced.set("k")
    found = await graced.get("k", accept_stale=True)
    assert isinstance(found, Hit)
    assert (found.stale, found.fill_token) == (False, "")


async def test_redis_keeps_an_entry_for_its_ttl_and_its_grace(
    graced: Caller, one: Caller, store: Store
) -> None:
    for caller, grace_ms in ((graced, 3_600_000), (one, 0)):
        await caller.set("k", ttl_ms=5_000)
        assert 4_000 < await on(store, caller, "entry", "k", "PTTL") - grace_ms <= 5_000
        await caller.touch("k", 9_000)
        assert 8_000 < await on(store, caller, "entry", "k", "PTTL") - grace_ms <= 9_000


async def test_touch_gives_a_new_ttl_and_keeps_the_rest(one: Caller) -> None:
    stored = await one.set("k", ttl_ms=50, content_type="text/plain", tags=("a",))
    expires_us = await one.touch("k", 60_000)
    found = await one.get("k")
    assert isinstance(found, Hit)
    assert found.expires_us == expires_us
    assert (found.value, found.version, found.tags) == (b"v", stored.version, ("a",))
    await asyncio.sleep(0.08)
    assert isinstance(await one.get("k"), Hit)


async def test_touch_without_a_ttl_takes_the_namespaces(one: Caller, store: Store) -> None:
    await one.set("k", ttl_ms=50)
    await one.touch("k")
    assert 3_590_000 < await on(store, one, "entry", "k", "PTTL") <= 3_600_000


async def test_touch_brings_nothing_back(one: Caller, graced: Caller, store: Store) -> None:
    assert await one.touch("nothing", 60_000) is None
    await one.set("deleted")
    await one.delete("deleted")
    assert await one.touch("deleted", 60_000) is None
    await one.set("hidden")
    await on(store, one, "marks", "hidden", "DEL")
    assert await one.touch("hidden", 60_000) is None
    await graced.set("expired", ttl_ms=10)
    await asyncio.sleep(0.03)
    assert await graced.touch("expired", 60_000) is None
    assert isinstance(await graced.get("expired"), Miss)


async def test_touch_refuses_what_is_not_ours(one: Caller, store: Store) -> None:
    await on(store, one, "entry", "text", "SET", "theirs")
    await on(store, one, "entry", "list", "RPUSH", "theirs")
    for key in ("text", "list"):
        with pytest.raises(WrongKind):
            await one.touch(key, 60_000)
        with pytest.raises(WrongKind):
            await one.describe(key)
    assert await on(store, one, "entry", "text", "PTTL") == -1


async def test_reads_keep_a_sliding_entry_alive(sliding: Caller) -> None:
    await sliding.set("read", ttl_ms=600)
    await sliding.set("unread", ttl_ms=600)
    await sliding.set("fixed", ttl_ms=600, sliding=False)
    for _ in range(8):
        await asyncio.sleep(0.1)
        await sliding.get("fixed")
        found = await sliding.get("read")
        assert isinstance(found, Hit)
        lived_us = found.expires_us - found.created_us
    assert lived_us > 1_200_000, "the answer has the new expiry"
    for key in ("unread", "fixed"):
        assert isinstance(await sliding.get(key), Miss)


async def test_a_set_may_ask_for_sliding_itself(one: Caller) -> None:
    await one.set("k", ttl_ms=600, sliding=True)
    for _ in range(8):
        await asyncio.sleep(0.1)
        assert isinstance(await one.get("k"), Hit)


async def test_a_sliding_entry_in_a_batch_slides(sliding: Caller, store: Store) -> None:
    await sliding.set("k", ttl_ms=60_000)
    await on(store, sliding, "entry", "k", "PEXPIRE", 50_000)
    raw = await on(store, sliding, "entry", "k", "GET")
    header = entry.read_header(raw)
    earlier = struct.pack("<Q", header.expires_us - 10_000_000)
    await on(store, sliding, "entry", "k", "SETRANGE", 36, earlier)
    await sliding.engine.get_many(sliding.space, ["k"], asyncio.get_running_loop().time() + 5)
    assert await on(store, sliding, "entry", "k", "PTTL") > 50_000


async def test_a_read_that_slides_never_revives_what_was_deleted_meanwhile(
    sliding: Caller, store: Store
) -> None:
    """1. a read sees the entry; 2. it is deleted, and perhaps set again; 3. the read slides it."""
    await sliding.set("k", ttl_ms=60_000)
    seen = await on(store, sliding, "entry", "k", "GETRANGE", 4, 11)
    slide = scripts.touch_entry(sliding.space, "k", 3_600_000, seen)
    await sliding.delete("k")
    deadline = asyncio.get_running_loop().time() + 5
    assert await store.call(slide, deadline) == [0]
    assert isinstance(await sliding.get("k"), Miss)

    await sliding.set("k", b"new", ttl_ms=60_000)
    assert await store.call(slide, deadline) == [0]
    assert await on(store, sliding, "entry", "k", "PTTL") <= 60_000


async def test_an_entry_carries_its_labels(one: Caller) -> None:
    tags, depends_on = tuple(f"tag{i}" * 30 for i in range(64)), tuple("é" * 256 for _ in range(1))
    await one.set("k", tags=tags, depends_on=depends_on, content_type="text/plain")
    found = await one.get("k")
    assert isinstance(found, Hit)
    assert (found.value, found.content_type, found.tags) == (b"v", "text/plain", tags)
    described = (await one.describe("k")).entry
    assert described is not None
    assert (described.tags, described.depends_on) == (tags, depends_on)
    assert (described.content_type, described.value_bytes) == ("text/plain", 1)


async def test_the_longest_labels_fit(one: Caller) -> None:
    tags = tuple(f"{i:02}" + "t" * 254 for i in range(64))
    depends_on = tuple(f"{i:02}" + "d" * 510 for i in range(64))
    await one.set("k", b"x" * 100_000, tags=tags, depends_on=depends_on, content_type="c" * 255)
    described = (await one.describe("k")).entry
    assert described is not None
    assert (described.tags, described.depends_on) == (tags, depends_on)
    assert described.value_bytes == 100_000


async def test_describe_tells_what_is_there(one: Caller) -> None:
    stored = await one.set("k", b"value", ttl_ms=60_000, sliding=True)
    described = await one.describe("k")
    assert (described.found, described.stale, described.miss_reason) == (True, False, None)
    assert described.lease_expires_us == 0
    told = described.entry
    assert told is not None
    assert (told.version, told.expires_us) == (stored.version, stored.expires_us)
    assert (told.ttl_us, told.value_bytes, told.sliding) == (60_000_000, 5, True)
    assert abs(told.dropped_us - told.expires_us) < 5_000


async def test_describe_tells_since_when_an_entry_is_missed(
    graced: Caller, guarded: Caller
) -> None:
    for caller, stale in ((graced, True), (guarded, False)):
        stored = await caller.set("k", ttl_ms=10)
        await asyncio.sleep(0.03)
        described = await caller.describe("k")
        assert (described.found, described.stale) == (False, stale)
        assert described.miss_reason is MissReason.EXPIRED
        assert described.missed_us == stored.expires_us
        assert described.entry is not None
    await guarded.release("k", granted(await guarded.ask("k")), failed=True)
    assert (await guarded.describe("k")).stale, "its fetch has failed"


async def test_describe_tells_when_a_key_was_deleted_and_set_again(one: Caller) -> None:
    await one.set("k")
    before_us = (await one.describe("k")).entry
    await one.delete("k")
    described = await one.describe("k")
    assert (described.miss_reason, described.entry) == (MissReason.DELETED, None)
    assert before_us is not None
    assert 0 < described.missed_us - before_us.created_us < 1_000_000
    await one.set("k", ttl_ms=10)
    assert (await one.describe("k")).found
    await asyncio.sleep(0.03)
    assert (await one.describe("k")).miss_reason is MissReason.UNKNOWN, "it expired, and is gone"


async def test_describe_tells_of_the_lease_and_of_lost_marks(one: Caller, store: Store) -> None:
    found = await one.ask("k")
    assert found.lease is not None
    assert (await one.describe("k")).lease_expires_us == found.lease.expires_us
    await one.set("k")
    await on(store, one, "marks", "k", "DEL")
    assert (await one.describe("k")).miss_reason is MissReason.HIDDEN_BY_NAMESPACE


async def test_what_reads_and_fills_came_to_is_counted(graced: Caller, stats: CacheStats) -> None:
    await graced.set("k", ttl_ms=10)
    await graced.get("k")
    await asyncio.sleep(0.03)
    await graced.get("k")
    token = granted(await graced.ask("k", accept_stale=True))
    await graced.delete("k")
    await graced.fill("k", token)
    counts = dict(zip(FIELDS, stats.of(graced.space.name).values(), strict=True))
    assert {field: number for field, number in counts.items() if number} == {
        "sets": 1,
        "hits": 1,
        "misses_expired": 1,
        "stale_hits": 1,
        "leases": 1,
        "deletes": 1,
        "fills_lost": 1,
    }


def test_the_header_is_as_documented(space: Namespace) -> None:
    labels = entry.Labels("text", ("a", "bc"), ("k",))
    head, rest = entry.pack(7, 60, sliding=True, labels=labels, value=b"value")
    packed = bytes(8) + b"\4text" + b"\2\1\0a\2\0bc" + b"\1\1\0k"
    assert head == struct.pack("<BBHQ", 0xC1, 1, 52 + len(packed), 7)
    assert rest == struct.pack("<Q", 60) + packed + b"value"
    raw = head + b"generatn" + struct.pack("<QQQ", 3, 1000, 2000) + rest
    assert entry.read_header(raw) == entry.Header(
        1, 52 + len(packed), 7, b"generatn", 3, 1000, 2000, 60
    )
    assert entry.read_labels(raw) == labels


def test_a_token_is_read_as_it_was_written_and_garbage_is_not() -> None:
    token = FillToken(b"primary.", b"generatn", 1, 2, 3, b"lease...", True, b"{n:63}e:a}e:b")
    text = token.write()
    assert fill_token.read(text) == token
    assert token.key() == ("n", "a}e:b")
    for garbage in ("", "x", text[:-4], text[4:], "A" * len(text), text.swapcase(), "é"):
        assert fill_token.read(garbage) is None


async def test_each_value_is_its_own(one: Caller) -> None:
    await one.set("k", b"\xc1" * 100)
    assert value(await one.get("k")) == b"\xc1" * 100
