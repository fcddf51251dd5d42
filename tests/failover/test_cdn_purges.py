"""Purges while the Redis that has them is killed over them, and its replica takes its place."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pantler_server.core.errors import StoreError
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.cdn import keys
from pantler_server.engines.cdn.engine import CdnEngine
from pantler_server.engines.cdn.purge_model import PurgeState
from pantler_server.store.open import open_store

from tests.engines.purging import ended, purge, worker
from tests.failover.worker import FAILOVER_S
from tests.servers.fastly import FastlyServer
from tests.servers.sentinel import SERVICE, SentinelGroup
from tests.servers.valkey import ValkeyServer

NAME = "edge"
COUNT = 50


@asynccontextmanager
async def worker_at(group: SentinelGroup, fastly: FastlyServer) -> AsyncIterator[CdnEngine]:
    sentinel = {"nodes": group.addresses, "service": SERVICE}
    store = open_store("state", RedisConfig.model_validate({"sentinel": sentinel}), None)
    await store.start()
    try:
        async with worker(store, **{NAME: fastly}) as engine:
            yield engine
    finally:
        await store.stop()


class Purging:
    """Purges one tag after the other, each until it is acknowledged."""

    def __init__(self, engine: CdnEngine, word: str) -> None:
        self.acknowledged: dict[str, str] = {}
        """Ids by tag."""
        self._engine = engine
        self._word = word
        self._task = asyncio.create_task(self._keep_purging())

    async def more(self, wanted: int) -> None:
        """Waits until so many more were acknowledged."""
        until = len(self.acknowledged) + wanted
        async with asyncio.timeout(FAILOVER_S):
            while len(self.acknowledged) < until:
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _keep_purging(self) -> None:
        number = 0
        while True:
            tag = f"{self._word}{number}"
            try:
                self.acknowledged[tag] = await purge(self._engine, NAME, tag)
            except StoreError:
                await asyncio.sleep(0.02)
            else:
                number += 1
                await asyncio.sleep(0.005)


async def has_all(replica: ValkeyServer, purge_ids: list[str]) -> bool:
    wanted = [keys.receipt(one) for one in purge_ids]
    found: int = await replica.execute("EXISTS", *wanted)
    return found == len(wanted)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("hangs", [True, False], ids=["amid a request", "between requests"])
async def test_what_the_new_primary_knows_of_is_purged(hangs: bool) -> None:
    async with (
        SentinelGroup() as group,
        FastlyServer() as fastly,
        worker_at(group, fastly) as one,
        worker_at(group, fastly) as other,
    ):
        for round_ in range(2):
            if hangs:
                fastly.goes_on.clear()
                fastly.entered.clear()
            purging = Purging(other, f"r{round_}.")
            await purging.more(COUNT)
            await fastly.entered.wait()
            old = await group.primary()
            [replica] = (server for server in group.servers if server is not old)
            replicated = dict(purging.acknowledged)
            async with asyncio.timeout(FAILOVER_S):
                while not await has_all(replica, list(replicated.values())):
                    await asyncio.sleep(0)
            await old.kill()
            assert await group.wait_for_new_primary(old) is replica
            before = set(purging.acknowledged)
            await purging.more(COUNT)
            fastly.goes_on.set()
            await purging.stop()
            # What was acknowledged between these may have been lost with the old one.
            known = replicated | {
                tag: purge_id for tag, purge_id in purging.acknowledged.items() if tag not in before
            }
            for purge_id in known.values():
                assert (await ended(one, purge_id)).state is PurgeState.DONE
            assert {*fastly.purged_tags} >= {*known}
            assert (await ended(one, await purge(one, NAME, "last"))).state is PurgeState.DONE
            assert await replica.execute("XLEN", keys.queue(NAME)) == 0
            await group.restart_dead()
