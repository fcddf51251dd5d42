"""A real Redis server, from the binary that Pantler embeds or from another."""

import asyncio
import random
import shutil
import signal
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pantler_server.store.embedded import die_with_parent, find_valkey
from redis.asyncio import Redis
from redis.exceptions import RedisError

START_TIMEOUT_S = 10.0


# Below the ports that the kernel gives to clients, so that none takes one while its server is down,
# and such that a Cluster's bus, 10,000 above, has its port too.
PORTS = range(12_000, 22_000)


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
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

    def client_options(self, **options: Any) -> Self:
        """What a client needs to get in: password, TLS."""
        self._client_options = options
        return self

    async def __aenter__(self) -> Self:
        await self.start()
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
        try:
            async with asyncio.timeout(START_TIMEOUT_S), self.client() as client:
                while True:
                    with suppress(RedisError, OSError):
                        await client.ping()
                        return
                    assert self.process is not None
                    code = self.process.returncode
                    assert code is None, f"it ended with {code}: {self.log()}"
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"the server does not answer: {self.log()}") from None

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
        await self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")[-2000:]
