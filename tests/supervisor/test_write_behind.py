"""Writes that wait in the embedded Valkey, and the service killed over them."""

import asyncio
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import grpc.aio
import pytest
from google.protobuf import json_format
from pantler.v1 import record_pb2, record_pb2_grpc
from redis.asyncio import Redis

from tests.servers.pantler import PantlerServer

COUNT = 50


def rows(folder: Path) -> dict[str, int]:
    """What the table has: ages by key."""
    with closing(sqlite3.connect(folder / "users.db", timeout=10)) as database:
        return dict(database.execute("SELECT id, age FROM users").fetchall())


@pytest.fixture(autouse=True)
def table(tmp_path: Path) -> None:
    """An empty table."""
    with closing(sqlite3.connect(tmp_path / "users.db")) as database:
        database.execute("CREATE TABLE users (id TEXT PRIMARY KEY, age INTEGER)")


def config(folder: Path, interval: str) -> Path:
    """Of a namespace `later` over the table of users."""
    path = folder / f"later-{interval}.yaml"
    path.write_text(
        f"redis: {{embedded: {{directory: {folder}/valkey}}}}\n"
        "namespaces:\n"
        "  later:\n"
        f"    origin: {{sql: {{url: 'sqlite:///{folder}/users.db', table: users}}}}\n"
        "    writes: behind\n"
        f"    write_behind: {{interval: {interval}}}\n"
    )
    return path


async def put(server: PantlerServer, key: str, age: int) -> record_pb2.PutRecordResponse:
    async with grpc.aio.insecure_channel(server.address) as channel:
        request = record_pb2.PutRecordRequest(
            namespace="later", key=key, operation=record_pb2.WRITE_OPERATION_UPSERT
        )
        json_format.ParseDict({"age": age}, request.fields)
        answer: record_pb2.PutRecordResponse = await record_pb2_grpc.RecordServiceStub(
            channel
        ).PutRecord(request, timeout=10)
        return answer


async def test_the_embedded_server_writes_each_acknowledged_write_to_disk(tmp_path: Path) -> None:
    async with PantlerServer(config=config(tmp_path, "1h")) as server:
        path = (await server.wait_for("serving"))["redis"]
        async with Redis(unix_socket_path=path, protocol=3) as redis:
            assert await redis.config_get("appendfsync") == {"appendfsync": "always"}


async def test_what_was_acknowledged_gets_to_the_table_though_all_is_killed(tmp_path: Path) -> None:
    server = PantlerServer(config=config(tmp_path, "1h"))
    await server.start()
    answers = await asyncio.gather(*(put(server, f"k{age}", age) for age in range(COUNT)))
    assert {one.durability for one in answers} == {record_pb2.DURABILITY_QUEUED}
    processes = [*server.process.children(recursive=True), server.process]
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
    await server.wait_for_exit()
    async with PantlerServer(config=config(tmp_path, "20ms")) as again:
        assert again.started  # nobody calls it
        async with asyncio.timeout(20):
            while len(rows(tmp_path)) < COUNT:
                await asyncio.sleep(0.05)
    assert rows(tmp_path) == {f"k{age}": age for age in range(COUNT)}


async def test_a_service_that_stops_drains_first(tmp_path: Path) -> None:
    async with PantlerServer(config=config(tmp_path, "1h")) as server:
        await put(server, "ann", 7)
        assert rows(tmp_path) == {}
        await server.stop()
        assert rows(tmp_path) == {"ann": 7}
