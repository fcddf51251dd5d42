"""Records: what is acknowledged and drained, what a call takes through the wire, and what readers
wait for."""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import grpc.aio
import psutil
import uvloop
from google.protobuf.struct_pb2 import Struct
from pantler.v1 import cache_pb2, cache_pb2_grpc, record_pb2, record_pb2_grpc
from pantler_server.core.config import Settings
from pantler_server.core.namespace import Namespace
from pantler_server.core.record import Record
from pantler_server.engines.cache.record.model import Source, Written
from pantler_server.engines.cache.stats import NamespaceStats
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bench.engine import OpenRecords, deadline, open_records
from bench.records import (
    BEHIND,
    COLUMNS,
    THROUGH,
    SlowTable,
    Writes,
    configuration,
    flush,
    new_key,
    open_postgres,
    open_valkey,
    open_writing,
    parts,
    people,
    record,
    until_empty,
    upsert,
)
from bench.report import Line, rounds
from bench.servers import KEYS, LOAD_CPU, NAMESPACE, filled_server

ROUNDS = 5
CALLERS = 64
TURN_S = 2.0
BACKLOG = 30_000
AMONG = 500_000  # keys that a backlog is drawn from: few repeat
QUEUED_AT_ONCE = 200  # writes of a call that fills the backlog
BATCH = 500  # rows of one statement, as a namespace has it by default
CROWD = 1000
LOAD_S = 0.1  # of what a crowd waits for
READERS = 16
FIRST_READS_S = 0.7  # over which they are spread, as in use: sooner than any is refreshed
PAUSE_S = 0.002  # of a reader: who is never idle measures only how many readers there are
REFRESH_TURNS = 2  # of each kind, in turn: more than a ttl each
REFRESH_S = 5.0
REFRESH_LOAD_S = 0.02


async def _calls_per_second(call: Callable[[], Awaitable[object]], callers: int) -> float:
    done = 0
    began_s = time.perf_counter()
    until_s = began_s + TURN_S

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < until_s:
            await call()
            done += 1

    await asyncio.gather(*(caller() for _ in range(callers)))
    return done / (time.perf_counter() - began_s)


# Writes


def write_behind() -> Iterator[Line]:
    """Acknowledged upserts of new rows of a PostgreSQL, with fsync everywhere."""
    pairs = uvloop.run(_acknowledged())
    behind, through = (statistics.median(side) for side in zip(*pairs, strict=True))
    yield Line(
        f"PutRecord behind, {CALLERS} callers in the engine, against through to PostgreSQL",
        f"{behind:,.0f}/s",
        f"{through:,.0f}/s",
        f"{statistics.median(one / other for one, other in pairs):.1f}",
        ">= 5",
    )


async def _acknowledged() -> list[tuple[float, float]]:
    """Behind and through, measured in turn. What waits is drained meanwhile, as far as it goes."""
    async with (
        open_postgres(BEHIND, THROUGH) as postgres,
        open_writing(postgres, BEHIND, THROUGH) as opened,
    ):
        opened.start()
        spaces = [await opened.namespace(name) for name in (BEHIND, THROUGH)]
        numbers = count()

        async def turn(space: Namespace) -> float:
            async def write() -> None:
                await opened.records.put(
                    space, upsert(new_key(), record(next(numbers))), deadline()
                )

            rate = await _calls_per_second(write, CALLERS)
            await flush(opened, space)
            return rate

        pairs = [
            (await turn(spaces[0]), await turn(spaces[1]))
            for _ in rounds(ROUNDS + 1, "write-behind")
        ]
    return pairs[1:]  # in the first, connections are opened


def drain() -> Iterator[Line]:
    """A backlog on its way to PostgreSQL, against loops that upsert the same rows through the same
    driver, in batches of the same size, each committed: as a list of parameters, and as the fastest
    statement that was found, which takes the rows as JSON."""
    rates = uvloop.run(_drained())
    for place, how in ((1, "a list of parameters"), (2, "JSON, the fastest statement found")):
        yield Line(
            f"Drain of {BACKLOG:,} writes, against a bare loop of upserts of {BATCH} rows: {how}",
            f"{statistics.median(one[0] for one in rates):,.0f} rows/s",
            f"{statistics.median(one[place] for one in rates):,.0f} rows/s",
            f"{statistics.median(one[0] / one[place] for one in rates):.2f}",
            ">= 0.7" if place == 1 else "",
        )


async def _drained() -> list[tuple[float, float, float]]:
    async with open_postgres(BEHIND, "bare") as postgres, _driver(postgres.url) as driver:
        rates = []
        for number in rounds(ROUNDS, "drain"):
            writes = people(number, BACKLOG, AMONG)
            async with open_writing(postgres, BEHIND) as opened:
                space = await opened.namespace(BEHIND)
                await _queue(opened, space, writes)
                began_s = time.perf_counter()
                opened.start()
                await until_empty(opened, space)
                ours = BACKLOG / (time.perf_counter() - began_s)
                await flush(opened, space)
            listed = await _upserted_per_second(driver, writes, _UPSERT, lambda rows: rows)
            as_json = await _upserted_per_second(
                driver, writes, _UPSERT_JSON, lambda rows: {"rows": json.dumps(rows)}
            )
            rates.append((ours, listed, as_json))
        [counts] = await postgres.execute(
            f"SELECT (SELECT count(*) FROM {BEHIND}), (SELECT count(*) FROM bare)"
        )
        assert counts[0] == counts[1]
    return rates


