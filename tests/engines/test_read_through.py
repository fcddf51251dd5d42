"""Read-through, with two workers over one table: who misses loads, one for all."""

import asyncio
from datetime import timedelta

import pytest
from pantler_server.core.errors import OriginUnavailable
from pantler_server.engines.cache import keys as cache_keys
from pantler_server.engines.cache.model import NewEntry
from pantler_server.engines.cache.record.model import Found, Read, Source
from pantler_server.store.request import read
from pantler_server.store.store import Store

from tests.engines.recording import (
    ADA,
    INSERT,
    UPDATE,
    Records,
    RecordsFactory,
    expire,
    soon,
    value,
)

CACHE, ORIGIN = Source


async def expiry_ms(store: Store, records: Records, key: str) -> int:
    partition, place = cache_keys.place(records.space, key)
    [left] = await store.call(read(partition.slot, key, ("PTTL", place)), soon())
    return int(left)


async def test_a_record_is_loaded_once_and_cached(records: Records, store: Store) -> None:
    records.write_row("1", "Ada", 36)
    first, second = await records.get("1"), await records.get("1")
    assert value(first) == value(second) == ADA
    assert (first.source, second.source) == (ORIGIN, CACHE)
    assert first.value == b'{"age":36,"id":"1","name":"Ada"}'
    assert second.version == first.version > 0
    assert records.origin.queries == [["1"]]
    assert 0 < await expiry_ms(store, records, "1") <= records.space.ttl_ms


async def test_that_there_is_no_record_is_remembered_for_its_own_ttl(
    records: Records, store: Store
) -> None:
    assert [(await records.get("1")).value for _ in range(2)] == [b"", b""]
    assert records.origin.queries == [["1"]]
    left = await expiry_ms(store, records, "1")
    assert 0 < left <= records.space.config.negative_ttl.total_seconds() * 1000
    await records.put("1", INSERT, name="Ada", age=36)
    assert await records.record("1") == ADA, "a write clears it"


@pytest.mark.parametrize(
    ("kept", "content_type"),
    [(b"plain", ""), (b"{template}", ""), (b"{}", "application/json")],
)
async def test_what_was_set_before_there_was_an_origin_counts_as_a_miss(
    records: Records, kept: bytes, content_type: str
) -> None:
    for key in ("1", "2", "3", "4"):
        records.write_row(key, f"n{key}")
        await records.cache.set(
            records.space, NewEntry(key, kept, content_type=content_type), soon()
        )
    assert (await records.record("1") or {})["name"] == "n1"
    found = await records.get_many("1", "2", "9")
    assert [one and one["name"] for one in map(value, found)] == ["n1", "n2", None]  # type: ignore[index]
    assert records.origin.queries == [["1"], ["2", "9"]]
    await records.put("3", UPDATE, age=3)
    assert await records.record("3") == {"id": "3", "name": "n3", "age": 3}
    loaded = await records.engine.load_ahead(records.space, ["4"], soon())
    assert loaded.loaded == 1


@pytest.mark.parametrize("kept", [b'{"a" 1}', b'{"\xff": 1}', b'{"a":' * 2000 + b"1" + b"}" * 2000])
async def test_what_has_the_ends_of_a_record_and_is_none_counts_as_a_miss(
    records: Records, kept: bytes
) -> None:
    for key in ("1", "2", "3", "4"):
        records.write_row(key, f"n{key}")
        await records.cache.set(records.space, NewEntry(key, kept), soon())
    assert await records.record("1") == {"id": "1", "name": "n1", "age": None}
    wanted = ["1", "2", "2", "9", "3"]
    reads = await records.engine.get_records(records.space, wanted, soon())
    names = [read.record and read.record["name"] for read in reads if isinstance(read, Read)]
    assert names == ["n1", "n2", "n2", None, "n3"]
    assert await records.record("4") == {"id": "4", "name": "n4", "age": None}
    sources = [(await records.get(key)).source for key in ("1", "2", "3", "4")]
    assert sources == [CACHE] * 4, "what was loaded has taken its place"


async def test_all_who_miss_a_key_on_all_workers_cause_one_load(
    records: Records, others: Records
) -> None:
    records.write_row("1", "Ada", 36)
    for origin in (records.origin, others.origin):
        origin.before_load.hold()
    callers = [asyncio.create_task(one.get("1")) for one in [records, others] * 100]
    async with asyncio.timeout(5):
        while not records.origin.queries + others.origin.queries:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.1)  # for one that should not come
    for origin in (records.origin, others.origin):
        origin.before_load.open()
    found = await asyncio.gather(*callers)
    assert {one.value for one in found} == {b'{"age":36,"id":"1","name":"Ada"}'}
    assert len(records.origin.queries + others.origin.queries) == 1


