"""One write at a time, and reads."""

import asyncio

import pytest
from pantler_server.core.errors import OriginUnavailable, RecordExists, RecordMissing, WriteRefused
from pantler_server.core.record import Operation
from pantler_server.origins.origin import Write

from tests.origins.conftest import Table, Tables

INSERT, UPDATE, UPSERT, DELETE = Operation


async def test_what_is_stored_is_loaded(people: Table) -> None:
    stored = await people.store("a", INSERT, name="Ann", age=30)
    assert stored.record == {"id": "a", "name": "Ann", "age": 30, "email": None}
    assert stored.is_known
    assert await people.load("a") == stored.record
    assert await people.rows() == [("a", "Ann", 30, None)]


async def test_what_is_not_there_is_none(people: Table) -> None:
    assert await people.load("nobody") is None


async def test_many_are_loaded_at_once(people: Table) -> None:
    for key in ("a", "b", "c"):
        await people.store(key, INSERT, name=key.upper())
    found = await people.origin.load_many(["c", "nobody", "a", "a", "x" * 41], people.deadline())
    assert found == {key: await people.load(key) for key in ("a", "c")}
    assert await people.origin.load_many([], people.deadline()) == {}


async def test_insert_of_what_exists_is_told(people: Table) -> None:
    await people.store("a", INSERT, name="Ann")
    with pytest.raises(RecordExists):
        await people.store("a", INSERT, name="Other")
    assert await people.rows("name") == [("Ann",)]


async def test_update_sets_only_what_is_given(people: Table) -> None:
    await people.store("a", INSERT, name="Ann", age=30)
    stored = await people.store("a", UPDATE, age=31)
    assert stored.record == {"id": "a", "name": "Ann", "age": 31, "email": None}


async def test_update_of_what_is_not_there_is_told(people: Table) -> None:
    with pytest.raises(RecordMissing):
        await people.store("a", UPDATE, age=1)


async def test_upsert_makes_or_replaces_the_whole(people: Table) -> None:
    await people.store("a", UPSERT, name="Ann", age=30)
    stored = await people.store("a", UPSERT, name="Anna")
    assert stored.record == {"id": "a", "name": "Anna", "age": None, "email": None}


async def test_upsert_gives_what_is_left_out_its_default(tables: Tables) -> None:
    table = await tables.make("id TEXT PRIMARY KEY, n INTEGER DEFAULT 7, other TEXT")
    await table.store("a", UPSERT, n=1, other="x")
    stored = await table.store("a", UPSERT, other="y")
    assert stored.record == {"id": "a", "n": 7, "other": "y"}


async def test_delete_says_whether_there_was_one(people: Table) -> None:
    await people.store("a", INSERT, name="Ann")
    assert (await people.store("a", DELETE)).existed
    gone = await people.store("a", DELETE)
    assert (gone.record, gone.is_known, gone.existed) == (None, True, False)


async def test_columns_that_are_not_configured_stay_as_they_are(tables: Tables) -> None:
    table = await tables.make(
        "id TEXT PRIMARY KEY, name TEXT, secret TEXT DEFAULT 'kept'", columns=("name",)
    )
    assert (await table.store("a", UPSERT, name="Ann")).record == {"id": "a", "name": "Ann"}
    await table.database.execute(f"UPDATE {table.name} SET secret = 'mine'")
    await table.store("a", UPSERT, name="Anna")
    assert await table.rows() == [("a", "Anna", "mine")]


async def test_a_table_of_keys_alone_can_be_written(tables: Tables) -> None:
    table = await tables.make("id INTEGER PRIMARY KEY")
    assert (await table.store("7", UPSERT)).record == {"id": 7}
    assert (await table.store("7", UPSERT)).record == {"id": 7}
    assert await table.apply(await table.write("8", UPSERT), await table.write("7", UPSERT)) == []
    assert await table.rows() == [(7,), (8,)]


async def test_names_that_sql_knows_are_quoted(tables: Tables) -> None:
    table = await tables.make(
        '"select" TEXT PRIMARY KEY, "Order by" TEXT, "per%cent" INTEGER, "co:lon" TEXT',
        key_column="select",
    )
    fields = {"Order by": "x", "per%cent": 5, "co:lon": "y"}
    stored = await table.store("a", UPSERT, **fields)
    assert stored.record == {"select": "a", **fields}
    assert await table.apply(await table.write("b", UPSERT, **fields)) == []
    assert await table.load("b") == {"select": "b", **fields}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"email": "ann@example.org"}, "not unique"),
        ({"age": -1}, "breaks a check"),
        ({"boss": "nobody"}, "refers to a row that is not there"),
    ],
)
async def test_what_a_rule_of_the_table_forbids_is_refused(
    tables: Tables, fields: dict[str, object], reason: str
) -> None:
    table = await tables.make(
        "id VARCHAR(9) PRIMARY KEY, email TEXT UNIQUE, age INTEGER CHECK (age >= 0), "
        "boss VARCHAR(9) REFERENCES {table} (id)"
    )
    await table.store("a", INSERT, email="ann@example.org")
    for operation in (INSERT, UPSERT):
        with pytest.raises(WriteRefused, match=reason) as refused:
            await table.store("b", operation, **fields)
        assert "SQL" not in refused.value.message
    assert await table.rows("id") == [("a",)]


