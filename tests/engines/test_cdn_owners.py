"""Owners of a target: what waits for it gets there, though they stop, die or are two at once."""

import asyncio

import pytest
from pantler_server.engines.cdn import keys, scripts
from pantler_server.engines.cdn.engine import CdnEngine
from pantler_server.engines.cdn.purge_model import PurgeState
from pantler_server.store.store import Store

from tests.cdns.targets import settings, targets
from tests.engines.purging import (
    PATIENCE_S,
    Mortal,
    a_name,
    ended,
    forget_owner,
    purge,
    queue_length,
    receipt,
    redis,
    soon,
    worker,
    worker_of,
)
from tests.servers.fastly import FastlyServer

pytestmark = pytest.mark.usefixtures("quick_retries")
DONE, FAILED, PENDING = PurgeState.DONE, PurgeState.FAILED, PurgeState.PENDING


async def test_another_takes_over_when_the_owner_is_gone(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly:
        mortal = Mortal(store, name, fastly, dies_at=2)
        drain = mortal.drain(name)
        drain.start()
        await mortal.died.wait()  # it owns the target, and does nothing more
        async with worker(store, **{name: fastly}) as engine:
            purge_id = await purge(engine, name, "a")
            owned_ms = await redis(store, "PTTL", keys.owner(name))
            assert 0 < owned_ms <= scripts.OWN_MS
            await asyncio.sleep(0.3)
            assert (await receipt(engine, purge_id)).state is PENDING
            await redis(store, "PEXPIRE", keys.owner(name), 1)
            assert (await ended(engine, purge_id)).state is DONE
        await mortal.bury(drain)


async def test_a_worker_that_stops_gives_its_targets_back(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly:
        async with worker(store, **{name: fastly}) as engine:
            await ended(engine, await purge(engine, name, "a"))
            assert await redis(store, "EXISTS", keys.owner(name))
        assert not await redis(store, "EXISTS", keys.owner(name))


async def test_a_request_under_way_ends_before_a_worker_does(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        fastly.goes_on.clear()
        purge_id = await purge(engine, name, "a")
        await fastly.entered.wait()
        stopping = asyncio.create_task(engine.stop(soon()))
        await asyncio.sleep(0.05)
        fastly.goes_on.set()
        await stopping
        assert (await receipt(engine, purge_id)).state is DONE
        assert fastly.purged_tags == ["a"]


async def test_two_owners_at_once_do_no_harm(store: Store) -> None:
    name = a_name()
    async with (
        FastlyServer() as fastly,
        worker(store, **{name: fastly}) as one,
        worker(store, **{name: fastly}) as other,
    ):
        ids = []
        for number in range(100):
            ids.append(await purge((one, other)[number % 2], name, f"t{number}"))
            if number % 10 == 0:
                await forget_owner(store, name)
        for purge_id in ids:
            found = await ended(one, purge_id)
            assert (found.state, found.attempts) == (DONE, 1)
        assert {*fastly.purged_tags} == {f"t{number}" for number in range(100)}
        assert await queue_length(store, name) == 0


async def test_what_waits_for_a_target_that_is_taken_away_stays_until_it_is_back(
    store: Store,
) -> None:
    name, other = a_name(), a_name()
    async with FastlyServer() as fastly:
        opened = targets(**{name: fastly.target, other: fastly.target})
        async with worker_of(store, opened) as engine:
            fastly.fail(503, times=3)
            purge_id = await purge(engine, name, "a")
            async with asyncio.timeout(PATIENCE_S):
                while not (await receipt(engine, purge_id)).attempts:
                    await asyncio.sleep(0.01)
            opened.apply(settings(**{other: fastly.target}))
            engine.apply()
            async with asyncio.timeout(PATIENCE_S):
                while await redis(store, "EXISTS", keys.owner(name)):
                    await asyncio.sleep(0.01)
            assert (await receipt(engine, purge_id)).state is PENDING
            assert await queue_length(store, name) == 1
            opened.apply(settings(**{name: fastly.target, other: fastly.target}))
            engine.apply()
            assert (await ended(engine, purge_id)).state is DONE


async def test_an_owner_may_die_at_each_step(store: Store) -> None:
    """Before and behind each command and each request, of a run that meets a failure and a refusal
    on its way: whoever comes next brings the rest, and the receipts say so."""
    async with FastlyServer() as fastly:
        dies_at = 0
        while await _survives(store, fastly, dies_at):
            dies_at += 1
        assert dies_at >= 12
        fastly.violations.clear()


async def _survives(store: Store, fastly: FastlyServer, dies_at: int) -> bool:
    """Whether the owner came to the step at which it dies."""
    name = a_name()
    fastly.purges.clear()
    bad = "x" * 1100
    nobody = CdnEngine(store, targets(**{name: fastly.target}))  # it never sends
    good = [await purge(nobody, name, f"t{number}") for number in range(3)]
    wrong = await purge(nobody, name, bad)
    mortal = Mortal(store, name, fastly, dies_at)
    owner = mortal.drain(name)
    fastly.fail(503)
    owner.start()
    async with asyncio.timeout(PATIENCE_S):
        while not mortal.died.is_set() and await queue_length(store, name):
            await asyncio.sleep(0.005)
    came_to_it = mortal.died.is_set()
    await mortal.bury(owner)
    await forget_owner(store, name)
    fastly._failures.clear()
    async with worker(store, **{name: fastly}) as heir:
        for purge_id in good:
            assert (await ended(heir, purge_id)).state is DONE, dies_at
        found = await ended(heir, wrong)
        assert (found.state, found.last_error[:3]) == (FAILED, "400"), dies_at
    assert {*fastly.purged_tags} == {"t0", "t1", "t2"}, dies_at
    assert await queue_length(store, name) == 0
    return came_to_it
