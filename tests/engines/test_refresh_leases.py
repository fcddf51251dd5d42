"""Leases beside what is there: of hits that are soon due, stale, or what a failed fetch left."""

import asyncio

from pantler_server.engines.cache.model import Hit, Miss

from tests.engines.caller import READ_S, STORED, Caller, granted, value, waiting


async def test_a_hit_past_the_refresh_ratio_offers_its_refresh_to_one(
    one: Caller, other: Caller
) -> None:
    await one.set("k", b"old", ttl_ms=2_000)
    assert (await one.ask("k")).lease is None, "it is young"
    await asyncio.sleep(1.65)
    found = await asyncio.gather(*(caller.ask("k") for _ in range(20) for caller in (one, other)))
    assert {value(each) for each in found} == {b"old"}
    assert not any(each.stale for each in found if isinstance(each, Hit))
    [token] = [granted(each) for each in found if each.lease is not None]
    assert await other.fill("k", token, b"new") is STORED
    assert value(await one.get("k")) == b"new"
    assert (await one.get("k")).lease is None, "only those who ask are offered one"


async def test_a_stale_hit_gives_one_the_lease_and_the_others_the_stale_value(
    graced: Caller,
) -> None:
    await graced.set("k", b"old", ttl_ms=10)
    await asyncio.sleep(0.03)
    found = await asyncio.gather(
        *(graced.ask("k", accept_stale=True, wait_ms=4_000) for _ in range(20))
    )
    assert all(isinstance(each, Hit) and each.stale for each in found)
    [token] = [granted(each) for each in found if each.lease is not None]
    strict = await waiting(graced, "k")
    assert await graced.fill("k", token, b"new") is STORED
    assert value(await strict) == b"new"


async def test_after_a_failed_fetch_the_stale_value_serves_and_nobody_else_is_sent_to_fetch(
    guarded: Caller,
) -> None:
    await guarded.set("k", b"old", ttl_ms=10)
    await asyncio.sleep(0.03)
    assert isinstance(await guarded.get("k", accept_stale=True), Miss)
    token = granted(await guarded.ask("k", accept_stale=True))
    tolerant = [await waiting(guarded, "k", accept_stale=True) for _ in range(3)]
    strict = await waiting(guarded, "k")
    await guarded.release("k", token, failed=True)
    async with asyncio.timeout(5 * READ_S):
        found = [await task for task in tolerant]
        found += [await guarded.ask("k", accept_stale=True, wait_ms=wait) for wait in (0, 4_000)]
        found.append(await guarded.get("k", accept_stale=True))
    for each in found:
        assert isinstance(each, Hit)
        assert (each.value, each.stale, each.lease) == (b"old", True, None)
    assert isinstance(await guarded.get("k"), Miss)
    async with asyncio.timeout(5 * READ_S):
        token = granted(await strict)  # the stale value is nothing to it
    assert await guarded.fill("k", token, b"new") is STORED
    assert value(await guarded.get("k")) == b"new"


async def test_a_fresh_entry_whose_refresh_failed_is_not_offered_for_a_while(one: Caller) -> None:
    await one.set("k", ttl_ms=2_000)
    await asyncio.sleep(1.65)
    await one.release("k", granted(await one.ask("k")), failed=True)
    assert (await one.ask("k")).lease is None


async def test_a_failure_of_another_version_serves_nothing(guarded: Caller) -> None:
    await guarded.set("k", b"old", ttl_ms=10)
    await asyncio.sleep(0.03)
    await guarded.release("k", granted(await guarded.ask("k")), failed=True)
    await guarded.set("k", b"newer", ttl_ms=10)
    await asyncio.sleep(0.03)
    assert isinstance(await guarded.get("k", accept_stale=True), Miss)
