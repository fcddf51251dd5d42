"""Refresh-ahead: records that are due, stale or hot are loaded anew, once and without a wait."""

import asyncio
from datetime import timedelta

import pytest
from pantler_server.core.config import FirstLevelConfig
from pantler_server.core.origin_config import HotKeysConfig
from pantler_server.engines.cache import keys as cache_keys
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.record import refresh
from pantler_server.engines.cache.record.model import Source
from pantler_server.store.request import read
from pantler_server.store.store import Store

from tests.engines.recording import RecordsFactory, expire, refreshes_have_ended, soon, value

CACHE = Source.CACHE


async def test_an_entry_that_is_due_is_refreshed_once_while_all_are_served(
    make_records: RecordsFactory,
) -> None:
    records = await make_records(ttl=timedelta(seconds=60), refresh_ratio=0.0001)
    others = await make_records(beside=records)
    records.write_row("1", "old")
    await records.get("1")
    records.write_row("1", "new")
    for origin in (records.origin, others.origin):
        origin.before_load.hold()
    await asyncio.sleep(0.01)  # past that share of its ttl
    found = [await one.get("1") for one in [records, others] * 20]
    assert {(one.value, one.source, one.stale) for one in found} == {
        (b'{"age":null,"id":"1","name":"old"}', CACHE, False)
    }
    for origin in (records.origin, others.origin):
        origin.before_load.open()
    async with asyncio.timeout(5):
        while (await others.record("1"))["name"] != "new":  # type: ignore[index]
            await asyncio.sleep(0.001)
    refreshes = len(records.origin.queries + others.origin.queries) - 1
    assert refreshes <= 2, "one at a time, and each ends before the next begins"


async def test_entries_that_fall_due_together_are_refreshed_with_one_query(
    make_records: RecordsFactory,
) -> None:
    records = await make_records(ttl=timedelta(seconds=60), refresh_ratio=0)  # due at once
    people = ["1", "2", "3", "4"]
    for key in people:
        records.write_row(key, f"old {key}")
    await records.get_many(*people)
    for key in people:
        records.write_row(key, f"new {key}")
    await records.engine.stop_refresh(records.space, ["4"], soon())
    for key in people:  # one after the other
        assert (await records.record(key))["name"] == f"old {key}"  # type: ignore[index]
    async with asyncio.timeout(5):
        while len(records.origin.queries) < 2:
            await asyncio.sleep(0.001)
    assert records.origin.queries == [people, ["1", "2", "3"]]
    async with asyncio.timeout(5):
        while (await records.record("3"))["name"] != "new 3":  # type: ignore[index]
            await asyncio.sleep(0.001)


async def test_a_record_that_cannot_be_read_keeps_no_other_from_its_refresh(
    make_records: RecordsFactory, store: Store
) -> None:
    records = await make_records(ttl=timedelta(seconds=60), refresh_ratio=0)  # due at once
    for key in ("1", "2", "3"):
        records.write_row(key, f"old {key}")
    await records.get_many("1", "2", "3")
    for key in ("1", "2", "3"):
        records.write_row(key, f"new {key}")
    records.spoil_row("2")
    await records.get_many("1", "2", "3")
    await refreshes_have_ended(records)
    assert records.origin.queries == [["1", "2", "3"]] * 2
    names = [value(one)["name"] for one in await records.get_many("1", "2", "3")]  # type: ignore[index]
    assert names == ["new 1", "old 2", "new 3"]
    for key in ("1", "2", "3"):
        partition, place = cache_keys.place(records.space, key)
        lease = cache_keys.lease(partition, place)
        assert await store.call(read(partition.slot, key, ("EXISTS", lease)), soon()) == [0]


@pytest.mark.parametrize("wanted", [["1"], None])
async def test_a_stopped_refresh_lets_the_entry_expire(
    make_records: RecordsFactory, wanted: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "PAUSE_S", 0.01)
    records = await make_records(ttl=timedelta(seconds=60), refresh_ratio=0)  # it is due at once
    records.write_row("1", "old")
    await records.get("1")
    await records.engine.stop_refresh(records.space, wanted, soon())
    records.write_row("1", "new")
    for _ in range(3):
        assert (await records.record("1"))["name"] == "old"  # type: ignore[index]
        await refreshes_have_ended(records)
    assert records.origin.queries == [["1"]]
    await expire(records, "1")
    assert (await records.record("1"))["name"] == "new"  # type: ignore[index]
    assert records.origin.queries == [["1"], ["1"]], "it was loaded for who asked"
    await records.get("1")
    await refreshes_have_ended(records)
    assert len(records.origin.queries) == 3, "it is refreshed again"


async def test_a_hot_key_is_kept_refreshed_by_reads_in_batches_too(
    make_records: RecordsFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "HOT_REFRESH_RATIO", 0)  # it is due at once
    monkeypatch.setattr(HotKeys, "is_hot", lambda _, _space, key: key == "hot")
    hot_keys = HotKeysConfig(keep_refreshed=True)
    records = await make_records(
        ttl=timedelta(seconds=60), refresh_ratio=1, hot_keys=hot_keys, l1=FirstLevelConfig()
    )
    await records.get_many("hot", "other")
    for _ in range(3):
        await records.get_many("other", "hot")
        await refreshes_have_ended(records)
    assert records.origin.queries == [["hot", "other"], ["hot"], ["hot"], ["hot"]]


async def test_in_its_grace_a_stale_record_is_given_while_it_is_loaded(
    make_records: RecordsFactory,
) -> None:
    records = await make_records(stale_while_revalidate=timedelta(seconds=60))
    records.write_row("1", "old")
    await records.get("1")
    await expire(records, "1")
    records.origin.before_load.hold()
    records.write_row("1", "new")
    stale = await records.get("1")
    assert (value(stale)["name"], stale.stale, stale.source) == ("old", True, CACHE)  # type: ignore[index]
    records.origin.before_load.open()
    await refreshes_have_ended(records)
    assert (await records.record("1"))["name"] == "new"  # type: ignore[index]
