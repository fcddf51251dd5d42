"""A real Redis server, from the binary that Pantler embeds or from another."""

import asyncio
import os
import random
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pantler_server.store.embedded import die_with_parent, find_valkey
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

START_TIMEOUT_S = 10.0


# Below the ports that the kernel gives to clients, so that none takes one while its server is down,
# and such that a Cluster's bus, 10,000 above, has its port too.
PORTS = range(12_000, 22_000)

# Of several processes that run tests side by side (pytest-xdist: gw0, gw1, …) each has its own.
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))

_given: set[int] = set()  # a server of ours may be down, or not started yet, and keeps its port


def free_port() -> int:
    """A port of loopback that nobody uses now, and that was not given to another caller."""
    while True:
        port = random.choice(PORTS[_PROCESS::_PROCESSES])
        if port in _given:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port


class ValkeyServer:
    """One server process on a loopback port, in a directory of its own. `start` after `kill` brings
    it back on the same port, with what it had written down."""

    def __init__(self, *arguments: str, binary: Path | None = None, tls: bool = False) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="pantler-test-"))
        self._binary = binary or find_valkey()
        listen = ("--port", "0", "--tls-port") if tls else ("--port",)
        self._arguments = (*listen, str(self.port), *arguments)
        self._client_options: dict[str, Any] = {}
        self.process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"redis://{self.address}/0"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def client_options(self, **options: Any) -> Self:
        """What a client needs to get in: password, TLS."""
        self._client_options = options
        return self

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(str(self._binary), *self._arguments),
                *("--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),
            )
        await self._ready()

    async def _ready(self) -> None:
        assert self.process is not None
        refusal: Exception | None = None
        # The client's own retries would hide for a second that the process has ended.
        once = Retry(NoBackoff(), 0)
        client = Redis(port=self.port, protocol=3, retry=once, **self._client_options)
        try:
            async with asyncio.timeout(START_TIMEOUT_S), client:
                while True:
                    try:
                        await client.ping()
                        return
                    except (RedisError, OSError) as exc:
                        refusal = exc
                    code = self.process.returncode
                    assert code is None, f"it ended with {code}: {self.log()}"
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"it does not answer: {refusal!r}: {self.log()}") from None

    def client(self) -> Redis:
        return Redis(port=self.port, protocol=3, **self._client_options)

    async def execute(self, *command: str | bytes | int) -> Any:
        """Runs one command on a connection of its own."""
        async with self.client() as client:
            return await client.execute_command(*command)  # type: ignore[no-untyped-call]

    def pause(self) -> None:
        """The process stands still: connections stay open, and nothing answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """As a power cut would."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """Ends it for good: its folder goes too. A gentle end would save nothing, as nothing is
        kept on disk, and a primary may wait 10 s in it for a replica that lags."""
        if self.process is not None:
            await self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")[-2000:]


async def start_all(servers: Iterable[ValkeyServer]) -> None:
    """Starts them side by side; if one fails, none is still on its way when this raises."""
    async with asyncio.TaskGroup() as starting:
        for server in servers:
            starting.create_task(server.start())
