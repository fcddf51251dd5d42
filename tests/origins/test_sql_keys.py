"""The keys of all records, a page at a time, for warming."""

import asyncio

import pytest
from pantler_server.core.errors import OriginNotReady
from pantler_server.core.record import Operation

from tests.origins.conftest import PEOPLE, Table, Tables

UPSERT = Operation.UPSERT


async def pages(
    table: Table, query: str | None = None, after: str = "", size: int = 3
) -> list[list[str]]:
    return [list(page) async for page in table.origin.list_keys(query, after, size)]


async def fill(table: Table, keys: list[str]) -> None:
    writes = [await table.write(key, UPSERT, name="x", age=len(key)) for key in keys]
    assert await table.apply(*writes) == []


async def test_an_empty_table_has_no_pages(people: Table) -> None:
    assert people.origin.keys_can_be_listed
    assert await pages(people) == []


async def test_all_keys_come_in_pages(people: Table) -> None:
    await fill(people, list("gfedcba"))
    assert await pages(people) == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    assert await pages(people, after="e") == [["f", "g"]]
    assert await pages(people, size=7) == [list("abcdefg")]


async def test_whole_numbers_come_in_their_own_order(tables: Tables) -> None:
    table = await tables.make("id BIGINT PRIMARY KEY, name TEXT, age INTEGER")
    await fill(table, ["10", "9", "-1", "9223372036854775807"])
    assert await pages(table) == [["-1", "9", "10"], ["9223372036854775807"]]
    assert await pages(table, after="9") == [["10", "9223372036854775807"]]


async def test_uuids_come_in_order(tables: Tables) -> None:
    table = await tables.make("id UUID PRIMARY KEY, name TEXT, age INTEGER")
    keys = [f"{n}ba7b810-9dad-11d1-80b4-00c04fd430c8" for n in range(5)]
    await fill(table, keys[::-1])
    assert await pages(table) == [keys[:3], keys[3:]]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id FROM {table} WHERE age = 2",
        "SELECT id FROM {table} WHERE age = 2 ORDER BY name LIMIT 100;  ",
        "WITH two AS (SELECT * FROM {table} WHERE age = 2) SELECT id FROM two -- those of two",
        "SELECT id FROM {table} WHERE name LIKE '%x' AND name NOT IN (':key', '\\:') AND age = 2",
        r"SELECT id FROM {table} WHERE age = 2 AND name NOT LIKE 'x\_%' ESCAPE '\'",
        "SELECT id FROM {table} WHERE age = 2 UNION ALL SELECT id FROM {table} WHERE age = 2",
        "SELECT NULL UNION SELECT id FROM {table} WHERE age = 2",
    ],
)
async def test_a_query_gives_the_keys(people: Table, query: str) -> None:
    await fill(people, ["aa", "b", "cc", "dd", "ee", "f"])
    query = query.replace("{table}", people.name)
    assert await pages(people, query) == [["aa", "cc", "dd"], ["ee"]]
    assert await pages(people, query, after="cc") == [["dd", "ee"]]


# SQLite takes a comment without an end; the parameter is the size of the page.
WRITES_ON_SQLITE = "SELECT id FROM {table}) DELETE FROM {table} WHERE ? RETURNING id /*"
WRITES_ON_POSTGRES = "SELECT id FROM gone_{table}()"


async def test_a_query_that_writes_is_refused_and_writes_nothing(tables: Tables) -> None:
    table = await tables.make(PEOPLE, pool_size=1)
    await fill(table, ["a"])
    query = WRITES_ON_SQLITE
    if not table.database.is_sqlite:
        query = WRITES_ON_POSTGRES
        await table.database.execute(
            f"CREATE FUNCTION gone_{table.name}() RETURNS TABLE (id varchar) LANGUAGE sql "
            f"AS 'DELETE FROM {table.name} RETURNING id'"
        )
    with pytest.raises(OriginNotReady, match="`query` writes, and may only read"):
        await pages(table, query.replace("{table}", table.name))
    assert await table.rows("id") == [("a",)]
    assert table.origin.problem == ""
    await fill(table, ["b"])
    assert await table.rows("id") == [("a",), ("b",)], "the same connection may write again"


async def test_a_query_is_one_statement(tables: Tables) -> None:
    table = await tables.make(PEOPLE)
    await fill(table, ["a"])
    query = f"SELECT id FROM {table.name}) SELECT 1; ROLLBACK; DELETE FROM {table.name}; --"
    with pytest.raises(OriginNotReady, match="the database does not take `query`"):
        await pages(table, query)
    assert await table.rows("id") == [("a",)]


async def test_a_query_that_is_given_up_leaves_no_connection_that_may_not_write(
    tables: Tables,
) -> None:
    table = await tables.make(PEOPLE, pool_size=1)
    await fill(table, ["a"])
    slow = "SELECT CAST(pg_sleep(30) AS text)"
    if table.database.is_sqlite:
        slow = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
            "WHERE i < 500000) SELECT max(i) FROM n"
        )
    reading = asyncio.create_task(pages(table, slow))
    await asyncio.sleep(0.1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await fill(table, ["b"])
    assert await table.rows("id") == [("a",), ("b",)]


@pytest.mark.parametrize("query", ["SELECT id FROM nowhere", "SELECT nothing FROM {table}", "no"])
async def test_a_query_that_fails_is_said_and_is_no_problem_of_the_table(
    tables: Tables, query: str
) -> None:
    table = await tables.make(PEOPLE)
    await fill(table, ["a"])
    with pytest.raises(OriginNotReady, match="query"):
        await pages(table, query.replace("{table}", table.name))
    assert table.origin.problem == ""
    assert await table.load("a") is not None
