"""Tables that can't serve as they are configured: what is said, and that it is noticed when they
can."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import structlog
from pantler_server.core.errors import OriginNotReady
from pantler_server.core.record import Operation
from pantler_server.origins import sql
from pantler_server.origins.sql import SqlOrigin

from tests.origins.conftest import Postgres, Table, Tables
from tests.servers.postgres import PostgresServer

INSERT, UPDATE, UPSERT, DELETE = Operation


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "LOOK_AGAIN_S", 0.05)


async def until_there_is(origin: SqlOrigin, problem: str | None) -> None:
    """Waits for a problem with this text; for None until there is none."""
    async with asyncio.timeout(5):
        while not re.search(problem or "", origin.problem) or bool(origin.problem) != bool(problem):
            await asyncio.sleep(0.005)


@pytest.mark.filterwarnings("ignore:Did not recognize type")
@pytest.mark.parametrize(
    ("columns", "config", "problem"),
    [
        ("other TEXT PRIMARY KEY", {}, "has no column id"),
        ("id TEXT PRIMARY KEY", {"columns": ("name",)}, "has no column name"),
        ("id TEXT PRIMARY KEY", {"version_column": "v"}, "has no column v"),
        ("id TEXT PRIMARY KEY, v TEXT", {"version_column": "v"}, "64-bit"),
        ("id INTEGER PRIMARY KEY", {"version_column": "id"}, "both key and version"),
        ("id TEXT NOT NULL, n INTEGER", {}, "neither its primary key nor unique"),
        ("id TEXT, n INTEGER, PRIMARY KEY (id, n)", {}, "neither its primary key nor unique"),
        ("id TEXT UNIQUE", {}, "may be null"),
        ("id DATE PRIMARY KEY", {}, "must be text"),
        ("id NUMERIC PRIMARY KEY", {}, "must be text"),
        ("id TEXT PRIMARY KEY, n POINT", {}, "n \\((point|GEOMETRY)\\): name the others"),
    ],
)
async def test_what_is_wrong_with_a_table_is_said(
    tables: Tables, columns: str, config: dict[str, Any], problem: str
) -> None:
    if tables.database.is_sqlite:
        columns = columns.replace("POINT", "GEOMETRY")  # a part of the other's name is INT to it
    table = await tables.make(columns, **config)
    await until_there_is(table.origin, problem)
    with pytest.raises(OriginNotReady, match=problem):
        await table.load("a")
    with pytest.raises(OriginNotReady, match=problem):
        await table.check("a", UPSERT)


@pytest.mark.filterwarnings("ignore:Did not recognize type")
async def test_all_columns_that_records_cannot_have_are_named(tables: Tables) -> None:
    if tables.database.is_sqlite:
        columns, kinds = "a GEOMETRY, b", "a (GEOMETRY), b (without a type)"
    else:
        columns, kinds = "a POINT, b TIMETZ(2)", "a (point), b (time(2) with time zone)"
    table = await tables.make(f"id TEXT PRIMARY KEY, {columns}, n INTEGER")
    await until_there_is(table.origin, re.escape(kinds))
    only = await tables.origin(table.name, columns=("n",))
    assert await only.load("a", table.deadline()) is None


async def test_a_key_column_that_is_blind_to_case_is_refused(tables: Tables) -> None:
    if tables.database.is_sqlite:
        kinds = ["TEXT COLLATE NOCASE", "VARCHAR(9) COLLATE RTRIM", "TEXT COLLATE NoCase"]
    else:
        options = "provider = icu, locale = 'und-u-ks-level2', deterministic = false"
        await tables.database.execute(f"CREATE COLLATION blind ({options})")
        await tables.database.execute("CREATE DOMAIN label AS TEXT COLLATE blind")
        kinds = ["TEXT COLLATE blind", "VARCHAR(9) COLLATE blind", "label"]
    for kind in kinds:
        table = await tables.make(f"id {kind} PRIMARY KEY, n INTEGER")
        await until_there_is(table.origin, "key column id of table .* different keys are equal")
        await table.database.execute(f"DROP TABLE {table.name}")
    if not tables.database.is_sqlite:
        await tables.database.execute("DROP DOMAIN label")
        await tables.database.execute("DROP COLLATION blind")
    binary = "BINARY" if tables.database.is_sqlite else '"C"'
    fine = await tables.make(f"id TEXT COLLATE {binary} PRIMARY KEY")
    await fine.store("a", UPSERT)
    await fine.store("A", UPSERT)
    assert len(await fine.rows()) == 2


async def test_a_unique_column_can_be_the_key(tables: Tables) -> None:
    table = await tables.make("id TEXT NOT NULL UNIQUE")
    await table.store("a", UPSERT)
    assert await table.load("a") == {"id": "a"}


async def test_a_unique_index_makes_a_key_but_not_a_partial_one(tables: Tables) -> None:
    table = await tables.make("id TEXT NOT NULL, n INTEGER")
    await until_there_is(table.origin, "nor unique")
    await table.database.execute(
        f"CREATE UNIQUE INDEX {table.name}_some ON {table.name} (id) WHERE n > 0"
    )
    with pytest.raises(OriginNotReady, match="nor unique"):
        await table.load("a")
    await table.database.execute(f"CREATE UNIQUE INDEX {table.name}_all ON {table.name} (id)")
    await until_there_is(table.origin, None)
    await table.store("a", UPSERT, n=1)


async def test_a_table_that_appears_later_is_noticed(tables: Tables) -> None:
    origin = await tables.origin("appears_later")
    await until_there_is(origin, "there is no table appears_later")
    await tables.database.execute("CREATE TABLE appears_later (id TEXT PRIMARY KEY)")
    await until_there_is(origin, None)
    await tables.database.execute("DROP TABLE appears_later")


async def test_a_table_that_goes_away_is_noticed_by_a_call(people: Table) -> None:
    await people.store("a", UPSERT, name="A")
    await people.database.execute(f"ALTER TABLE {people.name} RENAME TO away_{people.name}")
    with pytest.raises(OriginNotReady):
        await people.load("a")
    await until_there_is(people.origin, "there is no table")
    await people.database.execute(f"ALTER TABLE away_{people.name} RENAME TO {people.name}")
    await until_there_is(people.origin, None)
    assert await people.load("a") is not None


async def test_a_column_that_is_added_is_noticed(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "LOOK_FOR_CHANGES_S", 0.05)
    table = await tables.make("id TEXT PRIMARY KEY, n INTEGER")
    await table.store("a", UPSERT, n=1)
    await table.database.execute(f"ALTER TABLE {table.name} ADD COLUMN extra TEXT")
    async with asyncio.timeout(5):
        while "extra" not in (await table.load("a") or {}):
            await asyncio.sleep(0.01)
    await table.store("a", UPDATE, extra="x")
    stored = await table.store("a", UPSERT, n=2)
    assert stored.record == {"id": "a", "n": 2, "extra": None}
    assert table.origin.problem == ""


@pytest.mark.filterwarnings("ignore:Did not recognize type")
async def test_a_column_that_records_cannot_have_stops_no_origin_when_it_is_added(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "LOOK_FOR_CHANGES_S", 0.01)
    table = await tables.make("id TEXT PRIMARY KEY, n INTEGER")
    await table.store("a", UPSERT, n=1)
    kind = "GEOMETRY" if table.database.is_sqlite else "POINT"
    with structlog.testing.capture_logs() as logs:
        await table.database.execute(f"ALTER TABLE {table.name} ADD COLUMN extra {kind}")
        async with asyncio.timeout(5):
            while not any("extra" in one.get("problem", "") for one in logs):
                await asyncio.sleep(0.01)
    assert table.origin.problem == ""
    assert (await table.store("a", UPDATE, n=2)).record == {"id": "a", "n": 2}


async def test_a_look_finds_nothing_changed_in_a_table_of_all_types(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "LOOK_FOR_CHANGES_S", 0.01)
    columns = "id TEXT PRIMARY KEY, n NUMERIC(9, 2), v VARCHAR(9), at TIMESTAMP, j JSON, b BOOLEAN"
    if not tables.database.is_sqlite:
        await tables.database.execute("CREATE TYPE colour AS ENUM ('red')")
        await tables.database.execute("CREATE DOMAIN small AS INTEGER CHECK (VALUE < 9)")
        columns += ", e colour, es colour[], d small, ns INTEGER[], u UUID, y BYTEA"
    table = await tables.make(columns)
    with structlog.testing.capture_logs() as logs:
        await table.load("a")
        known = table.origin._table
        look = table.origin._look_for_changes
        await look(table.deadline())
    assert known is not None
    assert table.origin._table is known
    assert [one for one in logs if "changed" in one["event"]] == []


async def test_a_column_that_goes_away_is_noticed_by_a_call(tables: Tables) -> None:
    table = await tables.make("id TEXT PRIMARY KEY, n INTEGER, other TEXT", columns=("n",))
    await table.store("a", UPSERT, n=1)
    await table.database.execute(f"ALTER TABLE {table.name} DROP COLUMN n")
    with pytest.raises(OriginNotReady):
        await table.store("a", UPDATE, n=2)
    await until_there_is(table.origin, "has no column n")


async def test_a_table_in_another_schema_is_found(tables: Tables) -> None:
    if tables.database.is_sqlite:
        schema = "main"
    else:
        schema = '"Other schema"'
        await tables.database.execute(f"CREATE SCHEMA {schema}")
    await tables.database.execute(f"CREATE TABLE {schema}.elsewhere (id TEXT PRIMARY KEY)")
    name = f"{schema}.elsewhere".replace('"', "")
    table = Table(tables.database, f"{schema}.elsewhere", await tables.origin(name))
    await table.store("a", UPSERT)
    assert await table.apply(await table.write("b", UPSERT)) == []
    assert await table.rows() == [("a",), ("b",)]
    assert (
        list(
            await table.database.execute(
                f"SELECT applied FROM {schema}.pantler_logs WHERE log = '{table.name}:0'"
            )
        )
        != []
    )


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "sqlite:///nowhere.db"])
async def test_a_file_that_is_not_there_is_said_and_not_made(tables: Tables, url: str) -> None:
    origin = await tables.origin("people", url=url)
    await until_there_is(origin, "the database file is not there")


async def test_a_problem_is_one_namespaces_alone(tables: Tables, people: Table) -> None:
    origin = await tables.origin("nowhere")
    await until_there_is(origin, "no table nowhere")
    await people.store("a", UPSERT, name="A")


@pytest_asyncio.fixture
async def on_postgres(postgres: PostgresServer) -> AsyncIterator[Tables]:
    """With a role `reader`, who may do nothing yet, behind the password `secret`."""
    made = Tables(Postgres(postgres))
    await postgres.execute("CREATE ROLE reader LOGIN PASSWORD 'secret'")
    yield made
    await made.close()
    await postgres.execute("DROP OWNED BY reader")
    await postgres.execute("DROP ROLE reader")


@pytest.mark.component("postgres")
async def test_a_user_or_database_that_is_not_there_is_said(on_postgres: Tables) -> None:
    url = on_postgres.database.url
    nobody = await on_postgres.origin("any", url=url.replace("pantler@", "nobody@"))
    await until_there_is(nobody, "cannot log in")
    nowhere = await on_postgres.origin("any", url=url.replace("/postgres", "/nowhere"))
    await until_there_is(nowhere, "no such database")


@pytest.mark.component("postgres")
async def test_a_missing_privilege_is_said(on_postgres: Tables) -> None:
    as_reader = on_postgres.database.url.replace("pantler@", "reader@")
    table = await on_postgres.make("id TEXT PRIMARY KEY")
    execute = on_postgres.database.execute
    origin = await on_postgres.origin(table.name, url=as_reader)
    await until_there_is(origin, "lacks a privilege")

    await execute(f"GRANT SELECT ON {table.name} TO reader")
    await until_there_is(origin, None)
    assert await origin.load("a", table.deadline()) is None
    write = await table.write("a", UPSERT)
    with pytest.raises(OriginNotReady, match="lacks a privilege"):
        await origin.store(write, table.deadline())
    assert "lacks a privilege" in origin.problem
    assert await origin.load("a", table.deadline()) is None

    await execute(f"GRANT INSERT, UPDATE ON {table.name} TO reader")
    await origin.store(write, table.deadline())
    assert origin.problem == ""


@pytest.mark.component("postgres")
async def test_what_to_run_is_said_where_the_log_cannot_be_made(on_postgres: Tables) -> None:
    execute = on_postgres.database.execute
    await execute("CREATE SCHEMA owned CREATE TABLE things (id TEXT PRIMARY KEY)")
    await execute("GRANT USAGE ON SCHEMA owned TO reader")
    await execute("GRANT SELECT, INSERT, UPDATE ON owned.things TO reader")
    as_reader = on_postgres.database.url.replace("pantler@", "reader@")
    origin = await on_postgres.origin("owned.things", url=as_reader)
    table = Table(on_postgres.database, "owned.things", origin)
    write = await table.write("a", UPSERT)
    with pytest.raises(OriginNotReady, match="CREATE TABLE IF NOT EXISTS"):
        await table.apply(write)
    found = re.search("run `(.*)`", origin.problem)
    assert found is not None
    assert await origin.load("a", table.deadline()) is None

    await execute(found[1])
    await execute("GRANT SELECT, INSERT, UPDATE ON owned.pantler_logs TO reader")
    await until_there_is(origin, None)
    assert await table.apply(write) == []
    assert await table.rows() == [("a",)]
    await execute("DROP SCHEMA owned CASCADE")
