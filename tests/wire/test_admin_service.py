"""AdminService, health, reflection and the side port, through real connections."""

import asyncio
from typing import Any

import aiohttp
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from pantler.v1 import admin_pb2, admin_pb2_grpc, cache_pb2, cache_pb2_grpc

from tests.servers.pantler import PantlerServer
from tests.wire.test_cache_service import violations


@pytest.fixture
def admin(channel: grpc.aio.Channel) -> Any:
    return admin_pb2_grpc.AdminServiceStub(channel)


async def test_health_says_what_the_worker_stands_on(admin: Any) -> None:
    health = await admin.GetHealth(admin_pb2.GetHealthRequest())
    assert health.ready
    assert health.server_version == "0.1.0"
    [store] = health.stores
    assert (store.role, store.topology, store.available) == ("cache", "embedded", True)
    assert store.primaries[0].endswith("valkey.sock")


async def test_stats_count_hits_and_misses(channel: grpc.aio.Channel, admin: Any) -> None:
    cache: Any = cache_pb2_grpc.CacheServiceStub(channel)
    await cache.Set(cache_pb2.SetRequest(namespace="counted", key="k"))
    for key in ("k", "k", "nothing"):
        await cache.Get(cache_pb2.GetRequest(namespace="counted", key=key))
    expected = admin_pb2.CacheStats(hits=2, misses_unknown=1, sets=1)
    async with asyncio.timeout(5):
        while True:
            stats = await admin.GetStats(admin_pb2.GetStatsRequest(namespace="counted"))
            assert stats.worker == expected
            if stats.deployment == expected:
                break
            await asyncio.sleep(0.1)


async def test_namespaces_are_listed(channel: grpc.aio.Channel, admin: Any) -> None:
    cache: Any = cache_pb2_grpc.CacheServiceStub(channel)
    await cache.Set(cache_pb2.SetRequest(namespace="listed", key="k"))
    answer = await admin.ListNamespaces(admin_pb2.ListNamespacesRequest())
    [listed] = [one for one in answer.namespaces if one.name == "listed"]
    assert not listed.configured
    assert listed.partitions == 1
    assert listed.config.ttl.seconds == 3600
    assert listed.config.max_value_bytes == 4 << 20


async def test_the_standard_health_service_answers(channel: grpc.aio.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    for service in ("", "pantler.v1.CacheService", "pantler.v1.AdminService"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_lists_the_services(channel: grpc.aio.Channel) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
    request = reflection_pb2.ServerReflectionRequest(list_services="*")
    async for answer in stub.ServerReflectionInfo(iter([request])):
        names = {service.name for service in answer.list_services_response.service}
        break
    assert {"pantler.v1.CacheService", "pantler.v1.AdminService", "grpc.health.v1.Health"} <= names


async def test_the_side_port_says_live_ready_and_metrics(
    server: PantlerServer, channel: grpc.aio.Channel
) -> None:
    cache: Any = cache_pb2_grpc.CacheServiceStub(channel)
    await cache.Set(cache_pb2.SetRequest(namespace="measured", key="k"))
    async with aiohttp.ClientSession(f"http://{server.http_address}") as http:
        assert await (await http.get("/healthz")).json() == {"live": True}
        ready = await (await http.get("/readyz")).json()
        assert ready["ready"]
        assert ready["stores"]["cache"]["available"]
        async with asyncio.timeout(5):  # counts are handed on once a second
            while True:
                text = await (await http.get("/metrics")).text()
                if 'pantler_cache_writes_total{namespace="measured",operation="set"} 1.0' in text:
                    break
                await asyncio.sleep(0.1)
    assert 'pantler_rpc_seconds_count{code="OK",method="pantler.v1.CacheService/Set"}' in text
    assert 'pantler_redis_available{role="cache"} 1.0' in text


async def test_the_keys_that_were_read_most_are_listed(hot_server: PantlerServer) -> None:
    async with grpc.aio.insecure_channel(hot_server.address) as opened:
        stub: Any = admin_pb2_grpc.AdminServiceStub(opened)
        found = await stub.ListHotKeys(admin_pb2.ListHotKeysRequest(namespace="busy"))
        assert [(one.key, one.hot) for one in found.keys] == [
            ("[hot]", True),
            ("warm", False),
            ("rare", False),
        ]
        hottest = found.keys[0].reads_per_second
        assert 200 / 300 <= hottest <= 200 / 60
        assert hottest / found.keys[1].reads_per_second == pytest.approx(10)
        first = await stub.ListHotKeys(admin_pb2.ListHotKeysRequest(namespace="busy", limit=1))
        assert [one.key for one in first.keys] == ["[hot]"]
        most = admin_pb2.ListHotKeysRequest(namespace="unread", limit=1000)
        assert not (await stub.ListHotKeys(most)).keys


async def test_a_list_of_hot_keys_is_not_longer_than_1000(admin: Any) -> None:
    request = admin_pb2.ListHotKeysRequest(namespace="n", limit=1001)
    assert await violations(admin.ListHotKeys(request)) == {"limit": "must be 1 to 1000"}
    unnamed = admin_pb2.ListHotKeysRequest()
    assert (await violations(admin.ListHotKeys(unnamed))).keys() == {"namespace"}
