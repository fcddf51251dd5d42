"""Invalidations of a namespace with a CDN purge it: this level first, then the CDN."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
import pytest_asyncio
from pantler_server.core.cdn_config import NamespaceCdn
from pantler_server.core.config import FirstLevelConfig, Settings
from pantler_server.core.errors import (
    CascadeTooWide,
    NotReplicated,
    OutcomeUnknown,
    ServiceError,
    StoreOutOfMemory,
    StoreUnavailable,
)
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cdn.engine import CdnEngine
from pantler_server.engines.cdn.invalidation import PurgedInvalidation
from pantler_server.engines.cdn.purge_model import PurgeState
from pantler_server.engines.events.engine import EventEngine
from pantler_server.engines.events.model import Event
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.store.store import Store

from tests.engines.caller import Caller
from tests.engines.purging import PATIENCE_S, a_name, ended, purging_of, soon, worker
from tests.servers.fastly import FastlyServer
from tests.servers.vendor import Purge as Sent

_ids = count()


@dataclass
class Edge:
    """A namespace with a CDN."""

    space: Namespace
    fastly: FastlyServer
    cdn: CdnEngine
    purged: PurgedInvalidation
    caller: Caller
    name: str

    async def sent(self, purge_id: str) -> list[Sent]:
        """What was purged until then, once that purge is done."""
        assert purge_id
        assert (await ended(self.cdn, purge_id)).state is PurgeState.DONE
        return self.fastly.purges


@pytest_asyncio.fixture
async def edge(store: Store, engine: CacheEngine, space: Namespace) -> AsyncIterator[Edge]:
    name = a_name()
    cdn = NamespaceCdn(targets=(name,))
    space = replace(space, config=space.config.model_copy(update={"cdn": cdn}))
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as running:
        purged = purging_of(engine, running)
        yield Edge(space, fastly, running, purged, Caller(engine, space), name)


async def test_a_key_is_purged_by_its_tag(edge: Edge) -> None:
    reached, purge_id = await edge.purged.invalidate_keys(edge.space, ["a b", "c", "c"], soon())
    assert reached == ["a b", "c"]
    tags = (f"pantler:{edge.space.name}/a%20b", f"pantler:{edge.space.name}/c")
    assert await edge.sent(purge_id) == [Sent(tags=tags)]


async def test_a_key_is_purged_by_the_urls_of_its_namespace_too(edge: Edge) -> None:
    cdn = NamespaceCdn(targets=(edge.name,), urls=("https://shop.example/p/{key}?all=1",))
    space = replace(edge.space, config=edge.space.config.model_copy(update={"cdn": cdn}))
    _, purge_id = await edge.purged.invalidate_keys(space, ["a/b ü"], soon(), soft=True)
    assert sorted(await edge.sent(purge_id), key=lambda one: one.urls) == [
        Sent(tags=(f"pantler:{space.name}/a/b%20%C3%BC",), soft=True),
        Sent(urls=("shop.example/p/a/b%20%C3%BC?all=1",), soft=True),
    ]


async def test_tags_are_purged_as_the_wire_has_them(edge: Edge) -> None:
    purge_id = await edge.purged.invalidate_tags(edge.space, ["price list", "x"], soon())
    assert await edge.sent(purge_id) == [Sent(tags=("price%20list", "x"))]


async def test_what_a_cdn_does_not_know_purges_the_namespace(edge: Edge) -> None:
    whole = Sent(tags=(f"pantler:{edge.space.name}",))
    version, purge_id = await edge.purged.invalidate_namespace(edge.space, soon())
    assert version > 0
    assert await edge.sent(purge_id) == [whole]
    purge_id = await edge.purged.invalidate_older_than(edge.space, 1_000_000, soon(), soft=True)
    assert await edge.sent(purge_id) == [whole, replace(whole, soft=True)]


async def test_a_pattern_purges_the_namespace(edge: Edge) -> None:
    async def invalidate(**said: bool) -> tuple[int, str]:
        async for progress, purge_id in edge.purged.invalidate_pattern(edge.space, "p*", **said):
            if progress.done:
                return progress.invalidated, purge_id
        raise AssertionError

    await edge.caller.set("page")
    assert await invalidate(dry_run=True) == (1, "")
    whole = Sent(tags=(f"pantler:{edge.space.name}",))
    for removed in (1, 0):  # the second may be the repeat of a call that could purge nothing
        found, purge_id = await invalidate()
        assert found == removed
        assert await edge.sent(purge_id) == [whole] * (2 - removed)


async def test_a_cascade_purges_all_that_it_reached(edge: Edge) -> None:
    await edge.caller.set("page", depends_on=("part",))
    reached, purge_id = await edge.purged.invalidate_keys(
        edge.space, ["part"], soon(), cascade=True
    )
    assert reached == ["part", "page"]
    name = edge.space.name
    assert await edge.sent(purge_id) == [
        Sent(tags=(f"pantler:{name}/part", f"pantler:{name}/page"))
    ]


async def test_deletes_purge_too(edge: Edge) -> None:
    await edge.caller.set("a")
    assert await edge.purged.delete(edge.space, "a", soon())
    assert not await edge.purged.delete(edge.space, "b", soon())
    assert await edge.purged.delete_many(edge.space, ["c", "d"], soon()) == [False, False]
    async with asyncio.timeout(10):
        while len(edge.fastly.purged_tags) < 4:
            await asyncio.sleep(0.01)
    name = edge.space.name
    assert sorted(edge.fastly.purged_tags) == [f"pantler:{name}/{key}" for key in "abcd"]


async def test_a_conditional_delete_that_finds_nothing_purges_too(edge: Edge) -> None:
    """It may be the repeat of one whose purge could not be written down."""
    assert not await edge.purged.delete(edge.space, "a", soon(), if_version=1)
    async with asyncio.timeout(PATIENCE_S):
        while not edge.fastly.purges:
            await asyncio.sleep(0.01)


async def test_a_pattern_that_is_given_up_purges_what_it_removed(edge: Edge) -> None:
    await edge.caller.set("p1")
    walk: Any = edge.purged.invalidate_pattern(edge.space, "p*")
    await anext(walk)
    await walk.aclose()
    async with asyncio.timeout(PATIENCE_S):
        while not edge.fastly.purges:
            await asyncio.sleep(0.01)


async def test_a_namespace_without_a_cdn_purges_nothing(
    engine: CacheEngine, space: Namespace
) -> None:
    none: Any = None  # it is not even asked
    purged = PurgedInvalidation(engine.invalidation, engine, none)
    assert await purged.invalidate_keys(space, ["a"], soon()) == (["a"], "")
    assert await purged.invalidate_tags(space, ["a"], soon()) == ""
    assert (await purged.invalidate_namespace(space, soon()))[1] == ""
    assert await purged.delete(space, "a", soon()) is False


async def test_a_purge_is_sent_when_every_first_level_has_forgotten(edge: Edge) -> None:
    """And when what one had answered by then is there."""
    near = FirstLevelConfig.model_validate({"max_staleness": "700ms"})
    cdn = NamespaceCdn(targets=(edge.name,), delay=timedelta(milliseconds=400))
    config = edge.space.config.model_copy(update={"l1": near, "cdn": cdn})
    space = replace(edge.space, config=config)
    purge_id = await edge.purged.invalidate_tags(space, ["t"], soon())
    status = await edge.cdn.get_purge(purge_id, soon())
    await edge.sent(purge_id)
    found = await ended(edge.cdn, purge_id)
    assert found.finished_ms - status.created_ms >= 1100


class _Failing:
    """Invalidates, and says that it failed."""

    def __init__(self, engine: CacheEngine, error: ServiceError) -> None:
        self._engine = engine.invalidation
        self._error = error

    async def invalidate_keys(self, *said: Any, **more: Any) -> list[str]:
        await self._engine.invalidate_keys(*said, **more)
        raise self._error

    async def invalidate_tags(self, *said: Any, **more: Any) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "cascade", "purged"),
    [
        (CascadeTooWide(1, 1), True, "pantler:{name}"),
        (NotReplicated(2, 1), False, "pantler:{name}/k"),
        (OutcomeUnknown("?", "cache"), False, "pantler:{name}/k"),
    ],
    ids=["too wide", "not replicated", "unknown"],
)
async def test_what_may_have_been_done_is_purged_though_it_failed(
    edge: Edge, engine: CacheEngine, error: ServiceError, cascade: bool, purged: str
) -> None:
    failing: Any = _Failing(engine, error)
    invalidation = PurgedInvalidation(failing, engine, edge.cdn)
    with pytest.raises(type(error)):
        await invalidation.invalidate_keys(edge.space, ["k"], soon(), cascade=cascade)
    async with asyncio.timeout(10):
        while not edge.fastly.purges:
            await asyncio.sleep(0.01)
    assert edge.fastly.purged_tags == [purged.format(name=edge.space.name)]


async def test_what_was_certainly_not_done_is_not_purged(edge: Edge, engine: CacheEngine) -> None:
    failing: Any = _Failing(engine, StoreUnavailable("away", "cache"))
    invalidation = PurgedInvalidation(failing, engine, edge.cdn)
    with pytest.raises(StoreUnavailable):
        await invalidation.invalidate_tags(edge.space, ["k"], soon())
    assert edge.fastly.requests == 0


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StoreUnavailable("nothing was done", "state"), OutcomeUnknown),
        (StoreOutOfMemory("nothing was stored", "state"), StoreOutOfMemory),
    ],
    ids=["away", "full"],
)
async def test_a_purge_that_is_not_written_down_is_an_error_that_says_so(
    edge: Edge,
    monkeypatch: pytest.MonkeyPatch,
    error: ServiceError,
    told: Callable[..., ServiceError],
) -> None:
    async def fail(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr(edge.cdn, "purge_tags", fail)
    with pytest.raises(ServiceError, match="it is done, but") as failed:
        await edge.purged.invalidate_tags(edge.space, ["k"], soon())
    assert type(failed.value) is told


async def test_an_event_tells_of_its_purges_and_so_does_its_repeat(
    store: Store, namespaces: NamespaceEngine, edge: Edge
) -> None:
    settings = Settings.model_validate(
        {
            "events": [
                {
                    "name": "sold",
                    "type": "sold",
                    "namespace": edge.space.name,
                    "keys": ["k"],
                    "tags": ["t"],
                }
            ]
        }
    )

    class Spaces:
        async def resolve(self, *_: Any, **__: Any) -> Namespace:
            return edge.space

    spaces: Any = Spaces()
    events = EventEngine(store, settings, spaces, edge.purged)
    event = Event("sold", {}, f"cdn{next(_ids)}{edge.name}")
    first, again = [await events.publish(event, soon()) for _ in range(2)]
    assert (first.duplicate, again.duplicate) == (False, True)
    [outcome], [repeated] = first.outcomes, again.outcomes
    assert len(outcome.purge_ids) == 2
    assert list(repeated.purge_ids) == list(outcome.purge_ids)
    for purge_id in outcome.purge_ids:
        await edge.sent(purge_id)
    assert sorted(edge.fastly.purged_tags) == [f"pantler:{edge.space.name}/k", "t"]
