"""Purges while Redis is full, or does not answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pantler_server.core.errors import StoreOutOfMemory
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.cdn import keys
from pantler_server.engines.cdn.purge_model import PurgeState
from pantler_server.store.open import open_store
from pantler_server.store.store import Store

from tests.engines.purging import PATIENCE_S, ended, purge, queue_length, receipt, redis, worker
from tests.servers.fastly import FastlyServer
from tests.servers.fault_proxy import FaultProxy
from tests.servers.valkey import ValkeyServer


@asynccontextmanager
async def store_at(url: str) -> AsyncIterator[Store]:
    opened = open_store("state", RedisConfig(url=url), None)
    await opened.start()
    yield opened
    await opened.stop()


async def test_a_full_redis_takes_no_purge_and_what_waits_is_sent_all_the_same() -> None:
    async with (
        ValkeyServer() as full,
        FastlyServer() as fastly,
        store_at(full.url) as store,
        worker(store, edge=fastly) as engine,
    ):
        fastly.goes_on.clear()
        waiting = [await purge(engine, "edge", "a")]
        await fastly.entered.wait()
        waiting.append(await purge(engine, "edge", "b"))
        await full.execute("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreOutOfMemory):
            await purge(engine, "edge", "refused")
        fastly.goes_on.set()
        for purge_id in waiting:
            assert (await ended(engine, purge_id)).state is PurgeState.DONE
        assert await queue_length(store, "edge") == 0
        await full.execute("CONFIG", "SET", "maxmemory", 0)
        assert (await ended(engine, await purge(engine, "edge", "c"))).state is PurgeState.DONE
        assert fastly.purged_tags == ["a", "b", "c"]


async def test_what_was_sent_while_redis_did_not_answer_is_settled_when_it_does() -> None:
    async with (
        ValkeyServer() as server,
        FaultProxy(server.port) as proxy,
        FastlyServer() as fastly,
        store_at(f"redis://127.0.0.1:{proxy.port}/0") as store,
        store_at(server.url) as direct,
        worker(store, edge=fastly) as engine,
        worker(direct) as looking,
    ):
        fastly.goes_on.clear()
        purge_id = await purge(engine, "edge", "a")
        await fastly.entered.wait()
        proxy.stall()
        fastly.goes_on.set()
        async with asyncio.timeout(PATIENCE_S):
            while not fastly.purges:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        assert (await receipt(looking, purge_id)).state is PurgeState.PENDING
        proxy.restore()
        assert (await ended(looking, purge_id)).state is PurgeState.DONE
        assert fastly.purged_tags == ["a"]


async def test_a_redis_that_was_emptied_takes_purges_again() -> None:
    async with (
        ValkeyServer() as server,
        FastlyServer() as fastly,
        store_at(server.url) as store,
        worker(store, edge=fastly) as engine,
    ):
        await ended(engine, await purge(engine, "edge", "a"))
        await server.execute("FLUSHALL")
        assert (await ended(engine, await purge(engine, "edge", "b"))).state is PurgeState.DONE


@pytest.mark.parametrize("is_anothers", [False, True])
async def test_what_was_read_is_sent_though_redis_starts_again_without_it(
    is_anothers: bool,
) -> None:
    """Also where another worker has the target there."""
    async with (
        ValkeyServer() as server,
        FastlyServer() as fastly,
        store_at(server.url) as store,
        worker(store, edge=fastly) as engine,
    ):
        fastly.goes_on.clear()
        await purge(engine, "edge", "first")
        await fastly.entered.wait()
        for number in range(20):
            await purge(engine, "edge", f"t{number}")
        async with asyncio.timeout(PATIENCE_S):
            while len(engine._drains["edge"]._held.queued) < 21:
                await asyncio.sleep(0.01)
        await server.kill()
        await server.start()
        if is_anothers:
            await server.execute("SET", keys.owner("edge"), "another", "PX", 60_000)
        await asyncio.sleep(1.0)  # it finds the new one while it sends
        fastly.goes_on.set()
        tags = {"first", *(f"t{number}" for number in range(20))}
        async with asyncio.timeout(PATIENCE_S):
            while not tags <= {*fastly.purged_tags}:
                await asyncio.sleep(0.01)
        assert not engine._drains["edge"]._held.adrift
        if not is_anothers:
            assert (await ended(engine, await purge(engine, "edge", "b"))).state is PurgeState.DONE


async def test_what_is_settled_is_not_anothers_that_has_its_id_in_another_redis() -> None:
    """One that starts without the newest, and whose clock is behind, gives ids again."""
    async with (
        ValkeyServer() as server,
        FaultProxy(server.port) as proxy,
        FastlyServer() as fastly,
        store_at(f"redis://127.0.0.1:{proxy.port}/0") as store,
        store_at(server.url) as direct,
        worker(store, edge=fastly) as engine,
    ):
        fastly.goes_on.clear()
        await purge(engine, "edge", "first")
        await fastly.entered.wait()
        [[entry_id, fields]] = await redis(direct, "XRANGE", keys.queue("edge"), "-", "+")
        proxy.stall()
        fastly.goes_on.set()
        async with asyncio.timeout(PATIENCE_S):
            while not fastly.purges:
                await asyncio.sleep(0.01)
        await server.execute("FLUSHALL")
        others = [b"another", *fields[2:9], b'{"t":["second"]}', *fields[10:]]
        await server.execute("XADD", keys.queue("edge"), entry_id, b"p", *others)
        proxy.restore()
        async with asyncio.timeout(PATIENCE_S):
            while fastly.purged_tags != ["first", "second"]:
                await asyncio.sleep(0.01)


async def test_a_receipt_takes_no_more_than_the_page_says() -> None:
    async with (
        ValkeyServer() as server,
        FastlyServer() as fastly,
        store_at(server.url) as store,
        worker(store, edge=fastly) as engine,
    ):
        purge_id = await purge(engine, "edge", "a")
        await ended(engine, purge_id)
        assert await redis(store, "MEMORY", "USAGE", keys.receipt(purge_id)) <= 300
