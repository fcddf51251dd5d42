"""A real `pantler serve`, as a user starts it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import psutil
from pantler_server.store.embedded import die_with_parent

START_TIMEOUT_S = 60.0  # of a busy machine; else it takes two
STOP_TIMEOUT_S = 30.0
PATIENT = {"PANTLER_REDIS__COMMAND_TIMEOUT": "5s"}  # with a Redis that a busy machine holds up


class PantlerServer:
    """The process, with its log as it comes. Ports are free ones."""

    def __init__(
        self,
        *arguments: str,
        config: Path | None = None,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        options = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", *arguments]
        if config is not None:
            options += ["--config", str(config)]
        program = Path(sys.executable).with_name("pantler")
        self._command = [str(program), "serve", *options]
        self._folder = folder
        self._env = {**os.environ, **(env or {})}
        self.events: list[dict[str, Any]] = []
        self._changed = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self.address = ""
        self.http_address = ""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stderr=asyncio.subprocess.PIPE,
            env=self._env,
            cwd=self._folder,
            preexec_fn=die_with_parent(),
        )
        self._reader = asyncio.create_task(self._read())
        serving = await self.wait_for("serving", timeout_s=START_TIMEOUT_S)
        self.address, self.http_address = serving["grpc"], serving["http"]

    @property
    def started(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    @property
    def process(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def workers(self) -> list[psutil.Process]:
        return [
            child for child in self.process.children() if "pantler_server.worker" in child.cmdline()
        ]

    def valkey(self) -> psutil.Process:
        [found] = [child for child in self.process.children() if "valkey" in child.name()]
        return found

    async def wait_for(
        self, event: str, timeout_s: float = 10.0, after: int = 0, **fields: Any
    ) -> dict[str, Any]:
        """The first line of the log with this event and these fields, from line `after` on."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    for line in self.events[after:]:
                        if line.get("event") == event and fields.items() <= line.items():
                            return line
                    if self._reader is not None and self._reader.done():
                        raise AssertionError(f"it ended without {event!r}: {self.events}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"no {event!r} in the log: {self.events}") from None

    async def wait_for_exit(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        assert self._process is not None
        assert self._reader is not None
        async with asyncio.timeout(timeout_s):
            code = await self._process.wait()
        await self._reader
        return code

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """kill -9 of the supervisor; its workers notice. `wait_for_exit` waits for them too."""
        assert self._process is not None
        self._process.kill()
        while self._process.returncode is None:
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self.signal(signal.SIGTERM)
            await self.wait_for_exit()

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            try:
                self.events.append(json.loads(line))
            except ValueError:
                self.events.append({"text": line.decode(errors="replace").rstrip()})
            self._changed.set()
        self._changed.set()
