"""Purges that were acknowledged, and the service killed over them."""

import asyncio
import json
import os
import random
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc.aio
import psutil
import pytest
from pantler.v1 import cdn_pb2, cdn_pb2_grpc, invalidation_pb2, invalidation_pb2_grpc

from tests.servers.fastly import FastlyServer
from tests.servers.pantler import PantlerServer

PATIENCE_S = 30.0
COUNT = 40


def config(folder: Path, fastly: FastlyServer) -> Path:
    """A namespace `shop` behind that CDN, on an embedded Valkey that keeps its data."""
    path = folder / "pantler.json"
    document = {
        "redis": {"embedded": {"directory": str(folder / "valkey")}},
        "cdn_targets": {"edge": fastly.target},
        "namespaces": {"shop": {"cdn": {"targets": ["edge"]}}},
    }
    path.write_text(json.dumps(document))
    return path


class Calls:
    """To one server."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._invalidation: Any = invalidation_pb2_grpc.InvalidationServiceStub(channel)
        self._cdn: Any = cdn_pb2_grpc.CdnServiceStub(channel)

    async def invalidate(self, tag: str) -> str:
        """The id of the purge."""
        request = invalidation_pb2.InvalidateTagsRequest(namespace="shop", tags=[tag])
        purge_id: str = (await self._invalidation.InvalidateTags(request, timeout=10)).purge_id
        assert purge_id
        return purge_id

    async def receipt(self, purge_id: str) -> cdn_pb2.PurgeReceipt:
        request = cdn_pb2.GetPurgeRequest(purge_id=purge_id)
        call = self._cdn.GetPurge(request, timeout=10, wait_for_ready=True)  # a worker may be dead
        [receipt] = (await call).receipts
        found: cdn_pb2.PurgeReceipt = receipt
        return found

    async def until_done(self, purge_id: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while (await self.receipt(purge_id)).state == cdn_pb2.PURGE_STATE_PENDING:
                await asyncio.sleep(0.05)
        assert (await self.receipt(purge_id)).state == cdn_pb2.PURGE_STATE_DONE


async def test_what_was_acknowledged_is_purged_though_all_is_killed(tmp_path: Path) -> None:
    async with FastlyServer() as fastly:
        fastly.goes_on.clear()
        server = PantlerServer("--workers", "2", config=config(tmp_path, fastly))
        await server.start()
        async with grpc.aio.insecure_channel(server.address) as channel:
            calls = Calls(channel)
            ids = [await calls.invalidate("first")]
            await fastly.entered.wait()  # one is under way
            ids += await asyncio.gather(*(calls.invalidate(f"t{n}") for n in range(COUNT)))
        for process in [*server.process.children(recursive=True), server.process]:
            os.kill(process.pid, signal.SIGKILL)
        await server.wait_for_exit()
        fastly.goes_on.set()
        async with (
            PantlerServer(config=config(tmp_path, fastly)) as again,
            grpc.aio.insecure_channel(again.address) as channel,
        ):
            calls = Calls(channel)
            for purge_id in ids:
                await calls.until_done(purge_id)
        assert {*fastly.purged_tags} == {"first", *(f"t{n}" for n in range(COUNT))}


async def _one_of_two(server: PantlerServer, killed: set[int]) -> psutil.Process:
    """A worker, once there are two that were not killed."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(psutil.Error):  # of one that has just died
                workers = [one for one in server.workers() if one.pid not in killed]
                if len(workers) == 2:
                    return random.choice(workers)
            await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_workers_may_be_killed_at_any_moment(tmp_path: Path) -> None:
    async with FastlyServer() as fastly:
        path = config(tmp_path, fastly)
        async with PantlerServer("--workers", "2", config=path) as server:
            acknowledged: dict[str, str] = {}
            killed: set[int] = set()

            async def invalidate(tag: str) -> None:
                """Until it is acknowledged: each worker may die meanwhile."""
                while True:
                    try:
                        async with grpc.aio.insecure_channel(server.address) as channel:
                            acknowledged[tag] = await Calls(channel).invalidate(tag)
                            return
                    except grpc.aio.AioRpcError:
                        await asyncio.sleep(0.05)

            for round_ in range(4):
                victim = await _one_of_two(server, killed)
                killed.add(victim.pid)
                fastly.fail(503, times=2)
                tags = [f"t{round_}.{number}" for number in range(50)]
                invalidating = asyncio.gather(*map(invalidate, tags))
                await asyncio.sleep(0.2)
                victim.kill()
                await invalidating
            async with grpc.aio.insecure_channel(server.address) as channel:
                calls = Calls(channel)
                for purge_id in acknowledged.values():
                    await calls.until_done(purge_id)
        assert len(acknowledged) == 200
        assert {*fastly.purged_tags} == {*acknowledged}


async def test_a_service_that_stops_ends_the_request_that_is_under_way(tmp_path: Path) -> None:
    async with FastlyServer() as fastly:
        async with PantlerServer(config=config(tmp_path, fastly)) as server:
            async with grpc.aio.insecure_channel(server.address) as channel:
                fastly.goes_on.clear()
                await Calls(channel).invalidate("t")
                await fastly.entered.wait()
            stopping = asyncio.create_task(server.stop())
            await asyncio.sleep(0.3)
            fastly.goes_on.set()
            await stopping
        assert fastly.purged_tags == ["t"]


async def test_a_reload_that_mends_a_token_is_in_force_at_once(tmp_path: Path) -> None:
    async with FastlyServer() as fastly:
        path = config(tmp_path, fastly)
        async with (
            PantlerServer("--workers", "2", config=path) as server,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            calls = Calls(channel)
            fastly.token = "another"
            purge_id = await calls.invalidate("early")
            async with asyncio.timeout(PATIENCE_S):
                while (await calls.receipt(purge_id)).state == cdn_pb2.PURGE_STATE_PENDING:
                    await asyncio.sleep(0.05)
            failed = await calls.receipt(purge_id)
            assert failed.state == cdn_pb2.PURGE_STATE_FAILED
            assert failed.last_error.startswith("401")
            line = await server.wait_for("purges failed")
            assert line["purges"] == [purge_id]
            before = len(server.events)
            path.write_text(path.read_text().replace("token-of-the-stand-in", "another"))
            await server.wait_for("configuration reloaded", after=before)
            async with asyncio.timeout(PATIENCE_S):
                while "late" not in fastly.purged_tags:
                    await calls.invalidate("late")
                    await asyncio.sleep(0.2)
        assert "early" not in fastly.purged_tags
