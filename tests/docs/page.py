"""A page of the documents: what it shows, and running that."""

import asyncio
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.servers.pantler import PantlerServer

ROOT = Path(__file__).parents[2]


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


class Page:
    """A page of docs/."""

    def __init__(self, name: str) -> None:
        self.text = (ROOT / "docs" / name).read_text()

    def commands(self, *words: str) -> list[list[str]]:
        """Those of the shell blocks that begin with these words."""
        found = [
            shlex.split(line)
            for block in blocks("sh", self.text.replace("\\\n", " "))
            # A document in quotes goes on in the next line.
            for line in ([block] if block.startswith("grpcurl") else block.splitlines())
        ]
        return [command for command in found if command[: len(words)] == list(words)]

    @asynccontextmanager
    async def served(self, folders: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
        """Pantler with the configuration of the page."""
        config: Path = folders.mktemp("page") / "pantler.yaml"
        [settings] = blocks("yaml", self.text)
        config.write_text(settings)
        async with PantlerServer(config=config) as running:
            yield running


async def run(
    words: list[str], server: PantlerServer, code: int | None = 0, stdin: bytes = b""
) -> str:
    """What a command prints, against a server on another port. Its exit code must be this one;
    None: any but 0."""
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
    assert process.returncode == code if code is not None else process.returncode, out
    return out.decode()


async def run_program(program: str, server: PantlerServer, python: str = sys.executable) -> str:
    """What a program in Python prints, against a server on another port. It must end well."""
    text = program.replace("127.0.0.1:50051", server.address)
    process = await asyncio.create_subprocess_exec(
        *(python, "-c", text), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


@asynccontextmanager
async def started(*words: str) -> AsyncIterator[asyncio.StreamReader]:
    """A program that runs until it is told to stop; what it prints."""
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    yield process.stdout
    process.send_signal(signal.SIGINT)
    await process.wait()
