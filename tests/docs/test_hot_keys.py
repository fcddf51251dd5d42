"""What docs/hot-keys.md shows, run as written, and what it says of options and metrics."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pantler
import pytest
import pytest_asyncio
from pantler_server.core.origin_config import HotKeysConfig
from pantler_server.engines.cache.hot_keys import engine
from prometheus_client import REGISTRY

from tests.docs.page import Page, blocks, run
from tests.servers.pantler import PantlerServer

PAGE = Page("hot-keys.md")
READS = 6_000  # of one key: some 60 of them are counted, and 12 in a minute make it hot


@pytest_asyncio.fixture(scope="module")
async def read_much(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """With a key of `users` that is hot."""
    async with PAGE.served(tmp_path_factory) as server:
        async with pantler.AsyncClient(server.address) as client:
            for _ in range(READS // 100):
                await asyncio.gather(*(client.get("users", "ada") for _ in range(100)))
            async with asyncio.timeout(20):  # a worker hands on every 10 s
                while not any(one.hot for one in await client.list_hot_keys("users")):
                    await asyncio.sleep(0.1)
        yield server


async def test_the_command_line_works(read_much: PantlerServer) -> None:
    lines, document = [
        await run(command, read_much) for command in PAGE.commands(".venv/bin/pantler")
    ]
    assert re.fullmatch(r"ada\t\d+\.\d\thot\n", lines)
    assert [(one["key"], one["hot"]) for one in json.loads(document)] == [("ada", True)]


@pytest.mark.component("grpcurl")
async def test_the_grpcurl_call_works(read_much: PantlerServer) -> None:
    [command] = PAGE.commands("grpcurl")
    [found] = json.loads(await run(command, read_much))["keys"]
    assert (found["key"], found["hot"]) == ("ada", True)


async def test_the_lines_of_python_work(
    read_much: PantlerServer, capsys: pytest.CaptureFixture[str]
) -> None:
    [lines] = blocks("python", PAGE.text)
    names: dict[str, Any] = {}
    exec("async def call(client):\n    " + lines.replace("\n", "\n    "), names)
    async with pantler.AsyncClient(read_much.address) as client:
        await names["call"](client)
    assert capsys.readouterr().out == "ada True\n"


def test_every_option_is_documented() -> None:
    for name in HotKeysConfig.model_fields:
        assert f"| `{name}` |" in PAGE.text, name


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"Every {engine.FLUSH_INTERVAL_S:.0f} s" in PAGE.text
    assert f"its {engine.MOST_KEYS} most read keys" in PAGE.text


def test_the_metrics_are_there() -> None:
    there = {family.name for family in REGISTRY.collect()}
    said = set(re.findall(r"`(pantler_hot_\w+?)(?:_total)?`", PAGE.text))
    assert said == {"pantler_hot_keys", "pantler_hot_key_reports_dropped"}
    assert said <= there
