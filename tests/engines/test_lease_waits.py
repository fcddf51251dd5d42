"""Who waits for the holder of a lease: answered in time, whatever is lost, ends or goes away."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.model import Hit, LeaseAsk, Miss
from pantler_server.engines.cache.stats import CacheStats
from pantler_server.engines.cache.waiting import POLL_S
from pantler_server.store.request import pack
from pantler_server.store.store import Store

from tests.engines.caller import FILL_LOST, READ_S, STORED, Caller, granted, soon, value, waiting


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
    deadline = asyncio.get_running_loop().time() + 0.1
    found = await one.engine.get(one.space, "k", deadline, LeaseAsk(10_000, 60_000, "late"))
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
    await store.ask_primaries((pack("CLIENT", "KILL", "TYPE", "pubsub"),), soon())
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


async def test_a_batch_waits_for_what_others_fetch(one: Caller, other: Caller) -> None:
    tokens = {key: granted(await one.ask(key)) for key in ("a", "b")}
    ask = LeaseAsk(10_000, 4_000, "batch")
    task = asyncio.create_task(other.engine.get_many(other.space, ["a", "b"], soon(), ask))
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
        found = await other.engine.get_many(other.space, ["a", "free", "b"], soon(), ask)
    assert [isinstance(each, Miss) and each.lease is not None for each in found] == [
        False,
        True,
        False,
    ]
    call = asyncio.create_task(other.engine.get_many(other.space, ["a", "b"], soon(), ask))
    await asyncio.sleep(0.03)
    assert not call.done()
    await one.release("a", tokens["a"])  # one becomes free while it waits
    async with asyncio.timeout(READ_S):
        found = await call
    assert [isinstance(each, Miss) and each.lease is not None for each in found] == [True, False]
    assert await one.fill("b", tokens["b"]) is STORED
