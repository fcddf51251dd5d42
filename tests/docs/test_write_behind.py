"""What docs/write-behind.md and docs/refresh-ahead.md show, run as written."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests.docs.page import Page, blocks, run
from tests.servers.pantler import PantlerServer
from tests.servers.postgres import PostgresServer

PAGE = Page("write-behind.md")


def settings(page: Page, folder: Path, table: str) -> Path:
    """The configuration of a page, its paths below a folder, where its table is made."""
    [text] = blocks("yaml", page.text)
    for name in ("app.db", "shop.db"):
        text = text.replace(f"sqlite:///{name}", f"sqlite:///{folder / name}")
    config = folder / "pantler.yaml"
    config.write_text(text.replace("./data", str(folder / "data")))
    [database] = [name for name in ("app.db", "shop.db") if name in text]
    with sqlite3.connect(folder / database) as opened:
        opened.execute(table)
    return config


@pytest.mark.component("grpcurl")
async def test_what_is_queued_is_in_the_table_after_a_flush(tmp_path: Path) -> None:
    table = "CREATE TABLE visits (id TEXT PRIMARY KEY, page TEXT)"
    async with PantlerServer(config=settings(PAGE, tmp_path, table)) as server:
        put, backlog, flushed = [
            json.loads(await run(command, server)) for command in PAGE.commands("grpcurl")
        ]
        assert put["durability"] == "DURABILITY_QUEUED"
        assert set(backlog) <= {"pending", "oldestAge"}
        assert set(flushed) <= {"flushed"}
        listing, retry, discard = PAGE.commands(".venv/bin/pantler")
        assert not await run(listing, server)
        assert await run(retry, server) == "queued again: 0\n"
        assert await run(discard, server) == "discarded: 0\n"
    with sqlite3.connect(tmp_path / "app.db") as opened:
        assert opened.execute("SELECT id, page FROM visits").fetchall() == [("7", "/shop")]


@pytest.mark.component("postgres")
async def test_a_user_needs_no_more_rights_than_the_page_grants(tmp_path: Path) -> None:
    [granting] = blocks("sql", PAGE.text)
    async with PostgresServer() as database:
        await database.execute("CREATE ROLE app LOGIN")
        await database.execute("CREATE TABLE visits (id TEXT PRIMARY KEY, page TEXT)")
        await database.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON visits TO app")
        config = tmp_path / "pantler.yaml"
        config.write_text(
            f"redis: {{embedded: {{directory: {tmp_path / 'data'}}}}}\n"
            "namespaces:\n"
            "  visits:\n"
            "    writes: behind\n"
            "    origin:\n"
            f"      sql: {{url: 'postgresql://app@127.0.0.1:{database.port}/postgres', "
            "table: public.visits}\n"
        )
        put = [".venv/bin/pantler", "record", "put", "visits", "7", "page=/shop"]
        async with PantlerServer(config=config) as server:
            assert "queued" in await run(put, server)
            line = await server.wait_for("origin can't serve")
            assert "pantler_logs" in line["problem"]
            assert "queued" in await run(put, server)
            for statement in granting.split(";\n"):
                if statement.strip():
                    await database.execute(statement)
            await server.wait_for("origin can serve", namespace="visits")
            flush = [".venv/bin/pantler", "backlog", "visits", "--flush"]
            assert "waiting: 0" in await run(flush, server)
        assert await database.execute("SELECT id, page FROM visits") == [("7", "/shop")]


@pytest.mark.component("grpcurl")
async def test_a_refresh_is_stopped(tmp_path: Path) -> None:
    page = Page("refresh-ahead.md")
    table = "CREATE TABLE prices (id TEXT PRIMARY KEY, cents INTEGER)"
    async with PantlerServer(config=settings(page, tmp_path, table)) as server:
        for command in page.commands("grpcurl"):
            assert json.loads(await run(command, server)) == {}


@pytest.mark.parametrize("name", ["read-through.md", "write-through.md"])
async def test_the_configuration_works(tmp_path: Path, name: str) -> None:
    table = "CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT)"
    async with PantlerServer(config=settings(Page(name), tmp_path, table)) as server:
        put = [".venv/bin/pantler", "record", "put", "users", "1", "name=Ada"]
        assert "written" in (await run(put, server)).lower()
