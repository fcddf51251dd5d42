"""A worker process: `python -m pantler_server.worker FD`, started by the supervisor.

FD is its end of the control line. It serves until it gets SIGTERM or the supervisor is gone, then
drains.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
import uvloop

from pantler_server.app import App
from pantler_server.control import ControlChannel
from pantler_server.core import background
from pantler_server.core.config import Settings
from pantler_server.core.errors import ConfigInvalid, ConfigProblem, DeadlinePassed
from pantler_server.core.logs import configure_logs
from pantler_server.core.reload import Reloaded

# Calls leave no cycles behind, so the collector has little to find: look for it rarely.
GC_THRESHOLD = (50_000, 20, 50)

CLOSE_TIMEOUT_S = 3.0  # beyond the drain time-out; sooner than the supervisor kills

log = structlog.get_logger(__name__)


class SupervisorReloader:
    """Reloads through the supervisor, which reads the file once for all workers."""

    def __init__(self, control: ControlChannel) -> None:
        self._control = control
        self._waiting: list[asyncio.Future[Reloaded]] = []

    async def reload(self, deadline: float) -> Reloaded:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Reloaded] = loop.create_future()
        self._waiting.append(answer)
        self._control.send("reload")
        try:
            async with asyncio.timeout_at(deadline):
                return await answer
        except TimeoutError:
            raise DeadlinePassed("not every worker took up the configuration in time") from None
        finally:
            self._waiting.remove(answer)

    def answered(self, message: Mapping[str, Any]) -> None:
        """Hands the supervisor's answer to the calls that wait for it."""
        problems = [ConfigProblem(**problem) for problem in message["problems"]]
        for answer in self._waiting:
            if answer.done():
                continue
            if problems:
                answer.set_exception(ConfigInvalid(problems))
            else:
                answer.set_result(
                    Reloaded(tuple(message["changed"]), tuple(message["restart_required"]))
                )


async def _serve(control_fd: int) -> int:
    control = await ControlChannel.open(socket.socket(fileno=control_fd))
    start = await control.receive()
    if start is None:
        return 1
    settings = Settings.model_validate_json(start["settings"])
    configure_logs(settings.log, worker=start["worker"])
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, _leave_to_supervisor)
    reloader = SupervisorReloader(control)
    embedded = start["embedded_socket"]
    app = App(settings, start["worker"], Path(embedded) if embedded else None, reloader)
    listener = background.start(_listen(control, app, reloader, stop), "control")
    try:
        if not await _started(app, stop):
            return 0
    except OSError as exc:
        control.send("failed", message=str(exc))
        return 1
    gc.freeze()  # what was built to serve lives as long as the process: not to be walked again
    gc.set_threshold(*GC_THRESHOLD)
    control.send("ready")
    await stop.wait()
    log.info("draining")
    try:
        async with asyncio.timeout(settings.drain_timeout.total_seconds() + CLOSE_TIMEOUT_S):
            await app.stop()
    except TimeoutError:
        log.error("did not drain in time")
    await background.stop((listener,))
    control.close()
    return 0


async def _started(app: App, stop: asyncio.Event) -> bool:
    """Starts the service; False if it was told to stop meanwhile, or the supervisor is gone."""
    starting = asyncio.create_task(app.start(), name="start")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        return False
    starting.result()
    return True


async def _listen(
    control: ControlChannel, app: App, reloader: SupervisorReloader, stop: asyncio.Event
) -> None:
    while (message := await control.receive()) is not None:
        match message["kind"]:
            case "apply":
                app.apply(Settings.model_validate_json(message["settings"]))
                control.send("applied")
            case "reloaded":
                reloader.answered(message)
    stop.set()  # the supervisor is gone


def _leave_to_supervisor() -> None:
    """Ctrl-C reaches every process of the terminal; the supervisor stops the workers in order."""


async def _run(control_fd: int) -> None:
    code = await _serve(control_fd)
    sys.stdout.flush()
    sys.stderr.flush()
    # From within the loop: at its end a task of a start that was given up may swallow its
    # cancellation (in redis-py's connect, say). And grpc's threads and atexit hooks may hold an
    # interpreter back that is done.
    os._exit(code)


if __name__ == "__main__":
    uvloop.run(_run(int(sys.argv[1])))
