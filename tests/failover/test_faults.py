"""Redis stopped, stalled, cut off and full, between Pantler and a real server."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import aiohttp
import grpc.aio
import pytest
from pantler.v1 import cache_pb2, cache_pb2_grpc
from pantler_server.store.request import pack

from tests.failover.load import Load
from tests.failover.worker import caller_of
from tests.servers.certificates import Certificates
from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer
from tests.servers.valkey import ValkeyServer
from tests.wire.test_cache_service import details

GET = cache_pb2.GetRequest(namespace="faults", key="k")
SET = cache_pb2.SetRequest(namespace="faults", key="k", value=b"v")


def stub(server: PantlerServer) -> Any:
    return cache_pb2_grpc.CacheServiceStub(grpc.aio.insecure_channel(server.address))


async def reason(call: Any, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> str:
    """The reason with which a call fails; UNAVAILABLE comes with RetryInfo."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    assert failed.value.code() is code
    found = details(failed.value)
    assert ("RetryInfo" in found) == (code is grpc.StatusCode.UNAVAILABLE)
    return str(found["ErrorInfo"].reason)


async def is_ready(server: PantlerServer) -> bool:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://{server.http_address}/readyz") as answer,
    ):
        return answer.status == 200


async def until_ready(server: PantlerServer, expected: bool) -> None:
    async with asyncio.timeout(10):
        while await is_ready(server) is not expected:
            await asyncio.sleep(0.02)


async def test_a_stopped_redis_is_unavailable_and_its_return_needs_no_restart() -> None:
    async with ValkeyServer() as redis, PantlerServer("--redis-url", redis.url) as server:
        cache = stub(server)
        await cache.Set(SET)
        await redis.kill()
        await until_ready(server, False)
        for call in (cache.Get(GET, timeout=1), cache.Set(SET, timeout=1)):
            began = time.monotonic()
            assert await reason(call) == "ERROR_REASON_STORE_UNAVAILABLE"
            assert time.monotonic() - began < 1
        await redis.start()
        await until_ready(server, True)
        await cache.Set(SET)
        assert (await cache.Get(GET)).HasField("hit")


async def test_pantler_starts_without_its_redis_and_takes_it_up_later() -> None:
    redis = ValkeyServer()
    async with PantlerServer("--redis-url", redis.url) as server:
        assert not await is_ready(server)
        assert await reason(stub(server).Get(GET, timeout=1)) == "ERROR_REASON_STORE_UNAVAILABLE"
        async with redis:
            await until_ready(server, True)
            await stub(server).Set(SET)


async def test_a_stalled_redis_is_said_within_the_callers_deadline() -> None:
    async with (
        ValkeyServer() as redis,
        FaultProxy(redis.port) as proxy,
        PantlerServer("--redis-url", f"redis://127.0.0.1:{proxy.port}") as server,
    ):
        cache = stub(server)
        await cache.Set(SET)
        proxy.stall()
        read, write = await asyncio.gather(
            reason(cache.Get(GET, timeout=0.3)), reason(cache.Set(SET, timeout=0.3))
        )
        assert read == "ERROR_REASON_STORE_UNAVAILABLE"
        assert write == "ERROR_REASON_OUTCOME_UNKNOWN"
        once = cache_pb2.SetRequest(namespace="faults", key="k", value=b"v", request_id="r1")
        touch = cache_pb2.TouchRequest(namespace="faults", key="k")
        for call in (cache.Set(once, timeout=0.3), cache.Touch(touch, timeout=0.3)):
            assert await reason(call) == "ERROR_REASON_OUTCOME_UNKNOWN"  # though it may be repeated
        await until_ready(server, False)
        proxy.restore()
        await until_ready(server, True)
        assert (await cache.Get(GET)).HasField("hit")


async def test_a_write_whose_answer_is_lost_is_never_called_a_success() -> None:
    async with (
        ValkeyServer() as redis,
        FaultProxy(redis.port) as proxy,
        PantlerServer("--redis-url", f"redis://127.0.0.1:{proxy.port}") as server,
    ):
        cache = stub(server)
        await cache.Set(SET)
        before = await cache.Get(GET)
        proxy.hold_replies()
        write = asyncio.create_task(_reason_of(cache.Set(SET, timeout=5)))
        async with asyncio.timeout(5):
            while await redis.execute("GET", "{faults:0}e:k") == b"":
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
        proxy.cut()
        assert await write == "ERROR_REASON_OUTCOME_UNKNOWN"
        proxy.restore()
        await until_ready(server, True)
        after = await cache.Get(GET)
        assert after.hit.entry.version != before.hit.entry.version  # it did reach Redis, once


async def _reason_of(call: Any) -> str:
    return await reason(call)


async def test_a_read_whose_connection_is_cut_is_repeated() -> None:
    async with (
        ValkeyServer() as redis,
        FaultProxy(redis.port) as proxy,
        PantlerServer("--redis-url", f"redis://127.0.0.1:{proxy.port}") as server,
    ):
        cache = stub(server)
        await cache.Set(SET)
        for _ in range(10):
            proxy.hold_replies()
            read = asyncio.ensure_future(cache.Get(GET, timeout=5))
            await asyncio.sleep(0.05)
            proxy.cut()
            proxy.restore()
            assert (await read).HasField("hit")


