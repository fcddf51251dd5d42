"""A real PostgreSQL server, from the distribution's package."""

import asyncio
import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil
from pantler_server.store.embedded import die_with_parent
from psycopg import AsyncConnection, OperationalError

from tests.servers.valkey import free_port

START_TIMEOUT_S = 30.0  # after kill -9 it reads its write-ahead log again
USER = "pantler"
UNPRIVILEGED = "postgres"  # as whom it runs where the tests run as root: it refuses that
DEBIAN = Path("/usr/lib/postgresql")  # a folder a version; their programs are not on PATH

# A power cut would lose data without it; kill -9 of the processes does not, since each commit is
# with the kernel.
NOT_DURABLE = ("-c", "fsync=off", "-c", "full_page_writes=off")


def find_postgres() -> Path | None:
    """The folder of `postgres` and `initdb`: on PATH, or Debian's newest."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    versions = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return versions[-1].parent if versions else None


def _lives(process: psutil.Process) -> bool:
    """Not if it is a zombie: it has let go of all it had."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _unprivileged() -> Callable[[], None]:
    """For a child process between fork and exec: it is not root's, and ends with its parent."""
    arm = die_with_parent()
    if os.getuid() != 0:
        return arm
    account = pwd.getpwnam(UNPRIVILEGED)

    def become() -> None:
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
        arm()  # last, for the kernel forgets it with a change of user

    return become


class PostgresServer:
    """One server on a loopback port, in a directory of its own, with a superuser `pantler` who
    needs no password. `start` after `kill` brings it back on the same port with all that was
    committed: all that survives kill -9 of its processes unless `durable`, which a power cut may
    not take either, at the cost of an fsync a commit."""

    def __init__(self, *arguments: str, durable: bool = False) -> None:
        found = find_postgres()
        assert found is not None, "there is no PostgreSQL here: `make setup-system`"
        self._programs = found
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="pantler-test-"))
        self._data = self.folder / "data"
        self._arguments = (*(() if durable else NOT_DURABLE), *arguments)
        self.process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@{self.address}/postgres"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None

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
        if not self._data.exists():
            await self._make_cluster()
        listen = ("-p", str(self.port), "-c", "listen_addresses=127.0.0.1")
        # Sockets in the file system have no use here, and Debian's folder for them another owner.
        sockets = ("-c", "unix_socket_directories=")
        self.process = await self._run(
            "postgres", "-D", str(self._data), *listen, *sockets, *self._arguments
        )
        await self._ready()

    async def _make_cluster(self) -> None:
        if os.getuid() == 0:
            shutil.chown(self.folder, UNPRIVILEGED)
        made = await self._run(
            *("initdb", "-D", str(self._data), "-U", USER, "-A", "trust", "--no-sync"),
            *("--encoding=UTF8", "--locale=C"),
        )
        assert await made.wait() == 0, self.log()

    async def _run(self, program: str, *arguments: str) -> asyncio.subprocess.Process:
        with (self.folder / "server.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                str(self._programs / program),
                *arguments,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                preexec_fn=_unprivileged(),
            )

    async def _ready(self) -> None:
        assert self.process is not None
        refusal: Exception | None = None
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while True:
                    try:
                        await (await self.connect()).close()
                        return
                    except OperationalError as exc:
                        refusal = exc
                    code = self.process.returncode
                    assert code is None, f"it ended with {code}: {self.log()}"
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"it does not answer: {refusal!r}: {self.log()}") from None

    async def connect(self) -> AsyncConnection:
        """A connection that commits each statement, for the caller to close."""
        return await AsyncConnection.connect(self.url, autocommit=True)

    async def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Runs one statement on a connection of its own; its rows, if it gives any."""
        async with await self.connect() as connection:
            cursor = await connection.execute(statement.encode(), values or None)
            return await cursor.fetchall() if cursor.description else []

    def pause(self) -> None:
        """All its processes stand still: connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> list[psutil.Process]:
        """Each connection has a process of its own; their parent gets the signal first."""
        assert self.process is not None
        with suppress(psutil.NoSuchProcess):
            server = psutil.Process(self.process.pid)
            processes = [server, *server.children(recursive=True)]
            for one in processes:
                with suppress(psutil.NoSuchProcess):
                    one.send_signal(number)
            return processes
        return []

    async def kill(self) -> None:
        """kill -9 of all its processes at once."""
        assert self.process is not None
        if self.process.returncode is None:
            # Stopped first, so that none is started while they are killed.
            self._signal(signal.SIGSTOP)
            processes = self._signal(signal.SIGKILL)
            await self.process.wait()
            # A new server would not start beside what is left of the old one.
            async with asyncio.timeout(START_TIMEOUT_S):
                while any(_lives(one) for one in processes):
                    await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Ends it for good: its folder goes too."""
        if self.process is not None:
            await self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")[-2000:]
