"""`pantler watch` against a real server."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from itertools import count
from pathlib import Path
from queue import Queue
from typing import Any

import grpc
import pantler as sdk
import pytest
from pantler.v1 import invalidation_pb2

from tests.cli.test_commands import Done, pantler
from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer

_numbers = count()
program: Any = import_module("pantler_server.cli.watch")  # the package has the command by this name


@pytest.fixture
def namespace() -> str:
    return f"cliwatch{next(_numbers)}"


@asynccontextmanager
async def watching(
    *arguments: str, address: str, command: str = "watch"
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program, ended by Ctrl-C at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pantler_server", command, *arguments, "--address", address),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        _, error = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in error


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(10):
        return (await process.stdout.readline()).decode().rstrip("\n")


async def message(process: asyncio.subprocess.Process) -> Any:
    return json.loads(await line(process))


async def test_a_line_for_each_event(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text("namespaces: {near: {near_cache: true}}\n")
    async with (
        PantlerServer(config=config) as server,
        sdk.AsyncClient(server.address) as client,
        watching("near", "--json", address=server.address) as machine,
    ):
        first = await message(machine)  # it watches from here on
        token = first.pop("resume_token")
        assert first == {"events": [], "gaps": [], "with_writes": ["near"]}
        await client.set("near", "k", b"v")
        await client.invalidate_keys("near", ["k\u202e"], soft=True)
        await client.invalidate_tags("near", ["t"])
        await client.invalidate_keys("near", ["p"], cascade=True)
        await client.invalidate_namespace("near")
        async for _ in client.invalidate_pattern("near", "x*"):
            pass
        told: list[Any] = []
        while len(told) < 7:
            told += (await message(machine))["events"]
        assert told[0] == {
            "namespace": "near",
            "mode": "UNSPECIFIED",
            "written_key": "k",
        }
        assert [one["mode"] for one in told[1:]] == ["SOFT", *["HARD"] * 5]
        arguments = ("near", "--resume-token", token)
        async with watching(*arguments, address=server.address) as person:
            assert [await line(person) for _ in range(7)] == [
                "near: key 'k' written",
                "near: key 'k\\u202e' made stale",
                "near: tag 't' invalidated",
                "near: key 'p' invalidated",
                "near: what depends on 'p' invalidated",
                "near: all entries invalidated",
                "near: keys that match 'x*' removed",
            ]


async def test_it_waits_for_a_server_that_went_away(server: PantlerServer, namespace: str) -> None:
    async with (
        FaultProxy(int(server.address.rpartition(":")[2])) as proxy,
        sdk.AsyncClient(server.address) as client,
        watching(namespace, "--json", address=f"127.0.0.1:{proxy.port}") as process,
    ):
        await message(process)
        proxy.cut()
        await client.delete(namespace, "k")
        told: list[Any] = []
        while not told:
            told = (await message(process))["events"]
        assert [one["key"] for one in told] == ["k"]
        assert process.stderr is not None
        said = await process.stderr.readline()
        assert said == b"pantler: the server went away; waiting for it\n"


@pytest.mark.slow
async def test_it_goes_on_with_a_server_that_has_lost_its_memory() -> None:
    """The token is not known any more: that is a gap."""
    async with (
        PantlerServer() as server,
        PantlerServer() as other,
        FaultProxy(int(server.address.rpartition(":")[2])) as proxy,
        sdk.AsyncClient(other.address) as client,
        watching("a", "b", "--json", address=f"127.0.0.1:{proxy.port}") as process,
    ):
        await message(process)
        proxy._target_port = int(other.address.rpartition(":")[2])
        proxy.cut()
        while not (told := await message(process))["gaps"]:
            pass
        assert told["gaps"] == ["a", "b"]
        await client.delete("a", "k")
        while not (told := await message(process))["events"]:
            assert not told["gaps"]


async def test_it_gives_up_a_connection_that_has_gone_silent(
    server: PantlerServer,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("pantler_server.cli.resumed.HEARTBEAT_S", 0.3)
    told: Queue[Any] = Queue()
    request = invalidation_pb2.WatchInvalidationsRequest(
        namespaces=[namespace], heartbeat_interval={"seconds": 1}
    )
    async with FaultProxy(int(server.address.rpartition(":")[2])) as proxy:
        opened = grpc.insecure_channel(f"127.0.0.1:{proxy.port}")

        def watch() -> None:
            for answer in program._answers(opened, request):
                told.put(answer)

        proxy.stall()
        watched = asyncio.create_task(asyncio.to_thread(watch))
        async with asyncio.timeout(10):
            while "waiting for it" not in (said := capsys.readouterr().err):
                await asyncio.sleep(0.05)
            assert said == "pantler: the server went away; waiting for it\n"
            proxy.restore()
            while told.empty():
                await asyncio.sleep(0.05)
        opened.close()
        with pytest.raises(ValueError, match="closed"):
            await watched


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing argument"),
        (("Bad",), "namespaces[0] must match"),
        (("n", "--resume-token", "x"), "resume_token must be a token that a watch gave"),
    ],
)
async def test_wrong_usage_is_code_2(
    server: PantlerServer, arguments: tuple[str, ...], said: str
) -> None:
    done = await pantler("watch", *arguments, address=server.address)
    assert done.code == 2
    assert said in done.error


async def test_a_server_that_is_not_there_is_code_3() -> None:
    done = await pantler("watch", "n", address="127.0.0.1:1")
    assert done == Done(
        3, b"", "pantler: can't reach 127.0.0.1:1: is `pantler serve` running there?\n"
    )
