"""Triggers and policies of the table: what they do to a row is a matter of that row alone."""

import asyncio

import pytest
from pantler_server.core.errors import (
    OriginNotReady,
    OriginUnavailable,
    RecordExists,
    RecordMissing,
    WriteRefused,
)
from pantler_server.core.record import Operation

from tests.origins.conftest import Postgres, Table, Tables
from tests.servers.postgres import PostgresServer

INSERT, UPDATE, UPSERT, DELETE = Operation
COLUMNS = "id TEXT PRIMARY KEY, name TEXT, n INTEGER"


async def trigger(table: Table, event: str, condition: str, body: str) -> None:
    """Runs `body` for the rows that it is for; on PostgreSQL it has what it gives in `result`."""
    name = f"on_{table.name}"
    if table.database.is_sqlite:
        statement = f"CREATE TRIGGER {name} {event} ON {table.name} WHEN {condition} "
        await table.database.execute(f"{statement} BEGIN {body}; END")
        return
    result = "OLD" if "DELETE" in event else "NEW"
    await table.database.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$"
        f"BEGIN IF {condition} THEN {body}; END IF; RETURN {result}; END $$"
    )
    await table.database.execute(
        f"CREATE TRIGGER {name} {event} ON {table.name} FOR EACH ROW EXECUTE FUNCTION {name}()"
    )


async def table_with_trigger(
    tables: Tables, event: str, condition: str, body: str, columns: str = COLUMNS
) -> Table:
    made = await tables.make(columns)
    await made.origin.stop()
    await trigger(made, event, condition, body)
    return Table(made.database, made.name, await tables.origin(made.name))


async def looked_at_again(table: Table) -> None:
    async with asyncio.timeout(5):
        while table.origin.problem:
            await asyncio.sleep(0.01)


async def three(table: Table) -> list[str]:
    """Applies three writes, of which the one of `bad` is refused; the reasons."""
    writes = [await table.write(key, UPSERT, name=key) for key in ("a", "bad", "c")]
    refused = await table.apply(*writes)
    assert [one.version for one in refused] == [writes[1].version]
    assert await table.rows("id") == [("a",), ("c",)]
    return [one.reason for one in refused]


@pytest.mark.component("postgres")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("RAISE EXCEPTION 'x' USING ERRCODE = 'ZZ001'", "ZZ001"),
        ("ASSERT false", "P0004"),
        ("RAISE EXCEPTION 'x' USING ERRCODE = '21000'", "21000"),
        ("RAISE EXCEPTION 'x' USING ERRCODE = '09000'", "09000"),
        ("INSERT INTO nowhere VALUES (1)", "42P01"),
        ("PERFORM nothing(1)", "42883"),
        ("RAISE EXCEPTION 'x' USING ERRCODE = '42501'", "42501"),
        ("RAISE EXCEPTION 'x' USING ERRCODE = '0A000'", "0A000"),
    ],
)
async def test_whatever_a_trigger_raises_is_the_fault_of_the_row(
    postgres: PostgresServer, body: str, code: str
) -> None:
    tables = Tables(Postgres(postgres))
    table = await table_with_trigger(tables, "BEFORE INSERT", "NEW.id = 'bad'", body)
    assert f"(SQLSTATE {code})" in (await three(table))[0]
    with pytest.raises(WriteRefused, match=code) as refused:
        await table.store("bad", UPSERT, name="x")
    assert "nowhere" not in refused.value.message
    assert table.origin.problem == ""
    assert (await table.store("a", UPDATE, name="x")).is_known
    await tables.close()


async def test_a_trigger_that_fails_is_the_fault_of_the_row(tables: Tables) -> None:
    body = "INSERT INTO nowhere VALUES (1)"
    if tables.database.is_sqlite:  # which finds a table missing before it knows the row
        body = "SELECT json(NEW.name)"
    table = await table_with_trigger(tables, "BEFORE INSERT", "NEW.id = 'bad'", body)
    assert "a trigger, a policy or a default" in (await three(table))[0]
    with pytest.raises(WriteRefused, match="a trigger, a policy or a default"):
        await table.store("bad", UPSERT, name="x")
    assert table.origin.problem == ""


@pytest.mark.component("postgres")
async def test_a_table_that_can_take_no_such_write_refuses_none(postgres: PostgresServer) -> None:
    tables = Tables(Postgres(postgres))
    table = await tables.make(COLUMNS)
    await postgres.execute(
        f"CREATE RULE two AS ON INSERT TO {table.name} DO ALSO SELECT 1"
    )  # with which PostgreSQL supports no ON CONFLICT
    with pytest.raises(OriginNotReady, match="can't take such a write"):
        await table.apply(await table.write("a", UPSERT, name="x"))
    with pytest.raises(OriginNotReady, match="can't take such a write"):
        await table.store("a", UPSERT, name="x")
    await postgres.execute(f"DROP RULE two ON {table.name}")
    await looked_at_again(table)
    assert await table.apply(await table.write("a", UPSERT, name="x")) == []
    await tables.close()


@pytest.mark.component("postgres")
async def test_a_column_that_is_changed_amid_writes_refuses_none(postgres: PostgresServer) -> None:
    """The plans of prepared statements are stale then."""
    tables = Tables(Postgres(postgres))
    table = await tables.make(COLUMNS, pool_size=1)
    for number in range(8):  # the driver prepares what it sends again and again
        await table.store("a", UPSERT, n=number)
        assert await table.apply(await table.write("b", UPSERT, n=number)) == []
    await postgres.execute(f"ALTER TABLE {table.name} ALTER n TYPE bigint")
    with pytest.raises(OriginNotReady, match="not as it was"):
        await table.store("a", UPSERT, n=9)
    await looked_at_again(table)
    assert (await table.store("a", UPSERT, n=10)).is_known
    assert await table.apply(await table.write("b", UPSERT, n=10)) == []
    await tables.close()


