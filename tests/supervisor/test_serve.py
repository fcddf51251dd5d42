"""`pantler serve` as a process: workers, the embedded Valkey, stops, kills and bad starts."""

import asyncio
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import psutil
import pytest
from pantler.v1 import admin_pb2, admin_pb2_grpc, cache_pb2, cache_pb2_grpc

from tests.failover.load import Load
from tests.servers.cluster import ClusterGroup
from tests.servers.pantler import PantlerServer
from tests.servers.sentinel import SERVICE, SentinelGroup
from tests.servers.valkey import ValkeyServer

SET = cache_pb2.SetRequest(namespace="served", key="k", value=b"v")
GET = cache_pb2.GetRequest(namespace="served", key="k")


def cache_of(server: PantlerServer) -> Any:
    return cache_pb2_grpc.CacheServiceStub(grpc.aio.insecure_channel(server.address))


async def until_gone(processes: list[psutil.Process]) -> None:
    async with asyncio.timeout(15):
        while any(process.is_running() and process.status() != "zombie" for process in processes):
            await asyncio.sleep(0.02)


async def test_kill_9_of_the_supervisor_leaves_nothing_behind() -> None:
    server = PantlerServer("--workers", "2")
    await server.start()
    children = server.process.children(recursive=True)
    assert len(children) == 3
    server.signal(signal.SIGKILL)
    await server.wait_for_exit()
    await until_gone(children)


async def test_kill_9_of_the_supervisor_during_the_start_leaves_nothing_behind() -> None:
    async with ValkeyServer() as redis:
        redis.pause()  # workers wait for it while they start
        server = PantlerServer("--workers", "2", "--redis-url", redis.url)
        starting = asyncio.create_task(server.start())
        children: list[psutil.Process] = []
        async with asyncio.timeout(10):
            while not (children and _established(children[0], redis.port)):
                await asyncio.sleep(0.005)
                children = server.workers() if server.started else []
        server.signal(signal.SIGKILL)
        starting.cancel()
        await until_gone(children)
        redis.resume()


def _established(process: psutil.Process, port: int) -> bool:
    """Whether the process has a connection to this port of loopback."""
    return any(one.raddr and one.raddr.port == port for one in process.net_connections())


