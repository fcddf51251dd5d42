"""What docs/records.md shows, run as written."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pantler
import pytest
import pytest_asyncio
from pantler_server.core.config_file import load_settings

from tests.docs.page import Page, blocks, run
from tests.servers.pantler import PantlerServer

PAGE = Page("records.md")
SETTINGS, OTHER_SETTINGS = blocks("yaml", PAGE.text)
GRPCURL, PANTLER = PAGE.commands("grpcurl"), PAGE.commands(".venv/bin/pantler")


def sqlite(folder: Path, *command: str) -> list[tuple[object, ...]]:
    """What the program of this name does."""
    _, file, statement = command
    with closing(sqlite3.connect(folder / file)) as database, database:
        return database.execute(statement).fetchall()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest_asyncio.fixture(scope="module")
async def server(folder: Path) -> AsyncIterator[PantlerServer]:
    """Pantler where the page's tables and file are."""
    for command in PAGE.commands("sqlite3")[:2]:
        sqlite(folder, *command)
    config = folder / "records.yaml"
    config.write_text(SETTINGS)
    async with PantlerServer(config=config, folder=folder) as running:
        yield running


def test_every_command_is_run_here() -> None:
    assert [command[-1].rpartition("/")[2] for command in GRPCURL] == [
        "GetRecord",
        "BatchGetRecords",
        "PutRecord",
        "BatchPutRecords",
        "DeleteRecord",
    ]
    kinds = [len(PAGE.commands(*words)) for words in ((), (".venv/bin/pantler",), ("sqlite3",))]
    assert kinds == [19, 11, 3]
    assert PANTLER[0][1:] == ["serve", "--config", "records.yaml"]  # as `server` is


async def test_the_command_line_works(server: PantlerServer, folder: Path) -> None:
    outputs = [await run(command, server) for command in PANTLER[1:]]
    put, got, queued, flushed, inserted, updated, shown, deleted, waiting, dead = outputs
    assert put.startswith("written, version ")
    assert json.loads(got) == {"id": "42", "name": "Ada", "age": 36}
    assert queued.startswith("queued, version ")
    assert flushed.endswith("waiting: 0; dead: 0\n")
    assert sqlite(folder, *PAGE.commands("sqlite3")[2]) == [("7", "/shop")]
    assert inserted.startswith("written, version ")
    assert updated.startswith("written, version ")
    assert json.loads(shown)["record"] == {"id": "46", "name": "Dee", "age": 31}
    assert deleted.startswith("deleted, version ")
    assert waiting == "waiting: 0; dead: 0\n"
    assert dead == ""


@pytest.mark.component("grpcurl")
async def test_the_grpcurl_calls_work(server: PantlerServer) -> None:
    async with pantler.AsyncClient(server.address) as client:
        await client.put_record("users", "42", {"name": "Ada", "age": 36})
    got, batch, put, many, deleted = [json.loads(await run(call, server)) for call in GRPCURL]
    assert got["record"] == {"id": "42", "name": "Ada", "age": 36}
    first, second = batch["outcomes"]
    assert first["found"]["record"] == got["record"]
    assert "record" not in second["found"]
    assert put["durability"] == "DURABILITY_WRITTEN"
    assert [list(one) for one in many["outcomes"]] == [["put"], ["error"]]
    assert deleted["deleted"] is True


async def test_the_lines_of_python_work(
    server: PantlerServer, capsys: pytest.CaptureFixture[str]
) -> None:
    [lines] = blocks("python", PAGE.text)
    names: dict[str, object] = {}
    exec("async def call(client):\n    " + lines.replace("\n", "\n    "), names)
    async with pantler.AsyncClient(server.address) as client:
        await client.put_record("users", "42", {"name": "Ada"})
        await names["call"](client)  # type: ignore[operator]
    assert capsys.readouterr().out == "Cy 21\n['42', '45']\n"


def test_the_other_settings_are_right(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text(OTHER_SETTINGS)
    origins = [one.origin for one in load_settings(config).namespaces.values()]
    assert None not in origins
    assert len(origins) == 3
