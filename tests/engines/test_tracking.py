"""What Redis is asked to tell of: all that is wanted, by few prefixes, and nothing for long that is
not wanted any more. On a server of its own, which counts the prefixes of all its clients."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio
from pantler_server.core.config import Settings
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.stats import CacheStats
from pantler_server.engines.cache.watch import engine as watch_engine
from pantler_server.engines.cache.watch import feed
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.store.open import open_store
from pantler_server.store.tracking import MOST_DEAD, MOST_PREFIXES

from tests.engines.caller import Caller
from tests.engines.conftest import NearFactory
from tests.engines.watching import Seen, watching
from tests.servers.valkey import ValkeyServer

MANY = MOST_PREFIXES + 6
KEY = "k"


@dataclass(frozen=True)
class Workers:
    server: ValkeyServer
    nears: NearFactory

    async def callers(self, count: int) -> list[Caller]:
        deadline = asyncio.get_running_loop().time() + 5
        names = [f"watched{number}" for number in range(count)]
        spaces = [await self.nears.namespaces.resolve(name, deadline) for name in names]
        return [Caller(self.nears.engine, space) for space in spaces]

    async def prefixes(self, expected: int) -> None:
        """Waits until Redis compares keys with so many."""
        try:
            async with asyncio.timeout(5):
                while (found := await self._count()) != expected:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(found) from None

    async def _count(self) -> int:
        async with self.server.client() as client:
            return int((await client.info("stats"))["tracking_total_prefixes"])


@pytest_asyncio.fixture
async def workers(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Workers]:
    monkeypatch.setattr(feed, "LINGER_S", 0.0)
    monkeypatch.setattr(watch_engine, "END_INTERVAL_S", 0.02)
    monkeypatch.setattr(feed, "READ_ALL_S", 60.0)  # only what is told of is read
    async with ValkeyServer() as server, AsyncExitStack() as ending:
        store = open_store("cache", RedisConfig(url=server.url), None)
        await store.start()
        ending.push_async_callback(store.stop)
        stats = CacheStats(store)
        engines = (
            CacheEngine(store, stats, HotKeys(store)),
            CacheEngine(store, stats, HotKeys(store)),
        )
        for engine in engines:
            engine.start()
            ending.push_async_callback(engine.stop)
        namespaces = NamespaceEngine(store, store, settings)
        yield Workers(server, NearFactory(*engines, namespaces, stats))


async def watched(callers: Sequence[Caller], ending: AsyncExitStack) -> list[Seen]:
    return [await ending.enter_async_context(watching(caller)) for caller in callers]


async def heard(workers: Workers, callers: Sequence[Caller], seen: Sequence[Seen]) -> None:
    for caller, by in zip(callers, seen, strict=True):
        told = len(by.changes)
        await replace(caller, engine=workers.nears.other_engine).invalidate_keys(KEY)
        await by.until(lambda by=by, told=told: len(by.changes) > told)  # type: ignore[misc]


async def test_the_last_watches_that_end_leave_no_prefix(workers: Workers) -> None:
    callers = await workers.callers(MOST_PREFIXES)
    async with AsyncExitStack() as ending:
        await watched(callers, ending)
        await workers.prefixes(MOST_PREFIXES)
    await workers.prefixes(0)
    async with watching(callers[0]) as seen:
        await workers.prefixes(1)
        await heard(workers, callers[:1], [seen])


async def test_ended_watches_leave_no_prefix_beside_one_that_goes_on(workers: Workers) -> None:
    first, *others = await workers.callers(MOST_DEAD + 2)
    async with watching(first) as seen:
        async with AsyncExitStack() as ending:
            await watched(others, ending)
            await workers.prefixes(1 + len(others))
        await workers.prefixes(1)
        await heard(workers, [first], [seen])


async def test_many_watches_are_followed_by_what_they_have_in_common(workers: Workers) -> None:
    near = await workers.nears.make()
    callers = await workers.callers(MANY)
    async with AsyncExitStack() as ending:
        seen = await watched(callers, ending)
        await workers.prefixes(2)
        await heard(workers, callers, seen)
        await near.other.set(KEY, b"old")
        await near.keep(KEY)
        await near.other.set(KEY, b"new")
        await near.until(KEY, b"new")
    await workers.prefixes(1)


async def test_few_of_a_kind_stay_while_another_is_followed_as_one(workers: Workers) -> None:
    levels = MOST_PREFIXES // 2
    nears = [await workers.nears.make() for _ in range(levels)]
    callers = await workers.callers(levels + 1)
    async with AsyncExitStack() as ending:
        seen = await watched(callers[:-1], ending)
        await workers.prefixes(2 * levels)
        seen += await watched(callers[-1:], ending)
        await workers.prefixes(levels + 1)
        await heard(workers, callers, seen)
        for near in nears:
            await near.other.set(KEY, b"old")
            await near.keep(KEY)
            await near.other.delete(KEY)
            await near.until(KEY, None)
    await workers.prefixes(levels)


async def test_many_levels_are_followed_by_what_they_have_in_common(workers: Workers) -> None:
    nears = []
    for _ in range(MANY):
        near = await workers.nears.make()
        await near.other.set(KEY, b"old")
        await near.keep(KEY)  # before the switch, and behind it
        nears.append(near)
    await workers.prefixes(1)
    for near in nears:
        await near.keep(KEY)
        await near.other.delete(KEY)
        await near.until(KEY, None)
    first_level = workers.nears.engine._first_level
    for near in nears[1:]:
        config = near.one.space.config.model_copy(update={"l1": None})
        assert first_level.of(replace(near.one.space, config=config)) is None
    await asyncio.sleep(0.2)
    await workers.prefixes(1)
    near = nears[0]
    await near.other.set(KEY, b"again")
    await near.keep(KEY)
    followed = workers.nears.engine._tracking._tracked.values()
    assert [set(one.followed_since) for one in followed] == [{near.level._prefix}]


async def test_many_watchers_of_one_namespace_are_one(workers: Workers) -> None:
    [caller] = await workers.callers(1)
    async with watching(caller) as seen:
        async with watching(caller):
            await workers.prefixes(1)
        await asyncio.sleep(0.2)
        await heard(workers, [caller], [seen])
    await workers.prefixes(0)