async def test_a_batch_loads_all_that_is_missing_with_one_query(records: Records) -> None:
    for number in range(5):
        records.write_row(str(number), f"n{number}")
    await records.get("0")
    found = await records.get_many("4", "0", "9", "1", "4")
    assert [one and one["name"] for one in map(value, found)] == ["n4", "n0", None, "n1", "n4"]  # type: ignore[index]
    assert records.origin.queries[1:] == [["4", "9", "1"]]
    again = await records.get_many("4", "9")
    assert [one.source for one in again if isinstance(one, Found)] == [CACHE, CACHE]


async def test_a_record_that_cannot_be_read_fails_alone_in_a_batch(
    make_records: RecordsFactory,
) -> None:
    records = await make_records(stale_if_error=timedelta(seconds=60))
    for key in ("1", "2", "3", "4"):
        records.write_row(key, f"name {key}")
    await records.get("4")
    await expire(records, "4")
    records.spoil_row("2")
    records.spoil_row("4")
    first, bad, third, kept, nobody = await records.get_many("1", "2", "3", "4", "5")
    assert isinstance(bad, OriginUnavailable)
    assert "can't be read: column name" in bad.message
    assert [value(one)["id"] for one in (first, third)] == ["1", "3"]  # type: ignore[index]
    assert isinstance(kept, Found)
    assert kept.stale, "as if it were asked for alone"
    assert value(nobody) is None
    assert isinstance(third, Found)
    assert third.version > 0, "it is stored"


async def test_two_batches_share_their_loads(records: Records, others: Records) -> None:
    wanted = [str(number) for number in range(20)]
    for key in wanted:
        records.write_row(key, f"n{key}")
    records.origin.before_load.hold()
    first = asyncio.create_task(records.get_many(*wanted[:15]))
    await records.origin.before_load.until(1)
    second = asyncio.create_task(others.get_many(*wanted[5:]))
    await others.origin.before_load.until(1)
    records.origin.before_load.open()
    names = [value(one)["name"] for one in await first + await second]  # type: ignore[index]
    assert names == [f"n{key}" for key in wanted[:15] + wanted[5:]]
    loaded = [key for query in records.origin.queries + others.origin.queries for key in query]
    assert sorted(loaded) == sorted(wanted)


async def test_a_caller_that_goes_away_does_not_end_the_load(records: Records) -> None:
    records.write_row("1", "Ada", 36)
    records.origin.before_load.hold()
    caller = asyncio.create_task(records.get("1"))
    await records.origin.before_load.until(1)
    caller.cancel()
    waiting = asyncio.create_task(records.get("1"))
    await asyncio.sleep(0)
    records.origin.before_load.open()
    assert value(await waiting) == ADA
    assert len(records.origin.queries) == 1


async def test_what_was_loaded_before_an_invalidation_is_not_cached(
    records: Records, others: Records
) -> None:
    records.write_row("1", "old")
    records.origin.after_load.hold()
    caller = asyncio.create_task(records.get("1"))
    await records.origin.after_load.until(1)
    records.write_row("1", "new")
    await records.cache.invalidation.invalidate_keys(records.space, ["1"], soon())
    records.origin.after_load.open()
    await caller
    assert (await others.record("1"))["name"] == "new"  # type: ignore[index]
    assert (await records.record("1"))["name"] == "new"  # type: ignore[index]


async def test_what_was_loaded_before_an_invalidation_of_all_counts_as_not_cached(
    records: Records,
) -> None:
    """Its version says so: who keeps responses must not keep this one."""
    records.write_row("1", "old")
    records.origin.after_load.hold()
    load = asyncio.create_task(records.get("1"))
    await records.origin.after_load.until(1)
    await records.cache.invalidation.invalidate_namespace(records.space, soon())
    records.origin.after_load.open()
    found = await load
    assert (found.version, found.expires_us) == (0, 0)
    assert (await records.get("1")).version != 0
    assert records.origin.after_load.came == 2


async def test_a_forced_refresh_loads_what_is_there_now(records: Records, others: Records) -> None:
    records.write_row("1", "old")
    records.origin.after_load.hold()
    slow = asyncio.create_task(records.get("1"))
    await records.origin.after_load.until(1)
    records.write_row("1", "new")
    found = await others.get("1", force_refresh=True)
    assert (value(found)["name"], found.source) == ("new", ORIGIN)  # type: ignore[index]
    records.origin.after_load.open()
    await slow
    assert (await records.record("1"))["name"] == "new", "the older load was not kept"  # type: ignore[index]
    records.write_row("1", "newer")
    [again] = await records.get_many("1", force_refresh=True)
    assert value(again)["name"] == "newer"  # type: ignore[index]


async def test_a_record_that_is_too_large_is_given_and_not_cached(
    make_records: RecordsFactory,
) -> None:
    records = await make_records(max_value_bytes=30)
    records.write_row("1", "x" * 40)
    for _ in range(2):
        found = await records.get("1")
        assert (len(found.value) > 40, found.source, found.version) == (True, ORIGIN, 0)
