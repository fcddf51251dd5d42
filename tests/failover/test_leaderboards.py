"""Leaderboards over a Redis that loses replies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from pantler_server.core.config import Settings
from pantler_server.core.errors import OutcomeUnknown
from pantler_server.core.namespace import Namespace
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.leaderboard.engine import LeaderboardEngine
from pantler_server.engines.leaderboard.model import ScoreEntry, ScorePolicy, Scores, Submitted
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.store.open import open_store

from tests.servers.fault_proxy import FaultProxy
from tests.servers.valkey import ValkeyServer


@dataclass
class Cut:
    """A worker whose connection to its Redis can be cut."""

    redis: ValkeyServer
    proxy: FaultProxy
    engine: LeaderboardEngine
    space: Namespace

    async def submit(self, request_id: str, board: str = "b") -> Scores:
        soon = asyncio.get_running_loop().time() + 3
        entries = [ScoreEntry("a", 5, {})]
        policy = ScorePolicy.INCREMENT
        return await self.engine.submit(self.space, board, entries, policy, request_id, soon)

    async def submit_and_lose_the_reply(self, request_id: str) -> Scores:
        """Redis has done it before the connection is cut."""
        self.proxy.hold_replies()
        lost = asyncio.create_task(self.submit(request_id))
        async with asyncio.timeout(3):
            while not await self.redis.execute("EXISTS", "s{cut:0}b"):
                await asyncio.sleep(0.01)
        self.proxy.cut()
        self.proxy.restore()
        return await lost


@asynccontextmanager
async def cut() -> AsyncIterator[Cut]:
    async with ValkeyServer() as redis, FaultProxy(redis.port) as proxy:
        config = RedisConfig(url=f"redis://127.0.0.1:{proxy.port}")
        store = open_store("state", config, None)
        await store.start()
        namespaces = NamespaceEngine(store, store, Settings())
        space = await namespaces.resolve("cut", asyncio.get_running_loop().time() + 3)
        worker = Cut(redis, proxy, LeaderboardEngine(store), space)
        await worker.submit("", "other")  # Redis knows the script from now on
        yield worker
        await store.stop()


async def test_a_repeat_after_a_lost_reply_counts_once() -> None:
    async with cut() as worker:
        # The worker repeats the call by itself, since it has an id.
        first = await worker.submit_and_lose_the_reply("id")
        assert first.entries == [Submitted(5, 1, 0, True)]
        assert await worker.submit("id") == first
        assert (await worker.submit("other")).entries == [Submitted(10, 1, 1, True)]


async def test_without_a_request_id_a_lost_reply_is_said_to_be_unknown() -> None:
    async with cut() as worker:
        with pytest.raises(OutcomeUnknown):
            await worker.submit_and_lose_the_reply("")
        assert (await worker.submit("")).entries == [Submitted(10, 1, 1, True)]
