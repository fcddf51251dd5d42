"""Pantler's own levels come before the CDN: what asks again once it was purged gets nothing old."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio
from aiohttp import web
from pantler_server.core.cdn_config import NamespaceCdn
from pantler_server.core.errors import StoreError

from tests.engines.caller import Caller, value
from tests.engines.purging import PATIENCE_S, ended, purging_of, soon, worker
from tests.failover.worker import caller_of
from tests.servers.fastly import FastlyServer
from tests.servers.fault_proxy import FaultProxy
from tests.servers.valkey import ValkeyServer

NEAR: dict[str, object] = {"l1": {"max_staleness": "500ms", "audit_ratio": 0}}


class RefetchingCdn(FastlyServer):
    """What it is told to forget it asks for again in the same moment."""

    def __init__(self, fetch: Callable[[], Awaitable[bytes | None]]) -> None:
        super().__init__()
        self._fetch = fetch
        self.fetched: list[bytes | None] = []

    async def _purge_keys(self, request: web.Request, soft: bool) -> web.Response:
        answer = await super()._purge_keys(request, soft)
        self.fetched.append(await self._fetch())
        return answer


class Two:
    """A worker that changes things, and one that answers the CDN and hears nothing of them: from
    its first level, as long as that may."""

    def __init__(self, writer: Caller, reader: Caller, proxy: FaultProxy) -> None:
        cdn = NamespaceCdn(targets=("edge",), delay=timedelta(0))
        config = writer.space.config.model_copy(update={"cdn": cdn})
        self.writer, self.reader, self.proxy = writer, reader, proxy
        self.space = replace(writer.space, config=config)

    async def answer(self) -> bytes | None:
        """What the CDN gets; None if nothing."""
        try:
            async with asyncio.timeout(1):
                return value(await self.reader.get("k"))
        except (StoreError, TimeoutError):
            return None

    async def stall(self) -> None:
        """The reader's first level answers, and is told of nothing from now on."""
        stats = self.reader.engine._stats.of(self.space.name)
        answered = stats.l1_hits
        async with asyncio.timeout(PATIENCE_S):
            while stats.l1_hits == answered:
                await self.reader.get("k")
                await asyncio.sleep(0.001)
        self.proxy.stall()
        assert await self.answer() == b"old"


@pytest_asyncio.fixture
async def two() -> AsyncIterator[Two]:
    async with (
        ValkeyServer() as redis,
        FaultProxy(redis.port) as proxy,
        caller_of(namespace=NEAR, url=f"redis://127.0.0.1:{proxy.port}/0") as (reader, _),
        caller_of(namespace=NEAR, url=redis.url) as (writer, _),
    ):
        await writer.set("k", b"old", tags=("t",))
        yield Two(writer, reader, proxy)
        proxy.restore()


@pytest.mark.parametrize("by", ["key", "tag", "namespace", "pattern", "delete"])
async def test_a_cdn_that_asks_again_when_it_is_purged_gets_nothing_old(two: Two, by: str) -> None:
    store = two.writer.engine._store
    async with RefetchingCdn(two.answer) as cdn, worker(store, edge=cdn) as running:
        await two.stall()
        purged = purging_of(two.writer.engine, running)
        match by:
            case "key":
                _, purge_id = await purged.invalidate_keys(two.space, ["k"], soon())
            case "tag":
                purge_id = await purged.invalidate_tags(two.space, ["t"], soon())
            case "namespace":
                _, purge_id = await purged.invalidate_namespace(two.space, soon())
            case "pattern":
                [purge_id] = [
                    told async for _, told in purged.invalidate_pattern(two.space, "k*") if told
                ]
            case _:
                assert await purged.delete(two.space, "k", soon())
                purge_id = ""
        assert await two.answer() in (b"old", None)  # the first level may still answer here
        if purge_id:
            await ended(running, purge_id)
        async with asyncio.timeout(PATIENCE_S):
            while not cdn.fetched:
                await asyncio.sleep(0.01)
        assert cdn.fetched == [None]


async def test_an_invalidation_waits_for_answers_that_are_on_their_way(two: Two) -> None:
    store = two.writer.engine._store
    cdn = NamespaceCdn(targets=("edge",), delay=timedelta(milliseconds=700))
    space = replace(two.space, config=two.space.config.model_copy(update={"cdn": cdn}))
    async with FastlyServer() as vendor, worker(store, edge=vendor) as running:
        purged = purging_of(two.writer.engine, running)
        loop = asyncio.get_running_loop()
        purge_id = await purged.invalidate_tags(space, ["t"], soon())
        acknowledged = loop.time()
        await ended(running, purge_id)
        assert loop.time() - acknowledged >= 0.65  # 0.7 s from within the call
