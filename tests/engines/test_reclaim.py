"""Hidden entries are freed before they expire, where the namespace asks for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import pytest_asyncio
from pantler_server.core.config import Settings
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import keys
from pantler_server.engines.cache.invalidation import reclaim
from pantler_server.engines.cache.invalidation.reclaim import Reclaimer
from pantler_server.engines.cache.model import Miss
from pantler_server.store.request import Request, pack, read
from pantler_server.store.store import Store

from tests.engines.caller import FILL_LOST, Caller, value

RATE = 100_000  # keys a second: no test waits for it


def allowed(space: Namespace, rate: int) -> Namespace:
    """The namespace with another rate."""
    config = space.config.model_copy(update={"reclaim_keys_per_second": rate})
    return replace(space, config=config)


def reclaimer_of(store: Store, space: Namespace) -> Reclaimer:
    reclaimer = Reclaimer(store)
    reclaimer.prepare(space)
    return reclaimer


@pytest_asyncio.fixture
async def reclaimed(one: Caller) -> AsyncIterator[Caller]:
    yield Caller(one.engine, allowed(one.space, RATE))


async def stored(store: Store, space: Namespace) -> int:
    """How many entries Redis holds."""
    count = 0
    async for step in store.scan(b"{%b:*}e:*" % space.name.encode(), 1000):
        count += len(step.keys)
    return count


async def test_what_is_hidden_is_freed_and_the_rest_stays(reclaimed: Caller, store: Store) -> None:
    reclaimer = reclaimer_of(store, reclaimed.space)
    for index in range(30):
        await reclaimed.set(f"hidden{index}", tags=("t",))
        await reclaimed.set(f"soft{index}", tags=("u",))
        await reclaimed.set(f"plain{index}")
    await reclaimed.invalidate_tags("t")
    await reclaimed.invalidate_tags("u", soft=True)
    assert await reclaimer.reclaim(reclaimed.space) == 30
    assert await stored(store, reclaimed.space) == 60
    assert value(await reclaimed.get("plain0")) == b"v"
    assert value(await reclaimed.get("soft0", accept_stale=True)) == b"v"


async def test_a_lost_generation_is_freed(reclaimed: Caller, store: Store) -> None:
    reclaimer = reclaimer_of(store, reclaimed.space)
    for index in range(30):
        await reclaimed.set(f"k{index}")
    for partition in reclaimed.space.partitions:
        lose = Request(partition.slot, (pack("DEL", keys.marks(partition)),), "m", repeatable=False)
        await store.call(lose, _soon())
    await reclaimed.invalidate_tags("any")  # every partition has marks again
    assert await reclaimer.reclaim(reclaimed.space) == 30
    assert await stored(store, reclaimed.space) == 0


async def test_a_fill_that_a_freed_set_would_have_stopped_is_refused(
    reclaimed: Caller, store: Store
) -> None:
    await reclaimed.set("elsewhere")
    missed = await reclaimed.get("k")
    assert isinstance(missed, Miss)
    await reclaimed.set("k", b"newer", tags=("t",))
    await reclaimed.invalidate_tags("t")
    assert await reclaimer_of(store, reclaimed.space).reclaim(reclaimed.space) == 1
    assert await reclaimed.fill("k", missed.fill_token, b"older") is FILL_LOST
    assert value(await reclaimed.get("k")) is None


async def test_without_new_marks_nothing_is_walked(
    reclaimed: Caller, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reclaimer = reclaimer_of(store, reclaimed.space)
    await reclaimed.set("k", tags=("t",))
    await reclaimed.invalidate_namespace()
    assert await reclaimer.reclaim(reclaimed.space) == 1
    monkeypatch.setattr(store, "scan", None)
    await reclaimed.set("k", tags=("t",))
    assert await reclaimer.reclaim(reclaimed.space) == 0


async def test_a_partition_has_one_owner(reclaimed: Caller, store: Store) -> None:
    await reclaimed.set("k")
    await reclaimed.invalidate_namespace()
    first, second = (reclaimer_of(store, reclaimed.space) for _ in range(2))
    removed = await asyncio.gather(first.reclaim(reclaimed.space), second.reclaim(reclaimed.space))
    assert sum(removed) == 1
    await reclaimed.set("k")
    await reclaimed.invalidate_namespace()
    owner = keys.owner(reclaimed.space.partitions[0])
    request = read(reclaimed.space.partitions[0].slot, "o", ("PTTL", owner))
    [left_ms] = await store.call(request, _soon())
    assert 0 < left_ms <= 15_000
    third = reclaimer_of(store, reclaimed.space)
    assert await third.reclaim(reclaimed.space) == 0, "it is still the first one's"


async def test_the_walk_keeps_to_its_rate(reclaimed: Caller, store: Store) -> None:
    await reclaimed.set("k")
    await reclaimed.invalidate_namespace()
    total = await store.count_keys(_soon())
    space = allowed(reclaimed.space, max(1, total))
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(10):
        assert await reclaimer_of(store, space).reclaim(space) == 1
    assert asyncio.get_running_loop().time() - began > 0.5, "all keys, at so many a second"


@asynccontextmanager
async def walking(
    store: Store, monkeypatch: pytest.MonkeyPatch, *spaces: Namespace
) -> AsyncIterator[Reclaimer]:
    """A worker's, which begins at once."""
    monkeypatch.setattr(reclaim, "ROUND_S", 0.05)
    reclaimer = Reclaimer(store)
    for space in spaces:
        reclaimer.prepare(space)
    reclaimer.start()
    try:
        yield reclaimer
    finally:
        await reclaimer.stop()


