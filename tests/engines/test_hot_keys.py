"""Hot keys of two workers, on every topology: what they count together, for how long that is kept,
and what comes of it."""

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import accumulate

import pytest
from pantler_server.core.config import NamespaceConfig
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.core.origin_config import HotKeysConfig
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.cache.hot_keys import engine as hot_keys
from pantler_server.engines.cache.hot_keys import keys
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.store.open import open_store
from pantler_server.store.request import read
from pantler_server.store.store import Store
from prometheus_client import REGISTRY

from tests.engines.conftest import Deadline, NearFactory
from tests.servers.valkey import ValkeyServer

MINUTE_MS, HOUR_MS = 60_000, 3_600_000


def configured(space: Namespace, **said: object) -> Namespace:
    """The namespace with this of `hot_keys`; all reads are counted."""
    config = HotKeysConfig.model_validate({"sample_ratio": 1, **said})
    return replace(space, config=space.config.model_copy(update={"hot_keys": config}))


@pytest.fixture
def counted(space: Namespace) -> Namespace:
    """A namespace of its own in which a key is hot that was read 60 times in a minute."""
    return configured(space, min_reads_per_second=1)


@pytest.fixture
def worker(store: Store) -> HotKeys:
    """What a worker counts; not started, it flushes when it is told to."""
    return HotKeys(store)


@pytest.fixture
def other_worker(store: Store) -> HotKeys:
    return HotKeys(store)


def count(worker: HotKeys, space: Namespace, key: str, times: int) -> None:
    for _ in range(times):
        worker.count(space, key)


async def test_the_reads_of_two_workers_are_merged(
    worker: HotKeys, other_worker: HotKeys, counted: Namespace, deadline: Deadline
) -> None:
    count(worker, counted, "a", 200)
    count(worker, counted, "b", 100)
    other_worker.count_many(counted, ["b", "c", "b"] * 100)
    await worker.flush()
    await other_worker.flush()
    found = await worker.top(counted, 10, deadline())
    assert [one.key for one in found] == ["b", "a", "c"]
    assert [one.reads_per_second for one in found] == pytest.approx([5, 10 / 3, 5 / 3], rel=0.1)
    assert [one.key for one in await other_worker.top(counted, 2, deadline())] == ["b", "a"]
    assert [one.key for one in await other_worker.top(counted, 1000, deadline())] == ["b", "a", "c"]


async def test_what_was_counted_is_handed_on_once(
    worker: HotKeys, counted: Namespace, deadline: Deadline
) -> None:
    count(worker, counted, "a", 600)
    for _ in range(3):
        await worker.flush()
    [found] = await worker.top(counted, 10, deadline())
    assert found.reads_per_second == pytest.approx(10, rel=0.1)


async def test_a_key_is_hot_to_all_workers_as_soon_as_they_have_heard(
    worker: HotKeys, other_worker: HotKeys, counted: Namespace, deadline: Deadline
) -> None:
    for each in (worker, other_worker):  # neither has seen enough by itself
        count(each, counted, "hot", 40)
        count(each, counted, "cold", 2)
        assert not each.is_hot(counted, "hot")
        await each.flush()
    assert not worker.is_hot(counted, "hot")
    assert other_worker.is_hot(counted, "hot")
    count(worker, counted, "another", 1)
    await worker.flush()
    for each in (worker, other_worker):
        assert each.is_hot(counted, "hot")
        assert not each.is_hot(counted, "cold")
        assert not each.is_hot(counted, "another")
    found = await worker.top(counted, 10, deadline())
    assert [(one.key, one.hot) for one in found] == [
        ("hot", True),
        ("cold", False),
        ("another", False),
    ]


async def test_a_key_cools_down_when_its_reads_are_over(
    worker: HotKeys, counted: Namespace, store: Store, deadline: Deadline
) -> None:
    count(worker, counted, "hot", 600)
    await worker.flush()
    assert worker.is_hot(counted, "hot")
    removals = [("DEL", place) for place in keys.minutes(counted)]  # as if they had expired
    await store.call(read(counted.partitions[0].slot, "test", *removals), deadline())
    await worker.flush()  # though nothing was read from the namespace
    assert not worker.is_hot(counted, "hot")


async def test_reads_of_several_minutes_count_together(
    worker: HotKeys, counted: Namespace, store: Store, deadline: Deadline
) -> None:
    slot = counted.partitions[0].slot
    [[seconds, _]] = await store.call(read(slot, "test", ("TIME",)), deadline())
    minute = int(seconds) // 60
    minutes = keys.minutes(counted)

    def at(ago: int) -> bytes:
        return minutes[(minute - ago) % keys.MINUTES]

    reads = [
        *(("ZADD", at(ago), 90, "steady", 10, "rare") for ago in (1, 2, 3)),
        ("ZADD", at(4), 200, "steady", 500, "burst"),
        ("ZADD", at(5), 1_000_000, "former"),  # too long ago
    ]
    await store.call(read(slot, "test", *reads), deadline())
    count(worker, counted, "new", 1)
    await worker.flush()
    assert [worker.is_hot(counted, key) for key in ("steady", "burst", "rare", "former")] == [
        True,
        True,
        False,
        False,
    ]
    found = {one.key: one for one in await worker.top(counted, 10, deadline())}
    assert found.keys() == {"steady", "burst", "rare", "new"}
    # Over 240 s to 300 s, as far as the minute has come (and one more, if it has just ended).
    assert 470 / 300 <= found["steady"].reads_per_second <= 470 / 240
    assert {key for key, one in found.items() if one.hot} == {"steady", "burst"}


