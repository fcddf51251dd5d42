"""Read-through and refresh-ahead, with two workers over one table."""

import asyncio
from datetime import timedelta

import pytest
from pantler_server.core.canonical_json import decode
from pantler_server.core.config import FirstLevelConfig
from pantler_server.core.errors import OriginUnavailable
from pantler_server.core.origin_config import HotKeysConfig
from pantler_server.engines.cache import keys as cache_keys
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.model import Hit, NewEntry
from pantler_server.engines.cache.record import refresh
from pantler_server.engines.cache.record.model import Found, Read, Source
from pantler_server.store.request import read
from pantler_server.store.store import Store

from tests.engines.recording import INSERT, UPDATE, Records, RecordsFactory, soon

CACHE, ORIGIN = Source


async def expiry_ms(store: Store, records: Records, key: str) -> int:
    partition, place = cache_keys.place(records.space, key)
    [left] = await store.call(read(partition.slot, key, ("PTTL", place)), soon())
    return int(left)


def value(found: object) -> object:
    assert isinstance(found, Found)
    return decode(found.value) if found.value else None


async def expire(records: Records, key: str) -> None:
    """Lets what is cached of a key come to its end."""
    await records.cache.touch(records.space, key, 1, soon())
    async with asyncio.timeout(5):
        while isinstance(await records.cache.get(records.space, key, soon()), Hit):
            await asyncio.sleep(0.001)


async def refreshes_have_ended(records: Records) -> None:
    """Waits for those under way in this worker."""
    async with asyncio.timeout(5):
        while tasks := tuple(records.engine._refresher._tasks):
            await asyncio.wait(tasks)


ADA = {"id": "1", "name": "Ada", "age": 36}


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


async def test_what_has_the_ends_of_a_record_and_is_none_is_not_given_while_the_origin_is_away(
    make_records: RecordsFactory,
) -> None:
    records = await make_records(stale_if_error=timedelta(minutes=1))
    for key in ("1", "2"):
        await records.cache.set(records.space, NewEntry(key, b'{"a" 1}', ttl_ms=1), soon())
    await asyncio.sleep(0.01)  # they expire
    records.origin.fails = OriginUnavailable("away", "test")
    with pytest.raises(OriginUnavailable):
        await records.record("1")
    [read] = await records.engine.get_records(records.space, ["2"], soon())
    assert isinstance(read, OriginUnavailable)


async def test_what_was_set_before_there_was_an_origin_is_not_given_while_that_is_away(
    make_records: RecordsFactory,
) -> None:
    records = await make_records(stale_if_error=timedelta(minutes=1))
    await records.cache.set(records.space, NewEntry("1", b"plain", ttl_ms=1), soon())
    await asyncio.sleep(0.01)  # it expires
    records.origin.fails = OriginUnavailable("away", "test")
    with pytest.raises(OriginUnavailable):
        await records.get("1")


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


async def test_a_failed_load_is_told_and_tried_again(records: Records) -> None:
    records.origin.fails = OriginUnavailable("away", "test")
    with pytest.raises(OriginUnavailable):
        await records.get("1")
    [outcome] = await records.get_many("1")
    assert isinstance(outcome, OriginUnavailable)
    records.origin.fails = None
    assert (await records.get("1")).value == b""


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


async def test_while_the_origin_fails_what_expired_is_given_as_stale(
    make_records: RecordsFactory,
) -> None:
    records = await make_records(stale_if_error=timedelta(seconds=60))
    records.write_row("1", "old")
    await records.get("1")
    await expire(records, "1")
    records.origin.fails = OriginUnavailable("away", "test")
    for found in (await records.get("1"), *await records.get_many("1"), await records.get("1")):
        assert isinstance(found, Found)
        assert (value(found)["name"], found.stale) == ("old", True)  # type: ignore[index]
    assert len(records.origin.queries) == 2, "an origin that is down is asked seldom"
    with pytest.raises(OriginUnavailable):
        await records.get("2")


async def test_a_slow_origin_is_not_waited_for_past_the_soft_timeout(
    make_records: RecordsFactory,
) -> None:
    records = await make_records(
        origin={"soft_timeout": timedelta(milliseconds=50)}, stale_if_error=timedelta(seconds=60)
    )
    records.write_row("1", "old")
    await records.get("1")
    await expire(records, "1")
    records.write_row("1", "new")
    records.origin.before_load.hold()
    found = await records.get("1")
    assert (value(found)["name"], found.stale) == ("old", True)  # type: ignore[index]
    records.origin.before_load.open()
    async with asyncio.timeout(5):
        while not isinstance(hit := await records.cache.get(records.space, "1", soon()), Hit):
            await asyncio.sleep(0.001)
    assert decode(hit.value)["name"] == "new", "the load went on"


async def test_an_origin_that_is_too_slow_gets_no_more_loads_for_more_who_wait(
    make_records: RecordsFactory,
) -> None:
    records = await make_records(origin={"timeout": timedelta(milliseconds=300)})
    others = await make_records(beside=records)
    origins = records.origin, others.origin
    for origin in origins:
        origin.before_load.hold()
    callers = [one.get("1") for one in [records, others] * 50]
    ends = await asyncio.gather(*callers, return_exceptions=True)
    assert {type(end) for end in ends} == {OriginUnavailable}
    loads = sum(len(origin.queries) for origin in origins)
    assert loads <= 10, "one after the other, while there are some who wait"


@pytest.mark.parametrize("load", ["load", "load_many"])
async def test_a_batch_keeps_to_its_deadline(make_records: RecordsFactory, load: str) -> None:
    records = await make_records(origin={"timeout": timedelta(seconds=4)})
    records.write_row("1", "Ada", 36)
    await records.get("1")
    records.origin.before_load.hold()
    loop = asyncio.get_running_loop()
    began = loop.time()
    wanted = ["1", "2"] if load == "load" else ["1", "2", "3"]
    first, *others = await records.engine.get_many(records.space, wanted, began + 0.1)
    assert loop.time() - began < 2
    assert value(first) == ADA
    assert {type(one) for one in others} == {OriginUnavailable}


async def test_a_load_that_takes_too_long_ends(make_records: RecordsFactory) -> None:
    records = await make_records(origin={"timeout": timedelta(milliseconds=100)})
    records.origin.before_load.hold()
    began = asyncio.get_running_loop().time()
    with pytest.raises(OriginUnavailable):
        await records.get("1")
    assert asyncio.get_running_loop().time() - began < 2
