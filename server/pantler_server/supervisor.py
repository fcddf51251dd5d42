"""`pantler serve`: one supervisor, the embedded Valkey, and N workers that share the ports.

The supervisor serves nothing itself. It starts the rest, starts again what dies, hands out reloaded
configurations and stops everything in order. It imports neither gRPC nor Redis, to start at once.
"""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from pantler_server.core import background
from pantler_server.core.config import RELOADABLE, Settings
from pantler_server.core.config_file import load_settings
from pantler_server.core.errors import ConfigInvalid
from pantler_server.core.logs import configure_logs
from pantler_server.core.redis_config import EmbeddedRedis, Topology
from pantler_server.ports import PortTaken, reserve
from pantler_server.store.embedded import EmbeddedFailed, EmbeddedValkey
from pantler_server.worker_process import WorkerFailed, WorkerProcess

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.1, 5.0
LONG_LIFE_S = 10.0  # what lived that long is started again without a wait
APPLY_TIMEOUT_S = 5.0
KILL_MARGIN_S = 5.0  # beyond the drain time-out, for closing connections

log = structlog.get_logger(__name__)


class StartFailed(Exception):
    """The service can't start; the message is one line that says why."""


class Supervisor:
    """Runs a service until it is told to stop. `load` reads the configuration anew."""

    def __init__(
        self, settings: Settings, config: Path | None, overrides: Mapping[str, Any]
    ) -> None:
        self._loaded = settings
        self._config = config
        self._overrides = overrides
        self._stop = asyncio.Event()
        self._reload_lock = asyncio.Lock()
        self._metrics = Path(tempfile.mkdtemp(prefix="pantler-metrics-"))
        self._valkey: EmbeddedValkey | None = None
        self._workers: list[WorkerProcess] = []
        self._tasks: list[asyncio.Task[Any]] = []

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT. Raises StartFailed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        configure_logs(self._loaded.log)
        try:
            await self._start()
            await self._stop.wait()
            log.info("stopping")
        except (PortTaken, EmbeddedFailed, WorkerFailed) as exc:
            raise StartFailed(str(exc)) from None
        finally:
            await self._end()

    async def _start(self) -> None:
        grpc_port, listen = reserve(self._loaded.listen)
        http_port, http_listen = reserve(self._loaded.http_listen)
        self._addresses = {"listen": listen, "http_listen": http_listen}
        self._ports = (grpc_port, http_port)  # held open until the end: nobody else can take them
        self._workers = [
            WorkerProcess(number, self._metrics, self._reload)
            for number in range(self._loaded.workers)
        ]
        await asyncio.gather(*(worker.spawn() for worker in self._workers))
        embedded = _embedded(self._loaded)
        if embedded is not None:  # while the workers are busy with their imports
            self._valkey = EmbeddedValkey(embedded, fsync_always=self._loaded.writes_behind)
            await self._valkey.start()
        await asyncio.gather(*(self._serve(worker) for worker in self._workers))
        self._tasks = [
            background.start(self._keep_worker(worker), f"worker {worker.number}")
            for worker in self._workers
        ]
        if self._valkey is not None:
            self._tasks.append(background.start(self._keep_valkey(self._valkey), "valkey"))
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload_soon)
        if self._config is not None:
            self._tasks.append(background.start(self._watch(self._config), "config watch"))
        redis = self._valkey.socket if self._valkey else self._loaded.redis.topology
        log.info("serving", grpc=listen, http=http_listen, redis=str(redis))

    async def _serve(self, worker: WorkerProcess) -> None:
        socket = None if self._valkey is None else self._valkey.socket
        served = self._loaded
        await worker.serve(self._in_force(), socket)
        if served is not self._loaded:  # a reload came in between, and passed by a worker not ready
            await worker.apply(self._in_force())

    def _in_force(self) -> Settings:
        """The settings for workers, with the ports that were taken."""
        return self._loaded.model_copy(update=self._addresses)

    async def _keep_worker(self, worker: WorkerProcess) -> None:
        """Starts a worker again whenever it ends."""
        loop = asyncio.get_running_loop()
        backoff_s = 0.0
        while True:
            began = loop.time()
            code = await worker.ended()
            backoff_s = _next_backoff(backoff_s, loop.time() - began)
            log.error("worker died", worker=worker.number, code=code, restart_in_s=backoff_s)
            await asyncio.sleep(backoff_s)
            await worker.spawn()
            with suppress(WorkerFailed):  # it said why in the log, and has ended
                await self._serve(worker)

    async def _keep_valkey(self, valkey: EmbeddedValkey) -> None:
        """Starts the embedded Valkey again whenever it ends; workers reconnect by themselves."""
        loop = asyncio.get_running_loop()
        backoff_s = 0.0
        while True:
            began = loop.time()
            code = await valkey.wait()
            backoff_s = _next_backoff(backoff_s, loop.time() - began)
            log.error("embedded Valkey died", code=code, restart_in_s=backoff_s)
            await asyncio.sleep(backoff_s)
            try:
                await valkey.start()
                log.info("embedded Valkey restarted", pid=valkey.pid)
            except EmbeddedFailed as exc:
                log.error("embedded Valkey did not start", reason=str(exc))

    async def _watch(self, config: Path) -> None:
        """Reloads when the file's content changes. The folder is watched, since editors and
        Kubernetes replace the file instead of writing it."""
        from watchfiles import awatch  # costs 50 ms that the start need not wait for

        content = config.read_bytes()
        async for _ in awatch(config.parent, recursive=False):
            with suppress(OSError):  # being replaced just now: the next event tells
                now = config.read_bytes()
                if now != content:
                    content = now
                    await self._reload()

    def _reload_soon(self) -> None:
        task: asyncio.Task[Any] = asyncio.create_task(self._reload())
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    async def _reload(self) -> dict[str, Any]:
        """Puts the configuration in force in all workers; what came of it, as `reloaded` says."""
        async with self._reload_lock:
            try:
                wanted = load_settings(self._config, self._overrides)
            except ConfigInvalid as exc:
                log.error("configuration refused, the old one stays", reason=str(exc))
                problems = [asdict(problem) for problem in exc.problems]
                return {"changed": [], "restart_required": [], "problems": problems}
            changed = list(_differences(self._loaded, wanted))
            restart = [path for path in changed if path.partition(".")[0] not in RELOADABLE]
            self._loaded = self._loaded.model_copy(
                update={name: getattr(wanted, name) for name in RELOADABLE}
            )
            configure_logs(self._loaded.log)
            try:
                async with asyncio.timeout(APPLY_TIMEOUT_S):
                    await asyncio.gather(
                        *(worker.apply(self._in_force()) for worker in self._workers)
                    )
            except TimeoutError:
                log.error("a worker did not take up the configuration in time")
            log.info("configuration reloaded", changed=changed, restart_required=restart)
            return {"changed": changed, "restart_required": restart, "problems": []}

    async def _end(self) -> None:
        await background.stop(self._tasks)
        limit_s = self._loaded.drain_timeout.total_seconds() + KILL_MARGIN_S
        await asyncio.gather(*(worker.stop(limit_s) for worker in self._workers))
        if self._valkey is not None:
            await self._valkey.stop()
            self._valkey.close()
        shutil.rmtree(self._metrics, ignore_errors=True)


def _embedded(settings: Settings) -> EmbeddedRedis | None:
    """The embedded server's settings, if a role needs one. Both roles share it."""
    for redis in (settings.redis, settings.state_redis):
        if redis is not None and redis.topology is Topology.EMBEDDED:
            return redis.embedded
    return None


def _next_backoff(backoff_s: float, lived_s: float) -> float:
    if lived_s > LONG_LIFE_S:
        return 0.0
    return min(max(backoff_s * 2, FIRST_BACKOFF_S), LONGEST_BACKOFF_S)


def _differences(old: Settings, new: Settings) -> Iterator[str]:
    """The paths of the settings that differ."""
    yield from _differing(old.model_dump(), new.model_dump(), "")


def _differing(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            yield from _differing(old.get(name), new.get(name), f"{path}.{name}" if path else name)
    elif old != new:
        yield path
