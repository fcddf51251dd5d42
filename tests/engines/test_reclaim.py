"""Hidden entries are freed before they expire, where the namespace asks for it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import keys
from pantler_server.engines.cache.invalidation.reclaim import Reclaimer
from pantler_server.store.request import Request, pack, read
from pantler_server.store.store import Store

from tests.engines.caller import Caller, value

RATE = 100_000  # keys a second: no test waits for it


@pytest_asyncio.fixture
async def reclaimed(one: Caller) -> AsyncIterator[Caller]:
    config = one.space.config.model_copy(update={"reclaim_keys_per_second": RATE})
    yield Caller(one.engine, replace(one.space, config=config))


async def stored(store: Store, space: Namespace) -> int:
    """How many entries Redis holds."""
    count = 0
    async for step in store.scan(b"{%b:*}e:*" % space.name.encode(), 1000):
        count += len(step.keys)
    return count


async def test_what_is_hidden_is_freed_and_the_rest_stays(reclaimed: Caller, store: Store) -> None:
    reclaimer = Reclaimer(store)
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
    reclaimer = Reclaimer(store)
    for index in range(30):
        await reclaimed.set(f"k{index}")
    for partition in reclaimed.space.partitions:
        lose = Request(partition.slot, (pack("DEL", keys.marks(partition)),), "m", repeatable=False)
        await store.call(lose, _soon())
    await reclaimed.invalidate_tags("any")  # every partition has marks again
    assert await reclaimer.reclaim(reclaimed.space) == 30
    assert await stored(store, reclaimed.space) == 0


async def test_without_new_marks_nothing_is_walked(
    reclaimed: Caller, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reclaimer = Reclaimer(store)
    await reclaimed.set("k", tags=("t",))
    await reclaimed.invalidate_namespace()
    assert await reclaimer.reclaim(reclaimed.space) == 1
    monkeypatch.setattr(store, "scan", None)
    await reclaimed.set("k", tags=("t",))
    assert await reclaimer.reclaim(reclaimed.space) == 0


async def test_a_partition_has_one_owner(reclaimed: Caller, store: Store) -> None:
    await reclaimed.set("k")
    await reclaimed.invalidate_namespace()
    first, second = Reclaimer(store), Reclaimer(store)
    removed = await asyncio.gather(first.reclaim(reclaimed.space), second.reclaim(reclaimed.space))
    assert sum(removed) == 1
    await reclaimed.set("k")
    await reclaimed.invalidate_namespace()
    owner = keys.owner(reclaimed.space.partitions[0])
    request = read(reclaimed.space.partitions[0].slot, "o", ("PTTL", owner))
    [left_ms] = await store.call(request, _soon())
    assert 0 < left_ms <= 15_000
    third = Reclaimer(store)
    assert await third.reclaim(reclaimed.space) == 0, "it is still the first one's"


async def test_the_walk_keeps_to_its_rate(reclaimed: Caller, store: Store) -> None:
    config = reclaimed.space.config.model_copy(update={"reclaim_keys_per_second": 1})
    space = replace(reclaimed.space, config=config)
    await reclaimed.set("k")
    await reclaimed.invalidate_namespace()
    walk = asyncio.create_task(Reclaimer(store).reclaim(space))
    await asyncio.sleep(0.5)
    assert not walk.done(), "one key a second, and there are more on this Redis"
    walk.cancel()


async def test_a_worker_reclaims_by_itself(
    one: Caller, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pantler_server.engines.cache.invalidation.reclaim.ROUND_S", 0.05)
    config = one.space.config.model_copy(update={"reclaim_keys_per_second": RATE})
    reclaimer = Reclaimer(store)
    reclaimer.prepare(replace(one.space, config=config))
    await one.set("k")
    await one.invalidate_namespace()
    reclaimer.start()
    async with asyncio.timeout(10):
        while await stored(store, one.space):
            await asyncio.sleep(0.05)
    await reclaimer.stop()


def _soon() -> float:
    return asyncio.get_running_loop().time() + 5.0
