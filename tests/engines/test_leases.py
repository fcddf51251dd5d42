"""Leases: of all who miss, one fetches; how it holds its lease, and how that ends."""

import asyncio

import pytest
from pantler_server.core.errors import LeaseLost
from pantler_server.engines.cache.model import Condition, Hit, LeaseAsk, Miss
from pantler_server.engines.cache.waiting import POLL_S
from pantler_server.store.request import pack
from pantler_server.store.store import Store

from tests.engines.caller import (
    FILL_LOST,
    READ_S,
    STORED,
    Caller,
    granted,
    on,
    soon,
    value,
    waiting,
)
from tests.engines.conftest import Deadline


async def test_one_of_many_callers_on_two_workers_gets_the_lease(
    one: Caller, other: Caller
) -> None:
    found = await asyncio.gather(*(caller.ask("k") for _ in range(100) for caller in (one, other)))
    assert all(isinstance(each, Miss) for each in found)
    [token] = [granted(each) for each in found if each.lease is not None]
    assert await other.fill("k", token) is STORED, "a lease is its token, whoever brings it"


async def test_the_same_holder_gets_the_same_lease_again(one: Caller, other: Caller) -> None:
    first = await one.ask("k", holder="me")
    assert (await other.ask("k", holder="another")).lease is None
    again = await other.ask("k", holder="me")
    assert again.lease == first.lease
    assert await one.fill("k", granted(first)) is STORED


async def test_a_holder_that_asks_again_and_would_wait_gets_its_lease_at_once(
    one: Caller, other: Caller
) -> None:
    first = await one.ask("k", holder="me")
    task = await waiting(other, "k")
    async with asyncio.timeout(POLL_S + READ_S):
        again = await other.ask("k", holder="me", wait_ms=4_000)
    assert again.lease == first.lease
    assert not task.done()
    await one.fill("k", granted(again))
    assert value(await task) == b"fill"


async def test_calls_of_one_holder_get_its_lease_together(one: Caller) -> None:
    calls = [asyncio.create_task(one.ask("k", holder="me", wait_ms=4_000)) for _ in range(20)]
    async with asyncio.timeout(READ_S):
        tokens = {granted(await call) for call in calls}
    assert len(tokens) == 1


async def test_an_expired_holder_is_refused_before_and_after_the_next_one_fills(
    one: Caller, other: Caller
) -> None:
    late = granted(await one.ask("k", ttl_ms=20))
    await asyncio.sleep(0.04)
    assert await one.fill("k", late) is FILL_LOST
    token = granted(await other.ask("k"))
    assert await one.fill("k", late) is FILL_LOST
    assert await other.fill("k", token, b"second") is STORED
    assert await one.fill("k", late) is FILL_LOST
    assert value(await one.get("k")) == b"second"


async def test_a_released_lease_goes_to_who_waits_at_once(one: Caller, other: Caller) -> None:
    token = granted(await one.ask("k"))
    task = await waiting(other, "k")
    assert await one.release("k", token) is True
    async with asyncio.timeout(READ_S):
        granted(await task)
    assert await one.release("k", token) is False
    assert await one.fill("k", token) is FILL_LOST


async def test_after_a_failed_fetch_the_next_tries(one: Caller, other: Caller) -> None:
    token = granted(await one.ask("k"))
    tasks = {await waiting(other, "k"), await waiting(one, "k")}
    while tasks:
        await one.release("k", token, failed=True)
        done, tasks = await asyncio.wait(tasks, timeout=READ_S, return_when=asyncio.FIRST_COMPLETED)
        [next_one] = done
        token = granted(next_one.result())
    assert await one.fill("k", token) is STORED


@pytest.mark.parametrize("end", ["set", "delete"])
async def test_a_set_and_a_delete_end_a_lease(one: Caller, other: Caller, end: str) -> None:
    token = granted(await one.ask("k"))
    task = await waiting(other, "k")
    await (one.set("k", b"set") if end == "set" else one.delete("k"))
    async with asyncio.timeout(READ_S):
        found = await task
    if end == "set":
        assert value(found) == b"set"
    else:
        granted(found)
    assert await one.fill("k", token) is FILL_LOST
    with pytest.raises(LeaseLost):
        await one.extend("k", token, 10_000)


