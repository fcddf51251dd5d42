"""A real Varnish with the xkey module, from the distribution's packages."""

import asyncio
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil
from pantler_server.store.embedded import die_with_parent

from tests.servers.http import Answer, ask
from tests.servers.valkey import free_port

START_TIMEOUT_S = 30.0  # it compiles its VCL with a C compiler
STOP_TIMEOUT_S = 10.0
VCL = Path(__file__).parents[2] / "examples/varnish/pantler.vcl"
DEBIAN = Path("/usr/sbin")  # not on everybody's PATH


def find_varnish() -> Path | None:
    """The program, if the xkey module is there too."""
    found = shutil.which("varnishd") or shutil.which("varnishd", path=str(DEBIAN))
    modules = [*Path("/usr/lib").glob("*/varnish/vmods/libvmod_xkey.so")]
    modules += Path("/usr/lib/varnish/vmods").glob("libvmod_xkey.so")
    return Path(found) if found and modules else None


class VarnishServer:
    """One server on a loopback port, in a directory of its own, in front of a backend `host:port`,
    with examples/varnish/pantler.vcl. `start` after `kill` brings it back on the same port with
    nothing kept."""

    def __init__(self, backend: str, *arguments: str, vcl: str | None = None) -> None:
        found = find_varnish()
        assert found is not None, "there is no Varnish with xkey here: `make setup-system`"
        self._program = found
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="pantler-test-"))
        host, _, port = backend.rpartition(":")
        text = VCL.read_text() if vcl is None else vcl
        text, changed = re.subn(r'\.host = "127\.0\.0\.1";', f'.host = "{host}";', text)
        text, port_changed = re.subn(r'\.port = "8080";', f'.port = "{port}";', text)
        assert changed == port_changed == 1, "the VCL names another backend"
        self._vcl = self.folder / "test.vcl"
        self._vcl.write_text(text)
        self._arguments = arguments
        self.process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

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
        with (self.folder / "server.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(str(self._program), "-F", "-j", "none", "-T", "none"),
                *("-a", self.address, "-n", str(self.folder / "work"), "-f", str(self._vcl)),
                *("-s", "malloc,64m", "-p", "thread_pools=1", "-p", "thread_pool_min=20"),
                *self._arguments,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),
            )
        await self._ready()

    async def _ready(self) -> None:
        assert self.process is not None
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while True:
                    with suppress(OSError):
                        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                        writer.close()
                        return
                    code = self.process.returncode
                    assert code is None, f"it ended with {code}: {self.log()}"
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"it does not answer: {self.log()}") from None

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await ask(self.address, path, headers)

    async def purge(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await ask(self.address, path, headers, method="PURGE")

    def pause(self) -> None:
        """Its processes stand still: connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)
        while any(one.status() != psutil.STATUS_STOPPED for one in self._processes()):
            time.sleep(0.001)  # each of its threads has to notice

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for one in self._processes():
            with suppress(psutil.NoSuchProcess):
                one.send_signal(number)

    def _processes(self) -> list[psutil.Process]:
        """The parent watches the one that serves."""
        assert self.process is not None
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    async def kill(self) -> None:
        """kill -9 of its processes; its port is closed then."""
        assert self.process is not None
        if self.process.returncode is None:
            self._signal(signal.SIGSTOP)  # so that none is started while they are killed
            self._signal(signal.SIGKILL)
        await self.process.wait()
        async with asyncio.timeout(STOP_TIMEOUT_S):
            while not await self._refuses():  # the one that serves ends a little later
                await asyncio.sleep(0.01)

    async def _refuses(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        writer.close()
        return False

    async def stop(self) -> None:
        """Ends it for good: its folder goes too."""
        if self.process is not None:
            await self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")[-2000:]
