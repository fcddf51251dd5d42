"""`pantler` as a process of its own, forked from one that has imported it: it starts in a few
milliseconds, where an interpreter takes half a second. Some tests start it as users do.

`python -m tests.cli.forks` takes a line of JSON for each command, and answers with its exit code.
"""

import asyncio
import io
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Self

from pantler_server.cli import COMMANDS, main

USED = ("google.rpc.code_pb2", "google.rpc.error_details_pb2", "grpc.experimental")
USED_ON_TERMINALS = ("rich.live", "rich.table", "rich.progress_bar")
SERVICES = ("admin", "cache", "cdn", "invalidation", "leaderboard", "rate_limit", "record", "tag")


class Forks:
    """The process that forks, for the time of a block."""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.cli.forks"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._one_at_a_time = asyncio.Lock()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._process.kill()
        await self._process.wait()

    async def run(self, arguments: Sequence[str], stdin: bytes) -> tuple[int, bytes, bytes]:
        """Runs one command: its exit code and what it printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            said, out, error = (Path(folder) / name for name in ("stdin", "stdout", "stderr"))
            said.write_bytes(stdin)
            order = {"arguments": arguments, "files": [str(said), str(out), str(error)]}
            async with self._one_at_a_time:
                self._process.stdin.write(json.dumps(order).encode() + b"\n")
                code = int(await self._process.stdout.readline())
            return code, out.read_bytes(), error.read_bytes()


running: Forks
"""That of this session (conftest.py)."""


def serve() -> None:
    for command in COMMANDS.values():
        import_module(f"pantler_server.cli.{command.partition('.')[0]}")
    with redirect_stdout(io.StringIO()), suppress(SystemExit):
        sys.argv = ["pantler", "get", "--help"]  # what all commands need is imported by then
        main()
    for name in (*USED, *USED_ON_TERMINALS, *(f"pantler.v1.{one}_pb2_grpc" for one in SERVICES)):
        import_module(name)
    orders, answers = os.fdopen(os.dup(0), "rb"), os.dup(1)
    for line in orders:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(order["arguments"], order["files"])
        _, status = os.waitpid(child, 0)
        os.write(answers, b"%d\n" % os.waitstatus_to_exitcode(status))


def _become(arguments: Sequence[str], files: Sequence[str]) -> None:
    """Runs the program over these files, and ends."""
    for fd, file in enumerate(files):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), fd)
    sys.argv = ["pantler", *arguments]
    code = 1
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
