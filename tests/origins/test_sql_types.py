"""Values of every type to a table and back, and what is refused."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pantler_server.core import canonical_json
from pantler_server.core.errors import InvalidFields
from pantler_server.core.record import Operation

from tests.origins.conftest import Database, Postgres, Table, Tables
from tests.servers.postgres import PostgresServer

INSERT, UPDATE, UPSERT, DELETE = Operation

UUID_TEXT = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
COLUMNS = """
    id BIGINT PRIMARY KEY, small SMALLINT, number INTEGER, big BIGINT,
    price NUMERIC(10, 2), exact NUMERIC, whole NUMERIC(9), real_ REAL, double_ DOUBLE PRECISION,
    flag BOOLEAN, name VARCHAR(5), text_ TEXT, at TIMESTAMP, at_zone TIMESTAMPTZ, day DATE,
    clock TIME, raw BYTEA, uid UUID, doc JSON, docb JSONB
"""
POSTGRES_COLUMNS = """
    id BIGINT PRIMARY KEY, padded CHAR(3), numbers INTEGER[], texts TEXT[], prices NUMERIC(5, 1)[],
    uids UUID[], raws BYTEA[], moments TIMESTAMPTZ[], mood mood, moods mood[], tenths TIMESTAMP(1),
    tight grade, single REAL
