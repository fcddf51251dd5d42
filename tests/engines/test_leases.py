"""Leases: of all who miss, one fetches; each way in which that could go wrong."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pantler_server.core.errors import LeaseLost
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.model import Condition, Hit, LeaseAsk, Miss
from pantler_server.engines.cache.stats import CacheStats
from pantler_server.engines.cache.waiting import POLL_S
from pantler_server.store.request import pack
from pantler_server.store.store import Store

from tests.engines.caller import FILL_LOST, STORED, Caller, granted, on, value
from tests.engines.conftest import Deadline

READ_S = 0.2  # a read, on a machine that does other things too


async def waiting(caller: Caller, key: str, **said: Any) -> "asyncio.Task[Hit | Miss]":
    """A Get that waits for the lease's holder: it has read, and its room is registered."""
    task = asyncio.create_task(caller.ask(key, wait_ms=4_000, **said))
    await asyncio.sleep(0.03)
    assert not task.done()
    return task


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


async def test_those_who_wait_get_the_fill(one: Caller, other: Caller) -> None:
    token = granted(await one.ask("k"))
    tasks = [await waiting(caller, "k") for caller in (one, other) for _ in range(3)]
    assert await one.fill("k", token) is STORED
    async with asyncio.timeout(READ_S):
        assert [value(await task) for task in tasks] == [b"fill"] * 6


async def test_who_waits_in_vain_gets_a_miss_without_a_lease(one: Caller, other: Caller) -> None:
    await one.ask("k")
    began = asyncio.get_running_loop().time()
    found = await other.ask("k", wait_ms=100)
    assert isinstance(found, Miss)
    assert found.lease is None
    assert found.fill_token
    assert 0.1 <= asyncio.get_running_loop().time() - began < 0.1 + READ_S


async def test_a_wait_ends_in_time_for_the_callers_deadline(one: Caller) -> None:
    await one.ask("k")
    soon = asyncio.get_running_loop().time() + 0.1
    found = await one.engine.get(one.space, "k", soon, LeaseAsk(10_000, 60_000, "late"))
    assert isinstance(found, Miss)
    assert found.lease is None


async def test_the_lease_of_a_holder_that_died_goes_to_who_waits(
    one: Caller, other: Caller
) -> None:
    dead = granted(await one.ask("k", ttl_ms=150))
    task = await waiting(other, "k")
    async with asyncio.timeout(0.15 + READ_S):
        token = granted(await task)
    assert await one.fill("k", dead) is FILL_LOST, "an expired holder's fill is refused"
    assert await other.fill("k", token, b"second") is STORED
    assert value(await one.get("k")) == b"second"


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
    [seconds, _] = (await store.ask_primaries((pack("TIME"),), _soon()))[0][1][0]
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


@pytest_asyncio.fixture
async def deaf(store: Store, one: Caller) -> AsyncIterator[Caller]:
    """A caller of a worker that no message reaches."""
    # Not started: it follows no channel.
    engine = CacheEngine(store, CacheStats(store), HotKeys(store))
    yield Caller(engine, one.space)
    await engine.stop()


async def test_a_fill_whose_message_is_lost_is_found_within_the_poll(
    one: Caller, deaf: Caller
) -> None:
    token = granted(await one.ask("k"))
    tasks = [await waiting(deaf, "k") for _ in range(3)]
    await one.fill("k", token)
    async with asyncio.timeout(POLL_S + READ_S):
        assert [value(await task) for task in tasks] == [b"fill"] * 3


async def test_a_fill_while_the_channels_connection_is_killed_is_found_within_the_poll(
    one: Caller, other: Caller, store: Store
) -> None:
    token = granted(await one.ask("k"))
    task = await waiting(other, "k")
    await store.ask_primaries((pack("CLIENT", "KILL", "TYPE", "pubsub"),), _soon())
    await one.fill("k", token)
    async with asyncio.timeout(POLL_S + READ_S):
        assert value(await task) == b"fill"

    token = granted(await one.ask("later"))  # and the next connection is as good
    task = await waiting(other, "later")
    await asyncio.sleep(0.2)
    await one.fill("later", token)
    async with asyncio.timeout(READ_S):
        assert value(await task) == b"fill"


async def test_a_lease_given_to_who_has_gone_goes_to_the_next(one: Caller, other: Caller) -> None:
    token = granted(await one.ask("k"))
    first, second = await waiting(other, "k"), await waiting(other, "k")
    await one.release("k", token)
    first.cancel()
    async with asyncio.timeout(POLL_S + READ_S):
        granted(await second)


