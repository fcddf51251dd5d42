"""Watches: what happens is told, in order and once it is in force; what is lost is a gap."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest
from pantler_server.core.config import Settings
from pantler_server.core.errors import ShuttingDown
from pantler_server.core.namespace import Partition
from pantler_server.engines.cache import keys
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.invalidation import scripts
from pantler_server.engines.cache.model import Hit
from pantler_server.engines.cache.stats import CacheStats
from pantler_server.engines.cache.watch import halves, history
from pantler_server.engines.cache.watch.halves import Halves
from pantler_server.engines.cache.watch.model import Change, Kind
from pantler_server.store.request import read
from pantler_server.store.store import Store

from tests.engines.caller import Caller, on, value
from tests.engines.conftest import Deadline, NearFactory
from tests.engines.test_first_level import invalidate_older
from tests.engines.watching import opened, watching

KEY = "k"
_POSITION = history.Position(b"p" * 8, b"g" * 8, 1 << 50)
Do = Callable[[Caller], Awaitable[Any]]
Named = tuple[Kind, bool, str]

# What hides an entry with the tag `t` that depends on `base`, and what is told of it.
CHANGES: dict[str, tuple[Do, Named]] = {
    "delete": (lambda by: by.delete(KEY), (Kind.KEY, False, KEY)),
    "key": (lambda by: by.invalidate_keys(KEY), (Kind.KEY, False, KEY)),
    "key, soft": (lambda by: by.invalidate_keys(KEY, soft=True), (Kind.KEY, True, KEY)),
    "cascade": (
        lambda by: by.invalidate_keys("base", cascade=True),
        (Kind.DEPENDENCY, False, "base"),
    ),
    "cascade, soft": (
        lambda by: by.invalidate_keys("base", cascade=True, soft=True),
        (Kind.DEPENDENCY, True, "base"),
    ),
    "tag": (lambda by: by.invalidate_tags("t"), (Kind.TAG, False, "t")),
    "tag, soft": (lambda by: by.invalidate_tags("t", soft=True), (Kind.TAG, True, "t")),
    "namespace": (lambda by: by.invalidate_namespace(), (Kind.NAMESPACE, False, "")),
    "namespace, soft": (
        lambda by: by.invalidate_namespace(soft=True),
        (Kind.NAMESPACE, True, ""),
    ),
    "age": (invalidate_older, (Kind.AGE, False, "")),
    "pattern": (lambda by: by.invalidate_pattern("k*"), (Kind.PATTERN, False, "k*")),
}


def named(changes: list[Change]) -> list[Named]:
    return [(change.kind, change.soft, change.name) for change in changes]


async def near(caller: Caller) -> Caller:
    """The caller in the same namespace, of whose writes is told."""
    config = caller.space.config.model_copy(update={"near_cache": True})
    return replace(caller, space=replace(caller.space, config=config))


async def histories(store: Store, caller: Caller, deadline: float) -> int:
    """How many partitions have one."""
    count = 0
    for partition in caller.space.partitions:
        request = read(partition.slot, "", ("EXISTS", keys.history(partition)))
        [exists] = await store.call(request, deadline)
        count += exists
    return count


async def lose_marks(store: Store, caller: Caller) -> None:
    await on(store, caller, "marks", KEY, "DEL")


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES.keys())
async def test_what_another_worker_does_is_told_once_it_is_in_force(
    one: Caller, other: Caller, change: Do, expected: Named
) -> None:
    await other.set(KEY, tags=("t",), depends_on=("base",))
    async with watching(one) as seen:
        doing = asyncio.ensure_future(change(other))
        await seen.until(lambda: expected in named(seen.changes))
        assert value(await one.get(KEY)) is None
        await doing
        await seen.settled(one)
        assert not seen.gaps
        assert {change.namespace for change in seen.changes} == {one.space.name}
        kind, soft, _ = expected
        also = {(Kind.KEY, soft, "base"), (Kind.DEPENDENCY, soft, KEY)}  # by a cascade
        assert set(named(seen.changes)) <= {expected} | (also if kind is Kind.DEPENDENCY else set())
        assert all(change.before_us for change in seen.changes if change.kind is Kind.AGE)


async def test_a_cascade_tells_of_the_declared_dependents(one: Caller, other: Caller) -> None:
    await other.declare("page", "base")
    async with watching(one) as seen:
        await other.invalidate_keys("base", cascade=True)
        await seen.until(lambda: (Kind.KEY, False, "page") in named(seen.changes))


async def test_the_order_of_a_key_is_kept(whole: Caller, deadline: Deadline) -> None:
    many = [f"k{number % 7}" for number in range(1200)]
    async with watching(whole) as seen:
        await whole.engine.delete_many(whole.space, many, deadline())
        await seen.until(lambda: len(seen.changes) == len(many))
        assert [change.name for change in seen.changes] == many


async def test_a_long_key_and_one_with_braces_are_told_as_they_are(one: Caller) -> None:
    odd = ["{a}e:b}", "ö" * 200]
    async with watching(one) as seen:
        for key in odd:
            await one.delete(key)
        await seen.until(lambda: len(seen.changes) == 2)
        assert {change.name for change in seen.changes} == set(odd)


async def test_a_delete_that_did_nothing_is_not_told(one: Caller) -> None:
    stored = await one.set(KEY)
    async with watching(one) as seen:
        assert not await one.delete(KEY, stored.version + 1)
        await seen.settled(one)
        assert not seen.changes


async def test_a_dry_run_is_not_told(one: Caller) -> None:
    await one.set(KEY)
    async with watching(one) as seen:
        await one.invalidate_pattern("*", dry_run=True)
        await seen.settled(one)
        assert not seen.changes


async def test_writes_are_told_where_the_namespace_says_so(one: Caller, other: Caller) -> None:
    written = await near(one)
    async with watching(written) as seen:
        await other.set(KEY, tags=("t",))
        await other.touch(KEY, 5000)
        await other.add_tags(KEY, "u")
        await other.remove_tags(KEY, "t")
        token_of_miss = (await other.get("filled")).fill_token
        await other.fill("filled", token_of_miss)
        await seen.until(lambda: len(seen.changes) == 5)
        assert named(seen.changes).count((Kind.WRITE, False, KEY)) == 4
        assert (Kind.WRITE, False, "filled") in named(seen.changes)
        await other.set(KEY, request_id="1")
        await other.set(KEY, request_id="1")
        await other.set(KEY, ttl_ms=1000)
        await seen.until(lambda: len(seen.changes) == 7)
        await seen.settled(one)
        assert len(seen.changes) == 7


async def test_elsewhere_writes_are_not_told(one: Caller, other: Caller) -> None:
    async with watching(one) as seen:
        await other.set(KEY)
        await other.touch(KEY)
        await seen.settled(one)
        assert not seen.changes


async def test_a_near_cache_that_heeds_it_is_never_stale_for_long(
    one: Caller, other: Caller
) -> None:
    """It drops what is told, and reads again."""
    written = await near(one)
    wanted = [f"k{number}" for number in range(8)]
    kept: dict[str, bytes | None] = {}
    async with watching(written, heartbeat_s=0.1) as seen:
        heeded = 0

        async def heed() -> None:
            nonlocal heeded
            while True:
                new, heeded = seen.messages[heeded:], len(seen.messages)
                for change in (change for told in new for change in told.changes):
                    if change.kind in (Kind.KEY, Kind.WRITE):
                        kept.pop(change.name, None)
                    else:
                        kept.clear()
                for key in wanted:
                    if key not in kept:
                        kept[key] = value(await one.get(key))
                await asyncio.sleep(0)

        heeding = asyncio.create_task(heed())
        for number in range(60):
            key = wanted[number % len(wanted)]
            await other.set(key, b"%d" % number, tags=(f"t{number % 2}",))
            if number % 5 == 0:
                await other.invalidate_tags(f"t{number % 2}")
            if number % 7 == 0:
                await other.delete(wanted[number % 3])
        await seen.settled(one)
        until = len(seen.messages)
        while heeded < until or len(kept) < len(wanted):
            await asyncio.sleep(0.001)
        heeding.cancel()
        for key in wanted:
            assert kept[key] == value(await other.get(key)), key
        assert not seen.gaps


async def test_without_watchers_nothing_is_written(
    store: Store, one: Caller, deadline: Deadline
) -> None:
    await one.set(KEY, tags=("t",))
    for change, _ in CHANGES.values():
        await change(one)
    assert await histories(store, one, deadline()) == 0
    async with watching(one):
        await one.invalidate_tags("t")
    assert await histories(store, one, deadline()) == len(one.space.partitions)
    assert 590_000 < await on(store, one, "history", KEY, "PTTL") <= 600_000


async def test_what_came_in_between_is_told_after_a_resume(
    one: Caller, other: Caller, deadline: Deadline
) -> None:
    async with watching(one) as seen:
        await other.invalidate_keys("before")
        await seen.until(lambda: seen.changes)
    await other.invalidate_keys("between")
    many = [f"k{number}" for number in range(1200)]  # more than one read takes
    await other.engine.delete_many(other.space, many, deadline())
    await other.invalidate_namespace()
    async with watching(other, resume=seen.token) as again:
        await again.until(lambda: (Kind.NAMESPACE, False, "") in named(again.changes))
        await other.invalidate_keys("after")
        await again.until(lambda: (Kind.KEY, False, "after") in named(again.changes))
        assert not again.gaps
        names = [change.name for change in again.changes]
        assert sorted(set(names)) == sorted({"between", "", "after", *many})
    async with watching(one, resume=again.token) as last:
        await last.settled(one)
        assert not last.changes
        assert not last.gaps


async def test_one_watch_over_many_namespaces(one: Caller, graced: Caller, guarded: Caller) -> None:
    callers = (one, graced, guarded)
    async with watching(*callers) as seen:
        for caller in callers:
            await caller.delete(KEY)
        await seen.until(lambda: len(seen.changes) == 3)
    await graced.delete("later")
    await lose_marks(one.engine._store, guarded)
    async with watching(*callers, resume=seen.token) as again:
        await again.settled(*callers)
        assert [(one.namespace, one.name) for one in again.changes] == [
            (graced.space.name, "later")
        ]
        assert set(again.gaps) == {guarded.space.name}


async def test_watchers_of_a_namespace_get_the_same_message(one: Caller) -> None:
    async with watching(one) as first, watching(one) as second:
        await one.delete(KEY)
        await first.until(lambda: first.changes)
        await second.until(lambda: second.changes)
        assert [told for told in first.messages if told.changes] == [
            told for told in second.messages if told.changes
        ]  # by identity


async def test_heartbeats_come_whether_or_not_anything_happens(one: Caller) -> None:
    async with watching(one, heartbeat_s=0.1) as seen:
        await seen.until(lambda: seen.heartbeats >= 2)
        for number in range(20):
            await one.delete(f"k{number}")
            await asyncio.sleep(0.01)
        await seen.until(lambda: seen.changes and seen.heartbeats >= 4)
        assert seen.messages[-1].token == seen.token


def spread(*callers: Caller) -> list[Caller]:
    """The callers, in as many partitions with any Redis."""
    space = callers[0].space
    tags = [f"{{{space.name}:{index}}}" for index in range(5)]
    partitions = tuple(Partition(tag.encode(), Store.slot_of(tag)) for tag in tags)
    return [replace(caller, space=replace(space, partitions=partitions)) for caller in callers]


async def told_of(caller: Caller, store: Store, deadline: Deadline, *indexes: int) -> None:
    """These partitions tell of a pattern."""
    for index in indexes:
        request = scripts.tell_pattern(caller.space, caller.space.partitions[index], "x*")
        await store.call(request, deadline())


async def test_what_concerns_all_partitions_is_told_once_all_have_it(
    store: Store,
    one: Caller,
    other: Caller,
    deadline: Deadline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(halves, "HOLD_S", 60)
    pattern = (Kind.PATTERN, False, "x*")
    one, other = spread(one, other)
    last = len(one.space.partitions) - 1
    async with watching(one) as seen:
        await told_of(one, store, deadline, *range(last))
        await told_of(one, store, deadline, 0)  # again, and only here
        for number in range(50):  # in all partitions
            await one.delete(f"k{number}")
        await seen.until(lambda: len(seen.changes) == 50)
        held = seen.token
        await told_of(one, store, deadline, last)
        await seen.until(lambda: pattern in named(seen.changes))
        await told_of(one, store, deadline, *range(1, last + 1))
        await seen.until(lambda: named(seen.changes).count(pattern) == 2)
        async with watching(one) as late:
            await late.settled(one)
            assert not late.changes
        assert len(seen.changes) == 52
        assert not seen.gaps
    async with watching(other, resume=held) as again:
        await again.until(lambda: pattern in named(again.changes))
        assert not again.gaps


async def test_what_only_some_partitions_tell_of_is_told_a_little_later(
    store: Store, one: Caller, other: Caller, deadline: Deadline
) -> None:
    one, other = spread(one, other)
    last = len(one.space.partitions) - 1
    async with watching(one) as seen:
        first = seen.token
        began = monotonic()
        await told_of(one, store, deadline, 0)
        await seen.until(lambda: seen.changes)
        assert monotonic() - began >= halves.HOLD_S
        await told_of(one, store, deadline, last)
        await seen.until(lambda: len(seen.changes) == 2)
        await seen.until(lambda: not seen.messages[-1].changes)  # heartbeats go on
        async with watching(other, resume=first) as again:
            await again.until(lambda: again.changes)
            assert named(again.changes) == [(Kind.PATTERN, False, "x*")] * len(again.changes)


def test_events_of_one_partition_belong_to_those_of_others_in_turn() -> None:
    held = Halves(2)
    change, key = Change("n", Kind.TAG, False, "t"), Change("n", Kind.KEY, False, "k")
    positions = [_POSITION._replace(number=9), _POSITION._replace(number=29)]
    assert held.take(0, [(5, change), (6, key), (8, change)], 1.0) == [key]
    assert [one.number for one in held.before(positions)] == [4, 29]
    assert held.sure_at == 1.0
    assert held.take(1, [(21, change)], 2.0) == [change]
    assert [one.number for one in held.before(positions)] == [7, 29]
    assert held.sure_at == 2.0
    assert held.take(1, [(25, change)], 3.0) == [change]
    assert not held
    assert held.before(positions) is positions
    assert Halves(1).take(0, [(1, change)], 1.0) == [change]


async def test_watches_end_when_their_worker_does(
    store: Store, stats: CacheStats, one: Caller
) -> None:
    leaving = CacheEngine(store, stats, HotKeys(store))
    leaving.start()
    caller = replace(one, engine=leaving)
    async with watching(caller) as seen:
        leaving.dismiss()
        with pytest.raises(ShuttingDown):
            await seen.until(lambda: False)
    with pytest.raises(ShuttingDown):
        await anext(opened(caller))
    await leaving.stop()


async def test_near_cache_is_taken_up_by_watches_under_way(one: Caller, other: Caller) -> None:
    config = {"namespaces": {one.space.name: {"near_cache": True}}}
    async with watching(one) as seen:
        one.engine.watching.apply(Settings.model_validate(config))
        await seen.until(lambda: seen.gaps)  # writes went untold until now
        await other.set(KEY)
        await seen.until(lambda: seen.changes)
        assert named(seen.changes) == [(Kind.WRITE, False, KEY)]
        assert seen.messages[0].with_writes == ()
        await seen.until(lambda: seen.messages[-1].with_writes == (one.space.name,))


async def test_a_first_level_and_a_watch_hear_of_the_same_writes(nears: NearFactory) -> None:
    near = await nears.make(near_cache=True)
    await near.other.set(KEY, b"old")
    await near.keep(KEY)
    async with watching(near.one) as seen:
        await near.other.set(KEY, b"new")
        await seen.until(lambda: seen.changes)
        await near.until(KEY, b"new")
        await near.keep(KEY)
        await near.other.invalidate_namespace()
        await near.until(KEY, None)
        await seen.until(lambda: (Kind.NAMESPACE, False, "") in named(seen.changes))


async def test_a_watched_namespace_reads_as_any_other(one: Caller) -> None:
    """The marks are longer then."""
    async with watching(one):
        await one.set(KEY, tags=("t",))
        assert isinstance(await one.get(KEY), Hit)
        await one.ask("leased")
        await one.invalidate_tags("u")
        assert isinstance(await one.get(KEY), Hit)
        await one.invalidate_tags("t")
        assert not isinstance(await one.get(KEY), Hit)
