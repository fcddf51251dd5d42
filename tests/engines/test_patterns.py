"""Invalidation by pattern."""

import asyncio

import pytest
from pantler_server.core.errors import InvalidFields
from pantler_server.engines.cache import keys
from pantler_server.engines.cache.model import Miss, NewEntry
from pantler_server.store.request import Request, pack
from pantler_server.store.store import Store

from tests.engines.caller import FILL_LOST, STORED, Caller, granted, value
from tests.event_loop import waits


async def test_what_matches_is_removed_and_the_rest_stays(one: Caller, other: Caller) -> None:
    for key in ("user:1", "user:2:é", "user", "group:1"):
        await one.set(key)
    done = await other.invalidate_pattern("user:*")
    assert done.invalidated == 2
    assert sorted(done.examples) == ["user:1", "user:2:é"]
    assert [value(await one.get(key)) for key in ("user:1", "user:2:é")] == [None, None]
    assert [value(await one.get(key)) for key in ("user", "group:1")] == [b"v", b"v"]


async def test_a_key_that_looks_like_a_place_is_told_from_one(one: Caller) -> None:
    await one.set("x}e:user:1")
    await one.set("[user]:1")
    assert (await one.invalidate_pattern("user:*")).invalidated == 0
    assert (await one.invalidate_pattern(r"\[user\]:*")).invalidated == 1
    assert (await one.invalidate_pattern("x}e:*")).invalidated == 1


async def test_other_namespaces_stay(one: Caller, graced: Caller) -> None:
    await graced.set("k")
    await one.set("k")
    assert (await one.invalidate_pattern("*")).invalidated == 1
    assert value(await graced.get("k")) == b"v"


async def test_a_dry_run_changes_nothing(one: Caller) -> None:
    for index in range(30):
        await one.set(f"k{index}")
    missed = await one.get("missing")
    assert isinstance(missed, Miss)
    done = await one.invalidate_pattern("k*", dry_run=True)
    assert (done.invalidated, len(done.examples)) == (30, 10)
    assert value(await one.get("k0")) == b"v"
    assert await one.fill("missing", missed.fill_token) is STORED


async def test_fills_that_began_before_are_refused_whatever_their_key(one: Caller) -> None:
    missed = await one.get("k")
    assert isinstance(missed, Miss)
    leased = granted(await one.ask("leased"))
    await one.invalidate_pattern("nothing like them")
    assert await one.fill("k", missed.fill_token) is FILL_LOST
    assert await one.fill("leased", leased) is FILL_LOST
    token = granted(await one.ask("leased"))
    assert await one.fill("leased", token) is STORED, "the lease is free for the next"


async def test_who_waits_for_a_fill_that_is_refused_gets_the_lease(
    one: Caller, other: Caller
) -> None:
    granted(await one.ask("k", ttl_ms=60_000))
    waiting = asyncio.create_task(other.ask("k", wait_ms=4_000))
    await asyncio.sleep(0.05)
    await one.invalidate_pattern("*")
    async with asyncio.timeout(2):
        assert await other.fill("k", granted(await waiting)) is STORED


async def test_what_is_stored_behind_the_floor_stays(
    one: Caller, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Set between the floor and the walk is younger than the invalidation."""
    await one.set("old")
    scan = store.scan

    async def late(pattern: bytes, at_once: int):  # type: ignore[no-untyped-def]
        await one.set("new")
        async for step in scan(pattern, at_once):
            yield step

    monkeypatch.setattr(store, "scan", late)
    assert (await one.invalidate_pattern("*")).invalidated == 1
    assert value(await one.get("old")) is None
    assert value(await one.get("new")) == b"v"


async def test_foreign_data_is_left_alone(one: Caller, store: Store) -> None:
    for key, command in (("list", ("LPUSH", "x")), ("text", ("SET", "foreign"))):
        partition, place = keys.place(one.space, key)
        request = Request(
            partition.slot, (pack(command[0], place, command[1]),), key, repeatable=False
        )
        await store.call(request, asyncio.get_running_loop().time() + 5)
    await one.set("k")
    assert (await one.invalidate_pattern("*")).invalidated == 1


async def test_who_stops_listening_stops_the_walk(
    one: Caller, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pantler_server.engines.cache.invalidation.pattern.TELL_S", 0)
    monkeypatch.setattr("pantler_server.engines.cache.invalidation.pattern.SCAN_AT_ONCE", 10)
    for index in range(200):
        await one.set(f"k{index}")
    walk = one.engine.invalidation.invalidate_pattern(one.space, "k*")
    while not (await anext(walk)).invalidated:
        pass
    await walk.aclose()  # type: ignore[attr-defined]
    left = [value(await one.get(f"k{index}")) for index in range(200)]
    assert 0 < left.count(b"v") < 200


async def test_a_pattern_that_takes_long_leaves_the_event_loop_to_others(
    one: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pantler_server.engines.cache.invalidation.pattern.SCAN_AT_ONCE", 100_000)
    slow = f"*{'[ab]' * 120}c*"  # a third of a millisecond a key
    entries = [NewEntry(f"{index:04}{'a' * 500}", b"v") for index in range(1000)]
    await one.engine.set_many(one.space, entries, asyncio.get_running_loop().time() + 5)
    async with waits() as waited:
        assert (await one.invalidate_pattern(slow, dry_run=True)).invalidated == 0
    assert len(waited) > 30


@pytest.mark.parametrize("pattern", ["", "[", "[]", "a\\"])
async def test_a_malformed_pattern_is_refused_before_the_floor(one: Caller, pattern: str) -> None:
    missed = await one.get("k")
    assert isinstance(missed, Miss)
    with pytest.raises(InvalidFields, match="pattern"):
        await one.invalidate_pattern(pattern)
    assert await one.fill("k", missed.fill_token) is STORED
