"""One body of tests over both databases: the same tables, on real PostgreSQL and SQLite."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
from pantler_server.core import origin_config
from pantler_server.core.record import Operation, Record
from pantler_server.origins.origin import Batch, Refusal, Stored, Write
from pantler_server.origins.sql import SqlOrigin
from pantler_server.origins.sql_database import Databases

from tests.servers.postgres import PostgresServer

Deadline = Callable[[], float]
_numbers = count(1)


@pytest.fixture(scope="session")
def deadline() -> Deadline:
    return lambda: asyncio.get_running_loop().time() + 5.0


class Database(Protocol):
    """A database as its owner has it."""

    @property
    def is_sqlite(self) -> bool: ...

    @property
    def url(self) -> str: ...

    async def execute(self, statement: str) -> Sequence[Sequence[Any]]:
        """Runs one statement on a connection of its own, and commits it."""
        ...


@dataclass(frozen=True)
class Postgres:
    server: PostgresServer
    is_sqlite: bool = False

    @property
    def url(self) -> str:
        return self.server.url

    async def execute(self, statement: str) -> Sequence[Sequence[Any]]:
        return await self.server.execute(statement)


@dataclass(frozen=True)
class Sqlite:
    path: Path
    is_sqlite: bool = True

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    async def execute(self, statement: str) -> Sequence[Sequence[Any]]:
        connection = sqlite3.connect(self.path)
        try:
            rows = connection.execute(statement).fetchall()
            connection.commit()
            return rows
        finally:
            connection.close()


@pytest_asyncio.fixture(scope="session")
async def postgres() -> AsyncIterator[PostgresServer]:
    """A server that no test stops."""
    async with PostgresServer() as running:
        yield running


@pytest.fixture(
    scope="session",
    params=["sqlite", pytest.param("postgres", marks=pytest.mark.component("postgres"))],
)
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    if request.param == "postgres":
        yield Postgres(request.getfixturevalue("postgres"))
        return
    path = tmp_path_factory.mktemp("origins") / "a database.db"
    sqlite3.connect(path).close()
    yield Sqlite(path)


@dataclass
class Table:
    """A table that no other test uses, with an origin on it."""

    database: Database
    name: str
    origin: SqlOrigin

    def __post_init__(self) -> None:
        self._versions = count(1_000)

    def deadline(self, seconds: float = 5.0) -> float:
        return asyncio.get_running_loop().time() + seconds

    async def check(self, key: str, operation: Operation, **fields: Any) -> Record:
        return await self.origin.check(key, operation, fields, self.deadline())

    async def write(self, key: str, operation: Operation, **fields: Any) -> Write:
        """A write as the engine makes one."""
        checked = await self.check(key, operation, **fields)
        return Write(key, operation, checked, next(self._versions))

    async def store(self, key: str, operation: Operation, **fields: Any) -> Stored:
        write = await self.write(key, operation, **fields)
        return await self.origin.store(write, self.deadline())

    async def load(self, key: str) -> Record | None:
        return await self.origin.load(key, self.deadline())

    async def apply(
        self, *writes: Write, epoch: int = 1, last: int | None = None, log: str | None = None
    ) -> list[Refusal]:
        """Applies a batch; what was refused."""
        told: list[Refusal] = []

        async def before_commit(refused: Sequence[Refusal]) -> None:
            told.extend(refused)

        await self.origin.apply(
            self.batch(*writes, epoch=epoch, last=last, log=log), before_commit, self.deadline()
        )
        return told

    async def apply_within(self, seconds: float, *writes: Write) -> None:
        """Applies a batch that has so long."""

        async def before_commit(refused: Sequence[Refusal]) -> None:
            raise AssertionError(refused)

        await self.origin.apply(self.batch(*writes), before_commit, self.deadline(seconds))

    def batch(
        self, *writes: Write, epoch: int = 1, last: int | None = None, log: str | None = None
    ) -> Batch:
        """Of a log of this table's own."""
        if last is None:
            last = max(write.version for write in writes)
        return Batch(log or f"{self.name}:0", epoch, last, writes)

    async def rows(self, columns: str = "*", order: str = "id") -> Sequence[Sequence[Any]]:
        return await self.database.execute(f"SELECT {columns} FROM {self.name} ORDER BY {order}")


class Tables:
    """Makes tables and origins."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.databases = Databases()
        self._origins: list[SqlOrigin] = []

    async def make(self, definition: str, **config: Any) -> Table:
        """A table of these columns (`{table}` in them is its name); `config` of the origin beyond
        its place."""
        name = f"table{next(_numbers)}"
        definition = definition.replace("{table}", name)
        await self.database.execute(f"CREATE TABLE {name} ({definition})")
        return Table(self.database, name, await self.origin(name, **config))

    async def origin(self, table: str, **config: Any) -> SqlOrigin:
        """An origin, as another worker may have it."""
        config = {"url": self.database.url, "table": table} | config
        origin = SqlOrigin("test", origin_config.SqlOrigin(**config), self.databases)
        self._origins.append(origin)
        await origin.start()
        return origin

    async def close(self) -> None:
        for origin in self._origins:
            await origin.stop()


@pytest_asyncio.fixture
async def tables(database: Database) -> AsyncIterator[Tables]:
    made = Tables(database)
    yield made
    await made.close()


PEOPLE = "id VARCHAR(40) PRIMARY KEY, name TEXT NOT NULL, age INTEGER, email TEXT UNIQUE"


@pytest_asyncio.fixture
async def people(tables: Tables) -> Table:
    """Without a version column; nothing has a default."""
    return await tables.make(PEOPLE)


@pytest_asyncio.fixture
async def versioned(tables: Tables) -> Table:
    """The same with a version column."""
    return await tables.make(f"{PEOPLE}, version BIGINT", version_column="version")