async def _queue(opened: OpenRecords, space: Namespace, writes: Writes) -> None:
    for part in parts(writes, QUEUED_AT_ONCE):
        puts = [upsert(key, fields) for key, fields in part]
        for outcome in await opened.records.put_many(space, puts, deadline()):
            assert isinstance(outcome, Written), outcome


@asynccontextmanager
async def _driver(url: str) -> AsyncIterator[AsyncEngine]:
    driver = create_async_engine(
        url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    try:
        yield driver
    finally:
        await driver.dispose()


_SETS = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS)
_GIVEN = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
_UPSERT = text(
    f"INSERT INTO bare VALUES ({', '.join(f':{name}' for name in COLUMNS)}) "
    f"ON CONFLICT (id) DO UPDATE SET {_SETS}"
)
_UPSERT_JSON = text(
    f"INSERT INTO bare SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS given({_GIVEN}) "
    f"ON CONFLICT (id) DO UPDATE SET {_SETS}"
)


async def _upserted_per_second(
    driver: AsyncEngine,
    writes: Writes,
    statement: TextClause,
    parameters: Callable[[list[Record]], Any],
) -> float:
    began_s = time.perf_counter()
    for part in parts(writes, BATCH):
        rows = {key: {"id": key, **fields} for key, fields in part}  # a statement takes a row once
        async with driver.connect() as connection:
            await connection.execute(statement, parameters([*rows.values()]))
    return len(writes) / (time.perf_counter() - began_s)


# Through the wire


def records_wire() -> Iterator[Line]:
    """Calls a second of one Python client through the whole server, which is what limits most."""
    rates = uvloop.run(_wire())
    behind, through, records, plain = (
        statistics.median(column) for column in zip(*rates, strict=True)
    )
    crowd = f"{CALLERS} in flight from one Python client"
    yield Line(
        f"PutRecord behind, against through to PostgreSQL, {crowd}",
        f"{behind:,.0f}/s",
        f"{through:,.0f}/s",
        f"{statistics.median(one[0] / one[1] for one in rates):.1f}",
    )
    yield Line(
        f"GetRecord, hit, against a Get of a plain entry, {crowd}",
        f"{records:,.0f}/s",
        f"{plain:,.0f}/s",
        f"{statistics.median(one[2] / one[3] for one in rates):.2f}",
    )


async def _wire() -> list[tuple[float, float, float, float]]:
    """PutRecord behind and through, GetRecord and Get, measured in turn."""
    me = psutil.Process()
    before = me.cpu_affinity()
    with tempfile.TemporaryDirectory(prefix="pantler-") as name:
        async with open_postgres(BEHIND, THROUGH) as postgres:
            file = Path(name, "pantler.yaml")
            file.write_text(str(configuration(Path(name, "data"), postgres.url, BEHIND, THROUGH)))
            with filled_server("--config", str(file)) as serving:
                me.cpu_affinity([LOAD_CPU])
                try:
                    async with grpc.aio.insecure_channel(serving.address) as channel:
                        return await _rates(channel)
                finally:
                    me.cpu_affinity(before)


async def _rates(channel: grpc.aio.Channel) -> list[tuple[float, float, float, float]]:
    records = record_pb2_grpc.RecordServiceStub(channel)
    cache = cache_pb2_grpc.CacheServiceStub(channel)
    fields = Struct()
    fields.update(record(1))

    def write(namespace: str, key: str) -> Awaitable[record_pb2.PutRecordResponse]:
        request = record_pb2.PutRecordRequest(
            namespace=namespace,
            key=key,
            fields=fields,
            operation=record_pb2.WRITE_OPERATION_UPSERT,
        )
        return records.PutRecord(request)

    get_record = record_pb2.GetRecordRequest(namespace=THROUGH, key=KEYS[0])
    get = cache_pb2.GetRequest(namespace=NAMESPACE, key=KEYS[0])
    flush_writes = record_pb2.FlushWritesRequest(namespace=BEHIND)
    await write(THROUGH, KEYS[0])
    rates = []
    for _ in rounds(ROUNDS + 1, "records-wire"):
        behind = await _calls_per_second(lambda: write(BEHIND, new_key()), CALLERS)
        await records.FlushWrites(flush_writes)
        through = await _calls_per_second(lambda: write(THROUGH, new_key()), CALLERS)
        found = await _calls_per_second(lambda: records.GetRecord(get_record), CALLERS)
        plain = await _calls_per_second(lambda: cache.Get(get), CALLERS)
        rates.append((behind, through, found, plain))
    return rates[1:]  # the first calls are slow


