"""Warming at the start: by one of all workers, and by another one if that dies."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from pantler_server.core.config import Settings
from pantler_server.core.errors import OriginUnavailable
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.record import keys, warm_scripts
from pantler_server.engines.cache.record.warm_start import WarmingAtStart
from pantler_server.engines.cache.record.warming import Warmer
from pantler_server.store.request import Request, pack, read
from pantler_server.store.store import Store

from tests.engines.recording import Records, soon
from tests.engines.test_warming import asked, fill

pytestmark = pytest.mark.usefixtures("short_turns")


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead worker's turn is over soon."""
    monkeypatch.setattr(warm_scripts, "TURN_MS", 1_000)


@dataclass
class Starting:
    """Workers that start, with what they have to warm."""

    store: Store
    running: list[WarmingAtStart] = field(default_factory=list)

    def start(self, records: Records, **warm: Any) -> WarmingAtStart:
        name = records.space.name
        origin = {"sql": {"url": "sqlite:///unused.db", "table": "users"}}
        warm = {"source": "all", "at_start": True, "ready_after": True, **warm}
        settings = Settings.model_validate(
            {"namespaces": {name: {"origin": origin, "warm": warm}, "others": {}}}
        )
        one = WarmingAtStart(
            self.store,
            Warmer(records.engine, HotKeys(self.store), first_pause_s=0.01),
            _Known(records.space),
            settings,
        )
        one.start()
        self.running.append(one)
        return one


@dataclass
class _Known:
    """The one namespace."""

    space: Namespace

    async def resolve(self, name: str, deadline: float, *, for_records: bool = False) -> Namespace:
        assert name == self.space.name
        return self.space

    async def find(self, name: str, deadline: float) -> Namespace | None:
        raise AssertionError("not asked for here")

    async def deployment(self, deadline: float) -> bytes:
        raise AssertionError("not asked for here")


@pytest_asyncio.fixture
async def starting(store: Store) -> AsyncIterator[Starting]:
    workers = Starting(store)
    yield workers
    for one in workers.running:
        await one.stop()


async def ended(*workers: WarmingAtStart) -> None:
    async with asyncio.timeout(20):
        while any(one.awaited() for one in workers):
            await asyncio.sleep(0.01)


async def noted(store: Store, space: Namespace) -> dict[bytes, bytes]:
    partition = space.partitions[0]
    place = keys.warming(partition)
    request = read(partition.slot, space.name, ("HGETALL", place), ("PTTL", place))
    found, left_ms = await store.call(request, soon())
    assert not found or left_ms > 0
    return {**found, b"left_ms": left_ms}


async def until_noted(store: Store, space: Namespace) -> None:
    async with asyncio.timeout(10):
        while not (await noted(store, space)).get(b"position"):
            await asyncio.sleep(0.01)


async def test_one_of_all_workers_warms_and_all_wait_for_it(
    records: Records, others: Records, store: Store, starting: Starting
) -> None:
    rows = fill(records, 150)
    one, other = starting.start(records), starting.start(others)
    assert one.awaited() == other.awaited() == (records.space.name,)
    await ended(one, other)
    assert sorted(asked(records) + asked(others)) == rows
    assert not asked(records) or not asked(others)


async def test_a_worker_that_starts_later_warms_nothing_for_ten_minutes(
    records: Records, others: Records, store: Store, starting: Starting
) -> None:
    fill(records, 5)
    await ended(starting.start(records))
    left_ms = (await noted(store, records.space))[b"left_ms"]
    assert 590_000 < int(left_ms) <= warm_scripts.ENDED_MS
    others.write_row("new", "since then")
    await ended(starting.start(others))
    assert asked(others) == []


async def test_another_worker_goes_on_where_one_died(
    records: Records, others: Records, store: Store, starting: Starting
) -> None:
    fill(records, 40)
    died = starting.start(records, keys_per_second=20)
    await until_noted(store, records.space)
    other = starting.start(others, keys_per_second=1000)
    await died.stop()
    before = set(asked(records))
    assert 0 < len(before) < 40
    await ended(other)
    assert before | set(asked(others)) == {f"k{index:05}" for index in range(40)}
    assert len(asked(others)) < 40


async def test_a_worker_that_was_taken_over_ends(
    records: Records, others: Records, store: Store, starting: Starting
) -> None:
    fill(records, 200)
    slow = starting.start(records, keys_per_second=20)
    await until_noted(store, records.space)
    partition = records.space.partitions[0]
    take = pack("HSET", keys.warming(partition), "who", "another", "until", 0)
    await store.call(Request(partition.slot, (take,), "test", repeatable=True), soon())
    other = starting.start(others, keys_per_second=1000)
    await ended(other, slow)
    assert len(asked(records)) < 40
    assert len(set(asked(records)) | set(asked(others))) == 200


async def test_another_list_of_keys_is_warmed_anew(
    records: Records, others: Records, starting: Starting
) -> None:
    fill(records, 9)
    await ended(starting.start(records, source="keys", keys=["k00001"]))
    assert asked(records) == ["k00001"]
    await ended(starting.start(others, source="keys", keys=["k00002"]))
    assert asked(others) == ["k00002"]


async def test_an_origin_that_is_away_is_not_waited_for_for_ever(
    records: Records, others: Records, store: Store, starting: Starting
) -> None:
    rows = fill(records, 20)
    records.origin.fails = OriginUnavailable("away", "test")
    await ended(starting.start(records, source="keys", keys=rows, keys_per_second=10))
    assert (await noted(store, records.space))[b"ended"] == b"1"
    assert len(asked(records)) == 8
    await ended(starting.start(others, source="keys", keys=rows, keys_per_second=10))
    assert asked(others) == []


async def test_readiness_waits_only_where_it_is_told_to(
    records: Records, store: Store, starting: Starting
) -> None:
    fill(records, 3)
    records.origin.before_load.hold()
    assert starting.start(records, ready_after=False).awaited() == ()
    await records.origin.before_load.until(1)
