"""Owners of a log: one at a time, though they stand still, come late or are superseded."""

import asyncio

import pytest
from pantler_server.engines.cache.record import keys, log_scripts
from pantler_server.engines.cache.record.log_drain import NotOwned
from pantler_server.engines.cache.record.model import Flushed
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.origins.origin import Batch, OwnerSuperseded
from pantler_server.store.store import Store

from tests.engines.behind import (
    INSERT,
    PATIENCE_S,
    UPDATE,
    UPSERT,
    Worker,
    behind_space,
    soon,
    worker_of,
)
from tests.engines.draining import Interrupted, drain_of, expire_owner, row
from tests.engines.people import People


async def test_a_log_has_one_owner(idle: Worker, interrupted: Interrupted) -> None:
    await idle.put("ann", UPSERT, name="Ann")
    assert await drain_of(idle, "one").drain(interrupted) == 1
    with pytest.raises(NotOwned):
        await drain_of(idle, "other").drain(interrupted)
    await expire_owner(idle)
    assert await drain_of(idle, "other").drain(interrupted) == 0


async def test_an_owner_whose_time_passed_goes_on_where_nobody_else_has_owned(
    idle: Worker, interrupted: Interrupted
) -> None:
    one = drain_of(idle)
    await idle.put("ann", UPSERT, name="Ann")
    await one.drain(interrupted)
    epoch = one.epoch
    await expire_owner(idle)
    await idle.put("ann", UPSERT, name="Anna")
    await one.drain(interrupted)
    assert one.epoch == epoch


async def test_an_owner_that_stood_still_before_its_transaction_is_too_late(
    idle: Worker, origin: People, interrupted: Interrupted
) -> None:
    await idle.put("ann", INSERT, name="Ann")
    await idle.put("ann", UPDATE, age=1)

    async def another_takes_over(_: Batch) -> None:
        interrupted.before_apply = None
        await expire_owner(idle)
        await idle.put("ann", UPDATE, age=2)
        await drain_of(idle, "other").drain(origin)

    interrupted.before_apply = another_takes_over
    with pytest.raises(OwnerSuperseded):
        await drain_of(idle).drain(interrupted)
    assert origin.rows() == {"ann": row("ann", name="Ann", age=2)}
    assert await idle.dead() == []
    assert await idle.log_length() == 0


async def test_an_owner_that_stood_still_before_its_script_does_nothing(
    idle: Worker, origin: People, interrupted: Interrupted
) -> None:
    one = drain_of(idle)
    await idle.put("ann", UPSERT, name="Ann")
    await one.drain(interrupted)
    await expire_owner(idle)
    await idle.put("bob", UPSERT, age=-1)
    await drain_of(idle, "other").drain(origin)
    [dead] = await idle.dead()
    struck = [(dead.version, b"")]
    late = log_scripts.note_dead(one.partition, one.epoch, struck, b"")
    assert await idle.store.call(late, soon()) == [0]
    assert await idle.dead() == [dead]
    with pytest.raises(NotOwned):
        await one.renew()


async def test_two_drains_at_once_do_each_write_once(
    idle: Worker, origin: People, interrupted: Interrupted
) -> None:
    """Owners change all the time, and none notices before the origin or a script says so."""
    count = 60

    async def write() -> None:
        for number in range(count):
            await idle.put(f"k{number}", INSERT, age=0)
            await idle.put(f"k{number}", UPDATE, age=number)

    async def drain(name: str, at: People) -> None:
        one = drain_of(idle, name)
        while not writing.done() or await idle.log_length():
            await expire_owner(idle)
            try:
                await one.drain(at)
            except (NotOwned, OwnerSuperseded):
                await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    async with asyncio.timeout(30):
        await asyncio.gather(writing, drain("one", origin), drain("other", interrupted))
    assert {key: one["age"] for key, one in (origin.rows()).items()} == {
        f"k{number}": number for number in range(count)
    }
    assert await idle.dead() == []


async def test_an_owner_keeps_its_log_while_the_origin_takes_long(
    store: Store,
    namespaces: NamespaceEngine,
    origin: People,
    interrupted: Interrupted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_scripts, "OWN_MS", 60_000)
    space = await behind_space(namespaces, whole=True)
    owner = keys.log_owner(space.partitions[0])
    async with (
        worker_of(store, space, interrupted) as worker,
        worker_of(store, space, origin, drains=False) as other,
    ):
        under_way, goes_on = asyncio.Event(), asyncio.Event()

        async def take_long(_: Batch) -> None:
            under_way.set()
            await goes_on.wait()

        interrupted.before_apply = take_long
        await worker.put("ann", UPSERT, name="Ann")
        worker.drainer.hurry(space.partitions)
        await under_way.wait()
        for _ in range(2):
            await worker.redis("PEXPIRE", owner, 30_000)
            async with asyncio.timeout(PATIENCE_S):
                while await worker.redis("PTTL", owner) <= 30_000:
                    await asyncio.sleep(0.02)
            with pytest.raises(NotOwned):
                await drain_of(other, "other").drain(origin)
        goes_on.set()
        await worker.flush()
        assert origin.batches == []


async def test_an_owner_that_the_origin_takes_for_an_older_one_gets_a_new_epoch(
    idle: Worker, origin: People, interrupted: Interrupted
) -> None:
    one = drain_of(idle)
    await idle.put("ann", UPSERT, name="Ann")
    await one.drain(interrupted)
    # As a later owner left it, of whom Redis has lost all trace since.
    origin.execute("UPDATE pantler_logs SET epoch = epoch + 1")
    await idle.put("ann", UPSERT, name="Anna")
    with pytest.raises(OwnerSuperseded):
        await one.drain(interrupted)
    await one.drain(interrupted)
    assert await idle.log_length() == 0
    assert origin.rows() == {"ann": row("ann", name="Anna")}


async def test_an_owner_that_is_superseded_again_and_again_is_told_of(
    worker: Worker, origin: People
) -> None:
    await worker.put("ann", UPSERT, name="Ann")
    await worker.flush()
    origin.execute(f"UPDATE pantler_logs SET epoch = {2**52}")  # of a clock that was far ahead
    await worker.put("ann", UPSERT, name="Anna")
    assert await worker.flush(timeout_s=0.5) == Flushed(0, 1)
    assert "later owner" in (await worker.backlog()).last_error
    origin.execute("UPDATE pantler_logs SET epoch = 1")
    await worker.flush()
    assert (await worker.backlog()).last_error == ""
    assert origin.rows() == {"ann": row("ann", name="Anna")}
