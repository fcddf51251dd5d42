"""Write-through: two writers and a reader, in every order of their steps."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from random import Random
from typing import Any

import pytest
from pantler_server.engines.cache.record.model import Found, Written
from pantler_server.store.store import Store

from tests.engines.recording import (
    UPSERT,
    Records,
    RecordsFactory,
)
from tests.engines.test_write_through import places_of, until_it_waits


@dataclass(frozen=True)
class Step:
    """What happens next: to one of two writers, or to a reader."""

    who: int
    what: str


BEGIN = [Step(0, "begin"), Step(1, "begin")]
END = [Step(0, "commit"), Step(0, "end"), Step(1, "commit"), Step(1, "end")]
READ = [Step(2, "read"), Step(2, "fill")]
EVICT = Step(3, "evict")


def orders() -> list[tuple[Step, ...]]:
    """All orders in which two writers that have begun commit and end, and a reader reads the
    table and fills the cache."""
    everything = END + READ
    return [
        (*BEGIN, *order)
        for order in permutations(everything)
        if all(
            order.index(before) < order.index(after)
            for before, after in (everything[0:2], everything[2:4], everything[4:6])
        )
    ]


def orders_with_eviction(most: int) -> list[tuple[Step, ...]]:
    """Some of those in which the writers begin at any time too, and fences are evicted once."""
    chance = Random(8)
    lines = [[step for step in BEGIN + END + READ if step.who == who] for who in range(3)]
    whose = [step.who for line in lines for step in line]
    found = []
    for _ in range(most):
        chance.shuffle(whose)
        left = [iter(line) for line in lines]
        order = [next(left[who]) for who in whose]
        order.insert(chance.randrange(order.index(BEGIN[0]) + 1, len(order)), EVICT)
        found.append(tuple(order))
    return found


def name_of(order: Sequence[Step]) -> str:
    return "".join(f"{step.who}{step.what[0]}" for step in order)


async def until_it_has_read(
    reader: Records, store: Store, key: str, reading: asyncio.Task[Found]
) -> None:
    """Waits until a reader has a cached record, has read the table, or waits for writers."""
    ways: list[asyncio.Future[Any]] = [
        asyncio.shield(reading),
        asyncio.create_task(reader.origin.after_load.until(1)),
        asyncio.create_task(until_it_waits(reader, store, key)),
    ]
    done, rest = await asyncio.wait(ways, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    assert done
    for way in rest:
        way.cancel()
    await asyncio.wait(ways)


@pytest.mark.parametrize("order", orders(), ids=name_of)
async def test_two_writers_and_a_reader_never_leave_the_older_value(
    make_records: RecordsFactory, store: Store, order: Sequence[Step]
) -> None:
    await play(make_records, store, order)


@pytest.mark.parametrize("order", orders_with_eviction(40), ids=name_of)
async def test_writers_whose_fences_are_evicted_leave_no_older_value(
    make_records: RecordsFactory, store: Store, order: Sequence[Step]
) -> None:
    await play(make_records, store, order)


async def play(make_records: RecordsFactory, store: Store, order: Sequence[Step]) -> None:
    """Two writers and a reader of a key take these steps; in the end all read what the table
    has."""
    one = await make_records()
    two, reader = await make_records(beside=one), await make_records(beside=one)
    one.write_row("1", "old")
    workers = (one, two, reader)
    for worker in workers:
        for gate in worker.origin.gates:
            gate.hold()
    writes: dict[int, asyncio.Task[Written]] = {}
    loading: asyncio.Task[Found] | None = None
    for step in order:
        if step == EVICT:
            await places_of(one, store, "1", "DEL")
            continue
        origin = workers[step.who].origin
        match step.what:
            case "begin":
                put = workers[step.who].put("1", UPSERT, name=f"w{step.who}")
                writes[step.who] = asyncio.create_task(put)
                await origin.before_store.until(1)
            case "commit":
                origin.before_store.open()
                await origin.after_store.until(1)
            case "end":
                origin.after_store.open()
                await writes[step.who]
            case "read":
                origin.before_load.open()
                loading = asyncio.create_task(reader.get("1"))
                await until_it_has_read(reader, store, "1", loading)
            case "fill":
                origin.after_load.open()
    assert loading is not None
    await loading
    for worker in workers:
        worker.origin.before_load.open()
        worker.origin.after_load.open()
    for worker in workers:
        assert await worker.record("1") == one.row("1")
