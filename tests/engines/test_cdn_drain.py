"""What waits for a target gets there when it is due, in as few requests as its limits allow."""

import asyncio
from time import monotonic

import pytest
from pantler_server.cdns.target import Kind
from pantler_server.engines.cdn import keys, scripts
from pantler_server.engines.cdn.batching import Value
from pantler_server.engines.cdn.engine import CdnEngine
from pantler_server.engines.cdn.outbox import Outbox
from pantler_server.engines.cdn.purge_model import Purge, PurgeState
from pantler_server.store.store import Store

from tests.cdns.targets import targets
from tests.engines.purging import (
    PATIENCE_S,
    a_name,
    ended,
    purge,
    queue_length,
    receipt,
    redis,
    soon,
    worker,
)
from tests.servers.fastly import FastlyServer
from tests.servers.vendor import Purge as Sent

pytestmark = pytest.mark.usefixtures("quick_retries")
DONE = PurgeState.DONE


async def test_a_burst_becomes_as_few_requests_as_the_limits_allow(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly:
        nobody = CdnEngine(store, targets(**{name: fastly.target}))  # it never sends
        ids: list[str] = []
        for first in range(0, 10_000, 500):
            some = (purge(nobody, name, f"t{n}") for n in range(first, first + 500))
            ids += await asyncio.gather(*some)
        async with worker(store, **{name: fastly}) as engine:
            async with asyncio.timeout(4 * PATIENCE_S):
                while await queue_length(store, name):
                    await asyncio.sleep(0.01)
            for purge_id in ids[::100]:
                assert (await receipt(engine, purge_id)).state is DONE
        assert sorted(fastly.purged_tags) == sorted(f"t{n}" for n in range(10_000))
        assert fastly.requests == 40  # ceil(10_000 / 256)


async def test_a_burst_under_way_waits_for_more_than_it_sends(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        began = monotonic()
        for first in range(0, 1500, 50):
            await asyncio.gather(*(purge(engine, name, f"t{first + n}") for n in range(50)))
        took_s = monotonic() - began
        async with asyncio.timeout(PATIENCE_S):
            while await queue_length(store, name):
                await asyncio.sleep(0.01)
        assert sorted(fastly.purged_tags) == sorted(f"t{n}" for n in range(1500))
        assert fastly.requests <= 6 + took_s / 0.1 + 2  # ceil(1500 / 256); who lingers goes then


async def test_a_value_that_many_ask_for_goes_once(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        ids = await asyncio.gather(*(purge(engine, name, "same") for _ in range(50)))
        for purge_id in ids:
            assert (await ended(engine, purge_id)).state is DONE
        assert fastly.requests <= 2


async def test_a_purge_asked_for_while_its_like_is_under_way_is_a_request_of_its_own(
    store: Store,
) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        fastly.goes_on.clear()
        first = await purge(engine, name, "same")
        await fastly.entered.wait()
        later = await purge(engine, name, "same")
        fastly.goes_on.set()
        for purge_id in (first, later):
            assert (await ended(engine, purge_id)).state is DONE
        assert fastly.purged_tags == ["same", "same"]


async def test_nothing_is_sent_before_it_is_due(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        await purge(engine, name, "now")
        outbox = Outbox(store, lambda _: None)
        began = monotonic()
        values = [Value(Kind.TAG, "later")]
        purged = await outbox.append([name], values, soon(), soft=False, delay_ms=700)
        assert (await ended(engine, purged.purge_id)).state is DONE
        assert fastly.purged_tags == ["now", "later"]
        assert fastly.purges[-1].at - began >= 0.7
        assert fastly.purges[-1].at - began < 5  # it waits no longer than it must


async def test_an_idle_owner_sends_soon_what_another_worker_writes_down(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as owner:
        await ended(owner, await purge(owner, name, "first"))
        async with worker(store, **{name: fastly}) as other:
            took = []
            for number in range(5):
                began = monotonic()
                await ended(other, await purge(other, name, f"t{number}"))
                took.append(fastly.purges[-1].at - began)
            assert min(took) < 0.1 + 0.1  # it lingers for 0.1 s


async def test_hard_beats_soft_and_soft_stays_soft(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        ids = await asyncio.gather(
            purge(engine, name, "both", "soft", soft=True), purge(engine, name, "both", "hard")
        )
        for purge_id in ids:
            assert (await ended(engine, purge_id)).state is DONE
        assert {(one.tags, one.soft) for one in fastly.purges} == {
            (("both", "hard"), False),
            (("soft",), True),
        }


async def test_a_purge_of_everything_takes_the_place_of_what_is_due(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        everything = engine.purge(Purge(name, everything=True), soon())
        some, all_of_it, more = await asyncio.gather(
            purge(engine, name, "a"), everything, purge(engine, name, "b")
        )
        for purge_id in (some, all_of_it.purge_id, more):
            assert (await ended(engine, purge_id)).state is DONE
        assert fastly.purges == [Sent(everything=True)]


async def test_a_large_purge_without_failure_is_one_attempt(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        purge_id = await purge(engine, name, *(f"t{n}" for n in range(1800)))
        found = await ended(engine, purge_id)
        assert (found.state, found.attempts) == (DONE, 1)
        fastly.fail(503)
        purge_id = await purge(engine, name, *(f"t{n}" for n in range(1800)))
        found = await ended(engine, purge_id)
        assert (found.state, found.attempts) == (DONE, 2)


async def test_the_rate_of_a_target_is_kept(store: Store) -> None:
    name = a_name()
    async with FastlyServer(rate=20, bucket=20) as fastly:
        slow = {**fastly.target, "max_requests_per_second": 10}
        async with worker(store, **{name: slow}) as engine:
            began = monotonic()
            for purge_id in await asyncio.gather(
                *(purge(engine, name, *(f"{part}.{n}" for n in range(256))) for part in range(15))
            ):
                assert (await ended(engine, purge_id)).state is DONE
            assert fastly.limited == 0
            assert monotonic() - began >= 0.4  # ten at once, and then ten in a second


async def test_a_queue_that_is_lost_and_begun_anew_is_read_from_its_beginning(
    store: Store,
) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        await ended(engine, await purge(engine, name, "a"))
        await redis(store, "DEL", keys.queue(name))
        # Its clock is behind that of the one that was lost.
        fields = (
            "p",
            "x",
            "d",
            "1",
            "a",
            "1",
            "s",
            "",
            "v",
            scripts.EVERYTHING.text,
            "c",
            "",
            "w",
            1,
        )
        await redis(store, "XADD", keys.queue(name), "5-0", *fields)
        async with asyncio.timeout(PATIENCE_S):
            while not any(one.everything for one in fastly.purges):
                await asyncio.sleep(0.01)
