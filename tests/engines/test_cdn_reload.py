"""Targets that come and go with the configuration."""

import asyncio

from pantler_server.engines.cdn import keys
from pantler_server.engines.cdn.purge_model import Purge, PurgeState
from pantler_server.store.store import Store

from tests.cdns.targets import settings, targets
from tests.engines.purging import PATIENCE_S, a_name, ended, purge, redis, soon, worker_of
from tests.servers.fastly import FastlyServer


async def test_a_target_that_is_soon_back_keeps_its_owner(store: Store) -> None:
    name, other = a_name(), a_name()
    async with FastlyServer() as fastly:
        opened = targets(**{name: fastly.target, other: fastly.target})
        async with worker_of(store, opened) as engine:
            assert (await ended(engine, await purge(engine, name, "a"))).state is PurgeState.DONE
            owner = await redis(store, "GET", keys.owner(name))
            for names in ([other], [name, other]):
                opened.apply(settings(**dict.fromkeys(names, fastly.target)))
                engine.apply()
            async with asyncio.timeout(PATIENCE_S):
                while engine._leaving or not engine._drains[name]._owns:
                    await asyncio.sleep(0)
            assert await redis(store, "GET", keys.owner(name)) == owner
            assert (await ended(engine, await purge(engine, name, "b"))).state is PurgeState.DONE


async def test_a_target_that_came_back_while_the_worker_stops_is_not_begun(store: Store) -> None:
    name, other = a_name(), a_name()
    async with FastlyServer() as fastly:
        opened = targets(**{name: fastly.target, other: fastly.target})
        async with worker_of(store, opened) as engine:
            for names in ([other], [name, other]):
                opened.apply(settings(**dict.fromkeys(names, fastly.target)))
                engine.apply()
            await engine.stop()
            await asyncio.sleep(0)
            assert not engine._leaving
            assert name not in engine._drains


async def test_a_target_with_much_to_send_slowly_is_soon_another(store: Store) -> None:
    """What is under way is not all that waits."""
    name = a_name()
    async with FastlyServer() as slow, FastlyServer() as mended:
        config = {**slow.target, "max_requests_per_second": 2}
        opened = targets(**{name: config})
        async with worker_of(store, opened) as engine:
            urls = tuple(f"https://shop.example/{n}" for n in range(60))
            purged = await engine.purge(Purge(name, urls=urls), soon())
            async with asyncio.timeout(PATIENCE_S):
                while not slow.purges:
                    await asyncio.sleep(0.01)
            opened.apply(settings(**{name: mended.target}))
            engine.apply()
            assert (await ended(engine, purged.purge_id)).state is PurgeState.DONE
            assert len(slow.purges) < 15
