"""What waits for a target gets there, whatever happens to the target, to Redis or to the worker."""

import asyncio
from time import monotonic

import pytest
from aiohttp import web
from pantler_server.cdns.target import Kind
from pantler_server.engines.cdn import drain as drain_module
from pantler_server.engines.cdn import keys, scripts, sending
from pantler_server.engines.cdn.batching import Value
from pantler_server.engines.cdn.engine import CdnEngine
from pantler_server.engines.cdn.outbox import Outbox
from pantler_server.engines.cdn.purge_model import Purge, PurgeState
from pantler_server.store.store import Store
from prometheus_client import REGISTRY

from tests.cdns.targets import settings, targets
from tests.cdns.test_http_template import Recorder
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
from tests.servers.valkey import free_port
from tests.servers.vendor import Purge as Sent
from tests.servers.vendor import VendorError

DONE, FAILED, PENDING = PurgeState.DONE, PurgeState.FAILED, PurgeState.PENDING


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who failed is tried again soon."""
    monkeypatch.setattr(drain_module, "FIRST_BACKOFF_S", 0.02)
    monkeypatch.setattr(drain_module, "LONGEST_BACKOFF_S", 0.2)


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


async def test_a_vendor_that_fails_is_tried_again(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        fastly.fail(503, times=3)
        fastly.fail(500, done=True)
        found = await ended(engine, await purge(engine, name, "a"))
        assert (found.state, found.attempts) == (DONE, 5)
        assert found.last_error.startswith("500")
        assert fastly.purged_tags == ["a", "a"]


async def test_a_vendor_is_left_alone_for_as_long_as_it_asks(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        fastly.fail(429, retry_after="1")
        began = monotonic()
        first = await purge(engine, name, "a")
        async with asyncio.timeout(PATIENCE_S):
            while (await receipt(engine, first)).attempts == 0:
                await asyncio.sleep(0.01)
        # Neither what comes meanwhile nor another owner asks sooner.
        later = await purge(engine, name, "b")
        waiting = await receipt(engine, later)
        assert (waiting.attempts, waiting.last_error[:3]) == (0, "429")
        await engine.stop()
        async with worker(store, **{name: fastly}) as other:
            for purge_id in (first, later):
                assert (await ended(other, purge_id)).state is DONE
            assert (await receipt(other, later)).last_error == ""
        assert fastly.requests == 2
        assert fastly.purges[0].at - began >= 1.0


async def test_a_target_that_is_configured_anew_is_tried_at_once(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly:
        opened = targets(**{name: fastly.target})
        async with worker_of(store, opened) as engine:
            fastly.fail(429, retry_after="600")
            purge_id = await purge(engine, name, "a")
            async with asyncio.timeout(PATIENCE_S):
                while not (await receipt(engine, purge_id)).attempts:
                    await asyncio.sleep(0.01)
            other = {**fastly.target, "timeout": "3s"}
            opened.apply(settings(**{name: other}))
            engine.apply()
            found = await ended(engine, purge_id)
            assert (found.state, found.attempts) == (DONE, 2)
            pause = await redis(store, "HMGET", keys.state(name), "failures", "until", "answer")
            assert pause == [None] * 3  # nor does another owner wait


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


async def test_a_wait_that_is_too_long_is_cut(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_module, "LONGEST_RETRY_AFTER_S", 0.1)
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        fastly.fail(429, retry_after="90000")
        assert (await ended(engine, await purge(engine, name, "a"))).state is DONE


async def test_a_vendor_that_hangs_or_is_away_is_tried_again(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly:
        impatient = {**fastly.target, "timeout": "200ms"}
        async with worker(store, **{name: impatient}) as engine:
            fastly.goes_on.clear()
            purge_id = await purge(engine, name, "a")
            async with asyncio.timeout(PATIENCE_S):
                while (await receipt(engine, purge_id)).attempts < 2:
                    await asyncio.sleep(0.01)
            fastly.goes_on.set()
            await fastly.stop()
            async with asyncio.timeout(PATIENCE_S):
                while (await receipt(engine, purge_id)).attempts < 4:
                    await asyncio.sleep(0.01)
            assert (await receipt(engine, purge_id)).last_error
            await fastly.start()
            found = await ended(engine, purge_id)
            assert found.state is DONE
            assert found.attempts >= 5


async def test_a_wrong_token_fails_everything_with_few_requests(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        fastly.token = "another"
        ids = await asyncio.gather(*(purge(engine, name, f"t{n}") for n in range(2000)))
        for purge_id in ids[::100]:
            found = await ended(engine, purge_id)
            assert (found.state, found.attempts) == (FAILED, 1)
            assert found.last_error.startswith("401")
            assert fastly.token not in found.last_error
        requests = fastly.requests
        assert requests <= 2 * sending.AT_ONCE
        fastly.token = "token-of-the-stand-in"
        found = await ended(engine, await purge(engine, name, "mended"))
        assert found.state is DONE
        assert fastly.purged_tags == ["mended"]  # and nothing of what failed is tried again


async def test_a_value_that_is_refused_is_found_among_the_others(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        good = [f"t{n}" for n in range(255)]
        bad = "x" * 1100  # longer than Fastly takes
        fine, wrong = await asyncio.gather(purge(engine, name, *good), purge(engine, name, bad))
        assert (await ended(engine, fine)).state is DONE
        found = await ended(engine, wrong)
        assert found.state is FAILED
        assert found.last_error.startswith("400")
        assert sorted(fastly.purged_tags) == sorted(good)
        assert fastly.requests <= 1 + 2 * 8 + 2  # of log2(256) halvings
        fastly.violations.clear()


async def test_nothing_is_refused_with_others(store: Store) -> None:
    """Whichever part of the request is asked for, there is something in it that is not taken."""
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        good = [f"t{n:03}" for n in range(252)]
        bad = [f"{n}" + "x" * 1100 for n in range(4)]
        mixed = [tag for n, one in enumerate(bad) for tag in (*good[63 * n : 63 * n + 63], one)]
        purges = await asyncio.gather(*(purge(engine, name, tag) for tag in mixed))
        ends = [(await ended(engine, one)).state for one in purges]
        assert ends == [FAILED if tag in bad else DONE for tag in mixed]
        assert {*fastly.purged_tags} == {*good}
        fastly.violations.clear()


async def test_what_takes_many_requests_to_find_is_found_at_last(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        tags = [f"t{n:03}" if n % 8 else f"{n:03}" + "x" * 1100 for n in range(128)]
        purges = await asyncio.gather(*(purge(engine, name, tag) for tag in tags))
        ends = [(await ended(engine, one)).state for one in purges]
        assert ends == [FAILED if len(tag) > 1000 else DONE for tag in tags]
        fastly.violations.clear()


async def test_what_is_all_refused_costs_few_requests(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        bad = [f"{n:04}" + "x" * 1100 for n in range(200)]
        found = await ended(engine, await purge(engine, name, *bad))
        assert found.state is FAILED
        # Four parts of the purge, each a request, its halves, and some values alone.
        assert fastly.requests <= 4 * (1 + 2 + sending.PROBES)
        fastly.violations.clear()


async def test_what_fails_by_itself_holds_up_nothing_else(store: Store) -> None:
    name = a_name()
    async with _PoisonedFastly() as fastly, worker(store, **{name: fastly}) as engine:
        poison = await purge(engine, name, "poison")
        await asyncio.sleep(0.15)  # it goes alone, first
        for number in range(5):
            found = await ended(engine, await purge(engine, name, f"t{number}"))
            assert found.state is DONE
        assert (await receipt(engine, poison)).state is PENDING
        # Nor what has met it in a request.
        fastly.fail(503)
        met = await purge(engine, name, "met")
        async with asyncio.timeout(PATIENCE_S):
            while not (await receipt(engine, met)).attempts:
                await asyncio.sleep(0.01)
        assert (await ended(engine, met)).state is DONE
        fastly.heals = True
        assert (await ended(engine, poison)).state is DONE


async def test_much_that_fails_by_itself_holds_up_nothing_behind_it(store: Store) -> None:
    """More than fits in a round, and no request with anything else in it goes before it."""
    name = a_name()
    async with _Choosy() as choosy:
        config = {"http": {"tag_url": f"{choosy.url}/{{tag}}"}, "max_requests_per_second": 10_000}
        nobody = CdnEngine(store, targets(**{name: config}))
        for number in range(200):
            await purge(nobody, name, f"bad{number}")
        good = [await purge(nobody, name, f"good{number}") for number in range(50)]
        async with worker(store, **{name: config}) as engine:
            for purge_id in good:
                assert (await ended(engine, purge_id)).state is DONE
            first = next(n for n, path in enumerate(choosy.asked) if path.startswith("/good"))
            assert first < 100


async def test_what_fails_by_itself_is_soon_asked_for_alone(store: Store) -> None:
    name = a_name()
    async with _PoisonedFastly() as fastly, worker(store, **{name: fastly}) as engine:
        poison = await purge(engine, name, "poison")
        met = await purge(engine, name, "met")  # goes with it
        assert (await ended(engine, met)).state is DONE
        assert fastly.companies[:2] == [2, 1]
        for number in range(20):
            assert (await ended(engine, await purge(engine, name, f"t{number}"))).state is DONE
        assert set(fastly.companies[1:]) == {1}, "it never comes back among others"
        assert (await receipt(engine, poison)).state is PENDING


class _Choosy(Recorder):
    """It fails for what is bad."""

    @property
    def asked(self) -> list[str]:
        return [path for _, path, _ in self.got]

    async def _answer(self, request: web.Request) -> web.Response:
        self.status = 500 if request.path.startswith("/bad") else 200
        return await super()._answer(request)


class _PoisonedFastly(FastlyServer):
    """It fails as long as it is asked for `poison`."""

    def __init__(self) -> None:
        super().__init__()
        self.heals = False
        self.companies: list[int] = []
        """How many keys each request had that was for `poison` too."""

    async def _purge_keys(self, request: web.Request, soft: bool) -> web.Response:
        keys = (await request.json())["surrogate_keys"]
        if not self.heals and "poison" in keys:
            self.companies.append(len(keys))
            raise VendorError(500, 0, "poisoned")
        return await super()._purge_keys(request, soft)


async def test_a_server_that_is_away_does_not_keep_others_from_what_is_new(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_module, "LONGEST_BACKOFF_S", 300.0)
    name = a_name()
    async with Recorder() as there:
        away = f"http://127.0.0.1:{free_port()}"
        both = {"varnish": {"servers": [there.url, away]}}
        async with worker(store, **{name: both}) as engine:
            old = await purge(engine, name, "old")
            async with asyncio.timeout(PATIENCE_S):
                while (await receipt(engine, old)).attempts < 9:  # the next is tried after 2.5 s
                    await asyncio.sleep(0.01)
            new = await purge(engine, name, "new")
            async with asyncio.timeout(1.5):
                while not any(one.get("xkey-purge") == "new" for one in there.headers):
                    await asyncio.sleep(0.01)
            assert (await receipt(engine, new)).state is PENDING


async def test_what_fails_for_a_day_is_given_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        fastly.fail(503, times=100)
        purge_id = await purge(engine, name, "a")
        async with asyncio.timeout(PATIENCE_S):
            while (await receipt(engine, purge_id)).attempts < 2:
                await asyncio.sleep(0.01)
        monkeypatch.setattr(drain_module, "GIVE_UP_MS", 1)
        found = await ended(engine, purge_id)
        assert found.state is FAILED
        assert found.last_error.startswith("given up after a day: 503")
        assert await queue_length(store, name) == 0


async def test_what_fails_without_a_receipt_is_counted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        fastly.fail(503, times=100)
        purge_id = await purge(engine, name, "a")
        async with asyncio.timeout(PATIENCE_S):
            while not (await receipt(engine, purge_id)).attempts:
                await asyncio.sleep(0.01)
        await redis(store, "DEL", keys.receipt(purge_id))  # as when it has expired
        monkeypatch.setattr(drain_module, "GIVE_UP_MS", 1)
        async with asyncio.timeout(PATIENCE_S):
            while await queue_length(store, name):
                await asyncio.sleep(0.01)
            while not REGISTRY.get_sample_value("pantler_purges_failed_total", {"target": name}):
                await asyncio.sleep(0.01)


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
