"""Loads that fail or take too long: what is given instead, and for how long anyone waits."""

import asyncio
from datetime import timedelta

import pytest
from pantler_server.core.canonical_json import decode
from pantler_server.core.errors import OriginUnavailable
from pantler_server.engines.cache.model import Hit, NewEntry
from pantler_server.engines.cache.record.model import Found

from tests.engines.recording import ADA, Records, RecordsFactory, expire, soon, value


async def test_a_failed_load_is_told_and_tried_again(records: Records) -> None:
    records.origin.fails = OriginUnavailable("away", "test")
    with pytest.raises(OriginUnavailable):
        await records.get("1")
    [outcome] = await records.get_many("1")
    assert isinstance(outcome, OriginUnavailable)
    records.origin.fails = None
    assert (await records.get("1")).value == b""


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
