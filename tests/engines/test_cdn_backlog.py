"""Much waits for a target: how much may, and what is seen of it."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from pantler_server.cdns.target import Kind
from pantler_server.core.cdn_config import NamespaceCdn
from pantler_server.core.errors import PurgeBacklogFull
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cdn import drain as drain_module
from pantler_server.engines.cdn import engine as engine_module
from pantler_server.engines.cdn import keys, scripts
from pantler_server.engines.cdn.batching import Value, Waiting
from pantler_server.engines.cdn.engine import CdnEngine
from pantler_server.engines.cdn.outbox import Outbox
from pantler_server.engines.cdn.purge_model import Purge, PurgeState
from pantler_server.store.store import Store

from tests.cdns.targets import targets
from tests.cdns.test_http_template import Recorder
from tests.engines.caller import Caller, value
from tests.engines.purging import (
    PATIENCE_S,
    a_name,
    ended,
    forget_owner,
    purge,
    purging_of,
    queue_length,
    receipt,
    redis,
    soon,
    worker,
)
from tests.servers.fastly import FastlyServer
from tests.servers.vendor import Purge as Sent
from tests.servers.vendor import VendorError

DONE, FAILED, PENDING = PurgeState.DONE, PurgeState.FAILED, PurgeState.PENDING


def tags(*texts: str) -> list[Value]:
    return [Value(Kind.TAG, text) for text in texts]


def urls(count: int, size: int) -> list[Value]:
    return [Value(Kind.URL, f"https://shop.example/{n:06}".ljust(size, "x")) for n in range(count)]


def outbox_of(store: Store) -> Outbox:
    return Outbox(store, lambda _: None)


async def weight(store: Store, name: str) -> int:
    return int(await redis(store, "HGET", keys.state(name), "weight") or 0)


async def read(store: Store, name: str, after: bytes) -> list[Waiting]:
    [reply] = await store.call(scripts.claim(name, "test", after), soon())
    claim = scripts.claimed(reply)
    assert not isinstance(claim, int)
    return claim.found


async def test_what_is_not_due_hides_nothing_behind_it(store: Store) -> None:
    name = a_name()
    for part in range(30):
        later = tags(*(f"t{part}.{n}" for n in range(2000)))
        await outbox_of(store).append([name], later, soon(), soft=False, delay_ms=60_000)
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        everything = await engine.purge(Purge(name, everything=True), soon())
        assert (await ended(engine, everything.purge_id)).state is DONE
        assert fastly.purges == [Sent(everything=True)]


async def test_what_waits_is_weighed(store: Store) -> None:
    name = a_name()
    nobody = CdnEngine(store, targets(**{name: {"http": {"all_url": "http://127.0.0.1:9/"}}}))
    for tag in ("a", "b"):
        await purge(nobody, name, tag)
    await purge(nobody, name, *(f"t{n}" for n in range(600)))
    waiting = await read(store, name, b"0-0")
    assert await weight(store, name) == sum(one.weight for one in waiting) > 602 * 64
    await store.call(scripts.settle(name, waiting[:1]), soon())
    await store.call(scripts.settle(name, waiting[:2]), soon())  # the first is gone already
    assert await weight(store, name) == sum(one.weight for one in waiting[2:])
    await redis(store, "HDEL", keys.state(name), "weight")  # as if it was lost
    await store.call(scripts.settle(name, waiting[2:3]), soon())
    assert await weight(store, name) == 0
    await store.call(scripts.settle(name, waiting), soon())
    await redis(store, "HSET", keys.state(name), "weight", 10**9)
    await purge(nobody, name, "c")
    [one] = await read(store, name, b"0-0")
    assert await weight(store, name) == one.weight, "an empty queue weighs nothing"
    await forget_owner(store, name)


async def test_what_may_wait_is_bounded_by_its_size(store: Store) -> None:
    name = a_name()
    for _ in range(9):
        await outbox_of(store).append([name], urls(1000, 2000), soon(), soft=False)
        assert await weight(store, name) <= scripts.MOST_WEIGHT
    [one] = await read(store, name, b"0-0")
    assert [value.kind for value in one.left] == [Kind.EVERYTHING]
    assert await weight(store, name) == one.weight == scripts.EVERYTHING.weight
    await forget_owner(store, name)


@pytest.mark.parametrize("before", [0, 3])
async def test_a_page_is_little_more_than_it_should_be(store: Store, before: int) -> None:
    """Whatever comes behind what is small."""
    name = a_name()
    for number in range(before):
        await outbox_of(store).append([name], tags(f"t{number}"), soon(), soft=False)
    await outbox_of(store).append([name], urls(1000, 2000), soon(), soft=False)
    found, after, pages = 0, b"0-0", 0
    while page := await read(store, name, after):
        assert sum(one.weight for one in page) <= scripts.PAGE_WEIGHT * (5 if before else 2)
        found += sum(len(one.left) for one in page)
        after, pages = page[-1].entry_id, pages + 1
    assert found == before + 1000
    assert pages > 5
    await forget_owner(store, name)


def partial(recorder: Recorder) -> dict[str, Any]:
    """A target that can't purge everything."""
    http = {
        "method": "PURGE",
        "tag_url": f"{recorder.url}/{{tag}}",
        "url_url": f"{recorder.url}/?of={{url}}",
    }
    return {"http": http, "max_requests_per_second": 10_000}


async def fill(store: Store, name: str) -> None:
    """No more may wait for a target for which something does."""
    await redis(store, "HSET", keys.state(name), "weight", scripts.MOST_WEIGHT)


