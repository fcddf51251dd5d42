"""What docs/channels.md shows, run as written."""

import asyncio
import io
import json
import shlex
import sys
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import redirect_stdout
from pathlib import Path

import pantler
import pytest
import pytest_asyncio

from tests.docs.test_readme import ROOT, blocks
from tests.docs.test_watch import started
from tests.servers.pantler import PantlerServer

TEXT = (ROOT / "docs/channels.md").read_text()


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """Pantler with the namespace of the page."""
    config: Path = tmp_path_factory.mktemp("channels") / "pantler.yaml"
    [namespace] = blocks("yaml", TEXT)
    config.write_text(namespace)
    async with PantlerServer(config=config) as running:
        yield running


def commands(*words: str) -> list[list[str]]:
    """Those of the shell blocks that begin with these words."""
    found = [
        shlex.split(line)
        for block in blocks("sh", TEXT.replace("\\\n", " "))
        # A document in quotes goes on in the next line.
        for line in ([block] if block.startswith("grpcurl") else block.splitlines())
    ]
    return [command for command in found if command[: len(words)] == list(words)]


async def run(words: list[str], server: PantlerServer, stdin: bytes = b"") -> tuple[int, str]:
    """What a command comes to, against a server on another port."""
    port = server.address.rpartition(":")[2]
    words = [word.replace("localhost:50051", f"localhost:{port}") for word in words]
    if words[0] == ".venv/bin/pantler":
        words = [sys.executable, "-m", "pantler_server", *words[1:], "--address", server.address]
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate(stdin)
    assert process.returncode is not None
    return process.returncode, out.decode()


def test_every_command_is_run_here() -> None:
    kinds = [len(commands(*words)) for words in ((), ("grpcurl",), (".venv/bin/pantler",))]
    assert kinds == [7, 2, 5]
    assert commands(".venv/bin/pantler", "serve")  # with the page's file, as `server` is


async def test_the_command_line_works(server: PantlerServer) -> None:
    listen, resume = commands(".venv/bin/pantler", "subscribe")
    order, (*stock, _, _) = commands(".venv/bin/pantler", "publish")  # it reads a file
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
        code, sequence = await run(order, server)
        assert (code, await run(stock, server, b"{}")) == (0, (0, f"{int(sequence) + 1}\n"))
        while (line := (await out.readline()).decode()).startswith("'stock:apples'"):
            pass
        assert line == f"'orders': 'order 7' ({int(sequence)})\n"
        assert (await out.readline()).startswith(b"'stock:pears': '{}' (")
    assert await run(resume, server) == (0, f"'orders': 'order 7' ({int(sequence)})\n")


@pytest.mark.component("grpcurl")
async def test_the_grpcurl_calls_work(server: PantlerServer) -> None:
    publish, subscribe = commands("grpcurl")
    code, published = await run(publish, server)
    assert code == 0
    assert (await run(publish, server))[1] == published
    code, said = await run(subscribe, server)
    assert code != 0  # its time is up
    events, _, error = said.rpartition("}\n")
    assert "DeadlineExceeded" in error
    last = json.loads("[" + f"{events}}}".replace("}\n{", "},{") + "]")[-1]["message"]
    assert b64decode(last["payload"]) == b"order 8"
    assert last["sequence"] == json.loads(published)["sequence"]


async def test_the_lines_of_python_work(server: PantlerServer) -> None:
    [lines] = blocks("python", TEXT)
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
