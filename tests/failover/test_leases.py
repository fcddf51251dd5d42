"""Leases and fills across another primary, a restart, and a Redis that is full.

Through the engine, since what is asked here is what Redis remembers."""

import asyncio

from pantler_server.core.errors import StoreUnavailable
from pantler_server.engines.cache import fill_token
from pantler_server.engines.cache.model import Condition, Miss, NewEntry

from tests.engines.caller import FILL_LOST, STORED, granted, on, value
from tests.failover.worker import caller_of, until_served
from tests.servers.sentinel import SERVICE, SentinelGroup
from tests.servers.valkey import ValkeyServer


async def test_a_failover_between_lease_and_fill_refuses_the_fill() -> None:
    async with SentinelGroup() as group:
        config = {"nodes": group.addresses, "service": SERVICE}
        async with caller_of(sentinel=config) as (one, store):
            lease = granted(await one.ask("leased", holder="me", ttl_ms=60_000))
            token = (await one.get("missed")).fill_token
            retried = fill_token.read((await one.get("retried")).fill_token)
            first = await one.set("retried", token=retried, request_id="r1")
            deleted_token = (await one.get("deleted")).fill_token
            primary = await group.primary()
            # All that was written is with the replica: what is refused is not refused for a loss.
            assert await primary.execute("WAIT", 1, 5_000) == 1
            await primary.kill()
            await group.wait_for_new_primary(primary)
            store.topology.suspect()
            await until_served(one)

            assert await one.fill("leased", lease) is FILL_LOST
            assert await one.fill("missed", token) is FILL_LOST
            assert await one.fill("deleted", deleted_token) is FILL_LOST
            assert await one.set("retried", token=retried, request_id="r1") == first
            # The lease itself came along: its holder gets it again, with a token that is good here.
            assert (await one.ask("leased", holder="another")).lease is None
            again = granted(await one.ask("leased", holder="me", ttl_ms=60_000))
            assert again != lease
            assert await one.fill("leased", again) is STORED


async def test_a_caller_that_waits_through_a_failover_learns_of_it_or_is_answered() -> None:
    async with SentinelGroup() as group:
        config = {"nodes": group.addresses, "service": SERVICE}
        async with caller_of(sentinel=config) as (one, store):
            await one.ask("k", ttl_ms=2_000)
            task = asyncio.create_task(one.ask("k", wait_ms=4_900))
            await asyncio.sleep(0.05)
            primary = await group.primary()
            await primary.kill()
            try:
                found = await task
            except StoreUnavailable:
                pass  # at once, so that the caller can decide
            else:
                assert isinstance(found, Miss)
            await group.wait_for_new_primary(primary)
            store.topology.suspect()
            await until_served(one)
            # The wake-up channel follows to the new primary.
            token = granted(await one.ask("later"))
            await asyncio.sleep(1)
            waiting = asyncio.create_task(one.ask("later", wait_ms=4_000))
            await asyncio.sleep(0.05)
            await one.fill("later", token)
            async with asyncio.timeout(0.2):
                assert value(await waiting) == b"fill"


async def test_a_restart_of_redis_between_read_and_fill_refuses_the_fill() -> None:
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    async with ValkeyServer(*durable) as redis, caller_of(url=redis.url) as (one, _):
        lease = granted(await one.ask("leased", ttl_ms=60_000))
        token = (await one.get("missed")).fill_token
        await redis.kill()
        await redis.start()
        await until_served(one)
        assert await one.fill("leased", lease) is FILL_LOST
        assert await one.fill("missed", token) is FILL_LOST
        assert await one.fill("missed", (await one.get("missed")).fill_token) is STORED


async def test_versions_do_not_repeat_over_a_lost_memory() -> None:
    async with ValkeyServer() as redis, caller_of(url=redis.url) as (one, _):
        before = {(await one.set("k")).version for _ in range(100)}
        await redis.kill()  # nothing is kept
        await redis.start()
        await until_served(one)
        assert (await one.set("k", condition=Condition.ABSENT)).outcome is STORED
        assert not before & {(await one.set("k")).version for _ in range(100)}


async def test_memory_pressure_loses_no_tombstone() -> None:
    limits = ("--maxmemory", "8mb", "--maxmemory-policy", "volatile-lfu")
    async with ValkeyServer(*limits) as redis, caller_of(url=redis.url) as (one, store):
        keys = [f"k{index}" for index in range(500)]
        tokens = {key: (await one.get(key)).fill_token for key in keys}
        lease = granted(await one.ask("leased", ttl_ms=600_000))
        for key in keys:
            await one.delete(key)
        for batch in range(12):
            fillers = [NewEntry(f"filler{batch}-{index}", b"x" * 1_000) for index in range(1_000)]
            deadline = asyncio.get_running_loop().time() + 10
            await one.engine.set_many(one.space, fillers, deadline)
        async with redis.client() as client:
            assert (await client.info("stats"))["evicted_keys"] > 4_000
        for key in keys:
            assert await one.fill(key, tokens[key]) is FILL_LOST
        assert await on(store, one, "tombstones", "k0", "ZCARD") == 501
        # A lease may be evicted; then its fill is refused, and the next caller gets one.
        await on(store, one, "lease", "leased", "DEL")
        assert await one.fill("leased", lease) is FILL_LOST
        assert await one.fill("leased", granted(await one.ask("leased"))) is STORED


async def test_a_full_redis_still_deletes_and_remembers() -> None:
    limits = ("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    async with ValkeyServer(*limits) as redis, caller_of(url=redis.url) as (one, _):
        token = (await one.get("k0")).fill_token
        await one.set("k0")
        await redis.execute("CONFIG", "SET", "maxmemory", 1)
        assert await one.delete("k0") is True
        await redis.execute("CONFIG", "SET", "maxmemory", 0)
        assert await one.fill("k0", token) is FILL_LOST


async def test_a_hit_stays_a_hit_when_redis_is_full() -> None:
    async with (
        ValkeyServer("--maxmemory-policy", "noeviction") as redis,
        caller_of(url=redis.url) as (one, _),
    ):
        await one.set("k", ttl_ms=2_000, sliding=True)
        await asyncio.sleep(0.3)  # it is due to be given its ttl again
        await redis.execute("CONFIG", "SET", "maxmemory", 1)
        assert value(await one.get("k")) == b"v"
        assert one.engine._stats.of(one.space.name).renewals_failed == 1