@pytest.mark.component("postgres")
@pytest.mark.parametrize("code", ["40001", "53100", "57014", "58030", "XX000", "25006", "26000"])
async def test_what_passes_by_itself_refuses_no_write(postgres: PostgresServer, code: str) -> None:
    tables = Tables(Postgres(postgres))
    body = f"RAISE EXCEPTION 'x' USING ERRCODE = '{code}'"
    table = await table_with_trigger(tables, "BEFORE INSERT", "NEW.id = 'bad'", body)
    with pytest.raises(OriginUnavailable):
        await three(table)
    with pytest.raises(OriginUnavailable):
        await table.store("bad", UPSERT, name="x")
    assert await table.rows() == []
    await tables.close()


@pytest.mark.component("postgres")
async def test_a_policy_that_refuses_a_row_is_no_missing_privilege(
    postgres: PostgresServer,
) -> None:
    tables = Tables(Postgres(postgres))
    owner = await tables.make(COLUMNS)
    await owner.apply(await owner.write("a", DELETE), log="another")  # makes the table of logs
    for statement in (
        "CREATE ROLE tenant LOGIN",
        f"ALTER TABLE {owner.name} ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY own ON {owner.name} USING (id <> 'bad')",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {owner.name} TO tenant",
        "GRANT SELECT, INSERT, UPDATE ON pantler_logs TO tenant",
    ):
        await postgres.execute(statement)
    url = postgres.url.replace("pantler@", "tenant@")
    table = Table(owner.database, owner.name, await tables.origin(owner.name, url=url))
    assert "SQLSTATE 42501" in (await three(table))[0]
    with pytest.raises(WriteRefused, match="policy"):
        await table.store("bad", INSERT, name="x")
    assert table.origin.problem == ""
    await postgres.execute(f"REVOKE UPDATE ON {owner.name} FROM tenant")
    with pytest.raises(OriginNotReady, match="lacks a privilege"):
        await table.store("a", UPSERT, name="x")
    with pytest.raises(OriginNotReady, match="lacks a privilege"):
        await table.apply(await table.write("d", UPSERT, name="x"))
    await tables.close()
    await postgres.execute("DROP OWNED BY tenant")
    await postgres.execute("DROP ROLE tenant")


async def skipping(tables: Tables, event: str) -> Table:
    """A table whose trigger skips the rows of `bad`."""
    of = "OLD" if "DELETE" in event else "NEW"
    skip = "SELECT RAISE(IGNORE)" if tables.database.is_sqlite else "RETURN NULL"
    return await table_with_trigger(tables, event, f"{of}.id = 'bad'", skip)


@pytest.mark.parametrize("operation", [INSERT, UPSERT])
async def test_a_row_that_a_trigger_skips_is_refused(tables: Tables, operation: Operation) -> None:
    table = await skipping(tables, "BEFORE INSERT")
    with pytest.raises(WriteRefused, match="a trigger of the table skips it"):
        await table.store("bad", operation, name="x")
    writes = [await table.write(key, operation, name=key) for key in ("a", "bad", "c")]
    refused = await table.apply(*writes)
    assert [one.reason for one in refused] == ["a trigger of the table skips it"]
    with pytest.raises(RecordExists):
        await table.store("a", INSERT)
    assert await table.rows("id") == [("a",), ("c",)]


@pytest.mark.parametrize("operation", [UPDATE, DELETE])
async def test_a_change_that_a_trigger_skips_is_refused(
    tables: Tables, operation: Operation
) -> None:
    table = await skipping(tables, f"BEFORE {operation.name}")
    fields = {"name": "new"} if operation is UPDATE else {}
    for key in ("a", "bad", "c"):
        await table.store(key, INSERT, name="old")
    with pytest.raises(WriteRefused, match="a trigger of the table skips it"):
        await table.store("bad", operation, **fields)
    refused = await table.apply(
        *[await table.write(key, operation, **fields) for key in ("a", "bad", "c")]
    )
    assert [one.reason for one in refused] == ["a trigger of the table skips it"]
    assert ("bad", "old") in await table.rows("id, name")
    if operation is UPDATE:
        with pytest.raises(RecordMissing):
            await table.store("nobody", UPDATE, name="x")
    else:
        assert not (await table.store("a", DELETE)).existed
        assert await table.apply(await table.write("nobody", DELETE)) == []


async def test_a_row_that_a_trigger_makes_another_one_is_not_taken_as_known(
    tables: Tables,
) -> None:
    if tables.database.is_sqlite:
        body = "UPDATE {table} SET id = 'renamed' WHERE id = NEW.id"
        table = await tables.make(COLUMNS)
        await trigger(table, "AFTER INSERT", "NEW.id = 'd'", body.replace("{table}", table.name))
        table = Table(table.database, table.name, await tables.origin(table.name))
    else:
        body = "NEW.id := 'renamed'"
        table = await table_with_trigger(tables, "BEFORE INSERT", "NEW.id = 'd'", body)
    stored = await table.store("d", INSERT, name="x")
    assert (stored.record, stored.is_known) == (None, False)
    assert await table.rows("id") == [("renamed",)]


async def test_what_a_trigger_changes_afterwards_is_not_taken_as_known(tables: Tables) -> None:
    table = await tables.make(COLUMNS)
    body = f"UPDATE {table.name} SET n = 7 WHERE id = NEW.id"
    await trigger(table, "AFTER INSERT", "NEW.n IS NULL", body)
    table = Table(table.database, table.name, await tables.origin(table.name))
    assert not (await table.store("a", INSERT, name="x")).is_known
    assert await table.load("a") == {"id": "a", "name": "x", "n": 7}
