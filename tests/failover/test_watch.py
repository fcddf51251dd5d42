"""Watches while Redis is cut off, paused, full or replaced: nothing is lost in silence."""

import asyncio
from time import monotonic
from typing import Any

import pytest
from pantler_server.core.errors import StoreError, StoreOutOfMemory
from pantler_server.engines.cache.watch.engine import SURE_S
from pantler_server.engines.cache.watch.model import Kind

from tests.engines.watching import Seen, deployed, opened, watching
from tests.failover.worker import FAILOVER_S, caller_of, until_served
from tests.servers.fault_proxy import FaultProxy
from tests.servers.sentinel import SERVICE, SentinelGroup
from tests.servers.valkey import ValkeyServer

FAST_S = 0.1


def names(seen: Seen) -> list[str]:
    return [change.name for change in seen.changes]


async def test_a_killed_connection_that_tells_of_writes_loses_nothing() -> None:
    async with (
        ValkeyServer() as redis,
        caller_of(url=redis.url) as (one, _),
        caller_of(url=redis.url) as (writer, _),
        watching(one) as seen,
    ):
        expected = []
        async with redis.client() as client:
            for number in range(20):
                clients: Any = await client.client_list()
                for each in clients:
                    if "t" in each["flags"]:
                        await client.client_kill_filter(_id=each["id"])
                await writer.delete(f"k{number}")
                expected.append(f"k{number}")
        await seen.until(lambda: len(seen.changes) == 20)
        assert names(seen) == expected
        assert not seen.gaps


@pytest.mark.parametrize("what", ["all", "the one that tells of writes"])
async def test_connections_that_stall_or_break_lose_nothing(what: str) -> None:
    async with (
        ValkeyServer() as redis,
        FaultProxy(redis.port, mark=b"TRACKING") as proxy,
        caller_of(url=f"redis://127.0.0.1:{proxy.port}/0") as (one, _),
        caller_of(url=redis.url) as (writer, _),
        watching(one, heartbeat_s=FAST_S) as seen,
    ):
        await writer.delete("first")
        await seen.until(lambda: seen.changes)
        if what == "all":
            proxy.cut()
        else:
            proxy.stall_marked()
        await writer.delete("k")
        await seen.until(lambda: len(seen.changes) == 2)
        if what == "all":
            proxy.stall()
            await writer.delete("stalled")
            await asyncio.sleep(0.3)
            proxy.cut()
            proxy.restore()
            await seen.until(lambda: len(seen.changes) == 3)
        assert not seen.gaps


async def test_a_paused_redis_stops_the_heartbeats_and_nothing_is_lost() -> None:
    async with (
        ValkeyServer() as redis,
        caller_of(url=redis.url) as (one, _),
        caller_of(url=redis.url) as (writer, _),
        watching(one, heartbeat_s=FAST_S) as seen,
    ):
        redis.pause()
        paused = monotonic()
        # A pause is longer than what a heartbeat vouches for.
        await asyncio.sleep(SURE_S + 0.2)
        before = len(seen.messages)
        await asyncio.sleep(0.4)
        assert len(seen.messages) == before
        redis.resume()
        assert monotonic() - paused < 5
        await until_served(writer)
        await writer.delete("k")
        await seen.until(lambda: seen.changes and len(seen.messages) > before + 2)
        assert names(seen) == ["k"]
        assert not seen.gaps


async def test_a_promoted_replica_is_a_gap() -> None:
    async with SentinelGroup() as group:
        config = {"nodes": group.addresses, "service": SERVICE}
        async with (
            caller_of(sentinel=config) as (one, store),
            watching(one, heartbeat_s=FAST_S) as seen,
        ):
            await one.delete("before")
            await seen.until(lambda: seen.changes)
            primary = await group.primary()
            assert await primary.execute("WAIT", 1, 5_000) == 1
            await primary.kill()
            await group.wait_for_new_primary(primary)
            store.topology.suspect()
            await until_served(one)
            async with asyncio.timeout(FAILOVER_S):
                await seen.until(lambda: seen.gaps)
            await one.delete("after")
            await seen.until(lambda: "after" in names(seen))
            assert set(seen.gaps) == {one.space.name}
            assert names(seen)[-1] == "after"


async def test_a_restarted_redis_is_a_gap_also_at_a_resume() -> None:
    async with ValkeyServer() as redis, caller_of(url=redis.url) as (one, _):
        async with watching(one) as seen:
            await one.delete("before")
            await seen.until(lambda: seen.changes)
            await redis.kill()
            with pytest.raises(StoreError):
                await one.delete("k")
            await redis.start()  # with nothing
            await seen.until(lambda: seen.gaps)
        token = seen.messages[0].token
        async with watching(one, resume=token) as again:
            assert again.gaps == [one.space.name]


async def test_a_watch_does_not_begin_while_redis_is_away() -> None:
    async with ValkeyServer() as redis, caller_of(url=redis.url) as (one, _):
        await redis.kill()
        loop = asyncio.get_running_loop()
        watch = one.engine.watching.watch([one.space], deployed, None, 1.0, loop.time() + 0.3)
        with pytest.raises(StoreError):
            await anext(watch)
        await redis.start()
        await until_served(one)
        await anext(opened(one))


async def test_a_full_redis_tells_what_it_still_does() -> None:
    async with (
        ValkeyServer("--maxmemory-policy", "noeviction") as redis,
        caller_of(namespace={"near_cache": True}, url=redis.url) as (one, _),
    ):
        await one.set("k", tags=("t",))
        await redis.execute("CONFIG", "SET", "maxmemory", 1)
        async with watching(one) as seen:
            with pytest.raises(StoreOutOfMemory):
                await one.set("k", b"new")
            await one.invalidate_tags("t")
            await one.delete("k")
            assert (await one.invalidate_pattern("x*")).done
            await seen.until(lambda: len(seen.changes) == 3)
            assert [change.kind for change in seen.changes] == [Kind.TAG, Kind.KEY, Kind.PATTERN]
            assert not seen.gaps


async def test_hiding_everything_after_a_failover_is_a_gap() -> None:
    async with (
        ValkeyServer() as redis,
        caller_of(namespace={"on_failover": "hide_all"}, url=redis.url) as (one, _),
    ):
        await one.set("k")
        async with watching(one) as seen:
            await redis.kill()
            await redis.start()
            await until_served(one)
            await seen.until(lambda: seen.gaps)
