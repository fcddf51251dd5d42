"""Reads that replicas may answer, where a namespace allows it."""

import asyncio

import pytest
from pantler_server.core.config import Settings
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.model import Hit, Miss, NewEntry
from pantler_server.engines.cache.stats import CacheStats
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.store.open import open_store

from tests.engines.caller import FILL_LOST, Caller, value
from tests.servers.cluster import ClusterGroup
from tests.servers.sentinel import SERVICE, SentinelGroup
from tests.servers.valkey import ValkeyServer, free_port


def _soon() -> float:
    return asyncio.get_running_loop().time() + 5.0


async def _gets(servers: list[ValkeyServer]) -> int:
    """How many GETs these servers have answered."""
    stats = [await server.execute("INFO", "commandstats") for server in servers]
    return sum(one.get("cmdstat_get", {}).get("calls", 0) for one in stats)


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
async def test_replicas_answer_reads_of_a_namespace_that_allows_it(
    kind: str, sentinel_group: SentinelGroup, cluster_group: ClusterGroup
) -> None:
    if kind == "sentinel":
        sentinel = {"nodes": sentinel_group.addresses, "service": SERVICE}
        config = RedisConfig.model_validate({"sentinel": sentinel})
        primary = await sentinel_group.primary()
        replicas = [one for one in sentinel_group.servers if one is not primary]
    else:
        config = RedisConfig.model_validate({"cluster": {"nodes": cluster_group.addresses[:2]}})
        replicas = cluster_group.replicas
    settings = Settings.model_validate({"namespaces": {"near": {"replica_reads": True}}})
    store = open_store("cache", config, None)
    await store.start()
    namespaces = NamespaceEngine(store, store, settings)
    engine = CacheEngine(store, CacheStats(store), HotKeys(store))
    near, far = [await namespaces.resolve(name, _soon()) for name in ("near", "far")]
    for space in (near, far):
        await engine.set(space, NewEntry("k", b"v"), _soon())

    before = await _gets(replicas)
    for _ in range(20):
        await engine.get(far, "k", _soon())
    assert await _gets(replicas) == before

    async with asyncio.timeout(10):
        while await _gets(replicas) == before:  # they are connected at the first such read
            await engine.get(near, "k", _soon())
            await asyncio.sleep(0.01)
    assert isinstance(await engine.get(near, "k", _soon()), Hit)
    await store.stop()


async def test_a_replica_that_is_behind_misleads_no_lease_and_no_fill() -> None:
    async with SentinelGroup() as group:
        sentinel = {"nodes": group.addresses, "service": SERVICE}
        store = open_store("cache", RedisConfig.model_validate({"sentinel": sentinel}), None)
        await store.start()
        settings = Settings.model_validate({"namespaces": {"near": {"replica_reads": True}}})
        space = await NamespaceEngine(store, store, settings).resolve("near", _soon())
        near = Caller(CacheEngine(store, CacheStats(store), HotKeys(store)), space)
        primary = await group.primary()
        [replica] = [one for one in group.servers if one is not primary]
        async with asyncio.timeout(10):
            before = await _gets([replica])
            while await _gets([replica]) == before:
                await near.get("nothing")
        await replica.execute("REPLICAOF", "127.0.0.1", free_port())  # it hears nothing any more

        await near.set("k", b"new")
        behind = await near.get("k")
        assert isinstance(behind, Miss)
        assert await near.fill("k", behind.fill_token) is FILL_LOST
        for wait_ms in (0, 4_000):
            async with asyncio.timeout(0.5):
                assert value(await near.ask("k", wait_ms=wait_ms)) == b"new"
        await store.stop()