async def until_freed(store: Store, space: Namespace) -> None:
    async with asyncio.timeout(10):
        while await stored(store, space):
            await asyncio.sleep(0.05)


async def until_owned(store: Store, space: Namespace) -> None:
    """Waits until a walk is under way."""
    [owner] = [read(one.slot, "o", ("GET", keys.owner(one))) for one in space.partitions[:1]]
    async with asyncio.timeout(10):
        while (await store.call(owner, _soon()))[0] is None:
            await asyncio.sleep(0.01)


async def test_a_worker_reclaims_by_itself(
    reclaimed: Caller, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reclaimed.set("k")
    await reclaimed.invalidate_namespace()
    async with walking(store, monkeypatch, reclaimed.space):
        await until_freed(store, reclaimed.space)


async def test_a_slow_namespace_holds_no_other_up(
    reclaimed: Caller, graced: Caller, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = allowed(graced.space, 1)
    for caller in (graced, reclaimed):
        for index in range(30):
            await caller.set(f"k{index}")
        await caller.invalidate_namespace()
    async with walking(store, monkeypatch, slow) as reclaimer:
        await until_owned(store, slow)
        reclaimer.prepare(reclaimed.space)
        await until_freed(store, reclaimed.space)
        assert await stored(store, slow), "that one is at work still"


@pytest.mark.parametrize("by", ["its next use", "the reload"])
@pytest.mark.slow
async def test_another_rate_changes_a_walk_under_way(
    reclaimed: Caller, store: Store, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    slow = allowed(reclaimed.space, 1)
    for index in range(30):
        await reclaimed.set(f"k{index}")
    await reclaimed.invalidate_namespace()
    async with walking(store, monkeypatch, slow) as reclaimer:
        await until_owned(store, slow)
        if by == "its next use":
            reclaimer.prepare(reclaimed.space)
        else:
            defaults = {"reclaim_keys_per_second": RATE}
            reclaimer.apply(Settings.model_validate({"namespace_defaults": defaults}))
        await until_freed(store, reclaimed.space)


async def test_a_rate_of_0_ends_a_walk_under_way(
    reclaimed: Caller, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = allowed(reclaimed.space, 1)
    for index in range(30):
        await reclaimed.set(f"k{index}")
    await reclaimed.invalidate_namespace()
    reclaimer = reclaimer_of(store, slow)
    walk = asyncio.create_task(reclaimer.reclaim(slow))
    await until_owned(store, slow)
    reclaimer.apply(Settings())
    async with asyncio.timeout(5):
        assert await walk < 30
    again = reclaimer_of(store, reclaimed.space)
    monkeypatch.setattr(again, "_who", reclaimer._who)
    assert await again.reclaim(reclaimed.space), "it was not done"


def _soon() -> float:
    return asyncio.get_running_loop().time() + 5.0
