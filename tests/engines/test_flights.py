"""Reads of one record that come together and share an answer."""

import asyncio

import pytest
from pantler_server.core.errors import OriginUnavailable
from pantler_server.engines.cache.record.model import Found

from tests.engines.recording import ADA, Records, soon, value

CALLERS = 20


def together(records: Records, key: str = "1") -> list[asyncio.Task[Found]]:
    """Reads that begin in one turn of the loop."""
    return [asyncio.create_task(records.get(key)) for _ in range(CALLERS)]


async def test_those_who_come_together_get_one_answer_and_are_all_counted(
    records: Records,
) -> None:
    records.write_row("1", "Ada", 36)
    found = await asyncio.gather(*together(records))
    assert [value(one) for one in found] == [ADA] * CALLERS
    assert len({id(one) for one in found}) == 1
    assert records.origin.queries == [["1"]]
    await asyncio.gather(*together(records))
    stats, _, _ = await records.cache.statistics(records.space, soon())
    assert (stats.misses_unknown, stats.hits) == (CALLERS, CALLERS)


async def test_whoever_reads_for_others_may_go_away(records: Records) -> None:
    records.write_row("1", "Ada", 36)
    records.origin.before_load.hold()
    reads = together(records)
    await records.origin.before_load.until(1)
    reads[0].cancel()
    reads[5].cancel()
    records.origin.before_load.open()
    ends = await asyncio.gather(*reads, return_exceptions=True)
    gone = [isinstance(one, asyncio.CancelledError) for one in ends]
    assert gone == [place in (0, 5) for place in range(CALLERS)]
    assert [value(one) for one in ends if isinstance(one, Found)] == [ADA] * (CALLERS - 2)
    assert len(records.origin.queries) == 1


async def test_what_keeps_one_from_an_answer_is_told_to_all(records: Records) -> None:
    records.origin.fails = OriginUnavailable("away", "test")
    ends = await asyncio.gather(*together(records), return_exceptions=True)
    assert {type(one) for one in ends} == {OriginUnavailable}
    assert records.origin.queries == [["1"]]


async def test_whoever_has_more_time_does_not_share_the_end_of_one_with_less(
    records: Records,
) -> None:
    records.write_row("1", "Ada", 36)
    records.origin.before_load.hold()
    until = asyncio.get_running_loop().time() + 0.2
    hasty = asyncio.create_task(records.engine.get(records.space, "1", until))
    patient = asyncio.create_task(records.get("1"))
    with pytest.raises(OriginUnavailable):
        await hasty
    records.origin.before_load.open()
    assert value(await patient) == ADA


async def test_nobody_is_answered_by_a_read_that_was_under_way_before_it_asked(
    records: Records, others: Records
) -> None:
    records.write_row("1", "Ada", 36)
    records.origin.after_load.hold()
    first = asyncio.create_task(records.get("1"))
    await records.origin.after_load.until(1)
    await others.put("1", name="Ada", age=37)
    second = asyncio.create_task(records.get("1"))
    await asyncio.sleep(0.05)
    records.origin.after_load.open()
    assert value(await second) == {**ADA, "age": 37}
    assert value(await first) == ADA, "it had asked before"
