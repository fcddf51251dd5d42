"""A Cluster with a primary killed, and with a slot moved under the feet of calls."""

import asyncio
from typing import Any

import grpc.aio
from pantler.v1 import cache_pb2, cache_pb2_grpc
from pantler_server.core.config import Settings
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.cache import keys
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.model import Hit, Miss, NewEntry
from pantler_server.engines.cache.stats import CacheStats
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.store.open import open_store
from pantler_server.store.store import Store

from tests.failover.load import Load
from tests.servers.cluster import ClusterGroup
from tests.servers.pantler import PantlerServer


async def test_a_killed_primary_takes_down_its_slots_only_until_its_replica_is_promoted() -> None:
    async with ClusterGroup() as group:
        option = ",".join(group.addresses[:2])
        async with PantlerServer("--redis-cluster", option) as server, Load(server.address) as load:
            await load.until_stored(200, 10)
            cache: Any = cache_pb2_grpc.CacheServiceStub(grpc.aio.insecure_channel(server.address))
            wanted = [f"k{index}" for index in range(300)]
            entries = [cache_pb2.BatchSetEntry(key=key, value=b"v") for key in wanted]
            await cache.BatchSet(cache_pb2.BatchSetRequest(namespace="load", entries=entries))

            await group.primaries[1].kill()
            request = cache_pb2.BatchGetRequest(namespace="load", keys=wanted)
            outcomes = (await cache.BatchGet(request)).outcomes
            kinds = [outcome.WhichOneof("outcome") for outcome in outcomes]
            assert 50 < kinds.count("error") < 150  # a third of the slots
            assert kinds.count("hit") + kinds.count("error") == 300
            codes = {one.error.code for one in outcomes if one.HasField("error")}
            assert codes == {grpc.StatusCode.UNAVAILABLE.value[0]}

            await group.wait_for_promotion(group.replicas[1])
            async with asyncio.timeout(15):
                while "error" in kinds:
                    outcomes = (await cache.BatchGet(request)).outcomes
                    kinds = [outcome.WhichOneof("outcome") for outcome in outcomes]
            await load.until_stored(200, 10)
        assert set(load.codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
        assert not load.wrong_answers


async def test_calls_follow_a_slot_that_moves() -> None:
    async with ClusterGroup() as group:
        store = await _open(group)
        namespaces = NamespaceEngine(store, store, Settings())
        engine = CacheEngine(store, CacheStats(store), HotKeys(store))
        space = await namespaces.resolve("moving", _soon())
        partition, _ = keys.place(space, "k")
        target = next(one for one in group.primaries if one is not group.owner(partition.slot))

        await group.begin_move(partition.slot, target)
        assert isinstance(await engine.get(space, "k", _soon()), Miss)  # asked of the target
        # A script whose keys are in neither place is refused by both until the move ends.
        write = asyncio.create_task(engine.set(space, NewEntry("k", b"v"), _soon()))
        await asyncio.sleep(0.1)
        assert not write.done()

        await group.end_move(partition.slot, target)
        await write
        assert isinstance(await engine.get(space, "k", _soon()), Hit)
        assert await target.execute("EXISTS", keys.place(space, "k")[1]) == 1
        await store.stop()


async def _open(group: ClusterGroup) -> Store:
    config = RedisConfig.model_validate({"cluster": {"nodes": group.addresses[:2]}})
    store = open_store("cache", config, None)
    await store.start()
    return store


def _soon() -> float:
    return asyncio.get_running_loop().time() + 5.0
