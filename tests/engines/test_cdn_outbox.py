"""What is promised once a purge was acknowledged, as Redis has it."""

import asyncio

import pytest
from pantler_server.cdns.target import Kind
from pantler_server.core.errors import CdnTargetUnknown, InvalidFields, PurgeUnknown
from pantler_server.engines.cdn import keys, scripts
from pantler_server.engines.cdn.batching import Value
from pantler_server.engines.cdn.engine import CdnEngine
from pantler_server.engines.cdn.outbox import Outbox
from pantler_server.engines.cdn.purge_model import Purge, PurgeState
from pantler_server.engines.cdn.scripts import KEEP_MS
from pantler_server.store.store import Store

from tests.cdns.targets import settings, targets
from tests.engines.purging import (
    a_name,
    ended,
    forget_owner,
    over,
    purge,
    queue_length,
    receipt,
    redis,
    soon,
    worker,
)
from tests.servers.fastly import FastlyServer

FAR = {"http": {"all_url": "http://127.0.0.1:9/", "tag_url": "http://127.0.0.1:9/{tag}"}}
"""A target to which nothing gets."""


def tags(*texts: str) -> list[Value]:
    return [Value(Kind.TAG, text) for text in texts]


def idle(store: Store, *names: str) -> CdnEngine:
    """An engine that never sends."""
    return CdnEngine(store, targets(**dict.fromkeys(names, FAR)))


async def test_a_purge_is_pending_until_it_is_sent(store: Store) -> None:
    name = a_name()
    engine = idle(store, name)
    status = await engine.get_purge(await purge(engine, name, "a"), soon())
    [found] = status.receipts
    assert (found.target, found.state, found.attempts) == (name, PurgeState.PENDING, 0)
    assert (found.last_error, found.finished_ms) == ("", 0)
    [seconds, _] = await redis(store, "TIME")
    assert abs(status.created_ms / 1000 - int(seconds)) < 5


