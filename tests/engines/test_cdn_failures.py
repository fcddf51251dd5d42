"""Targets that fail, hang or refuse: what is tried again, what is given up, and what goes on."""

import asyncio
from time import monotonic

import pytest
from aiohttp import web
from pantler_server.engines.cdn import drain as drain_module
from pantler_server.engines.cdn import keys, sending
from pantler_server.engines.cdn.engine import CdnEngine
from pantler_server.engines.cdn.purge_model import PurgeState
from pantler_server.store.store import Store
from prometheus_client import REGISTRY

from tests.cdns.targets import settings, targets
from tests.cdns.test_http_template import Recorder
from tests.engines.purging import (
    PATIENCE_S,
    a_name,
    ended,
    purge,
    queue_length,
    receipt,
    redis,
    worker,
    worker_of,
)
from tests.servers.fastly import FastlyServer
from tests.servers.valkey import free_port
from tests.servers.vendor import VendorError

pytestmark = pytest.mark.usefixtures("quick_retries")
DONE, FAILED, PENDING = PurgeState.DONE, PurgeState.FAILED, PurgeState.PENDING


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
    async with Recorder(reason="Purged 1") as there:
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
