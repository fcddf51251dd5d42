"""Watches: what is lost, or might be, is told as a gap."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace

import pytest
from pantler_server.engines.cache import keys
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.stats import CacheStats
from pantler_server.engines.cache.watch import token, watcher
from pantler_server.engines.cache.watch.model import Kind
from pantler_server.store.request import Request, pack
from pantler_server.store.store import Store

from tests.engines.caller import Caller, on
from tests.engines.conftest import Deadline
from tests.engines.test_watch import KEY, lose_marks, named
from tests.engines.watching import opened, watching


async def lose_history(store: Store, caller: Caller) -> None:
    await on(store, caller, "history", KEY, "DEL")


async def trim(store: Store, caller: Caller) -> None:
    await on(store, caller, "history", KEY, "XTRIM", "MAXLEN", 1)


async def lapse(store: Store, caller: Caller) -> None:
    state = await on(store, caller, "marks", KEY, "HGET", "state")
    lapsed = state[:88] + (1).to_bytes(8, "little") * 2
    await on(store, caller, "marks", KEY, "HSET", "state", lapsed)
    await caller.delete(KEY)


LOSSES = {"evicted": lose_history, "trimmed": trim, "lapsed": lapse, "marks lost": lose_marks}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES.keys())
async def test_what_is_forgotten_is_a_gap_at_a_resume(
    store: Store,
    stats: CacheStats,
    one: Caller,
    lose: Callable[[Store, Caller], Awaitable[None]],
) -> None:
    async with watching(one) as seen:
        pass
    await one.delete(KEY)
    await one.delete(KEY)
    await lose(store, one)
    fresh = CacheEngine(store, stats, HotKeys(store))  # which has not read it meanwhile
    fresh.start()
    try:
        async with watching(replace(one, engine=fresh), resume=seen.token) as again:
            await again.until(lambda: again.gaps)
            assert again.gaps == [one.space.name]
            await one.delete("after")
            await again.until(lambda: again.changes)
            assert named(again.changes) == [(Kind.KEY, False, "after")]
    finally:
        await fresh.stop()


async def test_lost_marks_are_a_gap(store: Store, one: Caller) -> None:
    async with watching(one) as seen:
        await lose_marks(store, one)
        await seen.settled(one)
        await one.delete(KEY)
        await seen.until(lambda: seen.changes)
        assert seen.gaps == [one.space.name]


async def test_a_history_that_goes_before_it_is_read_is_a_gap(
    store: Store, one: Caller, deadline: Deadline
) -> None:
    partition, _ = keys.place(one.space, KEY)
    async with watching(one) as seen:
        # Both at once: nothing can be read in between.
        commands = (
            pack("MULTI"),
            pack("HINCRBY", keys.marks(partition), "events", 1),
            pack("DEL", keys.history(partition)),
            pack("EXEC"),
        )
        await store.call(Request(partition.slot, commands, "", repeatable=False), deadline())
        await seen.settled(one)
        assert seen.gaps == [one.space.name]
        await one.delete(KEY)
        await seen.until(lambda: seen.changes)


async def test_an_event_that_is_not_known_may_concern_anything(
    store: Store, one: Caller, deadline: Deadline
) -> None:
    partition, _ = keys.place(one.space, KEY)
    async with watching(one) as seen:
        number = int(await on(store, one, "marks", KEY, "HGET", "events")) + 1
        commands = (
            pack("MULTI"),
            pack("HINCRBY", keys.marks(partition), "events", 1),
            pack("XADD", keys.history(partition), f"{number}-0", "e", "?new"),
            pack("EXEC"),
        )
        await store.call(Request(partition.slot, commands, "", repeatable=False), deadline())
        await seen.until(lambda: seen.changes)
        assert named(seen.changes) == [(Kind.NAMESPACE, False, "")]


async def test_a_slow_watcher_is_bounded_and_told_of_a_gap(
    whole: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "MAX_EVENTS", 20)
    async with aclosing(opened(whole)) as slow, watching(whole) as fast:
        await anext(slow)
        for number in range(100):
            await whole.delete(f"k{number}")
        await fast.until(lambda: len(fast.changes) == 100)
        assert not fast.gaps
        assert max(one.queued for one in whole.engine.watching._watchers) <= 20
        told = await anext(slow)
        assert told.gaps == (whole.space.name,)
        await whole.delete("last")
        names = []
        while "last" not in names:
            told = await anext(slow)
            assert not told.gaps
            names += [change.name for change in told.changes]
        async with watching(whole, resume=told.token) as again:
            await again.settled(whole)
            assert not again.changes


async def test_after_lost_marks_the_deployment_is_asked_for_again(
    store: Store, one: Caller, graced: Caller
) -> None:
    asked = 0

    async def deployment(_deadline: float) -> bytes:
        nonlocal asked
        asked += 1
        return b"%08d" % asked

    def deployments() -> list[bytes]:
        read = [token.read(message.token) for message in seen.messages]
        return [one.deployment for one in read if one is not None]

    async with watching(one, deployment=deployment) as seen:
        assert deployments() == [b"00000001"]
        await lose_history(store, one)
        await one.delete(KEY)
        await seen.until(lambda: seen.changes)
        assert asked == 1
        await lose_marks(store, one)
        await seen.until(lambda: seen.gaps)
        assert asked == 2
        assert deployments()[-1] == b"00000002"
