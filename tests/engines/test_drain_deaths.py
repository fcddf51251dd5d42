"""Owners of a log that die, or lose an answer, at any step: what they leave is done once."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from pantler_server.core.errors import OriginOutcomeUnknown, OriginUnavailable
from pantler_server.core.record import Record
from pantler_server.engines.cache.record import keys, log_scripts
from pantler_server.engines.cache.record.log_drain import NotOwned
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.origins.origin import Batch, OwnerSuperseded
from pantler_server.store.store import Store

from tests.engines.behind import DELETE, INSERT, UPDATE, UPSERT, Worker, behind_space, worker_of
from tests.engines.draining import Broken, Interrupted, drain_of, expire_owner, row
from tests.engines.people import People


@pytest.mark.parametrize("step", ["before_apply", "before_commit", "after_commit"])
async def test_an_owner_may_die_at_each_step(
    idle: Worker, origin: People, interrupted: Interrupted, step: str
) -> None:
    await idle.put("ann", INSERT, name="Ann")
    await idle.put("ann", UPDATE, age=1)
    await idle.put("bad", INSERT, age=-1)
    await idle.put("bob", UPSERT, name="Bob")

    async def die(*_: Any) -> None:
        raise Broken

    setattr(interrupted, step, die)
    with pytest.raises(Broken):
        await drain_of(idle).drain(interrupted)
    await expire_owner(idle)
    # What is written meanwhile does not change the batch that the origin may have had.
    await idle.put("ann", UPDATE, age=2)
    await idle.put("cyd", UPSERT, name="Cyd")
    assert await drain_of(idle, "other").drain(origin) == 6
    assert origin.rows() == {
        "ann": row("ann", name="Ann", age=2),
        "bob": row("bob", name="Bob"),
        "cyd": row("cyd", name="Cyd"),
    }
    assert [one.key for one in await idle.dead()] == ["bad"]
    assert await idle.log_length() == 0
    assert await idle.cached("bad") == "miss"


async def test_an_owner_may_die_before_it_has_settled(
    idle: Worker, origin: People, interrupted: Interrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    await idle.put("ann", INSERT, name="Ann")

    async def die(*_: Any) -> None:
        raise Broken

    one = drain_of(idle)
    monkeypatch.setattr(one, "_settle", die)
    with pytest.raises(Broken):
        await one.drain(interrupted)
    assert await idle.log_length() == 1
    await expire_owner(idle)
    await drain_of(idle, "other").drain(origin)
    assert len(origin.batches) == 0  # the origin had it, and is not asked again
    assert await idle.log_length() == 0
    assert await idle.pending("ann") == "none"
    assert (await idle.base("ann")).record == row("ann", name="Ann")


async def test_an_owner_may_die_between_the_parts_of_a_batch(
    idle: Worker, origin: People, interrupted: Interrupted
) -> None:
    await idle.put("bad", INSERT, age=-1)
    await idle.put("ann", INSERT, name="Ann")
    await idle.put("bob", UPSERT, name="Bob")
    await idle.put("ann", UPDATE, age=1)
    parts = 0

    async def die(_: Batch) -> None:
        nonlocal parts
        parts += 1
        if parts == 3:
            raise Broken

    interrupted.before_apply = die
    one = drain_of(idle)
    one._most = 1  # as after a time-out
    with pytest.raises(Broken):
        await one.drain(interrupted)
    assert len(interrupted.batches) == 2
    await expire_owner(idle)
    await drain_of(idle, "other").drain(origin)
    assert origin.rows() == {"ann": row("ann", name="Ann", age=1), "bob": row("bob", name="Bob")}
    assert [one.key for one in await idle.dead()] == ["bad"]
    assert await idle.log_length() == 0


async def test_what_a_dead_owner_left_is_taken_over_when_its_time_is_up(
    store: Store, namespaces: NamespaceEngine, origin: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_scripts, "OWN_MS", 60_000)
    space = await behind_space(namespaces, whole=True, interval="10ms")
    async with (
        worker_of(store, space, origin, drains=False) as dead,
        worker_of(store, space, origin) as worker,
    ):
        one = drain_of(dead)
        await one.drain(origin)  # it owns the log from here on, and does no more
        await dead.put("ann", UPSERT, name="Ann")
        with pytest.raises(NotOwned):
            await drain_of(worker, "other").drain(origin)
        assert 0 < await dead.redis("PTTL", keys.log_owner(one.partition)) <= 60_000
        await expire_owner(dead)
        await worker.until_drained()
        assert origin.batches[0].epoch > one.epoch


async def test_a_batch_that_was_begun_is_sent_again_as_it_was(
    idle: Worker, origin: People, interrupted: Interrupted
) -> None:
    await idle.put("ann", INSERT, name="Ann")

    async def fail(_: Batch) -> None:
        raise OriginUnavailable("away", "people")

    interrupted.before_apply = fail
    with pytest.raises(OriginUnavailable):
        await drain_of(idle).drain(interrupted)
    await expire_owner(idle)
    await idle.put("ann", UPDATE, age=1)
    await drain_of(idle, "other").drain(origin)
    assert [[one.operation for one in batch.writes] for batch in origin.batches] == [
        [INSERT],
        [UPDATE],
    ]


async def test_a_lost_answer_to_a_commit_is_asked_for(
    idle: Worker, origin: People, interrupted: Interrupted
) -> None:
    await idle.put("ann", INSERT, name="Ann")
    await idle.put("bad", UPSERT, age=-1)

    async def lose() -> None:
        raise OriginOutcomeUnknown("people")

    interrupted.after_commit = lose
    assert await drain_of(idle).drain(interrupted) == 2
    assert origin.rows() == {"ann": row("ann", name="Ann")}
    assert [one.key for one in await idle.dead()] == ["bad"]
    assert await idle.log_length() == 0


async def test_a_commit_that_may_be_under_way_is_sent_again_as_it_was(
    idle: Worker, origin: People, interrupted: Interrupted
) -> None:
    await idle.put("ann", INSERT, name="Ann")

    async def lose(_: Batch) -> None:
        raise OriginOutcomeUnknown("people")

    interrupted.before_apply = lose
    one = drain_of(idle)
    with pytest.raises(OriginOutcomeUnknown):
        await one.drain(interrupted)
    interrupted.before_apply = None
    await idle.put("ann", UPDATE, age=1)
    await one.drain(interrupted)
    assert [len(batch.writes) for batch in interrupted.batches] == [1, 1]
    assert origin.rows() == {"ann": row("ann", name="Ann", age=1)}
    assert await idle.dead() == []


async def test_settling_twice_or_late_does_no_harm(
    idle: Worker, origin: People, interrupted: Interrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = drain_of(idle)
    settle = one._settle
    steps: list[Any] = []

    async def remember(step: Any) -> None:
        steps.append(step)

    monkeypatch.setattr(one, "_settle", remember)
    await idle.put("ann", UPSERT, name="Ann")
    await one.drain(interrupted)
    await expire_owner(idle)
    await idle.put("ann", UPSERT, name="Anna")
    for _ in range(2):
        for step in steps:
            await settle(step)
    assert await idle.pending("ann") == row("ann", name="Anna")
    assert await idle.log_length() == 1
    await drain_of(idle, "other").drain(origin)
    assert origin.rows() == {"ann": row("ann", name="Anna")}


@pytest.mark.parametrize(
    ("death_ratio", "refused_ratio"),
    [(0.3, 0.0), (0.1, 0.1)],  # what is refused is found in many small steps
)
@pytest.mark.parametrize("seed", range(3))
async def test_owners_that_die_at_any_moment_lose_nothing_and_do_nothing_twice(
    idle: Worker,
    origin: People,
    interrupted: Interrupted,
    seed: int,
    death_ratio: float,
    refused_ratio: float,
) -> None:
    """Each drains until it breaks, and another goes on, at times while the first still does."""
    random = Random(seed)
    deaths = 0
    refused: list[str] = []

    async def die(*_: Any) -> None:
        nonlocal deaths
        if random.random() < death_ratio:
            deaths += 1
            raise random.choice([Broken(), OriginUnavailable("", ""), OriginOutcomeUnknown("")])

    async def die_after() -> None:
        with suppress(OriginUnavailable):  # which would say that nothing was done
            await die()

    interrupted.before_apply = interrupted.before_commit = die
    interrupted.after_commit = die_after
    expected: dict[str, Record] = {}

    async def write() -> None:
        for number in range(300):
            key, age = f"k{random.randrange(8)}", number
            if random.random() < refused_ratio:
                refused.append(f"bad{number}")
                await idle.put(refused[-1], UPSERT, age=-1)
            elif key not in expected:
                await idle.put(key, INSERT, age=age)
                expected[key] = row(key, age=age)
            elif random.random() < 0.2:
                await idle.put(key, DELETE)
                del expected[key]
            else:
                await idle.put(key, UPDATE, age=age)
                expected[key]["age"] = age

    async def drain(name: str) -> None:
        one = drain_of(idle, name)
        while not writing.done() or await idle.log_length():
            settle = one._settle

            async def settle_or_die(
                step: Any, settle: Callable[[Any], Awaitable[None]] = settle
            ) -> None:
                await die()
                await settle(step)

            one._settle = settle_or_die  # type: ignore[method-assign]
            takes_over = random.random() < 0.5
            try:
                await one.drain(interrupted)
            except NotOwned:  # were it taken over each time, no pass would come to its end
                takes_over = random.random() < 0.02
                await asyncio.sleep(0.001)
            except (Broken, OwnerSuperseded, OriginUnavailable, OriginOutcomeUnknown):
                pass
            if takes_over:
                await expire_owner(idle)
            one = drain_of(idle, f"{name}{random.random()}")

    writing = asyncio.create_task(write())
    async with asyncio.timeout(50):
        await asyncio.gather(writing, drain("one"), drain("other"))
    assert origin.rows() == expected
    assert sorted(one.key for one in await idle.dead()) == sorted(refused)
    assert deaths > 10
