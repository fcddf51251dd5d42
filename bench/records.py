"""What records are measured on: a table of people, in a PostgreSQL that syncs each commit or in a
SQLite, and the Valkey that Pantler starts for such namespaces: where one writes behind it syncs
each write."""

import asyncio
import random
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from itertools import count
from pathlib import Path
from typing import Any

from pantler_server.core.config import Settings
from pantler_server.core.namespace import Namespace
from pantler_server.core.record import Operation, Record
from pantler_server.core.redis_config import EmbeddedRedis
from pantler_server.engines.cache.record.model import Put
from pantler_server.origins.origin import Origin, RecordOutcome
from pantler_server.store.embedded import EmbeddedValkey

from bench.engine import OpenRecords, deadline, open_records
from bench.servers import KEYS
from tests.servers.postgres import PostgresServer

BEHIND, THROUGH = "behind", "through"
COLUMNS = {"id": "text", "name": "text", "age": "integer", "email": "text", "score": "float8"}
"""Of the table, with their types; the first is the key's."""
MAX_BACKLOG = 1_000_000
LOOK_S = 0.02  # how soon it is noticed that a backlog is gone

Writes = Sequence[tuple[str, Record]]
"""Keys and fields."""

_numbers = count()


def record(number: int) -> Record:
    """Four columns of a person."""
    return {
        "name": f"Name {number}",
        "age": number % 100,
        "email": f"user{number}@example.com",
        "score": number / 7,
    }


def new_key() -> str:
    """One that was not given before."""
    return f"user:{next(_numbers)}"


def upsert(key: str, fields: Record) -> Put:
    return Put(key, Operation.UPSERT, fields, "")


@asynccontextmanager
async def open_postgres(*tables: str) -> AsyncIterator[PostgresServer]:
    """With empty tables of these names."""
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    async with PostgresServer(durable=True) as server:
        for table in tables:
            await server.execute(f"CREATE TABLE {table} ({columns}, PRIMARY KEY (id))")
        yield server


@asynccontextmanager
async def open_valkey(folder: Path, settings: Settings) -> AsyncIterator[str]:
    """Its socket; the folder is for its file."""
    valkey = EmbeddedValkey(EmbeddedRedis(directory=folder), fsync_always=settings.writes_behind)
    await valkey.start()
    try:
        yield str(valkey.socket)
    finally:
        await valkey.stop()
        valkey.close()


def configuration(folder: Path, url: str, *names: str) -> dict[str, Any]:
    """Of namespaces that write behind or through, as they are called, each to a table of its
    name."""
    return {
        "redis": {"embedded": {"directory": str(folder)}},
        "namespaces": {
            name: {
                "origin": {"sql": {"url": url, "table": name}},
                "writes": name,
                "write_behind": {"max_backlog": MAX_BACKLOG},
            }
            for name in names
        },
    }


@asynccontextmanager
async def open_writing(postgres: PostgresServer, *names: str) -> AsyncIterator[OpenRecords]:
    """The record engine with namespaces of these names."""
    with tempfile.TemporaryDirectory(prefix="pantler-") as name:
        folder = Path(name)
        settings = Settings.model_validate(configuration(folder, postgres.url, *names))
        async with (
            open_valkey(folder, settings) as socket,
            open_records(socket, settings) as opened,
        ):
            yield opened


async def flush(opened: OpenRecords, space: Namespace) -> None:
    """Until nothing waits for the origin."""
    flushed = await opened.records.flush(space, None, deadline())
    backlog = await opened.records.backlog(space, deadline())
    assert not flushed.remaining
    assert not backlog.dead


async def until_empty(opened: OpenRecords, space: Namespace) -> None:
    """As `flush`, but asks nobody for haste."""
    while (await opened.records.backlog(space, deadline())).pending:  # noqa: ASYNC110 no event tells
        await asyncio.sleep(LOOK_S)


def people(seed: int, size: int, keys: int) -> Writes:
    """So many records, of keys drawn from so many."""
    draw = random.Random(seed)
    return [(f"user:{seed}:{draw.randrange(keys)}", record(number)) for number in range(size)]


def parts(writes: Writes, size: int) -> Iterator[Writes]:
    for begin in range(0, len(writes), size):
        yield writes[begin : begin + size]


class SlowTable:
    """People in a table of SQLite, whose loads each take so long beyond their query."""

    def __init__(self, folder: Path, load_s: float) -> None:
        self.loads = 0
        self._load_s = load_s
        self._file = folder / "people.db"
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        with closing(sqlite3.connect(self._file)) as database, database:
            database.execute(f"CREATE TABLE people ({columns}, PRIMARY KEY (id))")
            rows = [(key, *record(number).values()) for number, key in enumerate(KEYS)]
            marks = ", ".join("?" * len(COLUMNS))
            database.executemany(f"INSERT INTO people VALUES ({marks})", rows)

    def namespace(self, **said: Any) -> dict[str, Any]:
        """The configuration of one."""
        return {"origin": {"sql": {"url": f"sqlite:///{self._file}", "table": "people"}}, **said}

    def origin(self, inner: Origin) -> Origin:
        """Goes around that of the table."""
        slow: Any = _SlowOrigin(self, inner)
        return slow  # type: ignore[no-any-return]

    async def wait(self) -> None:
        self.loads += 1
        await asyncio.sleep(self._load_s)


class _SlowOrigin:
    def __init__(self, table: SlowTable, inner: Origin) -> None:
        self._table = table
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def load(self, key: str, until: float) -> Record | None:
        await self._table.wait()
        return await self._inner.load(key, until)

    async def load_many(self, keys: Sequence[str], until: float) -> Mapping[str, RecordOutcome]:
        await self._table.wait()
        return await self._inner.load_many(keys, until)