async def test_a_lease_lasts_as_long_as_it_is_extended(one: Caller, other: Caller) -> None:
    token = granted(await one.ask("k", ttl_ms=400))
    for _ in range(4):
        await asyncio.sleep(0.15)
        await one.extend("k", token, 400)
        assert (await other.ask("k")).lease is None
    assert await one.fill("k", token) is STORED


async def test_an_extended_lease_is_looked_for_by_sets_for_as_long_as_it_lasts(
    one: Caller, store: Store
) -> None:
    token = granted(await one.ask("k", ttl_ms=10))
    await one.extend("k", token, 600_000)
    state = await on(store, one, "marks", "k", "HGET", "state")
    until_us = int.from_bytes(state[16:24], "little")
    [seconds, _] = (await store.ask_primaries((pack("TIME"),), soon()))[0][1][0]
    assert until_us >= (int(seconds) + 600) * 1_000_000
    assert 590_000 < await on(store, one, "lease", "k", "PTTL") <= 600_000


async def test_a_lease_of_marks_that_were_lost_keeps_nobody_from_the_next(
    one: Caller, other: Caller, store: Store
) -> None:
    dead = granted(await one.ask("k", holder="me", ttl_ms=60_000))
    task = await waiting(other, "k")
    await on(store, one, "marks", "k", "DEL")
    assert await one.fill("k", dead) is FILL_LOST
    with pytest.raises(LeaseLost):
        await one.extend("k", dead, 60_000)
    async with asyncio.timeout(POLL_S + READ_S):
        token = granted(await task)
    assert (await one.ask("k", holder="me")).lease is None, "the old lease is not given again"
    assert await one.fill("k", dead) is FILL_LOST
    assert await other.fill("k", token) is STORED


async def test_leases_expire(one: Caller, store: Store) -> None:
    await one.ask("k", ttl_ms=5_000)
    assert 4_000 < await on(store, one, "lease", "k", "PTTL") <= 5_000
    await one.ask("k", ttl_ms=5_000, wait_ms=20)  # registers a channel in it
    assert 4_000 < await on(store, one, "lease", "k", "PTTL") <= 5_000


async def test_a_batch_takes_the_lease_of_each_key_that_it_misses(
    one: Caller, other: Caller, deadline: Deadline
) -> None:
    await one.set("there")
    await one.ask("taken")
    wanted = ["there", "a", "taken", "b", "a"]
    ask = LeaseAsk(10_000, 0, "batch")
    found = await other.engine.get_many(other.space, wanted, deadline(), ask)
    there, a, taken, b, again = found
    assert isinstance(there, Hit)
    assert isinstance(a, Miss)
    assert isinstance(taken, Miss)
    assert isinstance(b, Miss)
    assert a == again
    assert taken.lease is None
    assert await one.fill("a", granted(a)) is STORED
    assert await one.fill("b", granted(b)) is STORED


async def test_a_condition_holds_beside_a_lease(one: Caller) -> None:
    token = granted(await one.ask("k"))
    assert await one.fill("k", token, condition=Condition.ABSENT) is STORED


async def test_a_stampede_on_two_workers_fetches_once(one: Caller, other: Caller) -> None:
    fetched = 0

    async def call(caller: Caller) -> bytes | None:
        nonlocal fetched
        found = await caller.ask("k", wait_ms=4_000)
        if found.lease is not None:
            fetched += 1
            await asyncio.sleep(0.05)
            await caller.fill("k", granted(found))
            return b"fill"
        return value(found)

    values = await asyncio.gather(*(call(caller) for _ in range(500) for caller in (one, other)))
    assert set(values) == {b"fill"}
    assert fetched == 1
