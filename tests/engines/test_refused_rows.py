"""Rows that PostgreSQL refuses for a reason of the table's own hold up no others."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pantler_server.core import origin_config
from pantler_server.engines.cache.record.model import Flushed
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.origins.sql import SqlOrigin
from pantler_server.origins.sql_database import Databases
from pantler_server.store.store import Store

from tests.engines.behind import UPSERT, behind_space, worker_of
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.component("postgres")

STATEMENTS = [
    "CREATE TABLE things (id TEXT PRIMARY KEY, n INTEGER)",
    (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.n < 0 "
        "THEN RAISE EXCEPTION 'secret' USING ERRCODE = 'ZZ001'; END IF; RETURN NEW; END $$"
    ),
    "CREATE TRIGGER refuse BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION refuse()",
]


@pytest_asyncio.fixture(scope="module")
async def postgres() -> AsyncIterator[PostgresServer]:
    async with PostgresServer() as running:
        for statement in STATEMENTS:
            await running.execute(statement)
        yield running


@pytest_asyncio.fixture
async def things(postgres: PostgresServer) -> AsyncIterator[SqlOrigin]:
    await postgres.execute("DELETE FROM things")
    config = origin_config.SqlOrigin(url=postgres.url, table="things")
    origin = SqlOrigin("things", config, Databases())
    await origin.start()
    yield origin
    await origin.stop()


async def test_a_row_that_a_trigger_refuses_is_dead_and_holds_up_no_other(
    store: Store, namespaces: NamespaceEngine, postgres: PostgresServer, things: SqlOrigin
) -> None:
    space = await behind_space(namespaces, whole=True)
    async with worker_of(store, space, things) as worker:
        await worker.put("a", UPSERT, n=1)
        bad = await worker.put("b", UPSERT, n=-1)
        await worker.put("c", UPSERT, n=3)
        assert await worker.flush() == Flushed(3, 0)
        assert await postgres.execute("SELECT id, n FROM things ORDER BY id") == [
            ("a", 1),
            ("c", 3),
        ]
        [dead] = await worker.dead()
        assert (dead.key, dead.version) == ("b", bad)
        assert dead.reason == "the database refuses it (SQLSTATE ZZ001)"
        assert await worker.log_length() == 0
        assert things.problem == ""
