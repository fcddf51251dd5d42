"""A real Pantler for tests, on an embedded Valkey that keeps nothing: a plugin of pytest.

    # conftest.py
    pytest_plugins = ["pantler.testing"]

    # test_users.py
    def test_a_user_is_cached(pantler_client, pantler_namespace):
        pantler_client.set(pantler_namespace, "42", b"Ada")

It starts once for the run (each worker of pytest-xdist has its own), in about a second, on free
ports of this machine. `with serve() as server:` does the same, and needs no pytest.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from pantler.client import AsyncClient
from pantler.sync_client import Client

Config = Mapping[str, Any] | Path | str | None
"""The configuration of a server: what stands in its file, or the file's path; None: the
defaults."""

START_S = 60.0  # of a machine that is busy; else it takes one
STOP_S = 15.0
_SETTINGS = {
    "PANTLER_LOG__FORMAT": "json",  # what says that it serves is read from its log
    "PANTLER_LOG__LEVEL": "info",
    "PANTLER_DRAIN_TIMEOUT": "1s",  # the tests are over
}


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server listens, each as host:port."""

    address: str
    """What clients are given."""
    http_address: str
    """The gateway, metrics and health."""


@contextmanager
def serve(config: Config = None) -> Iterator[Server]:
    """A server, for the time of a block. It ends with this process too, even if that is killed.
    Raises RuntimeError if it does not start, with its log."""
    if find_spec("pantler_server") is None:
        raise RuntimeError("there is no server to test with: pip install 'pantler[testing]'")
    with tempfile.TemporaryDirectory(prefix="pantler-test-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pantler.testing_server", *_options(config, folder)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=folder,
                env=_environment(),
                start_new_session=True,  # Ctrl-C in the terminal is for the tests alone
            )
        try:
            yield _serving(process, log)
        finally:
            _stop(process)


def _options(config: Config, folder: str) -> list[str]:
    options = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
    if config is None:
        return options
    if isinstance(config, Mapping):
        file = Path(folder) / "pantler.yaml"
        file.write_text(json.dumps(config), encoding="utf-8")  # which is YAML, too
        config = file
    return [*options, "--config", str(Path(config).absolute())]


def _environment() -> dict[str, str]:
    """This one's, without settings for another server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PANTLER_")}
    return {**kept, **_SETTINGS}


def _serving(process: "subprocess.Popen[bytes]", log: Path) -> Server:
    """Waits until it serves."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        ended = process.poll() is not None
        for line in log.read_text(errors="replace").splitlines(keepends=True):
            if '"event": "serving"' in line and line.endswith("\n"):
                told = json.loads(line)
                return Server(told["grpc"], told["http"])
        if ended:
            break
        time.sleep(0.01)
    raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if find_spec("pytest") is not None:  # `serve` does without
    import pytest

    @pytest.fixture(scope="session")
    def pantler_config() -> Config:
        """The configuration of `pantler_server`. Define it anew in your conftest.py to give
        another."""
        return None

    @pytest.fixture(scope="session")
    def pantler_server(pantler_config: Config) -> Iterator[Server]:
        """The server of this run."""
        with serve(pantler_config) as server:
            yield server

    @pytest.fixture(scope="session")
    def pantler_address(pantler_server: Server) -> str:
        """Its address, as clients are given it."""
        return pantler_server.address

    @pytest.fixture(scope="session")
    def pantler_client(pantler_address: str) -> Iterator[Client]:
        """A client that blocks."""
        with Client(pantler_address) as client:
            yield client

    @pytest.fixture
    def pantler_async_client(pantler_address: str) -> AsyncClient:
        """An asynchronous client for one test. It belongs to the event loop that the test runs in,
        whichever plugin (pytest-asyncio, anyio) that is of."""
        return AsyncClient(pantler_address)

    @pytest.fixture
    def pantler_namespace() -> str:
        """A namespace that no other test has."""
        return f"test-{uuid4().hex}"
