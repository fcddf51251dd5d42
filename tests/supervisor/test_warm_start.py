"""Warming at the start of a real server: who does it, and when the server is ready."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import pantler
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pantler.v1 import admin_pb2, admin_pb2_grpc

from tests.servers.pantler import PantlerServer
from tests.servers.people import make_people

SETTINGS = """
namespaces:
  people:
    origin: {{sql: {{url: "sqlite:///{file}", table: people}}}}
    warm: {warm}
"""


def configured(folder: Path, rows: int, **warm: Any) -> Path:
    file = folder / "people.db"
    make_people(file, rows)
    config = folder / "pantler.yaml"
    warm = {"source": "all", "at_start": True, "ready_after": True, **warm}
    config.write_text(SETTINGS.format(file=file, warm=json.dumps(warm)))
    return config


async def readiness(server: PantlerServer) -> tuple[int, Any]:
    """What /readyz says: its code, and which namespaces it waits for."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{server.http_address}/readyz") as answer,
    ):
        return answer.status, (await answer.json())["warming"]


async def test_a_server_is_ready_when_it_is_warm(tmp_path: Path) -> None:
    config = configured(tmp_path, 100, keys_per_second=50)
    async with PantlerServer(config=config) as server:
        assert await readiness(server) == (503, ["people"])
        async with grpc.aio.insecure_channel(server.address) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            status = await health.Check(health_pb2.HealthCheckRequest())
            assert status.status == health_pb2.HealthCheckResponse.NOT_SERVING
            seen = await admin_pb2_grpc.AdminServiceStub(channel).GetHealth(
                admin_pb2.GetHealthRequest()
            )
            assert (seen.ready, list(seen.warming)) == (False, ["people"])
        async with pantler.AsyncClient(server.address) as client:  # it answers all the same
            assert (await client.get_record("people", "p099")) is not None
        ended = await server.wait_for("warming ended")
        assert (ended["seen"], ended["failed"], ended["done"]) == (100, 0, True)
        await server.wait_for("ready")
        assert await readiness(server) == (200, [])


async def test_another_worker_goes_on_when_the_one_that_warms_is_killed(tmp_path: Path) -> None:
    config = configured(tmp_path, 400, keys_per_second=50)
    async with PantlerServer("--workers", "2", config=config) as server:
        first = await server.wait_for("warming begins")
        assert first["seen"] == 0
        await asyncio.sleep(2)  # some of it is noted by then
        by_number = sorted(server.workers(), key=lambda one: one.pid)
        seen = len(server.events)
        by_number[first["worker"]].kill()
        second = await server.wait_for("warming begins", timeout_s=15, after=seen)
        assert 0 < second["seen"] < 200
        ended = await server.wait_for("warming ended", timeout_s=20, after=seen)
        assert (ended["seen"], ended["done"]) == (400, True)


async def test_a_server_whose_table_is_missing_becomes_ready(tmp_path: Path) -> None:
    config = configured(tmp_path, 1)
    with sqlite3.connect(tmp_path / "people.db") as database:
        database.execute("DROP TABLE people")
    async with PantlerServer(config=config) as server:
        given_up = await server.wait_for("warming given up")
        assert "people" in given_up["error"]
        await server.wait_for("ready")
