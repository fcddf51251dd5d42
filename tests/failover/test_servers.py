"""The servers that the failover tests stand on: they fail over, and leave nothing behind."""

import asyncio
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest

from tests.servers.cluster import ClusterGroup
from tests.servers.fault_proxy import FaultProxy
from tests.servers.sentinel import SentinelGroup
from tests.servers.valkey import ValkeyServer

EXIT_TIMEOUT_S = 5.0

either_binary = pytest.mark.parametrize(
    "name",
    [None, pytest.param("redis-server", marks=pytest.mark.component("redis-server"))],
    ids=["embedded", "redis-7.0"],
)


def binary(name: str | None) -> Path | None:
    found = None if name is None else shutil.which(name)
    return None if found is None else Path(found)


def processes(servers: Iterable[ValkeyServer]) -> list[psutil.Process]:
    return [psutil.Process(server.process.pid) for server in servers if server.process is not None]


def all_gone(ended: Iterable[psutil.Process], servers: Iterable[ValkeyServer]) -> bool:
    return not any(process.is_running() for process in ended) and not any(
        server.folder.exists() for server in servers
    )


@either_binary
async def test_a_sentinel_group_fails_over_and_takes_its_old_primary_back(
    name: str | None,
) -> None:
    async with SentinelGroup(binary(name)) as group:
        old = await group.primary()
        await old.kill()
        new = await group.wait_for_new_primary(old)
        await new.execute("SET", "k", "written after the failover")

        await group.restart_dead()
        assert await group.primary() is new
        assert (await old.execute("ROLE"))[0] == b"slave"
        assert await old.execute("GET", "k") == b"written after the failover"
        servers = [*group.servers, *group.sentinels]
        running = processes(servers)
        assert len(running) == 5
    assert all_gone(running, servers)


@either_binary
async def test_a_cluster_promotes_the_replica_of_a_killed_primary(name: str | None) -> None:
    async with ClusterGroup(binary(name)) as group:
        running = processes(group.servers)
        assert len(running) == 6
        await group.primaries[0].kill()
        await group.wait_for_promotion(group.replicas[0])
        shards = str(await group.primaries[1].execute("CLUSTER", "SHARDS"))
        assert str(group.replicas[0].port) in shards
    assert all_gone(running, group.servers)


async def test_a_killed_server_comes_back_on_its_port() -> None:
    async with ValkeyServer() as server:
        port, url = server.port, server.url
        await server.kill()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await server.start()
        assert (server.port, server.url) == (port, url)
        assert await server.execute("PING")


async def test_a_paused_server_answers_once_it_is_resumed() -> None:
    async with ValkeyServer() as server:
        server.pause()
        answer = asyncio.create_task(server.execute("PING"))
        done, _ = await asyncio.wait([answer], timeout=0.2)
        assert not done
        server.resume()
        assert await answer


async def test_a_start_that_fails_says_why_and_leaves_nothing() -> None:
    server = ValkeyServer("--no-such-option", "1")
    with pytest.raises(AssertionError, match="no-such-option"):
        await server.__aenter__()
    assert all_gone([], [server])


async def test_a_group_of_which_one_server_fails_leaves_nothing() -> None:
    group = ClusterGroup()
    await group.servers[3].stop()
    group.servers[3] = ValkeyServer("--no-such-option", "1")
    before = set(psutil.Process().children())
    with pytest.raises(ExceptionGroup) as failed:
        await group.__aenter__()
    assert "no-such-option" in str(failed.value.exceptions[0])
    assert set(psutil.Process().children()) <= before
    assert all_gone([], group.servers)


async def test_servers_die_with_the_killed_process_that_started_them() -> None:
    program = (
        "import asyncio, sys\n"
        "from tests.servers.valkey import ValkeyServer\n"
        "async def main():\n"
        "    async with ValkeyServer() as server:\n"
        "        print(server.process.pid, server.folder, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout is not None
    pid, folder = (await owner.stdout.readline()).split()
    server = psutil.Process(int(pid))
    owner.kill()
    await owner.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, [server], timeout=EXIT_TIMEOUT_S)
    assert not alive
    shutil.rmtree(folder.decode())  # of a killed process nobody else clears it


async def test_a_proxy_holds_replies_and_loses_them_when_it_cuts() -> None:
    async with ValkeyServer() as server, FaultProxy(server.port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.hold_replies()
        writer.write(b"INCR hits\r\n")
        async with asyncio.timeout(EXIT_TIMEOUT_S):
            while await server.execute("GET", "hits") != b"1":
                await asyncio.sleep(0.01)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_a_proxy_that_refuses_leaves_open_connections_alone() -> None:
    async with ValkeyServer() as server, FaultProxy(server.port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"PING\r\n")
        assert await reader.readline() == b"+PONG\r\n"
        proxy.refuse()
        refused, other = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await refused.read()
        writer.write(b"PING\r\n")
        assert await reader.readline() == b"+PONG\r\n"
        for one in (writer, other):
            one.close()