async def test_what_lies_in_the_current_directory_is_not_run(tmp_path: Path) -> None:
    for module in ("queue", "asyncio", "grpc", "pantler_server"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('not to be run')")
    async with PantlerServer(folder=tmp_path) as server:
        assert (await cache_of(server).Set(SET)).version


async def test_sigterm_stops_everything_with_code_0() -> None:
    server = PantlerServer("--workers", "2")
    await server.start()
    children = server.process.children(recursive=True)
    server.signal(signal.SIGTERM)
    assert await server.wait_for_exit() == 0
    await until_gone(children)
    assert not Path(str((await server.wait_for("serving"))["redis"])).parent.exists()


async def test_a_dead_valkey_is_restarted_and_said_in_the_log() -> None:
    async with PantlerServer() as server:
        cache = cache_of(server)
        await cache.Set(SET)
        seen = len(server.events)
        server.valkey().kill()
        await server.wait_for("embedded Valkey died", after=seen)
        await server.wait_for("embedded Valkey restarted", after=seen)
        await server.wait_for("ready", after=seen)
        assert (await cache.Get(GET)).HasField("miss")  # it kept its data in memory only
        await cache.Set(SET)
        assert (await cache.Get(GET)).HasField("hit")


async def test_a_dead_worker_is_restarted_and_the_others_go_on() -> None:
    async with PantlerServer("--workers", "2") as server:
        first = server.workers()
        first[0].kill()
        await server.wait_for("worker died")
        async with asyncio.timeout(10):
            while len(server.workers()) < 2:
                await asyncio.sleep(0.02)
        assert first[1].pid in [worker.pid for worker in server.workers()]
        await cache_of(server).Set(SET)


async def test_workers_share_the_port_and_their_metrics_are_added_up() -> None:
    async with PantlerServer("--workers", "2") as server:
        seen = set()
        for _ in range(40):  # each channel is a connection, which the kernel gives to a worker
            async with grpc.aio.insecure_channel(
                server.address, options=(("grpc.use_local_subchannel_pool", 1),)
            ) as channel:
                admin: Any = admin_pb2_grpc.AdminServiceStub(channel)
                seen.add((await admin.GetHealth(admin_pb2.GetHealthRequest())).worker)
        assert seen == {0, 1}
        name = (
            'pantler_rpc_seconds_count{code="OK",method="pantler.v1.AdminService/GetHealth"} 40.0'
        )
        async with aiohttp.ClientSession() as http, asyncio.timeout(5):
            while (
                name not in await (await http.get(f"http://{server.http_address}/metrics")).text()
            ):
                await asyncio.sleep(0.05)


async def test_a_connection_that_grows_old_moves_on_to_other_workers() -> None:
    env = {"PANTLER_MAX_CONNECTION_AGE": "1s"}
    async with PantlerServer("--workers", "2", env=env) as server:
        admin: Any = admin_pb2_grpc.AdminServiceStub(grpc.aio.insecure_channel(server.address))
        seen: set[int] = set()
        async with asyncio.timeout(60):  # each second the kernel chooses anew
            while seen != {0, 1}:
                seen.add((await admin.GetHealth(admin_pb2.GetHealthRequest())).worker)
                await asyncio.sleep(0.1)


async def test_calls_are_logged_as_far_as_configured() -> None:
    env = {"PANTLER_LOG__ACCESS_SAMPLE_RATIO": "1"}
    async with PantlerServer(env=env) as server:
        await cache_of(server).Set(SET, metadata=(("x-request-id", "id-9"),))
        line = await server.wait_for("call")
    assert line["method"] == "pantler.v1.CacheService/Set"
    assert line["code"] == "OK"
    assert line["request_id"] == "id-9"
    assert line["ms"] > 0


async def test_a_drain_under_load_loses_no_call() -> None:
    server = PantlerServer()
    await server.start()
    async with Load(server.address, callers=8) as load:
        await load.until_stored(300, 10)
        server.signal(signal.SIGTERM)
        assert await server.wait_for_exit() == 0
    # Calls that were taken are answered; those that came later found nobody, which is no loss.
    assert set(load.codes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert not load.wrong_answers
    for failure in load.failures:
        assert "OUTCOME_UNKNOWN" not in str(failure.trailing_metadata())


async def test_a_worker_that_drains_hands_its_callers_to_the_others() -> None:
    async with PantlerServer("--workers", "2") as server, Load(server.address, callers=8) as load:
        await load.until_stored(200, 10)
        for worker in server.workers():
            worker.terminate()
            await server.wait_for("worker died")
            await load.until_stored(200, 10)
    refused = [one for one in load.failures if "STORE" in str(one.trailing_metadata())]
    assert not refused
    assert not load.wrong_answers


async def test_a_persistent_directory_keeps_entries_across_restarts(tmp_path: Path) -> None:
    for expected in ("miss", "hit"):
        async with PantlerServer("--data-dir", str(tmp_path / "data")) as server:
            cache = cache_of(server)
            assert (await cache.Get(GET)).WhichOneof("outcome") == expected
            await cache.Set(SET)


async def test_two_never_share_a_directory(tmp_path: Path) -> None:
    async with PantlerServer("--data-dir", str(tmp_path)):
        code, error = failed_start("--data-dir", str(tmp_path))
    assert code == 4
    assert error == [f"pantler: redis.embedded.directory {tmp_path} is in use by another Pantler"]


async def test_a_killed_pantler_gives_its_directory_free(tmp_path: Path) -> None:
    server = PantlerServer("--data-dir", str(tmp_path))
    await server.start()
    children = server.process.children(recursive=True)
    server.signal(signal.SIGKILL)
    await server.wait_for_exit()
    await until_gone(children)
    async with PantlerServer("--data-dir", str(tmp_path)) as again:
        await cache_of(again).Set(SET)


async def test_pantler_serves_over_a_sentinel_trio(sentinel_group: SentinelGroup) -> None:
    option = f"{','.join(sentinel_group.addresses)}/{SERVICE}"
    async with PantlerServer("--redis-sentinel", option, "--workers", "2") as server:
        await cache_of(server).Set(SET)
        assert (await cache_of(server).Get(GET)).HasField("hit")


async def test_pantler_serves_over_a_cluster(cluster_group: ClusterGroup) -> None:
    option = ",".join(cluster_group.addresses)
    async with PantlerServer("--redis-cluster", option, "--workers", "2") as server:
        await cache_of(server).Set(SET)
        assert (await cache_of(server).Get(GET)).HasField("hit")


def failed_start(*options: str, http: str = "127.0.0.1:0") -> tuple[int, list[str]]:
    """The exit code of a start that can't succeed, and what it says without its log."""
    command = [sys.executable, "-m", "pantler_server", "serve", "--http-listen", http, *options]
    if "--listen" not in options:
        command += ["--listen", "127.0.0.1:0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, [
        line for line in done.stderr.splitlines() if not line.startswith(("{", "20"))
    ]


@pytest.mark.parametrize("option", ["--listen", "--http-listen"])
def test_a_taken_port_is_one_clear_line(option: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, error = failed_start(option, address)
    assert code == 4
    assert error == [f"pantler: can't listen on {address}: Address already in use"]


async def test_a_second_pantler_does_not_slip_in_beside_the_first(server: PantlerServer) -> None:
    code, error = failed_start("--listen", server.address)
    assert code == 4
    assert error == [f"pantler: can't listen on {server.address}: Address already in use"]


def test_a_wrong_configuration_is_a_line_for_each_problem(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text("workers: 0\nnamespaces:\n  users:\n    tll: 5m\n")
    code, error = failed_start("--config", str(config))
    assert code == 2
    assert error == [
        f"pantler: {config}:1: workers: must be at least 1 (it is 0)",
        f"pantler: {config}:4: namespaces.users.tll: there is no such setting",
    ]


def test_a_file_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    config = tmp_path / "nowhere.yaml"
    assert failed_start("--config", str(config)) == (
        2,
        [f"pantler: {config}: can't be read: No such file or directory"],
    )


def test_an_address_that_is_none_is_one_clear_line() -> None:
    code, error = failed_start("--listen", "nonsense")
    assert code == 2
    [line] = error
    assert line.startswith("pantler: command line: listen: 'nonsense' is not host:port, such as")


async def test_it_is_ready_soon_and_small(server: PantlerServer) -> None:
    [worker] = server.workers()
    assert (
        worker.memory_info().rss < 160 << 20
    )  # the benchmark has the figure; this only catches leaps


async def test_a_stop_keeps_nobody_waiting_for_another_callers_fill() -> None:
    async with PantlerServer() as server, grpc.aio.insecure_channel(server.address) as channel:
        cache: Any = cache_pb2_grpc.CacheServiceStub(channel)
        lease = cache_pb2.LeaseRequest(wait=timedelta(seconds=8))
        request = cache_pb2.GetRequest(namespace="stopped", key="k", lease=lease)
        assert (await cache.Get(request)).miss.HasField("lease")
        waiting = asyncio.ensure_future(cache.Get(request, timeout=9))
        await asyncio.sleep(0.2)
        server.signal(signal.SIGTERM)
        async with asyncio.timeout(2):
            answer = await waiting
            assert not answer.miss.HasField("lease")
            assert await server.wait_for_exit() == 0
