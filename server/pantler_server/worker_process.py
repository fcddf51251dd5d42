"""A worker as its supervisor sees it: a process, and the control line to it."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog

from pantler_server.control import ControlChannel
from pantler_server.core.config import Settings

# grpcio's newer event engine costs grpc.aio a sixth of its calls a second (docs/adr/0003).
GRPC_EXPERIMENTS = "-event_engine_listener,-event_engine_client"

log = structlog.get_logger(__name__)


class WorkerFailed(Exception):
    """The worker can't serve; the message is one line that says why."""


class WorkerProcess:
    """Worker `number`: `spawn`, then `serve`; again after it ended.

    `reload` is what the worker may ask for; it gives the fields of the answer.
    """

    def __init__(
        self,
        number: int,
        metrics: Path,
        reload: Callable[[], Awaitable[dict[str, Any]]],
    ) -> None:
        self.number = number
        self._metrics = metrics
        self._reload = reload
        self._process: asyncio.subprocess.Process | None = None
        self._control: ControlChannel | None = None
        self._listener: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._applied: asyncio.Future[None] | None = None
        self._serving = False

    async def spawn(self) -> None:
        """Starts the process. It imports what it needs and waits for `serve`."""
        ours, theirs = socket.socketpair()
        with theirs:
            # -P: -m would put the current directory first in the path, and run a queue.py of it.
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "pantler_server.worker", str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=self._environment(),
            )
        self._control = await ControlChannel.open(ours)
        self._ready = asyncio.get_running_loop().create_future()
        self._listener = asyncio.create_task(self._listen(self._control, self._ready))

    async def serve(self, settings: Settings, embedded_socket: Path | None) -> None:
        """Returns when the worker serves. Raises WorkerFailed."""
        assert self._control is not None
        assert self._ready is not None
        self._control.send(
            "start",
            settings=settings.to_json(),
            worker=self.number,
            embedded_socket=None if embedded_socket is None else str(embedded_socket),
        )
        await self._ready

    async def apply(self, settings: Settings) -> None:
        """Returns when the worker has taken the settings up, or has ended."""
        if self._control is None or not self._serving:
            return  # it will be told when it serves
        self._applied = asyncio.get_running_loop().create_future()
        self._control.send("apply", settings=settings.to_json())
        await self._applied

    async def ended(self) -> int:
        """Waits until the process has ended; its exit code."""
        assert self._process is not None
        assert self._listener is not None
        code = await self._process.wait()
        await self._listener
        from prometheus_client.multiprocess import mark_process_dead  # not needed to start

        mark_process_dead(self._process.pid, str(self._metrics))  # type: ignore[no-untyped-call]
        return code

    async def stop(self, limit_s: float) -> None:
        """Lets the worker drain, and kills it after `limit_s`."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(limit_s):
                await self._process.wait()
        except TimeoutError:
            log.error("worker did not drain in time, killed", worker=self.number)
            self._process.kill()
            await self._process.wait()

    async def _listen(self, control: ControlChannel, ready: asyncio.Future[None]) -> None:
        reloads: set[asyncio.Task[None]] = set()
        failure = "it ended before it was ready; the log above has more"
        while (message := await control.receive()) is not None:
            match message["kind"]:
                case "ready":
                    self._serving = True
                    ready.set_result(None)
                case "failed":
                    failure = message["message"]
                case "applied" if self._applied is not None:
                    self._settle_applied()
                case "reload":
                    task = asyncio.create_task(self._answer_reload(control))
                    reloads.add(task)
                    task.add_done_callback(reloads.discard)
        self._serving = False
        control.close()
        self._settle_applied()
        if not ready.done():
            ready.set_exception(WorkerFailed(f"worker {self.number}: {failure}"))
            ready.exception()  # seen: nobody waits if something else fails the start first

    async def _answer_reload(self, control: ControlChannel) -> None:
        control.send("reloaded", **await self._reload())

    def _settle_applied(self) -> None:
        if self._applied is not None and not self._applied.done():
            self._applied.set_result(None)

    def _environment(self) -> dict[str, str]:
        return {
            "GRPC_EXPERIMENTS": GRPC_EXPERIMENTS,
            "GRPC_VERBOSITY": "ERROR",
            **os.environ,
            "PROMETHEUS_MULTIPROC_DIR": str(self._metrics),
        }
