"""What docs/watch.md shows, run as written."""

import asyncio
import io
import json
import shlex
import sys
from contextlib import redirect_stdout

import pantler
import pytest

from tests.docs.page import ROOT, blocks, started
from tests.servers.pantler import PantlerServer

TEXT = (ROOT / "docs/watch.md").read_text()


def commands() -> list[list[str]]:
    return [shlex.split(shell.replace("\\\n", " ")) for shell in blocks("sh", TEXT)]


async def invalidate(client: pantler.AsyncClient) -> None:
    await client.invalidate_keys("users", ["42"])
    await client.invalidate_tags("pages", ["shop:7"])


async def test_the_command_prints_what_is_shown(server: PantlerServer) -> None:
    command = [sys.executable, "-m", "pantler_server", *commands()[0][1:]]
    [shown] = blocks("text", TEXT)
    async with (
        pantler.AsyncClient(server.address) as client,
        started(*command, "--address", server.address) as out,
        asyncio.timeout(15),
    ):
        first = asyncio.create_task(out.readline())
        while not first.done():  # until it watches
            await client.invalidate_keys("users", ["42"])
            await asyncio.sleep(0.1)
        assert (await first).decode() == shown.splitlines(keepends=True)[0]
        await client.invalidate_tags("pages", ["shop:7"])
        while (line := (await out.readline()).decode()) == shown.splitlines(keepends=True)[0]:
            pass
        assert line == shown.splitlines(keepends=True)[1]


async def test_the_lines_of_python_work(server: PantlerServer) -> None:
    [lines] = blocks("python", TEXT)
    names: dict[str, object] = {}
    exec("async def watch(client):\n    " + lines.replace("\n", "\n    "), names)
    printed = io.StringIO()
    async with pantler.AsyncClient(server.address) as client:
        with redirect_stdout(printed):
            watching = asyncio.create_task(names["watch"](client))  # type: ignore[operator]
            async with asyncio.timeout(10):
                expected = {"forget users key 42", "forget pages tag shop:7"}
                while not expected <= set(printed.getvalue().splitlines()):
                    await invalidate(client)
                    await asyncio.sleep(0.1)
        watching.cancel()


@pytest.mark.component("grpcurl")
async def test_the_grpcurl_call_works(server: PantlerServer) -> None:
    port = server.address.rpartition(":")[2]
    command = [word.replace("localhost:50051", f"localhost:{port}") for word in commands()[1]]
    async with started(*command) as out, asyncio.timeout(10):
        assert list(json.loads(await out.readuntil(b"}\n"))) == ["resumeToken"]
