"""The first level: misses that it keeps, and the bound on what it keeps."""

import asyncio
import gc

from pantler_server.core.config import FirstLevelConfig
from pantler_server.engines.cache import keys
from pantler_server.engines.cache.model import Miss, MissReason

from tests.engines.caller import STORED, value
from tests.engines.conftest import Near, NearFactory
from tests.engines.test_first_level import KEY, stored


async def test_misses_are_kept_where_the_namespace_asks_for_that(nears: NearFactory) -> None:
    near = await nears.make("near_misses")
    await near.keep(KEY)
    found = await near.one.get(KEY)
    assert isinstance(found, Miss)
    assert found.reason is MissReason.UNKNOWN
    assert (await near.one.ask(KEY)).lease is not None
    await near.other.set(KEY, b"new")
    await near.until(KEY, b"new")


async def test_a_fill_may_begin_at_a_miss_that_was_kept(nears: NearFactory) -> None:
    near = await nears.make("near_misses")
    await near.keep(KEY)
    found = await near.one.get(KEY)
    await near.one.fill(KEY, found.fill_token)
    assert value(await near.one.get(KEY)) == b"fill"


async def test_a_fill_that_began_at_a_kept_miss_is_lost_to_a_later_invalidation(
    nears: NearFactory,
) -> None:
    near = await nears.make("near_misses")
    await near.keep(KEY)
    found = await near.one.get(KEY)
    await near.other.invalidate_keys(KEY)
    await near.one.fill(KEY, found.fill_token)
    assert value(await near.one.get(KEY)) is None


async def test_misses_are_not_kept_elsewhere(near: Near) -> None:
    await stored(near)
    answered = near.stats.l1_hits
    for _ in range(3):
        assert isinstance(await near.one.get("none"), Miss)
    assert near.stats.l1_hits == answered


async def test_what_is_kept_stays_within_the_bound(nears: NearFactory) -> None:
    near = await nears.make(l1=FirstLevelConfig(max_bytes=1 << 20, audit_ratio=0))
    await stored(near)
    body = bytes(10_000)
    for first in range(0, 300, 50):
        wanted = [f"large{number}" for number in range(first, first + 50)]
        for key in wanted:
            await near.other.set(key, body)
        await near.one.engine.get_many(
            near.one.space, wanted, asyncio.get_running_loop().time() + 5
        )
    near.level.kept.run_pending_tasks()
    assert 1 << 19 < near.level.kept.weighted_size() <= 1 << 20


async def test_tags_count_towards_the_bound(near: Near) -> None:
    tags = tuple(f"{number}{'x' * 500}" for number in range(60))
    await near.other.set(KEY, b"v", tags=tags)
    await near.keep(KEY)
    near.level.kept.run_pending_tasks()
    assert near.level.kept.weighted_size() > 60 * 500


async def test_what_is_kept_is_nothing_to_the_garbage_collector(nears: NearFactory) -> None:
    near = await nears.make("near_misses")
    await stored(near)
    await near.keep("none")
    for key in (KEY, "none"):
        kept = near.level.kept.get(keys.place(near.one.space, key)[1])
        assert kept is not None
        assert not gc.is_tracked(kept)


async def test_a_kept_miss_ends_with_a_delete_of_its_key(nears: NearFactory) -> None:
    """Its fill token would be refused."""
    near = await nears.make("near_misses")
    await near.keep(KEY)
    await near.other.delete(KEY)
    async with asyncio.timeout(1):
        while await near.one.fill(KEY, (await near.one.get(KEY)).fill_token) is not STORED:
            await near.keep("else")
    assert value(await near.one.get(KEY)) == b"fill"
