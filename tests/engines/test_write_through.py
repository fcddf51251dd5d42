"""Write-through, with two workers and a reader over one table."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from time import time
from typing import Any

import pytest
from pantler_server.core.errors import (
    InvalidFields,
    OriginOutcomeUnknown,
    OriginUnavailable,
    RecordExists,
    RecordMissing,
    ServiceError,
    WriteRefused,
)
from pantler_server.core.origin_config import WriteBehindConfig, WriteMode
from pantler_server.engines.cache import keys as cache_keys
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.model import Hit
from pantler_server.engines.cache.record import keys
from pantler_server.engines.cache.record.engine import RecordEngine
from pantler_server.engines.cache.record.loading import load_s
from pantler_server.engines.cache.record.model import Durability, Put, Source
from pantler_server.origins.guard import GuardedOrigin
from pantler_server.store.request import Request, pack, read
from pantler_server.store.store import Store

from tests.engines.recording import (
    ADA,
    DELETE,
    INSERT,
    UPDATE,
    UPSERT,
    Records,
    RecordsFactory,
    deployment,
    soon,
)

CACHE, ORIGIN = Source
BEHIND: dict[str, Any] = {
    "writes": WriteMode.BEHIND,
    "write_behind": WriteBehindConfig(fsync=False),
}


async def is_cached(records: Records, key: str) -> bool:
    return isinstance(await records.cache.get(records.space, key, soon()), Hit)


def with_config(records: Records, **config: Any) -> Records:
    """A worker that has taken up another configuration already, or does not have it yet."""
    space = records.space
    return replace(records, space=replace(space, config=space.config.model_copy(update=config)))


async def drain(records: Records) -> None:
    """Brings what waits to the table."""
    records.engine.prepare(records.space)
    records.engine._drainer.start()
    assert (await records.engine.flush(records.space, 4, soon())).remaining == 0


async def settle(records: Records) -> None:
    """Waits until nothing goes through any more."""
    await records.engine._through.stop()


async def test_each_operation_reaches_the_table_and_the_cache(records: Records) -> None:
    first = await records.put("1", INSERT, name="Ada", age=36)
    assert first.durability is Durability.WRITTEN
    assert records.row("1") == await records.record("1") == ADA
    second = await records.put("1", UPDATE, age=37)
    assert second.version > first.version
    assert records.row("1") == await records.record("1") == {**ADA, "age": 37}
    await records.put("1", UPSERT, name="Ada")
    assert records.row("1") == await records.record("1") == {**ADA, "age": None}
    assert (await records.put("1", DELETE)).existed
    assert records.row("1") is await records.record("1") is None
    assert (await records.put("1", DELETE)).existed is False
    assert records.origin.queries == [], "all was known from the writes"


async def test_what_is_there_is_not_inserted_and_what_is_not_is_not_updated(
    records: Records,
) -> None:
    with pytest.raises(RecordMissing):
        await records.put("1", UPDATE, age=1)
    await records.put("1", INSERT, name="Ada")
    with pytest.raises(RecordExists):
        await records.put("1", INSERT, name="Eve")
    assert (
        (await records.record("1")) == records.row("1") == {"id": "1", "name": "Ada", "age": None}
    )


async def test_what_the_table_refuses_is_never_cached(records: Records) -> None:
    await records.put("1", INSERT, name="Ada", age=36)
    for fields in ({"age": 300}, {"name": "Eve"}):
        if "name" in fields:
            await records.put("2", INSERT, name="Eve")
        with pytest.raises(WriteRefused):
            await records.put("1", UPDATE, **fields)
        assert not await is_cached(records, "1"), "a miss is left"
        assert (
            await records.record("1") == records.row("1") == {"id": "1", "name": "Ada", "age": 36}
        )


async def places_of(records: Records, store: Store, key: str, *command: str) -> list[Any]:
    """What Redis answers to a command on the fences of a key, and to it on its lease."""
    partition, place = cache_keys.place(records.space, key)
    name, *rest = command
    places = (cache_keys.fences(partition, place), cache_keys.lease(partition, place))
    commands = [pack(name, one, *rest) for one in places]
    return await store.call(Request(partition.slot, commands, key, repeatable=True), soon())


async def until_it_waits(records: Records, store: Store, key: str) -> None:
    """Waits until a reader of a key has asked to be told when the lease ends that another has."""
    partition, place = cache_keys.place(records.space, key)
    fields = read(partition.slot, key, ("HKEYS", cache_keys.lease(partition, place)))
    while not any(field.startswith(b">") for field in (await store.call(fields, soon()))[0]):
        await asyncio.sleep(0.002)


async def test_a_load_from_before_a_write_is_not_kept(records: Records, others: Records) -> None:
    records.write_row("1", "old")
    others.origin.after_load.hold()
    loading = asyncio.create_task(others.get("1"))
    await others.origin.after_load.until(1)
    await records.put("1", UPSERT, name="new")
    others.origin.after_load.open()
    await loading
    assert (await others.record("1"))["name"] == "new"  # type: ignore[index]


async def test_who_reads_during_a_write_gets_what_it_wrote(
    records: Records, others: Records, store: Store
) -> None:
    records.write_row("1", "old")
    records.origin.before_store.hold()
    writing = asyncio.create_task(records.put("1", UPSERT, name="new"))
    await records.origin.before_store.until(1)
    reading = asyncio.create_task(others.get("1"))
    async with asyncio.timeout(5):
        await until_it_waits(others, store, "1")
    records.origin.before_store.open()
    await writing
    found = await reading
    assert b"new" in found.value
    assert others.origin.queries == [], "the writer filled the cache"


async def test_records_that_are_written_together_do_not_expire_together(
    make_records: RecordsFactory,
) -> None:
    records = await make_records(ttl=timedelta(seconds=100), ttl_jitter_ratio=0.5)
    expiries = []
    for number in range(20):
        await records.put(str(number), name=f"n{number}")
        hit = await records.cache.get(records.space, str(number), soon())
        assert isinstance(hit, Hit)
        expiries.append(hit.expires_us)
    assert max(expiries) - min(expiries) > 10e6


async def test_a_writer_that_dies_after_its_commit_leaves_a_miss(
    make_records: RecordsFactory, store: Store
) -> None:
    records = await make_records(origin={"timeout": timedelta(seconds=1)})
    others = await make_records(beside=records)
    await records.put("1", UPSERT, name="old")
    records.origin.after_store.hold()
    writing = asyncio.create_task(records.put("1", UPSERT, name="new"))
    await records.origin.after_store.until(2)
    [inner] = records.engine._through._tasks
    inner.cancel()
    await asyncio.wait([writing])
    assert not await is_cached(others, "1")
    partition, place = cache_keys.place(records.space, "1")
    fences = cache_keys.fences(partition, place)
    [[member]] = await store.call(read(partition.slot, "1", ("ZRANGE", fences, 0, -1)), soon())

    async def let_it_stand_until(unix_s: float) -> None:
        moved = (pack("ZADD", fences, round(unix_s * 1000), member), pack("PERSIST", fences))
        await store.call(Request(partition.slot, moved, "1", repeatable=True), soon())

    await let_it_stand_until(time() + 60)
    first = await others.get("1")
    assert b"new" in first.value
    assert first.version == 0, "while its fence stands nobody fills"
    await let_it_stand_until(0)
    async with asyncio.timeout(5):
        while not (await others.get("1")).version:  # until its lease is over too
            pass
    assert await is_cached(others, "1")


async def test_a_write_of_unknown_outcome_keeps_others_from_filling(records: Records) -> None:
    await records.put("1", UPSERT, name="old")
    records.origin.fails_after = OriginOutcomeUnknown("test")
    with pytest.raises(OriginOutcomeUnknown):
        await records.put("1", UPSERT, name="new")
    assert not await is_cached(records, "1")
    records.origin.fails_after = None
    await records.put("1", UPSERT, name="newer")
    assert not await is_cached(records, "1"), "the other may still take effect"


async def test_an_invalidation_during_a_write_is_not_undone(records: Records) -> None:
    records.origin.after_store.hold()
    writing = asyncio.create_task(records.put("1", UPSERT, name="ours"))
    await records.origin.after_store.until(1)
    records.write_row("1", "theirs")
    await records.cache.invalidation.invalidate_keys(records.space, ["1"], soon())
    records.origin.after_store.open()
    await writing
    assert (await records.record("1"))["name"] == "theirs"  # type: ignore[index]


async def test_a_request_id_writes_once(records: Records, others: Records) -> None:
    first = await records.put("1", INSERT, "id", name="Ada")
    assert await others.put("1", INSERT, "id", name="Ada") == first
    with pytest.raises(InvalidFields, match="request_id"):
        await others.put("1", INSERT, "id", name="Eve")
    gone = await records.put("1", DELETE, "other")
    assert gone.existed
    await records.put("1", UPSERT, name="Ada")
    assert await others.put("1", DELETE, "other") == gone
    assert records.row("1") is not None


async def test_a_repeat_while_the_first_is_under_way_is_told_so(
    records: Records, others: Records
) -> None:
    records.origin.before_store.hold()
    writing = asyncio.create_task(records.put("1", INSERT, "id", name="Ada"))
    await records.origin.before_store.until(1)
    with pytest.raises(OriginOutcomeUnknown):
        await others.put("1", INSERT, "id", name="Ada")
    with pytest.raises(InvalidFields, match="request_id"):
        await others.put("1", INSERT, "id", name="Eve")
    records.origin.before_store.open()
    assert await writing == await others.put("1", INSERT, "id", name="Ada")


async def test_a_caller_that_goes_away_does_not_end_its_write(records: Records) -> None:
    records.origin.before_store.hold()
    writing = asyncio.create_task(records.put("1", UPSERT, name="Ada"))
    await records.origin.before_store.until(1)
    writing.cancel()
    await asyncio.wait([writing])
    records.origin.before_store.open()
    await settle(records)
    assert records.row("1") == await records.record("1") == {"id": "1", "name": "Ada", "age": None}
    assert records.origin.queries == []


async def test_a_writer_with_less_time_leaves_the_fence_of_another_standing(
    make_records: RecordsFactory, store: Store
) -> None:
    patient = await make_records(origin={"timeout": timedelta(seconds=20)})
    origin = patient.space.config.origin
    assert origin is not None
    hasty = with_config(
        await make_records(beside=patient),
        origin=origin.model_copy(update={"timeout": timedelta(seconds=2)}),
    )
    patient.origin.before_store.hold()
    writing = asyncio.create_task(patient.put("1", UPSERT, name="patient"))
    await patient.origin.before_store.until(1)
    await hasty.put("1", UPSERT, name="hasty")
    [left, _] = await places_of(patient, store, "1", "PTTL")
    assert 30_000 < left <= 41_000
    patient.origin.before_store.open()
    await writing
    assert (
        patient.row("1") == await hasty.record("1") == {"id": "1", "name": "patient", "age": None}
    )


async def test_the_time_of_a_write_begins_before_its_fence(records: Records, store: Store) -> None:
    partition, _ = cache_keys.place(records.space, "1")
    pause = (pack("CLIENT", "PAUSE", 900, "ALL"),)
    await store.call(Request(partition.slot, pause, "1", repeatable=True), soon())
    began = asyncio.get_running_loop().time()
    await records.put("1", UPSERT, name="Ada")
    [deadline] = records.origin.store_deadlines
    assert deadline < began + load_s(records.space) + 0.7


async def test_a_dead_write_that_is_tried_again_is_not_overtaken(
    make_records: RecordsFactory,
) -> None:
    behind = await make_records(**BEHIND)
    through = with_config(behind, writes=WriteMode.THROUGH)
    await behind.put("1", UPSERT, name="Ada", age=300)
    await drain(behind)
    await behind.engine._drainer.stop()
    assert behind.row("1") is None
    assert await behind.engine.retry_dead(behind.space, None, soon()) == 1
    with pytest.raises(OriginUnavailable, match="still wait"):
        await through.put("1", UPSERT, name="Eve")
    await behind.engine.discard_dead(behind.space, None, soon())


async def test_a_repeat_says_where_the_first_was_put(make_records: RecordsFactory) -> None:
    behind = await make_records(**BEHIND)
    through = with_config(behind, writes=WriteMode.THROUGH)
    direct = await through.put("1", INSERT, "direct", name="Ada")
    assert direct.durability is Durability.WRITTEN
    assert await behind.put("1", INSERT, "direct", name="Ada") == direct
    gone = await through.put("1", DELETE, "gone")
    assert gone.existed
    assert await behind.put("1", DELETE, "gone") == gone
    queued = await behind.put("2", UPSERT, "queued", name="Eve")
    assert queued.durability is Durability.QUEUED
    with pytest.raises(OriginUnavailable, match="still wait"):
        await through.put("2", UPSERT, "queued", name="Eve")
    await drain(behind)
    assert await through.put("2", UPSERT, "queued", name="Eve") == queued


async def test_everything_that_a_write_leaves_expires(records: Records, store: Store) -> None:
    records.origin.before_store.hold()
    writing = asyncio.create_task(records.put("1", UPSERT, "id", name="Ada"))
    await records.origin.before_store.until(1)
    partition, place = cache_keys.place(records.space, "1")
    fences, lease = cache_keys.fences(partition, place), cache_keys.lease(partition, place)
    [left, leased] = await store.call(
        read(partition.slot, "1", ("PTTL", fences), ("PTTL", lease)), soon()
    )
    assert 0 < int(left) <= 6000
    assert 0 < int(leased) <= 6000
    records.origin.before_store.open()
    await writing
    [gone, entry, state] = await store.call(
        read(
            partition.slot,
            "1",
            ("PTTL", fences),
            ("PTTL", place),
            ("PTTL", keys.log_state(partition)),
        ),
        soon(),
    )
    assert (int(gone), int(state)) == (-2, -1)
    assert 0 < int(entry) <= records.space.ttl_ms


async def test_an_origin_that_is_away_is_told_and_nothing_is_written(records: Records) -> None:
    records.origin.fails = OriginUnavailable("away", "test")
    with pytest.raises(OriginUnavailable):
        await records.put("1", UPSERT, name="Ada")
    assert records.row("1") is None


async def test_a_write_that_is_not_tried_leaves_what_is_cached(
    make_records: RecordsFactory,
) -> None:
    records = await make_records()
    await records.put("1", UPSERT, name="Ada")
    assert records.space.config.origin is not None
    guarded = GuardedOrigin(records.origin, records.space.name, records.space.config.origin)
    await guarded.start()
    hot = HotKeys(make_records.store)
    engine = RecordEngine(make_records.store, records.cache, lambda _: guarded, hot, deployment)
    records.origin.fails = OriginUnavailable("away", "test")
    for number in range(5):
        with pytest.raises(OriginUnavailable):
            await engine.put(records.space, Put(f"other{number}", UPSERT, {"name": "x"}), soon())
    with pytest.raises(OriginUnavailable, match="left alone"):
        await engine.put(records.space, Put("1", UPSERT, {"name": "Eve"}), soon())
    assert await is_cached(records, "1")
    await engine.stop(soon())


async def test_bad_fields_are_refused_before_anything_is_done(records: Records) -> None:
    await records.put("1", UPSERT, name="Ada")
    for fields, path in (
        ({"nme": "x"}, "fields.nme"),
        ({"name": 5}, "fields.name"),
        ({}, "fields"),
    ):
        with pytest.raises(InvalidFields) as refused:
            await records.put("1", UPDATE, **fields)
        assert refused.value.violations[0].path == path
    assert await is_cached(records, "1"), "the entry was not touched"


async def test_a_batch_of_writes_has_an_outcome_for_each(records: Records) -> None:
    puts = [
        Put("1", INSERT, {"name": "Ada"}),
        Put("2", UPDATE, {"name": "Eve"}),
        Put("1", UPDATE, {"age": 1}),
    ]
    first, missing, second = await records.engine.put_many(records.space, puts, soon())
    assert isinstance(missing, RecordMissing)
    assert not isinstance(first, ServiceError)
    assert not isinstance(second, ServiceError)
    assert second.version > first.version
    assert records.row("1") == {"id": "1", "name": "Ada", "age": 1}


async def test_in_a_batch_nothing_of_a_key_comes_after_an_unknown_outcome(
    records: Records,
) -> None:
    records.origin.fails_after = OriginOutcomeUnknown("test")
    puts = [Put("1", UPSERT, {"name": "Ada"}), Put("1", UPSERT, {"name": "Eve"})]
    unknown, held_back = await records.engine.put_many(records.space, puts, soon())
    assert isinstance(unknown, OriginOutcomeUnknown)
    assert isinstance(held_back, OriginUnavailable)
    assert records.row("1") == {"id": "1", "name": "Ada", "age": None}


async def test_a_read_only_namespace_refuses_writes(make_records: RecordsFactory) -> None:
    records = await make_records(writes=WriteMode.REFUSED)
    with pytest.raises(WriteRefused):
        await records.put("1", UPSERT, name="Ada")
    assert records.row("1") is None