async def test_a_write_gives_the_row_a_version_beyond_its_own(versioned: Table) -> None:
    first = await versioned.store("a", INSERT, name="Ann")
    assert first.record is not None
    assert first.record["version"] == first.version == 1_000
    await versioned.database.execute(f"UPDATE {versioned.name} SET version = 5000")
    assert (await versioned.store("a", UPDATE, age=1)).version == 5_001
    assert (await versioned.store("a", UPSERT, name="Anna")).version == 5_002
    await versioned.database.execute(f"UPDATE {versioned.name} SET version = NULL")
    assert (await versioned.store("a", UPDATE, age=1)).version == 1_003


async def test_writers_of_one_record_at_once_all_count(versioned: Table) -> None:
    await versioned.store("a", INSERT, name="Ann", age=0)
    results = await asyncio.gather(*(versioned.store("a", UPDATE, age=age) for age in range(1, 31)))
    assert len({stored.version for stored in results}) == 30
    newest = max(results, key=lambda stored: stored.version)
    assert await versioned.load("a") == newest.record


async def test_of_two_inserts_at_once_one_is_told(people: Table) -> None:
    results = await asyncio.gather(
        *(people.store("a", INSERT, name=str(number)) for number in range(10)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, RecordExists) for result in results) == 9


INJECTIONS = [
    "'; DROP TABLE a; --",
    '" OR 1=1 --',
    "%s",
    "%(key)s",
    ":key",
    "a\\'b",
    "$1",
    "{}",
]


@pytest.mark.parametrize("text", INJECTIONS)
async def test_statements_in_values_are_values(people: Table, text: str) -> None:
    await people.store("other", INSERT, name="other")
    await people.store(text, INSERT, name=text)
    assert await people.load(text) == {"id": text, "name": text, "age": None, "email": None}
    found = await people.origin.load_many([text], people.deadline())
    assert list(found) == [text]
    assert await people.apply(await people.write(text, UPDATE, name=text * 2)) == []
    assert len(await people.rows()) == 2
    await people.store(text, DELETE)
    assert await people.rows("id") == [("other",)]


async def test_whole_record_is_what_a_batch_makes(versioned: Table) -> None:
    write = await versioned.write("a", UPSERT, name="Ann")
    record = versioned.origin.whole_record("a", write.fields, write.version)
    assert record == {"id": "a", "name": "Ann", "age": None, "email": None, "version": 1_000}
    await versioned.apply(write)
    assert await versioned.load("a") == record


@pytest.mark.parametrize("given", ["DEFAULT 7", "GENERATED ALWAYS AS (1) STORED"])
async def test_whole_record_is_unknown_where_the_table_adds_to_it(
    tables: Tables, given: str
) -> None:
    table = await tables.make(f"id TEXT PRIMARY KEY, name TEXT, n INTEGER {given}")
    fields = await table.check("a", UPSERT, name="x")
    assert table.origin.whole_record("a", fields, 1) is None
    stored = await table.origin.store(Write("a", UPSERT, fields, 1), table.deadline())
    assert stored.record is not None
    assert stored.record["n"] in (1, 7)


async def test_whole_record_is_known_where_all_with_a_default_is_given(tables: Tables) -> None:
    table = await tables.make("id INTEGER PRIMARY KEY, n INTEGER DEFAULT 7")
    fields = await table.check("1", UPSERT, n=2)
    assert table.origin.whole_record("1", fields, 1) == {"id": 1, "n": 2}


async def test_of_a_record_that_the_table_adds_to_all_else_is_known(tables: Tables) -> None:
    table = await tables.make(
        "id INTEGER PRIMARY KEY, name TEXT, age INTEGER, n INTEGER DEFAULT 7, version BIGINT",
        version_column="version",
    )
    fields = await table.check("1", UPSERT, name="x")
    assert table.origin.whole_record("1", fields, 5) is None
    part = table.origin.part_of_record("1", fields, 5)
    assert part == {"id": 1, "name": "x", "age": None, "version": 5}


async def test_an_error_says_what_is_to_be_done(people: Table) -> None:
    write = await people.write("a", UPSERT, name="A")
    with pytest.raises(OriginUnavailable, match=r"in time; try again after a moment$"):
        await people.origin.load("a", people.deadline(-1))
    with pytest.raises(OriginUnavailable, match=r"in time; nothing was written$"):
        await people.origin.store(write, people.deadline(-1))
