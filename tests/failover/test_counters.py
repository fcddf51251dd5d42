"""Counters over a Redis that loses replies."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from pantler_server.core.config import NamespaceConfig
from pantler_server.core.errors import OutcomeUnknown, ServiceError, WrongKind
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.counter.engine import CounterEngine
from pantler_server.engines.counter.model import MAX_VALUE, Increment
from pantler_server.store.open import open_store

from tests.servers.fault_proxy import FaultProxy
from tests.servers.redis_7_0 import redis_7_0
from tests.servers.valkey import ValkeyServer

TAG = b"{counts:0}"
SPACE = Namespace("counts", False, NamespaceConfig(), (Partition(TAG, 0),), 1000, 1000, 0, 0)
PLACE = b"s%bc" % TAG
TEN = Increment(10, -MAX_VALUE, MAX_VALUE, 0, "")


@dataclass(frozen=True)
class Losing:
    """A worker whose replies can be lost."""

    redis: ValkeyServer
    proxy: FaultProxy
    counters: CounterEngine

    async def lose_reply(self, calling: asyncio.Task[object], value: bytes | None) -> None:
        """Lets the connection go when Redis has done what was called, and comes back then."""
        async with asyncio.timeout(3):
            while await self.redis.execute("GET", PLACE) != value:
                await asyncio.sleep(0.01)
        assert not calling.done()
        self.proxy.cut()
        self.proxy.restore()


def soon() -> float:
    return asyncio.get_running_loop().time() + 3


@asynccontextmanager
async def losing() -> AsyncIterator[Losing]:
    async with ValkeyServer() as redis, FaultProxy(redis.port) as proxy:
        config = RedisConfig(url=f"redis://127.0.0.1:{proxy.port}")
        store = open_store("state", config, None)
        await store.start()
        counters = CounterEngine(store)
        # Redis knows the scripts from now on.
        await counters.increment(SPACE, "c", TEN, soon())
        await counters.reset(SPACE, ["c"], soon())
        yield Losing(redis, proxy, counters)
        await store.stop()


async def test_a_repeat_after_a_lost_reply_counts_once() -> None:
    async with losing() as worker:
        wanted = replace(TEN, request_id="id")
        worker.proxy.hold_replies()
        lost = asyncio.create_task(worker.counters.increment(SPACE, "c", wanted, soon()))
        await worker.lose_reply(lost, b"10")
        first = await lost  # the worker has repeated the call, since it has an id
        assert (first.value, first.applied) == (10, True)
        assert await worker.counters.increment(SPACE, "c", wanted, soon()) == first
        assert await worker.counters.get(SPACE, ["c"], soon()) == [10]


async def test_without_a_request_id_a_lost_reply_is_said_to_be_unknown() -> None:
    async with losing() as worker:
        worker.proxy.hold_replies()
        lost = asyncio.create_task(worker.counters.increment(SPACE, "c", TEN, soon()))
        await worker.lose_reply(lost, b"10")
        with pytest.raises(OutcomeUnknown):
            await lost
        assert await worker.redis.execute("GET", PLACE) == b"10", "it was counted"


async def test_a_reset_whose_reply_is_lost_is_not_repeated() -> None:
    async with losing() as worker:
        await worker.counters.increment(SPACE, "c", TEN, soon())
        worker.proxy.hold_replies()
        lost = asyncio.create_task(worker.counters.reset(SPACE, ["c"], soon()))
        await worker.lose_reply(lost, None)
        with pytest.raises(OutcomeUnknown):
            await lost


@pytest.mark.parametrize(
    "server",
    [ValkeyServer, pytest.param(redis_7_0, marks=pytest.mark.component("redis-server"))],
)
async def test_without_the_right_to_read_a_counter_is_not_said_to_be_of_another_kind(
    server: Callable[[], ValkeyServer],
) -> None:
    async with server() as redis:
        rights = ("on", ">secret", "~*", "+@all", "-get")
        await redis.execute("ACL", "SETUSER", "limited", *rights)
        url = f"redis://limited:secret@127.0.0.1:{redis.port}/0"
        store = open_store("state", RedisConfig(url=url), None)
        await store.start()
        counters = CounterEngine(store)
        for call in (
            counters.increment(SPACE, "c", TEN, soon()),
            counters.reset(SPACE, ["c"], soon()),
        ):
            with pytest.raises(ServiceError) as failed:
                await call
            assert not isinstance(failed.value, WrongKind)
        await store.stop()
        assert not await redis.execute("EXISTS", PLACE)
