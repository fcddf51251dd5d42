"""The first level while Redis can't tell of changes: no answer is older than the bound."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import grpc.aio
import pytest
from pantler.v1 import cache_pb2, cache_pb2_grpc, invalidation_pb2, invalidation_pb2_grpc
from pantler_server.core.errors import StoreError, StoreOutOfMemory
from pantler_server.engines.cache.first_level import Level
from pantler_server.engines.cache.keys import place
from pantler_server.engines.cache.model import Hit

from tests.engines.caller import Caller, value
from tests.failover.worker import caller_of, until_served
from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer
from tests.servers.sentinel import SERVICE, SentinelGroup
from tests.servers.valkey import ValkeyServer

BOUND_S = 0.5
NEAR: dict[str, object] = {"l1": {"max_staleness": f"{round(BOUND_S * 1000)}ms", "audit_ratio": 0}}


def level_of(caller: Caller) -> Level:
    level = caller.engine._first_level.of(caller.space)
    assert level is not None
    return level


async def keep(caller: Caller, key: str = "k") -> None:
    """Reads until the first level answers."""
    stats = caller.engine._stats.of(caller.space.name)
    answered = stats.l1_hits
    async with asyncio.timeout(10):
        while stats.l1_hits == answered:
            await caller.get(key)
            await asyncio.sleep(0.001)


async def old_answers(caller: Caller, for_s: float) -> list[float]:
    """When (`monotonic`) reads began that were answered with the old value."""
    began: list[float] = []
    end = monotonic() + for_s
    while (now := monotonic()) < end:
        try:
            async with asyncio.timeout(0.05):
                if value(await caller.get("k")) == b"old":
                    began.append(now)
        except (StoreError, TimeoutError):
            pass
        await asyncio.sleep(0.001)
    return began


@asynccontextmanager
async def behind_a_proxy() -> AsyncIterator[tuple[FaultProxy, Caller, Caller]]:
    """A worker whose connections to Redis pass a proxy, and one whose don't."""
    async with (
        ValkeyServer() as redis,
        FaultProxy(redis.port, mark=b"TRACKING") as proxy,
        caller_of(namespace=NEAR, url=f"redis://127.0.0.1:{proxy.port}/0") as (near, _),
        caller_of(namespace=NEAR, url=redis.url) as (writer, _),
    ):
        await writer.set("k", b"old", tags=("t",))
        await keep(near)
        yield proxy, near, writer


def refuse_and_cut(proxy: FaultProxy) -> None:
    proxy.refuse()
    proxy.cut()


FAULTS: dict[str, Callable[[FaultProxy], None]] = {
    "the connection that tells of writes is stalled": lambda proxy: proxy.stall_marked(),
    "it is half open": lambda proxy: proxy.stall_marked(replies_only=True),
    "all are stalled": lambda proxy: proxy.stall(),
    "all are half open": lambda proxy: proxy.hold_replies(),
    "all are cut": lambda proxy: proxy.cut(),
    "all are cut, and new ones refused": refuse_and_cut,
}


