"""What docs/channels.md shows, run as written."""

import asyncio
import io
import json
import sys
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import redirect_stdout

import pantler
import pytest
import pytest_asyncio

from tests.docs.page import Page, blocks, run, started
from tests.servers.pantler import PantlerServer

PAGE = Page("channels.md")


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """Pantler with the namespace of the page."""
    async with PAGE.served(tmp_path_factory) as running:
        yield running


def test_every_command_is_run_here() -> None:
    kinds = [len(PAGE.commands(*words)) for words in ((), ("grpcurl",), (".venv/bin/pantler",))]
    assert kinds == [7, 2, 5]
    assert PAGE.commands(".venv/bin/pantler", "serve")  # with the page's file, as `server` is


async def test_the_command_line_works(server: PantlerServer) -> None:
    listen, resume = PAGE.commands(".venv/bin/pantler", "subscribe")
    order, (*stock, _, _) = PAGE.commands(".venv/bin/pantler", "publish")  # it reads a file
    words = [sys.executable, "-m", "pantler_server", *listen[1:], "--address", server.address]
    async with (
        pantler.AsyncClient(server.address) as client,
        started(*words) as out,
        asyncio.timeout(20),
    ):
        first = asyncio.create_task(out.readline())
        while not first.done():  # until it listens
            await client.publish("shop", "stock:apples", b"none")
            await asyncio.sleep(0.1)
        sequence = await run(order, server)
        assert await run(stock, server, stdin=b"{}") == f"{int(sequence) + 1}\n"
        while (line := (await out.readline()).decode()).startswith("'stock:apples'"):
            pass
        assert line == f"'orders': 'order 7' ({int(sequence)})\n"
        assert (await out.readline()).startswith(b"'stock:pears': '{}' (")
    assert await run(resume, server) == f"'orders': 'order 7' ({int(sequence)})\n"


@pytest.mark.component("grpcurl")
async def test_the_grpcurl_calls_work(server: PantlerServer) -> None:
    publish, subscribe = PAGE.commands("grpcurl")
    published = await run(publish, server)
    assert await run(publish, server) == published
    said = await run(subscribe, server, code=None)  # its time is up
    events, _, error = said.rpartition("}\n")
    assert "DeadlineExceeded" in error
    last = json.loads("[" + f"{events}}}".replace("}\n{", "},{") + "]")[-1]["message"]
    assert b64decode(last["payload"]) == b"order 8"
    assert last["sequence"] == json.loads(published)["sequence"]


async def test_the_lines_of_python_work(server: PantlerServer) -> None:
    [lines] = blocks("python", PAGE.text)
    names: dict[str, object] = {"pantler": pantler}
    exec("async def listen(client):\n    " + lines.replace("\n", "\n    "), names)
    printed = io.StringIO()
    async with pantler.AsyncClient(server.address) as client:
        with redirect_stdout(printed):
            listening = asyncio.create_task(names["listen"](client))  # type: ignore[operator]
            async with asyncio.timeout(10):
                while "orders b'order 9' " not in printed.getvalue():
                    await asyncio.sleep(0.05)
        listening.cancel()
