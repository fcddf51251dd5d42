"""A configuration that changes under a running service."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from pantler.v1 import admin_pb2, admin_pb2_grpc, cache_pb2, cache_pb2_grpc

from tests.servers.pantler import PantlerServer
from tests.wire.test_cache_service import details

RELOAD = admin_pb2.ReloadConfigRequest()


def channels(server: PantlerServer, count: int) -> list[grpc.aio.Channel]:
    """Connections of their own, which spread over workers."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    return [grpc.aio.insecure_channel(server.address, options=options) for _ in range(count)]


async def ttl_s(channel: grpc.aio.Channel, key: str) -> int:
    """The ttl that a Set without one gets."""
    cache: Any = cache_pb2_grpc.CacheServiceStub(channel)
    await cache.Set(cache_pb2.SetRequest(namespace="users", key=key))
    entry = (await cache.Get(cache_pb2.GetRequest(namespace="users", key=key))).hit.entry
    lived = entry.expire_time.ToDatetime() - entry.create_time.ToDatetime()
    return int(lived.total_seconds())


async def test_a_reload_reaches_every_worker(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text("namespaces: {users: {ttl: 5m}}\nworkers: 2\n")
    async with PantlerServer(config=config) as server:
        opened = channels(server, 12)
        assert {await ttl_s(channel, "before") for channel in opened} == {300}
        config.write_text("namespaces: {users: {ttl: 7m}}\nworkers: 3\n")
        admin: Any = admin_pb2_grpc.AdminServiceStub(opened[0])
        async with asyncio.timeout(5):  # the watch may be first, and then nothing is left to change
            await admin.ReloadConfig(RELOAD)
        line = await server.wait_for("configuration reloaded")
        assert line["changed"] == ["namespaces.users.ttl", "workers"]
        assert line["restart_required"] == ["workers"]
        assert {await ttl_s(channel, "after") for channel in opened} == {420}


async def test_a_changed_file_is_taken_up_by_itself(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text("namespaces: {users: {ttl: 5m}}\n")
    async with PantlerServer(config=config) as server:
        replacement = tmp_path / "new.yaml"
        replacement.write_text("namespaces: {users: {ttl: 9m}}\n")
        await asyncio.sleep(0.5)  # until the watch stands
        replacement.rename(config)  # as editors and Kubernetes do
        await server.wait_for("configuration reloaded")
        [channel] = channels(server, 1)
        assert await ttl_s(channel, "k") == 540


async def test_sighup_reloads(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text("namespaces: {users: {ttl: 5m}}\n")
    async with PantlerServer(config=config) as server:
        server.signal(signal.SIGHUP)
        line = await server.wait_for("configuration reloaded")
        assert line["changed"] == []


async def test_a_wrong_configuration_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text("namespaces: {users: {ttl: 5m}}\n")
    async with PantlerServer(config=config) as server:
        [channel] = channels(server, 1)
        config.write_text("namespaces:\n  users: {ttl: never}\nworkerz: 2\n")
        admin: Any = admin_pb2_grpc.AdminServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await admin.ReloadConfig(RELOAD)
        assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        found = details(failed.value)
        assert found["ErrorInfo"].reason == "ERROR_REASON_CONFIG_INVALID"
        subjects = [one.subject for one in found["PreconditionFailure"].violations]
        assert subjects == [f"{config}:2", f"{config}:3"]
        assert await ttl_s(channel, "k") == 300


async def test_a_file_that_is_being_written_takes_nothing_away(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text("namespaces: {users: {ttl: 5m}}\n")
    async with PantlerServer(config=config) as server:
        await asyncio.sleep(0.5)  # until the watch stands
        config.write_text("")
        refused = await server.wait_for("configuration refused, the old one stays")
        assert "is empty: {} stands for the defaults" in refused["reason"]
        [channel] = channels(server, 1)
        assert await ttl_s(channel, "k") == 300
        config.write_text("namespaces: {users: {ttl: 6m}}\n")
        await server.wait_for("configuration reloaded")
        assert await ttl_s(channel, "k") == 360


async def test_options_of_the_command_line_survive_a_reload(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text("workers: 1\n")
    async with PantlerServer("--workers", "2", config=config) as server:
        config.write_text("workers: 1\nstrict_namespaces: true\n")
        server.signal(signal.SIGHUP)
        line = await server.wait_for("configuration reloaded")
        assert line["restart_required"] == []
        [channel] = channels(server, 1)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await ttl_s(channel, "k")
        assert failed.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_worker_that_restarts_during_a_reload_gets_the_new_configuration(
    tmp_path: Path,
) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text("namespaces: {users: {ttl: 100s}}\n")
    async with PantlerServer(config=config) as server:
        for turn, delay_s in enumerate((0.0, 0.2, 0.4, 0.6)):  # a worker takes half a second
            seen = len(server.events)
            [worker] = server.workers()
            worker.kill()
            await server.wait_for("worker died", after=seen)
            await asyncio.sleep(delay_s)
            config.write_text(f"namespaces: {{users: {{ttl: {200 + turn}s}}}}\n")
            server.signal(signal.SIGHUP)
            await server.wait_for("configuration reloaded", after=seen)
            await server.wait_for("ready", after=seen)
            [channel] = channels(server, 1)
            async with asyncio.timeout(5):  # what came while it started is handed on once it serves
                while await ttl_s(channel, f"k{turn}") != 200 + turn:
                    await asyncio.sleep(0.02)