@pytest.mark.parametrize("change", ["value", "tag"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_no_answer_is_older_than_the_bound(
    fault: Callable[[FaultProxy], None], change: str
) -> None:
    async with behind_a_proxy() as (proxy, near, writer):
        fault(proxy)
        if change == "value":
            await writer.set("k", b"new")
        else:
            await writer.invalidate_tags("t")
        changed = monotonic()
        old = await old_answers(near, 2 * BOUND_S)
        assert not [began for began in old if began > changed + BOUND_S]
        proxy.restore()
        await keep_again(near, change)


async def keep_again(near: Caller, change: str) -> None:
    """The first level answers again, with what is there now."""
    async with asyncio.timeout(10):
        while True:
            try:
                if change == "tag":
                    await near.set("k", b"new")
                await keep(near)
                break
            except StoreError:
                await asyncio.sleep(0.02)
    assert value(await near.get("k")) == b"new"


async def test_a_stalled_connection_is_no_reason_to_be_slow() -> None:
    """It answers up to the bound, and Redis from then on."""
    async with behind_a_proxy() as (proxy, near, _):
        proxy.stall_marked()
        stats = near.engine._stats.of(near.space.name)
        await asyncio.sleep(BOUND_S + 0.1)
        answered = stats.l1_hits
        assert value(await near.get("k")) == b"old"
        assert stats.l1_hits == answered


async def test_what_a_killed_connection_did_not_tell_of_is_read_again() -> None:
    async with (
        ValkeyServer() as redis,
        caller_of(namespace=NEAR, url=redis.url) as (near, _),
        caller_of(namespace=NEAR, url=redis.url) as (writer, _),
    ):
        await writer.set("k", b"old")
        await keep(near)
        async with redis.client() as client:
            for _ in range(20):
                clients: Any = await client.client_list()
                ids = [one["id"] for one in clients if "t" in one["flags"]]
                pipe = client.pipeline()
                for one in ids:
                    pipe.execute_command("CLIENT", "KILL", "ID", one)
                pipe.set("unrelated", 1)
                await pipe.execute()
                await writer.set("k", b"new")
                await asyncio.sleep(0.01)
                found = await near.get("k")
                assert value(found) == b"new"
                await writer.set("k", b"old")
                await keep(near)


async def test_a_flush_empties_it() -> None:
    async with (
        ValkeyServer() as redis,
        caller_of(namespace=NEAR, url=redis.url) as (near, _),
    ):
        await near.set("k", b"old")
        await keep(near)
        await redis.execute("FLUSHALL")
        async with asyncio.timeout(BOUND_S):
            while value(await near.get("k")) is not None:
                await asyncio.sleep(0.001)


async def test_a_restarted_redis_is_not_answered_for() -> None:
    async with (
        ValkeyServer() as redis,
        caller_of(namespace=NEAR, url=redis.url) as (near, _),
    ):
        await near.set("k", b"old")
        await keep(near)
        await redis.kill()
        killed = monotonic()
        await redis.start()  # with nothing
        old = await old_answers(near, 2 * BOUND_S)
        assert not [began for began in old if began > killed + BOUND_S]
        await until_served(near)
        assert value(await near.get("k")) is None


async def test_a_promoted_replica_is_followed_instead() -> None:
    async with SentinelGroup() as group:
        config = {"nodes": group.addresses, "service": SERVICE}
        async with (
            caller_of(namespace=NEAR, sentinel=config) as (near, _),
            caller_of(sentinel=config) as (writer, store),
        ):
            await writer.set("k", b"old")
            await keep(near)
            primary = await group.primary()
            assert await primary.execute("WAIT", 1, 5_000) == 1
            await primary.kill()
            reading = asyncio.create_task(old_answers(near, BOUND_S))
            killed = monotonic()
            await reading
            await group.wait_for_new_primary(primary)
            store.topology.suspect()
            await until_served(writer)
            await writer.set("k", b"new")
            changed = monotonic()
            old = await old_answers(near, 2 * BOUND_S)
            assert not [began for began in old if began > changed + BOUND_S]
            assert changed > killed
            await keep(near)
            assert value(await near.get("k")) == b"new"
            await writer.set("k", b"newer")
            async with asyncio.timeout(BOUND_S):
                while value(await near.get("k")) != b"newer":
                    await asyncio.sleep(0.001)


async def test_a_full_redis_is_answered_for_and_tells_of_what_it_still_does() -> None:
    async with (
        ValkeyServer("--maxmemory-policy", "noeviction") as redis,
        caller_of(namespace=NEAR, url=redis.url) as (near, _),
        caller_of(namespace=NEAR, url=redis.url) as (other, _),
    ):
        await other.set("k", b"old", tags=("t",))
        await keep(near)
        await redis.execute("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreOutOfMemory):
            await other.set("k", b"new")
        await keep(near)
        await other.invalidate_tags("t")
        async with asyncio.timeout(BOUND_S):
            while isinstance(await near.get("k"), Hit):
                await asyncio.sleep(0.001)


async def test_what_is_evicted_is_forgotten() -> None:
    limits = ("--maxmemory", "6mb", "--maxmemory-policy", "volatile-lru")
    async with (
        ValkeyServer(*limits) as redis,
        caller_of(namespace=NEAR, url=redis.url) as (near, _),
        caller_of(namespace=NEAR, url=redis.url) as (other, _),
        redis.client() as client,
    ):
        await other.set("k", b"old")
        await keep(near)
        fillers = count()
        while await client.exists(place(near.space, "k")[1]):
            for _ in range(50):
                await other.set(f"filler{next(fillers)}", bytes(10_000))
        async with asyncio.timeout(BOUND_S):
            while isinstance(await near.get("k"), Hit):
                await asyncio.sleep(0.001)


@pytest.mark.slow
async def test_two_servers_of_two_workers_agree_within_the_bound(tmp_path: Path) -> None:
    async with ValkeyServer() as redis:
        config = tmp_path / "pantler.yaml"
        config.write_text(
            f"redis: {{url: {redis.url}}}\nworkers: 2\n"
            f"namespaces: {{near: {{l1: {{max_staleness: {BOUND_S * 1000:.0f}ms, "
            "audit_ratio: 1}}}\n"
        )
        async with PantlerServer(config=config) as one, PantlerServer(config=config) as other:
            async with asyncio.timeout(60):
                await agree(one, other)
                await until_audited(one)


async def agree(one: PantlerServer, other: PantlerServer) -> None:
    # Channels of their own, so that they reach all workers.
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [
        grpc.aio.insecure_channel(server.address, options)
        for server in (one, other)
        for _ in range(6)
    ]
    stubs: list[Any] = [cache_pb2_grpc.CacheServiceStub(channel) for channel in channels]
    invalidation: Any = invalidation_pb2_grpc.InvalidationServiceStub(channels[0])
    get = cache_pb2.GetRequest(namespace="near", key="k")

    async def values() -> set[bytes | None]:
        found = await asyncio.gather(*(stub.Get(get) for stub in stubs))
        return {one.hit.entry.value if one.HasField("hit") else None for one in found}

    for number in range(20):
        written = cache_pb2.SetRequest(namespace="near", key="k", value=b"%d" % number, tags=["t"])
        await stubs[number % len(stubs)].Set(written)
        changed = monotonic()
        seen = await values()
        while seen != {b"%d" % number}:
            assert monotonic() < changed + BOUND_S
            seen = await values()
        for _ in range(3):
            assert await values() == {b"%d" % number}
        if number % 5 == 4:
            request = invalidation_pb2.InvalidateTagsRequest(namespace="near", tags=["t"])
            await invalidation.InvalidateTags(request)
            changed = monotonic()
            while await values() != {None}:
                assert monotonic() < changed + BOUND_S
    for channel in channels:
        await channel.close()


async def until_audited(server: PantlerServer) -> None:
    """What the auditor counts is on the side port."""
    async with aiohttp.ClientSession(f"http://{server.http_address}") as http:
        while True:
            text = await (await http.get("/metrics")).text()
            if 'pantler_l1_audits_total{namespace="near",outcome="same"}' in text:
                return
            await asyncio.sleep(0.1)
