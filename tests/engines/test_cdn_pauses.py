"""A pause of a target outlives its owner, but not the configuration in which it failed."""

import asyncio
from typing import Any

import pytest
from pantler_server.engines.cdn import keys
from pantler_server.engines.cdn.purge_model import PurgeState
from pantler_server.store.store import Store

from tests.engines.purging import PATIENCE_S, a_name, ended, purge, receipt, redis, worker
from tests.servers.fastly import FastlyServer


async def pause_of(store: Store, name: str) -> list[Any]:
    fields = ("failures", "until", "answer", "config")
    found: list[Any] = await redis(store, "HMGET", keys.state(name), *fields)
    return found


@pytest.mark.parametrize("is_mended", [True, False])
async def test_a_target_that_is_mended_for_a_restart_is_tried_at_once(
    store: Store, is_mended: bool
) -> None:
    name = a_name()
    async with FastlyServer() as fastly:
        fastly.fail(429, retry_after="600" if is_mended else "3")
        async with worker(store, **{name: fastly}) as engine:
            purge_id = await purge(engine, name, "a")
            async with asyncio.timeout(PATIENCE_S):
                while not (await receipt(engine, purge_id)).attempts:
                    await asyncio.sleep(0.01)
        paused = await pause_of(store, name)
        assert None not in paused
        assert fastly.target["fastly"]["token"].encode() not in b" ".join(paused)
        config = {**fastly.target, "timeout": "3s"} if is_mended else fastly.target
        async with worker(store, **{name: config}) as engine:
            await asyncio.sleep(1.0)
            found = await receipt(engine, purge_id)
            assert found.state is (PurgeState.DONE if is_mended else PurgeState.PENDING)
            assert (await ended(engine, purge_id)).attempts == 2
        assert await pause_of(store, name) == [None] * 4
