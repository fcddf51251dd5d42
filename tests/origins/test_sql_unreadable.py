"""Rows that others wrote, and that can't be turned into a record."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pantler_server.core.errors import OriginUnavailable

from tests.origins.conftest import Postgres, Sqlite, Tables
from tests.servers.postgres import PostgresServer

SQLITE = [
    ("n INTEGER", "'many'"),
    ("n TEXT", "x'ff'"),
    ("n TEXT", "CAST(x'ff' AS TEXT)"),
    ("n TIMESTAMP", "'yesterday'"),
    ("n DATE", "'yesterday'"),
    ("n TIME", "'noon'"),
    ("n JSON", "'{'"),
    ("n JSON", f"'{'[' * 100}{']' * 100}'"),
    ("n JSON", f"'{'[' * 5000}{']' * 5000}'"),
    ("n JSON", f"'{'9' * 5000}'"),
    ("n NUMERIC", "'much'"),
    ("n BOOLEAN", "7"),
    ("n UUID", "'x'"),
]
POSTGRES = [
    ("n JSONB", f"'{'[' * 100}{']' * 100}'"),
    ("n JSON", f"'{'[' * 5000}{']' * 5000}'"),
    ("n JSONB", f"'{'9' * 5000}'"),
    ("n TIMESTAMPTZ", "'infinity'"),
    ("n TIMESTAMPTZ[]", "'{infinity}'"),
    ("n TIMESTAMPTZ", "'12345-01-01 00:00Z'"),
    ("n TIMESTAMP", "'0044-03-15 BC'"),
    ("n DATE", "'infinity'"),
    ("n DATE", "'12345-01-01'"),
    ("n TIME", "'24:00'"),
]


@pytest_asyncio.fixture
async def on_sqlite(tmp_path: Path) -> AsyncIterator[Tables]:
    database = Sqlite(tmp_path / "some.db")
    await database.execute("PRAGMA journal_mode = WAL")
    tables = Tables(database)
    yield tables
    await tables.close()


@pytest_asyncio.fixture
async def on_postgres(postgres: PostgresServer) -> AsyncIterator[Tables]:
    tables = Tables(Postgres(postgres))
    yield tables
    await tables.close()


async def fails_alone(tables: Tables, column: str, value: str) -> None:
    table = await tables.make(f"id TEXT PRIMARY KEY, {column}")
    for key, put in (("a", "NULL"), ("bad", value), ("c", "NULL")):
        await table.database.execute(f"INSERT INTO {table.name} VALUES ('{key}', {put})")
    with pytest.raises(OriginUnavailable, match="can't be read: column n holds"):
        await table.load("bad")
    found = await table.origin.load_many(["a", "bad", "c", "nobody"], table.deadline())
    assert isinstance(found["bad"], OriginUnavailable)
    others = {"a": {"id": "a", "n": None}, "c": {"id": "c", "n": None}}
    assert found == {**others, "bad": found["bad"]}


@pytest.mark.parametrize(("column", "value"), SQLITE)
async def test_a_row_of_sqlite_that_cannot_be_read_fails_alone(
    on_sqlite: Tables, column: str, value: str
) -> None:
    await fails_alone(on_sqlite, column, value)


@pytest.mark.component("postgres")
@pytest.mark.parametrize(("column", "value"), POSTGRES)
async def test_a_row_of_postgres_that_cannot_be_read_fails_alone(
    on_postgres: Tables, column: str, value: str
) -> None:
    await fails_alone(on_postgres, column, value)
