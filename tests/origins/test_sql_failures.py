"""Databases that are slow, locked, killed or started again: calls end in time, say what is known of
a write, and are well afterwards."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from pantler_server.core.errors import OriginOutcomeUnknown, OriginUnavailable, ServiceError
from pantler_server.core.record import Operation
from pantler_server.origins.origin import Refusal

from tests.origins.conftest import PEOPLE, Postgres, Table, Tables
from tests.servers.postgres import PostgresServer

INSERT, UPDATE, UPSERT, DELETE = Operation


@contextlib.asynccontextmanager
async def locked(table: Table, key: str) -> AsyncIterator[None]:
    """Somebody else holds a lock on a row; on SQLite on the file."""
    if table.database.is_sqlite:
        connection = sqlite3.connect(table.database.url.removeprefix("sqlite:///"))
        connection.isolation_level = None
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.rollback()
        connection.close()
        return
    assert isinstance(table.database, Postgres)
    async with await table.database.server.connect() as other:
        await other.execute("BEGIN")
        await other.execute(f"SELECT * FROM {table.name} WHERE id = %s FOR UPDATE".encode(), [key])
        yield


async def test_a_write_behind_a_lock_ends_at_its_deadline_and_does_not_land(
    people: Table,
) -> None:
    await people.store("a", INSERT, name="A")
    write = await people.write("a", UPDATE, name="late")
    loop = asyncio.get_running_loop()
    async with locked(people, "a"):
        began = loop.time()
        with pytest.raises((OriginUnavailable, OriginOutcomeUnknown)):
            await people.origin.store(write, people.deadline(0.2))
        assert loop.time() - began < 2
        with pytest.raises(OriginUnavailable):  # a batch is not committed, and so known not to land
            await people.apply_within(0.2, write)
        assert loop.time() - began < 4
        assert await people.load("a") is not None  # readers do not wait
        # By then the server itself would have ended the statement: see `Database._bound`.
        await asyncio.sleep(1)
    assert (await people.store("b", INSERT, name="B")).is_known
    assert await people.rows("name") == [("A",), ("B",)]


async def test_a_write_waits_for_a_lock_while_it_may(people: Table) -> None:
    await people.store("a", INSERT, name="A")
    write = await people.write("a", UPDATE, name="in time")
    async with locked(people, "a"):
        storing = asyncio.create_task(people.origin.store(write, people.deadline()))
        done, _ = await asyncio.wait([storing], timeout=0.1)
        assert not done
    assert (await storing).is_known
    assert await people.rows("name") == [("in time",)]


async def test_calls_that_are_cancelled_leave_the_pool_in_order(tables: Tables) -> None:
    table = await tables.make(PEOPLE, pool_size=2)
    await table.store("a", INSERT, name="A")
    writes = [await table.write("a", UPDATE, age=age) for age in range(20)]
    async with locked(table, "a"):
        storing = [
            asyncio.create_task(table.origin.store(write, table.deadline())) for write in writes
        ]
        await asyncio.sleep(0.05)
        for task in storing:
            task.cancel()
        await asyncio.wait(storing)
        assert all(task.cancelled() for task in storing)
    results = await asyncio.gather(*(table.store("a", UPDATE, age=1) for _ in range(20)))
    assert len(results) == 20
    assert await table.rows("age") == [(1,)]


async def test_a_deadline_that_has_passed_does_nothing(people: Table) -> None:
    write = await people.write("a", INSERT, name="A")
    with pytest.raises(OriginUnavailable):
        await people.origin.store(write, people.deadline(-1))
    with pytest.raises(OriginUnavailable):
        await people.origin.load("a", people.deadline(-1))
    assert await people.rows() == []


async def test_a_pool_that_is_used_up_is_waited_for_until_the_deadline(tables: Tables) -> None:
    table = await tables.make(PEOPLE, pool_size=1)
    await table.store("a", INSERT, name="A")
    write = await table.write("a", UPDATE, name="first")
    async with locked(table, "a"):
        storing = asyncio.create_task(table.origin.store(write, table.deadline()))
        await asyncio.sleep(0.05)
        with pytest.raises(OriginUnavailable):
            await table.origin.load("a", table.deadline(0.1))
    await storing


@pytest_asyncio.fixture(scope="module")
async def _shared() -> AsyncIterator[PostgresServer]:
    async with PostgresServer() as running:
        yield running


@pytest_asyncio.fixture
async def mortal(_shared: PostgresServer) -> PostgresServer:
    """A PostgreSQL that the test may kill."""
    if not _shared.running:
        await _shared.start()
    return _shared


@pytest_asyncio.fixture
async def on_mortal(mortal: PostgresServer) -> AsyncIterator[Table]:
    tables = Tables(Postgres(mortal))
    yield await tables.make(f"{PEOPLE}, version BIGINT", version_column="version")
    await tables.close()


@pytest.mark.component("postgres")
async def test_a_restart_is_noticed_before_anything_is_sent(
    on_mortal: Table, mortal: PostgresServer
) -> None:
    """No write is in doubt that begins when the server is back, though the pool's connections are
    all dead."""
    await asyncio.gather(*(on_mortal.store(str(n), INSERT, name="x") for n in range(10)))
    await mortal.kill()
    await mortal.start()
    results = await asyncio.gather(*(on_mortal.store(str(n), UPDATE, age=n) for n in range(10)))
    assert all(stored.is_known for stored in results)


@pytest.mark.component("postgres")
async def test_while_it_is_away_nothing_is_done_and_it_is_no_problem(
    on_mortal: Table, mortal: PostgresServer
) -> None:
    write = await on_mortal.write("a", INSERT, name="A")
    await mortal.kill()
    for call in (on_mortal.load("a"), on_mortal.origin.store(write, on_mortal.deadline())):
        with pytest.raises(OriginUnavailable):
            await call
    assert on_mortal.origin.problem == ""
    await mortal.start()
    assert (await on_mortal.origin.store(write, on_mortal.deadline())).is_known


@pytest.mark.component("postgres")
async def test_it_may_be_away_at_the_start(mortal: PostgresServer) -> None:
    await mortal.execute("CREATE TABLE late (id TEXT PRIMARY KEY)")
    await mortal.kill()
    tables = Tables(Postgres(mortal))
    origin = await tables.origin("late")
    table = Table(tables.database, "late", origin)
    with pytest.raises(OriginUnavailable):
        await table.load("a")
    assert origin.problem == ""
    await mortal.start()
    await table.store("a", UPSERT)
    await tables.close()


@pytest.mark.component("postgres")
async def test_kills_in_the_middle_leave_no_acknowledged_write_out(
    on_mortal: Table, mortal: PostgresServer
) -> None:
    """What was stored is there; what was unavailable is not; the rest may be."""
    stored: set[str] = set()
    failed: set[str] = set()
    stop = asyncio.Event()

    async def write(name: str) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            key = f"{name}-{number}"
            try:
                await on_mortal.store(key, INSERT, name=key)
                stored.add(key)
            except OriginUnavailable:
                failed.add(key)
                await asyncio.sleep(0.01)
            except OriginOutcomeUnknown:
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as writers:
        for name in "abcdef":
            writers.create_task(write(name))
        for _ in range(3):
            enough = len(stored) + 50
            while len(stored) < enough:
                await asyncio.sleep(0.005)
            await mortal.kill()
            await mortal.start()
        stop.set()
    there = {str(row[0]) for row in await on_mortal.rows("id")}
    assert stored <= there
    assert not failed & there


@pytest.mark.component("postgres")
async def test_a_server_that_hangs_holds_no_call_beyond_its_deadline(
    on_mortal: Table, mortal: PostgresServer
) -> None:
    write = await on_mortal.write("a", INSERT, name="A")
    other = await on_mortal.write("b", INSERT, name="B")
    loop = asyncio.get_running_loop()
    mortal.pause()
    began = loop.time()
    with pytest.raises(OriginUnavailable):
        await on_mortal.origin.load("a", on_mortal.deadline(0.2))
    with pytest.raises((OriginOutcomeUnknown, OriginUnavailable)):
        await on_mortal.origin.store(write, on_mortal.deadline(0.2))
    with pytest.raises(OriginUnavailable):
        await on_mortal.apply_within(0.2, other)
    assert loop.time() - began < 1.0
    mortal.resume()
    assert await on_mortal.apply(other) == []


@pytest.mark.component("postgres")
async def test_a_connection_that_is_killed_before_the_commit_does_nothing(
    on_mortal: Table, mortal: PostgresServer
) -> None:
    """The refusal was told; the batch is tried again, and tells it again."""
    told: list[Refusal] = []

    async def before_commit(refused: Sequence[Refusal]) -> None:
        told.extend(refused)
        if len(told) == 1:
            await mortal.kill()
            await mortal.start()

    batch = on_mortal.batch(
        await on_mortal.write("a", UPSERT, name="A"), await on_mortal.write("b", UPDATE, age=1)
    )
    with pytest.raises(ServiceError):
        await on_mortal.origin.apply(batch, before_commit, on_mortal.deadline(20))
    assert await on_mortal.rows() == []
    await on_mortal.origin.apply(batch, before_commit, on_mortal.deadline())
    assert len(await on_mortal.rows()) == 1
    assert told[0] == told[1]


async def test_namespaces_share_connections_until_the_last_has_gone(tables: Tables) -> None:
    table = await tables.make(PEOPLE, pool_size=1)
    other = await tables.origin(table.name, pool_size=3)
    await table.store("a", INSERT, name="A")
    await table.origin.stop()
    assert await other.load("a", table.deadline()) is not None
    await other.stop()
    assert len(tables.databases) == 0


async def test_a_pool_grows_with_calls_under_way(tables: Tables) -> None:
    table = await tables.make(PEOPLE, pool_size=1)
    await table.store("a", INSERT, name="A")
    write = await table.write("a", UPDATE, name="in time")
    async with locked(table, "a"):
        storing = asyncio.create_task(table.origin.store(write, table.deadline()))
        await asyncio.sleep(0.05)
        larger = await tables.origin(table.name, pool_size=2)
        assert await larger.load("a", table.deadline()) is not None
    assert (await storing).is_known