async def test_a_target_that_cannot_purge_everything_takes_no_more_than_may_wait(
    store: Store,
) -> None:
    whole, name = a_name(), a_name()
    async with FastlyServer() as fastly, Recorder() as recorder:
        configs = {whole: fastly.target, name: partial(recorder)}
        nobody = CdnEngine(store, targets(**configs))
        waiting = [await purge(nobody, one, "a") for one in (whole, name)]
        await fill(store, whole)
        await fill(store, name)
        with pytest.raises(PurgeBacklogFull, match=r"not written down.*all_url") as refused:
            await purge(nobody, "", "b", request_id=name)
        assert refused.value.metadata == {"target": name}
        for one in (whole, name):
            assert await queue_length(store, one) == 1
            assert (await receipt(nobody, waiting[one == name])).state is PENDING
        async with worker(store, **configs) as engine:
            for purge_id in waiting:
                assert (await ended(engine, purge_id)).state is DONE
            repeated = await engine.purge(Purge("", tags=("b",), request_id=name), soon())
            assert not repeated.duplicate
        assert recorder.got[0][1] == "/a"


async def test_an_invalidation_that_is_not_purged_for_that_says_so_and_is_done(
    store: Store, engine: CacheEngine, space: Namespace
) -> None:
    name = a_name()
    cdn = NamespaceCdn(targets=(name,))
    space = replace(space, config=space.config.model_copy(update={"cdn": cdn}))
    caller = Caller(engine, space)
    await caller.set("k", b"old", tags=("t",))
    async with Recorder() as recorder:
        nobody = CdnEngine(store, targets(**{name: partial(recorder)}))
        await purge(nobody, name, "a")
        await fill(store, name)
        with pytest.raises(
            PurgeBacklogFull, match="it is done, but the purge was not written down"
        ):
            await purging_of(engine, nobody).invalidate_tags(space, ["t"], soon())
    assert value(await caller.get("k")) is None


async def test_one_call_that_alone_is_more_than_may_wait_purges_everything_or_says_so(
    store: Store, engine: CacheEngine, space: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "MOST_WEIGHT", 10_000)
    whole, name = a_name(), a_name()
    keys_of_a_call = [f"k{n}" for n in range(100)]

    def of(*names: str) -> Namespace:
        cdn = NamespaceCdn(targets=names, urls=("https://a.example/{key}",), delay=timedelta(0))
        return replace(space, config=space.config.model_copy(update={"cdn": cdn}))

    async with FastlyServer() as fastly, Recorder() as recorder:
        configs = {whole: fastly.target, name: partial(recorder)}
        async with worker(store, **configs) as running:
            purged = purging_of(engine, running)
            _, purge_id = await purged.invalidate_keys(of(whole), keys_of_a_call, soon())
            assert (await ended(running, purge_id)).state is DONE
            assert [sent.everything for sent in fastly.purges] == [True]
            with pytest.raises(PurgeBacklogFull, match=r"it is done, but .* alone .* fewer keys"):
                await purged.invalidate_keys(of(name), keys_of_a_call, soon())
            _, purge_id = await purged.invalidate_keys(of(name), keys_of_a_call[:10], soon())
            assert (await ended(running, purge_id)).state is DONE


async def test_an_owner_holds_no_more_than_the_queue_while_the_target_is_away(
    store: Store,
) -> None:
    """What was replaced it forgets too, due or not, tried or not."""
    name = a_name()
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        fastly.fail(503, times=10_000)
        held = engine._drains[name]._held
        waiting: list[str] = []
        for turn in range(3):
            for number in range(10):
                values = tags(*(f"t{turn}.{number}.{n}" for n in range(20)))
                purged = await outbox_of(store).append(
                    [name], values, soon(), soft=False, delay_ms=1000 * (number % 2)
                )
                waiting.append(purged.purge_id)
            await seen(engine, name, 10 + (turn > 0))
            await fill(store, name)
            waiting.append(await purge(engine, name, "last"))
            await seen(engine, name, 1)
        [one] = held.all()
        assert len(held._later) + len(held._aside) + len(held._ready) == 1
        assert [*held._failed] in ([], [one])
        fastly.forgive()
        for purge_id in waiting:
            assert (await ended(engine, purge_id)).state is DONE
        assert not held.all()


async def seen(engine: CdnEngine, name: str, count: int) -> None:
    """Waits until its owner holds so many."""
    async with asyncio.timeout(PATIENCE_S):
        while len(engine._drains[name]._held.all()) != count:
            await asyncio.sleep(0.01)


async def test_everything_that_fails_by_itself_holds_up_nothing_else(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_module, "FIRST_BACKOFF_S", 0.02)
    name = a_name()
    async with _NeverAllFastly() as fastly, worker(store, **{name: fastly}) as engine:
        everything = await engine.purge(Purge(name, everything=True), soon())
        for purge_id in [await purge(engine, name, f"t{number}") for number in range(5)]:
            found = await ended(engine, purge_id)
            assert (found.state, found.attempts) == (DONE, 1)
        assert (await receipt(engine, everything.purge_id)).state is PENDING
        fastly.heals = True
        assert (await ended(engine, everything.purge_id)).state is DONE


class _NeverAllFastly(FastlyServer):
    """It fails when it is to purge everything."""

    heals = False

    async def _purge_all(self, request: web.Request, soft: bool) -> web.Response:
        if not self.heals:
            raise VendorError(500, 0, "not everything")
        return await super()._purge_all(request, soft)