async def test_receipts_expire_and_what_waits_does_not(store: Store) -> None:
    name = a_name()
    engine = idle(store, name)
    purge_id = await purge(engine, name, "a", request_id="once")
    assert KEEP_MS - 10_000 < await redis(store, "PTTL", keys.receipt(purge_id)) <= KEEP_MS
    assert await redis(store, "PTTL", keys.queue(name)) == -1
    assert await redis(store, "PTTL", keys.state(name)) in (-1, -2)
    # Half a day later it is done: and is kept for a day from then.
    await redis(store, "PEXPIRE", keys.receipt(purge_id), KEEP_MS // 2)
    async with FastlyServer() as fastly, worker(store, **{name: fastly}):
        await ended(engine, purge_id)
    assert KEEP_MS - 10_000 < await redis(store, "PTTL", keys.receipt(purge_id)) <= KEEP_MS


async def test_all_targets_get_a_purge_without_one(store: Store) -> None:
    one, other = a_name(), a_name()
    async with (
        FastlyServer() as first,
        FastlyServer() as second,
        worker(store, **{one: first, other: second}) as engine,
    ):
        status = await over(engine, await purge(engine, "", "a"))
        assert [(found.target, found.state) for found in status.receipts] == [
            (one, PurgeState.DONE),
            (other, PurgeState.DONE),
        ]
        assert first.purged_tags == second.purged_tags == ["a"]


async def test_unknown_targets_and_ids_are_refused(store: Store) -> None:
    with pytest.raises(CdnTargetUnknown, match="'nowhere'"):
        await purge(idle(store, a_name()), "nowhere", "a")
    with pytest.raises(CdnTargetUnknown, match="there is no CDN target"):
        await purge(idle(store), "", "a")
    with pytest.raises(PurgeUnknown):
        await idle(store).get_purge("nothing", soon())


async def test_a_repeat_with_its_request_id_adds_nothing(store: Store) -> None:
    name = a_name()
    engine = idle(store, name)
    said = Purge(name, tags=("a",), request_id=name)
    first, again = await engine.purge(said, soon()), await engine.purge(said, soon())
    assert (first.duplicate, again.duplicate) == (False, True)
    assert first.purge_id == again.purge_id
    assert await queue_length(store, name) == 1
    answer = await redis(store, "PTTL", keys.answer(name))
    assert 590_000 < answer <= 600_000


@pytest.mark.parametrize(
    "other",
    [{"tags": ("b",)}, {"urls": ("a",)}, {"everything": True}, {"tags": ("a",), "soft": True}],
    ids=["other tags", "a url", "everything", "soft"],
)
async def test_a_request_id_is_of_one_purge(store: Store, other: dict[str, object]) -> None:
    name = a_name()
    engine = idle(store, name)
    await engine.purge(Purge(name, tags=("a",), request_id=name), soon())
    with pytest.raises(InvalidFields, match="request_id"):
        await engine.purge(Purge(name, **other, request_id=name), soon())  # type: ignore[arg-type]
    assert await queue_length(store, name) == 1


async def test_a_repeat_for_all_targets_is_one_though_a_reload_has_added_a_target(
    store: Store,
) -> None:
    one, other = a_name(), a_name()
    opened = targets(**{one: FAR})
    engine = CdnEngine(store, opened)
    said = Purge("", tags=("a",), request_id=one)
    first = await engine.purge(said, soon())
    opened.apply(settings(**{one: FAR, other: FAR}))
    again = await engine.purge(said, soon())
    assert again.duplicate
    assert again.purge_id == first.purge_id
    with pytest.raises(InvalidFields, match="request_id"):  # nor is it that of a single target
        await engine.purge(Purge(one, tags=("a",), request_id=one), soon())


async def test_an_append_whose_reply_was_lost_is_repeated_without_harm(store: Store) -> None:
    name = a_name()
    parts = scripts.parts_of(tags("a"))
    for request_id in ("", name):
        request = scripts.append(
            f"{name}{request_id}",
            [name],
            parts,
            delay_ms=0,
            soft=False,
            request_id=request_id,
            fingerprint=b"12345678",
        )
        before = await queue_length(store, name)
        replies = [await store.call(request, soon()) for _ in range(2)]
        assert {reply[0][0] for reply in replies} == {f"{name}{request_id}".encode()}
        assert {reply[0][1] for reply in replies} == {b""}
        assert await queue_length(store, name) == before + 1


async def test_a_large_purge_is_done_when_all_its_parts_are(store: Store) -> None:
    name = a_name()
    async with FastlyServer() as fastly:
        async with worker(store, **{name: fastly}) as engine:
            wanted = [f"t{n}" for n in range(1200)]
            purge_id = await purge(engine, name, *wanted)
            found = await ended(engine, purge_id)
            assert found.state is PurgeState.DONE
            assert found.attempts == 1
            assert sorted(fastly.purged_tags) == sorted(wanted)
            assert len(fastly.purges) <= 6
        assert await queue_length(store, name) == 0


async def test_a_part_that_is_refused_fails_the_purge_once_all_are_over(store: Store) -> None:
    name = a_name()
    long = "x" * 1100  # than Fastly takes
    async with FastlyServer() as fastly, worker(store, **{name: fastly}) as engine:
        wanted = [f"t{n}" for n in range(600)]
        found = await ended(engine, await purge(engine, name, long, *wanted))
        assert found.state is PurgeState.FAILED
        assert "400" in found.last_error
        assert sorted(fastly.purged_tags) == sorted(wanted)
        fastly.violations.clear()


async def test_more_than_may_wait_becomes_one_purge_of_everything(store: Store) -> None:
    name = a_name()
    outbox = Outbox(store, lambda _: None)
    engine = idle(store, name)
    early = [
        (await outbox.append([name], tags(f"t{n}"), soon(), soft=False)).purge_id for n in range(3)
    ]
    request = scripts.append(
        f"last{name}", [name], scripts.parts_of(tags("t3")), delay_ms=0, soft=True, most=300
    )
    await store.call(request, soon())
    assert await queue_length(store, name) == 1
    assert (await receipt(engine, early[0])).state is PurgeState.PENDING
    later = await purge(engine, name, "later")
    async with FastlyServer() as fastly, worker(store, **{name: fastly}):
        for purge_id in (*early, f"last{name}", later):
            found = await ended(engine, purge_id)
            assert found.state is PurgeState.DONE
            assert found.finished_ms > 0
        assert any(one.everything for one in fastly.purges)
        assert not {"t0", "t1", "t2", "t3"} & {*fastly.purged_tags}


async def test_what_was_replaced_fails_with_what_replaced_it(store: Store) -> None:
    name = a_name()
    engine = idle(store, name)
    early = await purge(engine, name, "a")
    request = scripts.append(
        f"last{name}", [name], scripts.parts_of(tags("b")), delay_ms=0, soft=False, most=1
    )
    await store.call(request, soon())
    async with FastlyServer() as fastly, worker(store, **{name: fastly}):
        fastly.token = "another"
        for purge_id in (early, f"last{name}"):
            found = await ended(engine, purge_id)
            assert found.state is PurgeState.FAILED
            assert found.last_error.startswith("401")


async def test_what_replaces_others_is_not_due_before_them(store: Store) -> None:
    name = a_name()
    outbox = Outbox(store, lambda _: None)
    await outbox.append([name], tags("a"), soon(), soft=False, delay_ms=60_000)
    request = scripts.append(
        f"last{name}", [name], scripts.parts_of(tags("b")), delay_ms=0, soft=False, most=1
    )
    await store.call(request, soon())
    [reply] = await store.call(scripts.claim(name, "test", b"0-0"), soon())
    claim = scripts.claimed(reply)
    assert not isinstance(claim, int)
    [entry] = claim.found
    assert entry.due_ms - claim.now_ms > 50_000
    await forget_owner(store, name)


async def test_nobody_is_told_before_redis_has_it(store: Store) -> None:
    """Twenty at once: each has its receipt when it was answered."""
    name = a_name()
    engine = idle(store, name)

    async def one(number: int) -> None:
        purge_id = await purge(engine, name, f"t{number}")
        assert (await receipt(engine, purge_id)).state is PurgeState.PENDING

    await asyncio.gather(*map(one, range(20)))
    assert await queue_length(store, name) == 20