async def test_redis_killed_under_load_gives_no_wrong_answer() -> None:
    async with ValkeyServer() as redis, PantlerServer("--redis-url", redis.url) as server:
        async with Load(server.address) as load:
            for _ in range(3):
                await load.until_stored(200, 10)
                await redis.kill()
                await redis.start()
            await load.until_stored(200, 10)
        assert set(load.codes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
        assert not load.wrong_answers


async def test_a_full_redis_is_resource_exhausted_and_stores_nothing() -> None:
    limits = ("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    async with ValkeyServer(*limits) as redis, PantlerServer("--redis-url", redis.url) as server:
        cache = stub(server)
        await cache.Set(cache_pb2.SetRequest(namespace="faults", key="first", value=b"v"))
        codes = []
        for index in range(40):
            value = b"x" * 100_000
            request = cache_pb2.SetRequest(namespace="faults", key=f"k{index}", value=value)
            try:
                await cache.Set(request)
            except grpc.aio.AioRpcError as exc:
                codes.append(details(exc)["ErrorInfo"].reason)
        assert codes
        assert set(codes) == {"ERROR_REASON_STORE_OUT_OF_MEMORY"}
        found = await cache.Get(cache_pb2.GetRequest(namespace="faults", key="k39"))
        assert found.HasField("miss")


async def test_a_password_that_redis_refuses_is_unavailable_and_not_told_to_callers() -> None:
    async with (
        ValkeyServer("--requirepass", "right").client_options(password="right") as redis,
        PantlerServer("--redis-url", redis.url, env={"PANTLER_REDIS__PASSWORD": "wrong"}) as server,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub(server).Get(GET)
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "WRONGPASS" not in str(failed.value)
        assert "wrong" not in str(server.events)


async def test_an_acl_user_gets_in() -> None:
    user = ("--user", "pantler", "on", ">secret", "~*", "&*", "+@all", "--user", "default", "off")
    options = {"username": "pantler", "password": "secret"}
    env = {"PANTLER_REDIS__USERNAME": "pantler", "PANTLER_REDIS__PASSWORD": "secret"}
    async with (
        ValkeyServer(*user).client_options(**options) as redis,
        PantlerServer("--redis-url", redis.url, env=env) as server,
    ):
        await stub(server).Set(SET)


async def test_a_user_without_the_right_to_channels_still_has_leases() -> None:
    user = ("--user", "pantler", "on", ">secret", "~*", "+@all", "--user", "default", "off")
    options = {"username": "pantler", "password": "secret"}
    env = {"PANTLER_REDIS__USERNAME": "pantler", "PANTLER_REDIS__PASSWORD": "secret"}
    async with (
        ValkeyServer(*user).client_options(**options) as redis,
        PantlerServer("--redis-url", redis.url, env=env) as server,
    ):
        cache = stub(server)
        lease = cache_pb2.LeaseRequest(wait=timedelta(seconds=4))
        get = cache_pb2.GetRequest(namespace="faults", key="k", lease=lease)
        token = (await cache.Get(get)).miss.lease.token
        waiting = asyncio.ensure_future(cache.Get(get))
        await asyncio.sleep(0.1)
        fill = cache_pb2.SetRequest(namespace="faults", key="k", value=b"v", fill_token=token)
        assert (await cache.Set(fill)).outcome == cache_pb2.SET_OUTCOME_STORED
        async with asyncio.timeout(1):
            assert (await waiting).hit.entry.value == b"v"
        await server.wait_for("not allowed to subscribe")
        await asyncio.sleep(0.3)
        said = [one for one in server.events if one.get("event") == "not allowed to subscribe"]
        channels = [tuple(one["to"]) for one in said]
        assert len(channels) == len(set(channels)), "once for each, not over and over"
        assert not [one for one in server.events if one.get("level") == "error" or "text" in one]


@pytest.mark.component("redis-server")  # the embedded binary is built without TLS
@pytest.mark.component("openssl")
async def test_tls_with_a_client_certificate_gets_in() -> None:
    from tests.servers.redis_7_0 import redis_7_0

    with Certificates() as made:
        redis = redis_7_0("--tls-ca-cert-file", str(made.ca), certificate=made.server)
        redis.client_options(
            ssl=True,
            ssl_ca_certs=str(made.ca),
            ssl_certfile=str(made.client.cert),
            ssl_keyfile=str(made.client.key),
        )
        env = {
            "PANTLER_REDIS__TLS__CA_FILE": str(made.ca),
            "PANTLER_REDIS__TLS__CERT_FILE": str(made.client.cert),
            "PANTLER_REDIS__TLS__KEY_FILE": str(made.client.key),
        }
        url = f"rediss://{redis.address}"
        async with redis, PantlerServer("--redis-url", url, env=env) as server:
            await stub(server).Set(SET)
            assert (await stub(server).Get(GET)).HasField("hit")


async def test_a_second_server_can_hold_the_state() -> None:
    async with ValkeyServer() as cache, ValkeyServer() as state:
        env = {"PANTLER_STATE_REDIS__URL": state.url}
        async with PantlerServer("--redis-url", cache.url, env=env) as server:
            await stub(server).Set(SET)
            assert await state.execute("HGET", "{pantler}:namespaces", "faults") == b"1"
            assert await cache.execute("EXISTS", "{faults:0}e:k") == 1
            assert await cache.execute("EXISTS", "{pantler}:namespaces") == 0


async def test_a_connection_that_is_busy_is_not_taken_for_dead() -> None:
    """Its PING waits behind what came before for longer than the probe does."""
    async with (
        ValkeyServer("--enable-debug-command", "local") as redis,
        caller_of(url=redis.url) as (_, store),
    ):
        [node] = store.topology.primaries()
        link = node.pick()
        assert link is not None
        # Redis answers after each 16 KiB that it has read.
        slow = (pack("DEBUG", "SLEEP", "0.2"), pack("ECHO", bytes(1 << 15))) * 12
        await link.submit(slow, asyncio.get_running_loop().time() + 10)
        assert node.pick() is link
