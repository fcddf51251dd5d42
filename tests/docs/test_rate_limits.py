"""What docs/rate-limits.md shows, run as written."""

import json
import shlex
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pantler
import pytest
import pytest_asyncio

from tests.docs.page import Page, blocks, run, started
from tests.servers.pantler import PantlerServer

PAGE = Page("rate-limits.md")


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """Pantler with the rules of the page."""
    async with PAGE.served(tmp_path_factory) as running:
        yield running


def test_every_command_is_run_here() -> None:
    kinds = [
        len(PAGE.commands(*words)) for words in ((), ("grpcurl",), (".venv/bin/pantler", "limit"))
    ]
    assert kinds == [11, 2, 8]


@pytest.mark.component("grpcurl")
async def test_the_grpcurl_calls_work(server: PantlerServer) -> None:
    named, spelled = [json.loads(await run(one, server)) for one in PAGE.commands("grpcurl")]
    assert (named["allowed"], named["limit"], named["remaining"]) == (True, "100", "19")
    assert (spelled["allowed"], spelled["remaining"]) == (True, "97")


async def test_the_command_line_works(server: PantlerServer) -> None:
    *calls, watch = PAGE.commands(".venv/bin/pantler", "limit")
    rules, named, spelled, slot, peeked, refunded, reset = [await run(one, server) for one in calls]
    assert [line.split()[0] for line in rules.splitlines()] == ["rule", "api", "exports", "reports"]
    assert named == "allowed, 17 left (limit 100)\n"
    assert spelled == "allowed, 99 left (limit 100)\n"
    assert slot.startswith("allowed, 2 left (limit 3)\nit holds a slot for 30s; to release it:\n")
    assert peeked.startswith("allowed, ")
    assert refunded.startswith("refunded, ")
    assert reset == "reset\n"
    release = slot.splitlines()[-1]
    assert await run([".venv/bin/pantler", *shlex.split(release)[1:]], server) == "released\n"
    words = [sys.executable, "-m", "pantler_server", *watch[1:], "--address", server.address]
    async with started(*words) as out:
        seen = [(await out.readline()).decode() for _ in range(2)]
    assert seen[1] == "'user:43': allowed, 20 left (limit 100)\n"


async def test_the_lines_of_python_work(
    server: PantlerServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with pantler.AsyncClient(server.address) as client:
        await client.reset("user:42", "api")
        for lines in blocks("python", PAGE.text):
            names: dict[str, Any] = {"timedelta": timedelta}
            exec("async def call(client):\n    " + lines.replace("\n", "\n    "), names)
            await names["call"](client)
        assert (await client.peek("user:42", "api")).remaining == 16
        assert (await client.peek("tenant:7", "reports")).remaining == 3
        denied = [lines for lines in blocks("python", PAGE.text) if "come back in" in lines]
        await client.acquire("user:42", "api", cost=16)
        exec("async def call(client):\n    " + denied[0].replace("\n", "\n    "), names)
        await names["call"](client)
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["['bread']", "one of 3"]
    assert said[2].startswith("too many: come back in 0:00:01")
