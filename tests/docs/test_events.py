"""What docs/events.md shows, run as written."""

import json
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pantler
import pytest
import pytest_asyncio

from tests.docs.page import ROOT, blocks, run
from tests.servers.pantler import PantlerServer

TEXT = (ROOT / "docs/events.md").read_text()


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """Pantler with the rules of the page."""
    config: Path = tmp_path_factory.mktemp("events") / "pantler.yaml"
    [rules] = blocks("yaml", TEXT)
    config.write_text(rules)
    async with PantlerServer(config=config) as running:
        yield running


def commands() -> list[list[str]]:
    [shell] = blocks("sh", TEXT)
    return [shlex.split(line) for line in shell.replace("\\\n", " ").splitlines()]


@pytest.mark.component("grpcurl")
async def test_the_grpcurl_call_works(server: PantlerServer) -> None:
    answer = json.loads(await run(commands()[0], server))
    assert [outcome["keys"] for outcome in answer["outcomes"]] == [["user:5", "avatar:5"]]


async def test_the_command_line_works(server: PantlerServer) -> None:
    user, product = [await run(command, server) for command in commands()[1:]]
    assert user.splitlines() == [
        "profile: key 'user:5' invalidated in users",
        "profile: key 'avatar:5' invalidated in users",
    ]
    assert product.splitlines() == [
        "product-pages: key 'product:7' invalidated in pages",
        "product-pages: tag 'category:1' invalidated in pages",
        "product-pages: tag 'category:2' invalidated in pages",
        "price-lists: all entries made stale in lists",
    ]


async def test_the_lines_of_python_work(
    server: PantlerServer, capsys: pytest.CaptureFixture[str]
) -> None:
    [lines] = blocks("python", TEXT)
    body = lines.replace("\n", "\n    ")
    names: dict[str, Any] = {}
    exec(f"async def call(client):\n    {body}", names)
    async with pantler.AsyncClient(server.address) as client:
        await names["call"](client)
    assert capsys.readouterr().out.splitlines() == [
        "product-pages ('product:7',) ('category:tools', 'category:garden')",
        "price-lists () ()",
    ]