async def test_a_call_that_is_cancelled_while_it_takes_a_lease_gives_it_back(
    one: Caller, other: Caller
) -> None:
    for index in range(60):
        call = asyncio.create_task(one.ask(f"k{index}", wait_ms=4_000 * (index % 2)))
        for _ in range(index // 2 % 15):  # turns of the loop: it is anywhere on its way
            await asyncio.sleep(0)
        call.cancel()
        found = await asyncio.gather(call, return_exceptions=True)
        if isinstance(found[0], asyncio.CancelledError):
            async with asyncio.timeout(POLL_S + READ_S):
                granted(await other.ask(f"k{index}", wait_ms=4_000))


async def test_a_call_that_is_cancelled_keeps_the_lease_that_its_holder_had(one: Caller) -> None:
    token = granted(await one.ask("k", holder="me"))
    for turns in range(12):
        call = asyncio.create_task(one.ask("k", holder="me"))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    await asyncio.sleep(0.05)
    assert await one.fill("k", token) is STORED


async def test_calls_of_one_holder_get_its_lease_together(one: Caller) -> None:
    calls = [asyncio.create_task(one.ask("k", holder="me", wait_ms=4_000)) for _ in range(20)]
    async with asyncio.timeout(READ_S):
        tokens = {granted(await call) for call in calls}
    assert len(tokens) == 1


async def test_who_is_dismissed_gets_the_miss_that_it_saw(one: Caller, store: Store) -> None:
    engine = CacheEngine(store, CacheStats(store), HotKeys(store))
    engine.start()
    leaving = Caller(engine, one.space)
    await one.ask("k")
    tasks = [await waiting(leaving, "k") for _ in range(3)]
    engine.dismiss()
    async with asyncio.timeout(READ_S):
        found = [await task for task in tasks]
        found.append(await leaving.ask("k", wait_ms=4_000))
    assert all(isinstance(each, Miss) and each.lease is None for each in found)
    await engine.stop()


async def test_cancelled_callers_leave_nothing_behind(one: Caller, other: Caller) -> None:
    await one.ask("k")
    tasks = [await waiting(other, "k") for _ in range(5)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(READ_S):
        while other.engine._rooms._rooms:
            await asyncio.sleep(0.001)


async def test_who_waits_is_never_answered_with_what_was_deleted_before_it_asked(
    one: Caller, other: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interleaving at the top of waiting.py: the reply to a room's read is held until its value
    was deleted and another caller has come."""
    lease = granted(await one.ask("k"))
    first = await waiting(other, "k")
    reader = other.engine._reader
    get = reader.get
    sent, let_go = asyncio.Event(), asyncio.Event()

    async def held(*asked: Any) -> Any:
        sight = await get(*asked)
        sent.set()
        await let_go.wait()
        return sight

    monkeypatch.setattr(reader, "get", held)
    await one.fill("k", lease, b"deleted soon")
    await sent.wait()
    monkeypatch.setattr(reader, "get", get)
    await one.delete("k")
    second = asyncio.create_task(other.ask("k", wait_ms=4_000))
    await asyncio.sleep(0.03)
    let_go.set()
    assert value(await first) == b"deleted soon"  # it asked before the delete
    granted(await second)


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


async def test_a_batch_waits_for_what_others_fetch(one: Caller, other: Caller) -> None:
    tokens = {key: granted(await one.ask(key)) for key in ("a", "b")}
    ask = LeaseAsk(10_000, 4_000, "batch")
    task = asyncio.create_task(other.engine.get_many(other.space, ["a", "b"], _soon(), ask))
    await asyncio.sleep(0.03)
    for key, token in tokens.items():
        assert not task.done()
        await one.fill(key, token, key.encode())
    async with asyncio.timeout(READ_S):
        assert [value(each) for each in await task if isinstance(each, Hit)] == [b"a", b"b"]


async def test_a_batch_that_is_given_a_lease_waits_for_nothing_else(
    one: Caller, other: Caller
) -> None:
    ask = LeaseAsk(10_000, 4_000, "batch")
    tokens = {key: granted(await one.ask(key)) for key in ("a", "b")}
    async with asyncio.timeout(READ_S):  # one of three is free
        found = await other.engine.get_many(other.space, ["a", "free", "b"], _soon(), ask)
    assert [isinstance(each, Miss) and each.lease is not None for each in found] == [
        False,
        True,
        False,
    ]
    call = asyncio.create_task(other.engine.get_many(other.space, ["a", "b"], _soon(), ask))
    await asyncio.sleep(0.03)
    assert not call.done()
    await one.release("a", tokens["a"])  # one becomes free while it waits
    async with asyncio.timeout(READ_S):
        found = await call
    assert [isinstance(each, Miss) and each.lease is not None for each in found] == [True, False]
    assert await one.fill("b", tokens["b"]) is STORED


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


def _soon() -> float:
    return asyncio.get_running_loop().time() + 5.0