# Reads


def record_stampede() -> Iterator[Line]:
    """Many callers, of two workers, on one record that is not cached."""
    bursts = uvloop.run(_stampedes())
    took_s, loads = zip(*bursts, strict=True)
    yield Line(
        f"Stampede of {CROWD:,}, of two workers, on a record that takes {LOAD_S * 1000:.0f} ms to "
        "load, in the engine: the last answer",
        f"{statistics.median(took_s) * 1000:.0f} ms, loads: {max(loads)}",
        wanted="< 150 ms, loads: 1",
    )


async def _stampedes() -> list[tuple[float, int]]:
    """How long each took, and how many loads."""
    with tempfile.TemporaryDirectory(prefix="pantler-") as name:
        folder = Path(name)
        table = SlowTable(folder, LOAD_S)
        settings = Settings.model_validate({"namespaces": {NAMESPACE: table.namespace()}})
        async with (
            open_valkey(folder, settings) as socket,
            open_records(socket, settings, table.origin) as one,
            open_records(socket, settings, table.origin) as other,
        ):
            spaces = [(worker, await worker.namespace(NAMESPACE)) for worker in (one, other)]

            async def read(number: int, key: str) -> None:
                worker, space = spaces[number % 2]
                found = await worker.records.get(space, key, deadline())
                assert found.value

            await read(0, KEYS[0])
            await read(1, KEYS[1])
            bursts = []
            for number in rounds(ROUNDS, "record-stampede"):
                before, began_s = table.loads, time.perf_counter()
                await asyncio.gather(*(read(caller, KEYS[2 + number]) for caller in range(CROWD)))
                bursts.append((time.perf_counter() - began_s, table.loads - before))
    return bursts


def refresh_ahead() -> Iterator[Line]:
    """Reads of hot keys while these are refreshed all the time, against reads of the same keys with
    a long ttl; and how many of them found nothing and waited."""
    pairs, waited, loads = uvloop.run(_reads_while_refreshing())
    with_us, without_us = (statistics.median(side) * 1e6 for side in zip(*pairs, strict=True))
    yield Line(
        f"p99 of reads of {len(KEYS)} keys while they are refreshed ahead, "
        f"{loads / len(pairs):.0f} queries in {REFRESH_S:.0f} s, against a long ttl",
        f"{with_us:,.0f} µs",
        f"{without_us:,.0f} µs",
        f"{statistics.median(one / other for one, other in pairs):.2f}",
        "<= 1.5",
    )
    yield Line("Reads that waited for a load after the first", f"{waited}", wanted="0")


async def _reads_while_refreshing() -> tuple[list[tuple[float, float]], int, int]:
    """p99 with and without (s), measured in turn; the reads that waited, and the loads."""
    with tempfile.TemporaryDirectory(prefix="pantler-") as name:
        folder = Path(name)
        table = SlowTable(folder, REFRESH_LOAD_S)
        settings = Settings.model_validate(
            {
                "namespaces": {
                    "fleeting": table.namespace(ttl="1s", refresh_ratio=0.8),
                    "lasting": table.namespace(ttl="1h"),
                }
            }
        )
        async with (
            open_valkey(folder, settings) as socket,
            open_records(socket, settings, table.origin) as opened,
        ):
            fleeting = await opened.namespace("fleeting")
            lasting = await opened.namespace("lasting")
            pairs, waited, loads = [], 0, 0
            for _ in rounds(REFRESH_TURNS, "refresh-ahead"):
                without_s, _ = await _p99_s(opened, lasting)
                before = table.loads
                with_s, misses = await _p99_s(opened, fleeting)
                pairs.append((with_s, without_s))
                waited += misses
                loads += table.loads - before - len(KEYS)
    return pairs, waited, loads


async def _p99_s(opened: OpenRecords, space: Namespace) -> tuple[float, int]:
    """Of reads all the time, and how many of them missed, after each key was read once."""

    async def first(place: int) -> None:
        await asyncio.sleep(place / len(KEYS) * FIRST_READS_S)
        await opened.records.get(space, KEYS[place], deadline())

    await asyncio.gather(*map(first, range(len(KEYS))))
    stats, _, _ = await opened.cache.statistics(space, deadline())
    before = _misses(stats)
    took_s: list[float] = []
    until_s = time.perf_counter() + REFRESH_S

    async def reader(place: int) -> None:
        while time.perf_counter() < until_s:
            place += 1
            began_s = time.perf_counter()
            found = await opened.records.get(space, KEYS[place % len(KEYS)], deadline())
            took_s.append(time.perf_counter() - began_s)
            await asyncio.sleep(PAUSE_S)
            assert found.value
            assert found.source is Source.CACHE or _misses(stats) > before

    await asyncio.gather(*(reader(one * len(KEYS) // READERS) for one in range(READERS)))
    return statistics.quantiles(took_s, n=100)[98], _misses(stats) - before


def _misses(stats: NamespaceStats) -> int:
    return stats.misses_unknown + stats.misses_expired