async def test_workers_and_the_list_have_one_idea_of_what_is_hot(
    worker: HotKeys, counted: Namespace, store: Store, deadline: Deadline
) -> None:
    draw = random.Random(6)
    slot = counted.partitions[0].slot
    [[seconds, _]] = await store.call(read(slot, "test", ("TIME",)), deadline())
    minutes = keys.minutes(counted)
    for ago in range(5):
        reads = {f"k{key}": draw.randrange(400) for key in draw.sample(range(300), 100)}
        minute = minutes[(int(seconds) // 60 - ago) % keys.MINUTES]
        told = ("ZADD", minute, *(word for key in reads for word in (reads[key], key)))
        await store.call(read(slot, "test", told), deadline())
    count(worker, counted, "new", 1)
    await worker.flush()
    found = await worker.top(counted, 1000, deadline())
    clear = [one for one in found if abs(one.reads_per_second - 1) > 0.05]  # time goes on
    assert 30 < sum(one.hot for one in clear) < 200
    for one in clear:
        assert worker.is_hot(counted, one.key) == one.hot == (one.reads_per_second >= 1)


async def test_at_most_500_keys_are_hot(worker: HotKeys, counted: Namespace) -> None:
    names = [f"k{number}" for number in range(600)]
    for begin in range(0, 600, 200):
        worker.count_many(counted, names[begin : begin + 200] * 100)
        await worker.flush()
    assert sum(worker.is_hot(counted, name) for name in names) == 500


async def test_every_key_in_redis_expires(
    worker: HotKeys, counted: Namespace, store: Store, deadline: Deadline
) -> None:
    for _ in range(2):
        count(worker, counted, "a", 1)
        await worker.flush()
    slot = counted.partitions[0].slot
    for places, expiry_ms, at_once in (
        (keys.minutes(counted), 6 * MINUTE_MS, 2),  # a minute may end meanwhile
        (keys.days(counted), 48 * HOUR_MS, 2),
    ):
        left_ms = await store.call(
            read(slot, "test", *(("PTTL", place) for place in places)), deadline()
        )
        there = [left for left in left_ms if left != -2]
        assert 1 <= len(there) <= at_once
        assert all(expiry_ms - MINUTE_MS < left <= expiry_ms for left in there)


async def test_the_keys_are_outside_of_what_first_levels_are_told_of(counted: Namespace) -> None:
    for place in (*keys.minutes(counted), *keys.days(counted)):
        assert not place.startswith(b"{")


async def test_the_list_of_a_day_has_what_was_read_most(
    worker: HotKeys, other_worker: HotKeys, counted: Namespace, store: Store, deadline: Deadline
) -> None:
    slot = counted.partitions[0].slot
    [[seconds, _]] = await store.call(read(slot, "test", ("TIME",)), deadline())
    yesterday = keys.days(counted)[(int(seconds) // 86400 - 1) % keys.DAYS]
    told = ("ZADD", yesterday, 7, "old", 9, "older")
    await store.call(read(slot, "test", told), deadline())
    count(worker, counted, "a", 2)
    count(other_worker, counted, "b", 3)
    await worker.flush()
    await other_worker.flush()
    assert await worker.of_day(counted, 0, 10, deadline()) == ["b", "a"]
    assert await worker.of_day(counted, 0, 1, deadline()) == ["b"]
    assert await worker.of_day(counted, 1, 10, deadline()) == ["older", "old"]


async def test_no_more_than_1000_keys_are_kept(
    worker: HotKeys, counted: Namespace, store: Store, deadline: Deadline
) -> None:
    count(worker, counted, "most", 5)
    for batch in range(6):
        worker.count_many(counted, [f"k{batch}:{number}" for number in range(240)])
        await worker.flush()
    kept = await worker.of_day(counted, 0, 2000, deadline())
    assert len(kept) == 1000
    assert kept[0] == "most"


async def test_a_skewed_workload_shows_its_true_top_10(
    worker: HotKeys, other_worker: HotKeys, space: Namespace, deadline: Deadline
) -> None:
    random.seed(3)
    space = configured(space, sample_ratio=0.1)
    weights = list(accumulate(rank**-1.5 for rank in range(1, 50_001)))
    drawn = random.choices(range(50_000), cum_weights=weights, k=400_000)
    stream = [f"user:{rank}" for rank in drawn]
    for begin in range(0, len(stream), 1000):
        worker.count_many(space, stream[begin : begin + 500])
        other_worker.count_many(space, stream[begin + 500 : begin + 1000])
    await worker.flush()
    await other_worker.flush()
    exact = Counter(stream)
    found = await worker.top(space, 10, deadline())
    assert {one.key for one in found} == {key for key, _ in exact.most_common(10)}
    for one in found:
        assert one.reads_per_second * 60 == pytest.approx(exact[one.key], rel=0.1)


async def test_all_reads_of_the_engine_count(nears: NearFactory, deadline: Deadline) -> None:
    near = await nears.make(hot_keys=HotKeysConfig(sample_ratio=1))
    one, worker = near.one, near.one.engine._hot_keys
    await one.set("a")
    alone = 0
    while near.stats.l1_hits < 100:  # those that Redis answered, and those that the first level did
        await one.get("a")
        alone += 1
    for _ in range(100):
        await one.engine.get_many(one.space, ["a", "b"], deadline())
    await worker.flush()
    found = {item.key: item for item in await worker.top(one.space, 10, deadline())}
    assert found.keys() == {"a", "b"}
    ratio = found["a"].reads_per_second / found["b"].reads_per_second
    assert ratio == pytest.approx((alone + 100) / 100)


async def test_a_first_level_for_hot_keys_keeps_nothing_else(
    nears: NearFactory, deadline: Deadline
) -> None:
    config = HotKeysConfig(sample_ratio=1, min_reads_per_second=1, l1_only=True)
    near = await nears.make(hot_keys=config)
    one, worker = near.one, near.one.engine._hot_keys
    for key in ("hot", "cold"):
        await one.set(key)
        for _ in range(5):  # alone and in batches: neither is kept
            await one.get(key)
            await one.engine.get_many(one.space, ["hot", "cold"], deadline())
    assert near.level.kept.count() == 0
    assert not near.level.tickets
    count(worker, one.space, "hot", 600)
    await worker.flush()
    await near.keep("hot")
    answered = near.stats.l1_hits
    for _ in range(5):
        await one.get("cold")
        await one.engine.get_many(one.space, ["hot", "cold"], deadline())
    assert near.stats.l1_hits == answered + 5
    await near.one.set("hot", b"new")
    await near.until("hot", b"new")


async def test_a_hot_key_gets_a_longer_ttl(worker: HotKeys, space: Namespace) -> None:
    space = configured(space, min_reads_per_second=1, ttl_factor=3)
    count(worker, space, "hot", 600)
    assert worker.ttl_ms(space, "hot") == space.ttl_ms
    await worker.flush()
    assert worker.ttl_ms(space, "hot") == 3 * space.ttl_ms
    assert worker.ttl_ms(space, "cold") == space.ttl_ms
    short = replace(space, max_ttl_ms=2 * space.ttl_ms)
    assert worker.ttl_ms(short, "hot") == short.max_ttl_ms
    plain = configured(space, min_reads_per_second=1)
    assert worker.ttl_ms(plain, "hot") == plain.ttl_ms


async def test_the_counts_of_an_interval_are_dropped_while_redis_is_away() -> None:
    async with AsyncExitStack() as ending:
        server = await ending.enter_async_context(ValkeyServer())
        state = open_store("state", RedisConfig(url=server.url), None)
        await state.start()
        ending.push_async_callback(state.stop)
        worker = HotKeys(state)
        partitions = (Partition(b"{away:0}", state.slot_of(b"{away:0}")),)
        space = configured(Namespace("away", False, NamespaceConfig(), partitions, 1, 1, 0, 0))
        space = configured(space, min_reads_per_second=1)
        count(worker, space, "hot", 600)
        await worker.flush()
        await server.kill()
        for _ in range(2):
            count(worker, space, "lost", 600)
            await worker.flush()
        assert worker.is_hot(space, "hot")
        dropped = "pantler_hot_key_reports_dropped_total"
        assert REGISTRY.get_sample_value(dropped, {"namespace": "away"}) == 2
        await server.start()
        count(worker, space, "found", 600)
        async with asyncio.timeout(5):
            while not state.available:
                await asyncio.sleep(0.01)
        await worker.flush()
        assert [worker.is_hot(space, key) for key in ("lost", "found")] == [False, True]


async def test_a_worker_that_is_started_hands_on_by_itself(
    worker: HotKeys, counted: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hot_keys, "FLUSH_INTERVAL_S", 0.01)
    worker.start()
    count(worker, counted, "hot", 600)
    async with asyncio.timeout(5):
        while not worker.is_hot(counted, "hot"):
            await asyncio.sleep(0.01)
    await worker.stop()


async def test_another_ratio_begins_a_sample_anew(
    worker: HotKeys, counted: Namespace, deadline: Deadline
) -> None:
    count(worker, counted, "a", 600)
    same = replace(counted, ttl_ms=5)
    count(worker, same, "a", 600)
    await worker.flush()
    [found] = await worker.top(counted, 10, deadline())
    assert found.reads_per_second == pytest.approx(20, rel=0.1)
    count(worker, same, "b", 600)
    count(worker, configured(counted, sample_ratio=1e-6), "b", 1)
    await worker.flush()
    assert [one.key for one in await worker.top(counted, 10, deadline())] == ["a"]
