"""Faults at random, for minutes: what holds once must hold again and again."""

import asyncio
import random

import grpc
import pytest

from tests.failover.load import Load
from tests.servers.cluster import ClusterGroup
from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer
from tests.servers.sentinel import SERVICE, SentinelGroup
from tests.servers.valkey import ValkeyServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ALLOWED = {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
SEED = 20_261_124
MEMORY_GROWTH_BYTES = 40 << 20  # between a warm worker and the same after minutes of errors


def check(load: Load) -> None:
    assert set(load.codes) <= ALLOWED
    assert load.codes[grpc.StatusCode.UNAVAILABLE] > 0  # the faults were felt
    assert not load.wrong_answers


async def test_connections_cut_stalled_and_silenced_for_a_minute() -> None:
    chance = random.Random(SEED)
    async with (
        ValkeyServer() as redis,
        FaultProxy(redis.port) as proxy,
        PantlerServer("--redis-url", f"redis://127.0.0.1:{proxy.port}") as server,
        Load(server.address, callers=16) as load,
    ):
        await load.until_stored(1000, 20)
        [worker] = server.workers()
        warm_bytes = worker.memory_info().rss
        until = asyncio.get_running_loop().time() + 60
        while asyncio.get_running_loop().time() < until:
            chance.choice([proxy.cut, proxy.stall, proxy.hold_replies])()
            await asyncio.sleep(chance.uniform(0.0, 1.5))
            proxy.restore()
            await load.until_stored(100, 10)
        assert worker.memory_info().rss - warm_bytes < MEMORY_GROWTH_BYTES
    check(load)


async def test_one_failover_after_another() -> None:
    async with SentinelGroup() as group:
        option = f"{','.join(group.addresses)}/{SERVICE}"
        async with (
            PantlerServer("--redis-sentinel", option, "--workers", "2") as server,
            Load(server.address, callers=8) as load,
        ):
            for _ in range(3):
                await load.until_stored(200, 20)
                old = await group.primary()
                await old.kill()
                await group.wait_for_new_primary(old)
                await load.until_stored(200, 20)
                await group.restart_dead()
    check(load)


async def test_each_primary_of_a_cluster_is_killed_in_turn() -> None:
    async with ClusterGroup() as group:
        option = ",".join(group.addresses)
        async with (
            PantlerServer("--redis-cluster", option, "--workers", "2") as server,
            Load(server.address, callers=8) as load,
        ):
            for primary, replica in zip(group.primaries[:2], group.replicas[:2], strict=True):
                await load.until_stored(200, 20)
                await primary.kill()
                await group.wait_for_promotion(replica)
                await load.until_stored(200, 20)
                await primary.start()
                await asyncio.sleep(3)  # until the others take it for alive: they vote on the next
    check(load)


async def test_valkey_and_workers_are_killed_at_random() -> None:
    chance = random.Random(SEED)
    async with (
        PantlerServer("--workers", "2") as server,
        Load(server.address, callers=8) as load,
    ):
        for _ in range(10):
            await load.until_stored(200, 30)
            chance.choice([server.valkey(), *server.workers()]).kill()
        await load.until_stored(200, 30)
    check(load)
