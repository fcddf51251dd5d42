"""Events whose worker is killed halfway, or whose id can't be recorded."""

import asyncio
import signal
from datetime import timedelta
from pathlib import Path

import pantler
import pytest
from pantler_server.core.config import Settings
from pantler_server.core.errors import StoreOutOfMemory
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.events.engine import EventEngine
from pantler_server.engines.events.model import Event
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.store.open import open_store

from tests.engines.caller import value
from tests.engines.purging import purging_of
from tests.failover.worker import caller_of
from tests.servers.pantler import PantlerServer
from tests.servers.valkey import ValkeyServer

# The rule in the middle waits for a replica, and there is none: that is halfway.
CONFIG = """
redis: {command_timeout: 30s}
namespaces: {waits: {invalidation_replicas: 1}}
events:
  - {name: before, type: t, namespace: pages, keys: [a]}
  - {name: middle, type: t, namespace: waits, keys: [b]}
  - {name: after, type: t, namespace: pages, tags: [c]}
"""


async def until_gone(client: pantler.AsyncClient, key: str) -> None:
    async with asyncio.timeout(10):
        while await client.get("pages", key) is not None:
            await asyncio.sleep(0.01)


async def test_the_repeat_completes_what_a_killed_worker_left(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text(CONFIG)
    async with (
        PantlerServer(config=config) as server,
        pantler.AsyncClient(server.address, timeout=timedelta(seconds=30)) as client,
    ):
        await client.set("pages", "a", b"v")
        await client.set("pages", "page", b"v", tags=["c"])
        publishing = asyncio.create_task(client.publish_event("t", event_id="1"))
        await until_gone(client, "a")
        seen = len(server.events)
        [worker] = server.workers()
        worker.kill()
        with pytest.raises(pantler.Unavailable):
            await publishing
        await server.wait_for("ready", after=seen)
        config.write_text(CONFIG.replace("replicas: 1", "replicas: 0"))
        server.signal(signal.SIGHUP)
        await server.wait_for("configuration reloaded", after=seen)
        async with pantler.AsyncClient(server.address) as again:
            assert await again.get("pages", "page") is not None
            published = await again.publish_event("t", event_id="1")
            assert not published.duplicate
            assert [one.rule for one in published.outcomes] == ["before", "middle", "after"]
            assert await again.get("pages", "page") is None
            assert (await again.publish_event("t", event_id="1")).duplicate


async def test_an_id_that_can_not_be_recorded_fails_the_call(valkey: ValkeyServer) -> None:
    rule = {"name": "r", "type": "t", "namespace": "failover", "keys": ["k"]}
    settings = Settings.model_validate({"events": [rule]})
    async with ValkeyServer() as full, caller_of(url=valkey.url) as (one, cache):
        state = open_store("state", RedisConfig(url=full.url), None)
        await state.start()
        namespaces = NamespaceEngine(cache, cache, settings)
        events = EventEngine(state, settings, namespaces, purging_of(one.engine))
        deadline = asyncio.get_running_loop().time() + 20.0
        await full.execute("CONFIG", "SET", "maxmemory", 1)
        await one.set("k")
        with pytest.raises(StoreOutOfMemory):
            await events.publish(Event("t", {}, "1"), deadline)
        assert value(await one.get("k")) is None, "the rules were applied all the same"
        await full.execute("CONFIG", "SET", "maxmemory", 0)
        assert not (await events.publish(Event("t", {}, "1"), deadline)).duplicate
        assert (await events.publish(Event("t", {}, "1"), deadline)).duplicate
        await state.stop()
