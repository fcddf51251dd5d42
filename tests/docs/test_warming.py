"""What docs/warming.md shows, run as written, and what it says of settings, numbers and metrics."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pantler
import pytest
import pytest_asyncio
from pantler_server.core.origin_config import WarmConfig
from pantler_server.engines.cache.record import engine, warm_scripts, warming
from pantler_server.servicers import convert_warm
from prometheus_client import REGISTRY

from tests.docs.page import Page, blocks, run
from tests.docs.test_records import sqlite
from tests.servers.pantler import PantlerServer

PAGE = Page("warming.md")
[SETTINGS] = blocks("yaml", PAGE.text)
PANTLER = PAGE.commands(".venv/bin/pantler")


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """Pantler where the page's table and file are."""
    folder: Path = tmp_path_factory.mktemp("page")
    for command in PAGE.commands("sqlite3"):
        sqlite(folder, *command)
    config = folder / "warm.yaml"
    config.write_text(SETTINGS)
    async with PantlerServer(config=config, folder=folder) as running:
        ended = await running.wait_for("warming ended")
        assert (ended["seen"], ended["loaded"], ended["done"]) == (2, 2, True)
        yield running


async def test_the_command_line_works(server: PantlerServer) -> None:
    assert PANTLER[0][1:] == ["serve", "--config", "warm.yaml"]  # as `server` is
    all_of_it, some, hot = [await run(command, server) for command in PANTLER[1:]]
    assert all_of_it == "2 keys: 0 loaded, 2 cached\n"
    assert some == "2 of 2 keys: 1 loaded, 1 cached\n"
    assert json.loads(hot.splitlines()[-1])["done"] is True


@pytest.mark.component("grpcurl")
async def test_the_grpcurl_call_works(server: PantlerServer) -> None:
    [command] = PAGE.commands("grpcurl")
    answer = json.loads(await run(command, server))
    assert (answer["seen"], answer["done"]) == ("2", True)


async def test_the_lines_of_python_work(
    server: PantlerServer, capsys: pytest.CaptureFixture[str]
) -> None:
    [lines] = blocks("python", PAGE.text)
    names: dict[str, object] = {}
    exec("async def call(client):\n    " + lines.replace("\n", "\n    "), names)
    async with pantler.AsyncClient(server.address) as client:
        await names["call"](client)  # type: ignore[operator]
    assert capsys.readouterr().out == "3 of 3\n"


def test_every_setting_is_documented() -> None:
    for name in WarmConfig.model_fields:
        assert f"| `{name}` |" in PAGE.text, name


def test_the_numbers_are_those_of_the_code() -> None:
    text = " ".join(PAGE.text.split())
    assert f"at most {warming.MAX_BATCH} keys" in text
    assert warming.BATCHES_PER_SECOND == 10  # "a tenth of a second's"
    assert f"{warming.FIRST_PAUSE_S} s after the first failure" in text
    assert f"up to {warming.LONGEST_PAUSE_S:.0f} s" in text
    assert f"{warming.GIVE_UP_AFTER} failures in a row" in text
    assert f"another goes on there {warm_scripts.TURN_MS // 1000} s later" in text
    assert f"known for {warm_scripts.ENDED_MS // 60_000} minutes" in text
    assert f"pages of {engine.LIST_PAGE:,} keys" in text
    assert f"up to {convert_warm.MAX_KEYS:,} keys" in text


def test_the_metrics_are_there() -> None:
    said = set(re.findall(r"`(pantler_\w+?)_total`", PAGE.text))
    assert said == {"pantler_warmed"}
    assert said <= {family.name for family in REGISTRY.collect()}
