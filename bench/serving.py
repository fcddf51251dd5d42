"""A `pantler serve` for benchmarks, in a process of its own on free ports."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Self

import psutil


class Serving:
    """Starts with the block and ends with it. `ready_s` is how long it took to serve."""

    def __init__(self, *options: str, cpu: int | None = None) -> None:
        self._options = options
        self._cpu = cpu

    def __enter__(self) -> Self:
        began = time.perf_counter()
        command = [sys.executable, "-m", "pantler_server", "serve", *self._options]
        if self._cpu is not None:
            command = ["taskset", "--cpu-list", str(self._cpu), *command]
        free = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
        # JSON, whatever the terminal is: the addresses are read from it.
        env = {**os.environ, "PANTLER_LOG__FORMAT": "json", "PANTLER_LOG__ACCESS_SAMPLE_RATIO": "0"}
        self._process = subprocess.Popen([*command, *free], stderr=subprocess.PIPE, env=env)
        line = self._serving_line()
        self.ready_s = time.perf_counter() - began
        self.address: str = line["grpc"]
        self.http_address: str = line["http"]
        self.redis_socket: str = line["redis"]
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def _serving_line(self) -> dict[str, Any]:
        assert self._process.stderr is not None
        seen = []
        for line in self._process.stderr:
            seen.append(line.decode())
            if line.startswith(b"{") and (event := json.loads(line))["event"] == "serving":
                return dict(event)
        raise RuntimeError("pantler did not start: " + "".join(seen))

    @property
    def processes(self) -> Sequence[psutil.Process]:
        """The supervisor, the workers and the embedded Valkey."""
        supervisor = psutil.Process(self._process.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    @property
    def worker(self) -> psutil.Process:
        return next(one for one in self.processes if "pantler_server.worker" in one.cmdline())

    @property
    def valkey(self) -> psutil.Process:
        return next(one for one in self.processes if one.name().startswith("valkey"))


def memory_bytes(process: psutil.Process) -> int:
    """What the process keeps resident."""
    return int(process.memory_info().rss)
