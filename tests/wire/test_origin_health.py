"""What a service says of its origins: health, readiness, the log and `pantler ping`."""

import asyncio
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import pytest
from pantler.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    cache_pb2,
    cache_pb2_grpc,
    record_pb2,
    record_pb2_grpc,
)

from tests.servers.certificates import Certificates
from tests.servers.origin_service import OriginService
from tests.servers.pantler import PantlerServer
from tests.servers.users_table import UsersTable


async def origins(server: PantlerServer) -> dict[str, tuple[bool, str]]:
    """As GetHealth says once all were looked at, whether available, and why not. The side port must
    say the same."""
    async with grpc.aio.insecure_channel(server.address) as channel, asyncio.timeout(5):
        admin: Any = admin_pb2_grpc.AdminServiceStub(channel)
        health = await admin.GetHealth(admin_pb2.GetHealthRequest())
        while any(one.detail == "not looked at yet" for one in health.origins):
            await asyncio.sleep(0.01)
            health = await admin.GetHealth(admin_pb2.GetHealthRequest())
    assert health.ready
    async with aiohttp.ClientSession(f"http://{server.http_address}") as http:
        answer = await http.get("/readyz")
        assert answer.status == 200
        ready = await answer.json()
    assert ready["origins"] == {
        one.namespace: {"available": one.available, "detail": one.detail} for one in health.origins
    }
    return {one.namespace: (one.available, one.detail) for one in health.origins}


async def ping(server: PantlerServer) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pantler_server", "ping", "--address", server.address),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def test_a_service_without_origins_says_so(server: PantlerServer) -> None:
    assert await origins(server) == {}
    assert "origin" not in await ping(server)


@pytest.mark.component("openssl")
async def test_an_origin_that_cannot_serve_is_told_of_until_it_is_mended(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.crt"
    config = tmp_path / "pantler.yaml"
    async with OriginService() as service:
        target = f"{{target: '{service.target}'}}"
        broken = f"{{target: '{service.target}', ca_file: '{ca_file}'}}"
        config.write_text(
            "namespaces:\n"
            f"  orders: {{origin: {{grpc: {target}}}}}\n"
            f"  users: {{origin: {{grpc: {broken}}}}}\n"
        )
        async with PantlerServer(config=config) as server:
            problem = f"the ca_file {ca_file} can't be used: No such file or directory"
            line = await server.wait_for("origin can't serve")
            assert (line["namespace"], line["problem"]) == ("users", problem)
            assert await origins(server) == {"orders": (True, ""), "users": (False, problem)}
            said = await ping(server)
            assert "  origin of orders: available\n" in said
            assert f"  origin of users: not available; {problem}\n" in said
            async with grpc.aio.insecure_channel(server.address) as channel:
                cache: Any = cache_pb2_grpc.CacheServiceStub(channel)
                await cache.Set(cache_pb2.SetRequest(namespace="others", key="k", value=b"v"))
            with Certificates() as made:
                ca_file.write_bytes(made.ca.read_bytes())
            await server.wait_for("origin can serve", namespace="users")
            assert await origins(server) == {"orders": (True, ""), "users": (True, "")}
            config.write_text(f"namespaces: {{carts: {{origin: {{grpc: {target}}}}}}}\n")
            server.signal(signal.SIGHUP)
            await server.wait_for("configuration reloaded")
            assert await origins(server) == {"carts": (True, "")}
        told = [one["event"] for one in server.events if "serve" in one.get("event", "")]
        assert told == ["origin can't serve", "origin can serve"]


async def test_a_table_that_does_not_exist_is_told_of_until_it_does(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE orders (id TEXT PRIMARY KEY, amount INTEGER)")
    config = tmp_path / "pantler.yaml"
    config.write_text(
        "namespaces:\n"
        f"  orders: {{origin: {{sql: {{url: 'sqlite:///{file}', table: orders}}}}}}\n"
        f"  users: {{origin: {{sql: {{url: 'sqlite:///{file}', table: users}}}}}}\n"
    )
    async with PantlerServer(config=config) as server:
        line = await server.wait_for("origin can't serve")
        assert line["namespace"] == "users"
        assert "table users" in line["problem"]
        assert await origins(server) == {
            "orders": (True, ""),
            "users": (False, line["problem"]),
        }
        with closing(sqlite3.connect(file)) as database:
            database.execute("CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT)")
        await server.wait_for("origin can serve", namespace="users")
        assert await origins(server) == {"orders": (True, ""), "users": (True, "")}


async def test_what_waits_for_an_origin_that_is_taken_away_is_warned_of(tmp_path: Path) -> None:
    users = UsersTable(tmp_path)
    with_origin = users.config.read_text()
    async with (
        PantlerServer(config=users.config) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        records: Any = record_pb2_grpc.RecordServiceStub(channel)
        put = record_pb2.PutRecordRequest(
            namespace="behind", key="ada", operation="WRITE_OPERATION_UPSERT", fields={"age": 36}
        )
        with users.locked():
            await records.PutRecord(put)
            users.config.write_text(with_origin.split("namespaces:")[0])
            server.signal(signal.SIGHUP)
            line = await server.wait_for("writes wait for an origin that was taken away")
        told = (line["level"], line["namespace"], line["waiting"], line["dead"])
        assert told == ("warning", "behind", 1, 0)
        users.config.write_text(with_origin)
        server.signal(signal.SIGHUP)
        async with asyncio.timeout(10):
            while users.row("ada") is None:
                await asyncio.sleep(0.05)