"""


@pytest_asyncio.fixture(scope="module")
async def typed(database: Database) -> AsyncIterator[Table]:
    tables = Tables(database)
    yield await tables.make(COLUMNS)
    await tables.close()


@pytest_asyncio.fixture(scope="module")
async def on_postgres(postgres: PostgresServer) -> AsyncIterator[Table]:
    await postgres.execute("CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'a \"b\\')")
    await postgres.execute("CREATE DOMAIN grade AS NUMERIC(2, 1) CHECK (VALUE <= 6)")
    tables = Tables(Postgres(postgres))
    yield await tables.make(POSTGRES_COLUMNS)
    await tables.close()


async def round_trip(table: Table, column: str, value: Any) -> Any:
    """What `check` makes of a value, after showing that it is what is read, however written."""
    write = await table.write("1", UPSERT, **{column: value})
    checked = write.fields[column]
    assert await table.check("1", UPSERT, **{column: checked}) == write.fields
    stored = await table.origin.store(write, table.deadline())
    assert stored.record is not None
    loaded = await table.load("1")
    assert loaded is not None
    assert await table.apply(await table.write("2", UPSERT, **{column: value})) == []
    batched = await table.load("2")
    assert batched is not None
    as_json = canonical_json.encode({"value": checked})
    for record in (stored.record, loaded, batched):
        assert canonical_json.encode({"value": record[column]}) == as_json
    return checked


TAKEN = [
    ("small", -32768, -32768),
    ("small", "32767", 32767),
    ("number", 5.0, 5),
    ("number", 2147483647, 2147483647),
    ("big", "9223372036854775807", "9223372036854775807"),
    ("big", -(2**63), "-9223372036854775808"),
    ("big", 2**53 - 1, 2**53 - 1),
    ("price", 1.5, "1.50"),
    ("price", "12345678.905", "12345678.91"),
    ("price", "-0", "0.00"),
    ("price", "1e3", "1000.00"),
    ("exact", "0.000001", "0.000001"),
    ("exact", 10**14, "100000000000000"),
    ("whole", "999999999", "999999999"),
    ("double_", 0.1, 0.1),
    ("double_", 1e300, 1e300),
    ("double_", 3.0, 3),
    ("double_", "-0.0", 0),
    ("double_", 5e-324, 5e-324),
    ("flag", True, True),
    ("flag", False, False),
    ("name", "äöü€😀", "äöü€😀"),
    ("text_", "", ""),
    ("text_", "a\\'\"\n\t%s :x", "a\\'\"\n\t%s :x"),
    ("at", "2026-01-31T12:30:00Z", "2026-01-31T12:30:00Z"),
    ("at", "2026-01-31T12:30:00.123456789+02:00", "2026-01-31T10:30:00.123456Z"),
    ("at", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ("at_zone", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ("at_zone", "2026-01-31t12:30:00.5-01:30", "2026-01-31T14:00:00.500000Z"),
    ("day", "2024-02-29", "2024-02-29"),
    ("clock", "23:59:59.5", "23:59:59.500000"),
    ("clock", "00:00:00", "00:00:00"),
    ("raw", "AP9ISQ==", "AP9ISQ=="),
    ("raw", "", ""),
    ("uid", UUID_TEXT.upper(), UUID_TEXT),
    ("doc", {"b": [1, 2.5, None, True, "x"], "a": {}}, {"b": [1, 2.5, None, True, "x"], "a": {}}),
    ("doc", "text", "text"),
    ("doc", 7, 7),
    ("docb", [1.0, 1e300, -0.0, 2**60], [1, 1e300, 0, float(2**60)]),
    ("docb", {"": "\\u", "z": "\u2028"}, {"": "\\u", "z": "\u2028"}),
    ("docb", False, False),
]


@pytest.mark.parametrize(("column", "value", "expected"), TAKEN)
async def test_what_is_taken_is_read_back(
    typed: Table, column: str, value: Any, expected: Any
) -> None:
    checked = await round_trip(typed, column, value)
    assert (checked, type(checked)) == (expected, type(expected))


@pytest.mark.parametrize("key", ["01", "+1", " 1", "-0", "1.0"])
async def test_a_number_has_one_form_as_a_key(typed: Table, key: str) -> None:
    with pytest.raises(InvalidFields, match="no leading zeros, no `\\+`, no spaces"):
        await typed.check(key, UPSERT)


async def test_null_is_read_back_from_every_column(typed: Table) -> None:
    record = (await typed.store("1", UPSERT)).record
    assert record is not None
    for column in set(record) - {"id"}:
        assert await round_trip(typed, column, None) is None


async def test_real_is_read_as_it_was_checked(typed: Table) -> None:
    for value in (0.1, 16777217, 3.4028234663852886e38, 1.401298464324817e-45, 1 / 3):
        await round_trip(typed, "real_", value)


REFUSED = [
    ("small", 32768, "from -32768 to 32767"),
    ("doc", json.loads("[" * 20 + "]" * 20), "at most 16 levels"),
    ("number", 1.5, "whole number"),
    ("number", True, "whole number"),
    ("number", "1 ", "whole number"),
    ("number", "١", "whole number"),
    ("number", "9" * 5000, "whole number"),
    ("big", 2**63, "whole number"),
    ("big", float(2**60), "text from 2\\*\\*53"),
    ("price", "123456789", "at most 8 digits"),
    ("price", "NaN", "decimal number"),
    ("price", "1e9999", "at most"),
    ("price", "1_0", "decimal number"),
    ("price", [], "decimal number"),
    ("exact", 1e20, "text from 2\\*\\*53"),
    ("double_", "inf", "finite number"),
    ("double_", float("nan"), "finite number"),
    ("double_", 10**400, "finite number"),
    ("flag", 1, "true or false"),
    ("name", "sixsix", "at most 5 characters"),
    ("text_", 7, "must be text"),
    ("text_", "\ud800", "valid Unicode"),
    ("at", "2026-01-31 12:30", "RFC 3339"),
    ("at", "2026-01-31T12:30:00", "RFC 3339"),
    ("at", "2026-02-30T12:30:00Z", "a date that the calendar has"),
    ("at", "2026-01-31T12:30:60Z", "a time up to 23:59:59"),
    ("at", "2026-01-31T12:30:00+24:00", "an offset below 24:00"),
    ("at", "0000-01-31T12:30:00Z", "of the years 1 to 9999"),
    ("at_zone", "0001-01-01T00:00:00+01:00", "moment of the years 1 to 9999"),
    ("at_zone", 0, "RFC 3339"),
    ("day", "20260131", "must be a date"),
    ("day", "2026-02-30", "calendar"),
    ("clock", "24:00:00", "from 00:00:00"),
    ("clock", "noon", "time of day"),
    ("raw", "AP9I!", "base64"),
    ("raw", "ä", "base64"),
    ("raw", "QWRo=", "base64"),
    ("raw", "QWRo====", "base64"),
    ("raw", "QW=o", "base64"),
    ("raw", 1, "base64"),
    ("uid", "6ba7b810", "UUID"),
    ("doc", {"a": ["\ud800"]}, "valid Unicode"),
    ("doc", [10**400], "a double"),
    ("nothing", 1, "is not a column of table"),
    ("name; DROP TABLE x", 1, "is not a column of table"),
    ('"name"', 1, "is not a column of table"),
    ("", 1, "is not a column of table"),
]


@pytest.mark.parametrize(("column", "value", "must"), REFUSED)
async def test_what_is_not_of_the_column_is_refused(
    typed: Table, column: str, value: Any, must: str
) -> None:
    with pytest.raises(InvalidFields, match=must) as refused:
        await typed.check("1", UPSERT, **{column: value})
    assert [one.path for one in refused.value.violations] == [f"fields.{column}"]


async def test_every_wrong_field_is_named(people: Table) -> None:
    with pytest.raises(InvalidFields) as refused:
        await people.check("a", INSERT, age="x", nothing=1)
    assert {one.path: one.description.split(" from")[0] for one in refused.value.violations} == {
        "fields.age": "must be a whole number",
        "fields.nothing": f"is not a column of {people.name}",
        "fields.name": "is required",
    }


@pytest.mark.parametrize("operation", [INSERT, UPSERT])
async def test_a_column_without_default_is_required(people: Table, operation: Operation) -> None:
    with pytest.raises(InvalidFields, match=r"fields\.name is required"):
        await people.check("a", operation, age=1)


async def test_null_is_refused_where_the_column_is_not_null(people: Table) -> None:
    with pytest.raises(InvalidFields, match=r"fields\.name must not be null"):
        await people.check("a", UPDATE, name=None)


async def test_an_update_sets_something(people: Table) -> None:
    for fields in ({}, {"id": "a"}):
        with pytest.raises(InvalidFields, match="fields must not be empty"):
            await people.check("a", UPDATE, **fields)


async def test_the_key_may_be_among_the_fields(people: Table) -> None:
    assert await people.check("a", UPDATE, id="a", age=1) == {"age": 1}
    for other in ("b", None, 1):
        with pytest.raises(InvalidFields, match=r"fields\.id must be"):
            await people.check("a", UPDATE, id=other, age=1)


async def test_the_version_is_not_for_callers(versioned: Table) -> None:
    with pytest.raises(InvalidFields, match=r"fields\.version is set by Pantler"):
        await versioned.check("a", UPDATE, version=1)


@pytest.mark.parametrize("given_", ["GENERATED ALWAYS AS (1) STORED"])
async def test_what_the_table_computes_is_not_for_callers(tables: Tables, given_: str) -> None:
    table = await tables.make(f"id TEXT PRIMARY KEY, n INTEGER {given_}")
    with pytest.raises(InvalidFields, match=r"fields\.n is given by the table"):
        await table.check("a", UPSERT, n=1)


@pytest.mark.parametrize(
    ("type_", "keys", "others"),
    [
        (
            "BIGINT",
            ["0", "-7", "9223372036854775807"],
            ["", "x", "07", "+7", "-0", "1.0", " 1", "9" * 19],
        ),
        ("SMALLINT", ["32767"], ["32768"]),
        ("VARCHAR(3)", ["abc", "äöü", " a "], ["abcd"]),
        (
            "UUID",
            [UUID_TEXT],
            [UUID_TEXT.upper(), UUID_TEXT.replace("-", ""), "x"],
        ),
    ],
)
async def test_a_key_has_one_form(
    tables: Tables, type_: str, keys: list[str], others: list[str]
) -> None:
    table = await tables.make(f"id {type_} PRIMARY KEY, n INTEGER")
    for key in keys:
        await table.store(key, UPSERT, n=1)
    found = await table.origin.load_many([*keys, *others], table.deadline())
    assert set(found) == set(keys)
    for other in others:
        assert await table.load(other) is None
        with pytest.raises(InvalidFields) as refused:
            table.origin.check_key(other)
        assert [one.path for one in refused.value.violations] == ["key"]


@pytest.mark.component("postgres")
@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("padded", "a", "a  "),
        ("numbers", [1, None, "2", 3.0], [1, None, 2, 3]),
        ("numbers", [], []),
        ("texts", ["", "NULL", None, 'a"b\\c,{}', "ä"], ["", "NULL", None, 'a"b\\c,{}', "ä"]),
        ("prices", [1, "2.25", None], ["1.0", "2.3", None]),
        (
            "uids",
            ["6BA7B810-9DAD-11D1-80B4-00C04FD430C8"],
            ["6ba7b810-9dad-11d1-80b4-00c04fd430c8"],
        ),
        ("raws", ["AP9ISQ==", None, ""], ["AP9ISQ==", None, ""]),
        ("moments", ["2026-01-31T12:30:00+01:00"], ["2026-01-31T11:30:00Z"]),
        ("mood", "it's ok", "it's ok"),
        ("moods", ['a "b\\', "sad"], ['a "b\\', "sad"]),
        ("tenths", "2026-01-31T12:30:00.99Z", "2026-01-31T12:30:00.900000Z"),
        ("tight", 5.55, "5.6"),
    ],
)
async def test_types_of_postgres_are_read_back(
    on_postgres: Table, column: str, value: Any, expected: Any
) -> None:
    assert await round_trip(on_postgres, column, value) == expected


@pytest.mark.component("postgres")
@pytest.mark.parametrize(
    ("column", "value", "must"),
    [
        ("padded", "abcd", "at most 3"),
        ("numbers", [1, "x"], "an item must be a whole number"),
        ("numbers", [[1]], "an item must be a whole number"),
        ("numbers", 1, "must be a list"),
        ("mood", "glad", "must be one of sad"),
        ("mood", ["sad"], "must be one of"),
        ("texts", ["\0"], "U\\+0000"),
        ("single", 1e300, "a finite number of 32 bits"),
        ("single", "-3.5e38", "a finite number of 32 bits"),
    ],
)
async def test_types_of_postgres_are_checked(
    on_postgres: Table, column: str, value: Any, must: str
) -> None:
    with pytest.raises(InvalidFields, match=must):
        await on_postgres.check("1", UPSERT, **{column: value})


@pytest.mark.component("postgres")
async def test_arrays_of_more_dimensions_are_read(on_postgres: Table) -> None:
    await on_postgres.database.execute(
        f"INSERT INTO {on_postgres.name} (id, numbers) VALUES (77, '{{{{1,2}},{{3,4}}}}')"
    )
    record = await on_postgres.load("77")
    assert record is not None
    assert record["numbers"] == [[1, 2], [3, 4]]


async def test_what_is_not_finite_is_read_as_text(typed: Table) -> None:
    if typed.database.is_sqlite:
        await typed.database.execute(f"INSERT INTO {typed.name} (id, double_) VALUES (78, 9e999)")
    else:
        await typed.database.execute(
            f"INSERT INTO {typed.name} (id, double_, price) VALUES (78, 'Infinity', 'NaN')"
        )
    record = await typed.load("78")
    assert record is not None
    assert record["double_"] == "Infinity"
    assert record["price"] in ("NaN", None)


some = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@some
@given(st.integers(-(2**63), 2**63 - 1))
async def test_any_whole_number_is_read_back(typed: Table, value: int) -> None:
    assert int(await round_trip(typed, "big", str(value))) == value


@some
@given(st.floats(allow_nan=False, allow_infinity=False))
async def test_any_double_is_read_back(typed: Table, value: float) -> None:
    assert await round_trip(typed, "double_", value) == value


@some
@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
async def test_any_single_is_read_back(typed: Table, value: float) -> None:
    await round_trip(typed, "real_", value)


@some
@given(st.decimals("-99999999.99", "99999999.99", places=2, allow_nan=False))
async def test_any_decimal_is_read_back(typed: Table, value: Decimal) -> None:
    assert Decimal(await round_trip(typed, "price", str(value))) == value


@some
@given(st.decimals(-(10**14), 10**14, places=0))
async def test_any_decimal_without_scale_is_read_back(typed: Table, value: Decimal) -> None:
    assert Decimal(await round_trip(typed, "exact", str(value))) == value


@some
@given(TEXT)
async def test_any_text_is_read_back(typed: Table, value: str) -> None:
    assert await round_trip(typed, "text_", value) == value


@some
@given(st.datetimes(timezones=st.just(UTC)))
async def test_any_moment_is_read_back(typed: Table, value: datetime) -> None:
    for column in ("at", "at_zone"):
        checked = await round_trip(typed, column, value.isoformat())
        assert datetime.fromisoformat(checked) == value


@some
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=8,
    )
)
async def test_any_document_is_read_back(typed: Table, value: Any) -> None:
    for column in ("doc", "docb"):
        await round_trip(typed, column, value)


@pytest.mark.component("postgres")
@some
@given(st.lists(TEXT | st.none(), max_size=5))
async def test_any_array_of_text_is_read_back(on_postgres: Table, value: list[str | None]) -> None:
    assert await round_trip(on_postgres, "texts", value) == value
