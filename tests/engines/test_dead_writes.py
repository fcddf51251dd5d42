"""Writes that the origin refuses: they are kept, and hold nothing back."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from pantler_server.core.errors import (
    OriginOutcomeUnknown,
    OriginUnavailable,
    StoreUnavailable,
    WriteBacklogFull,
    WriteRefused,
)
from pantler_server.engines.cache.record import keys
from pantler_server.engines.cache.record.model import Put
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.origins.origin import Batch, Refusal
from pantler_server.store.request import Request
from pantler_server.store.store import Store

from tests.engines.behind import (
    INSERT,
    UPDATE,
    UPSERT,
    Worker,
    behind_space,
    soon,
    worker_of,
    worker_on,
)
from tests.engines.draining import Broken, Interrupted, drain_of, expire_owner, row
from tests.engines.people import People
from tests.servers.valkey import ValkeyServer


async def test_a_refused_write_holds_nothing_back_and_is_told_of(
    worker: Worker, origin: People
) -> None:
    good = [Put(f"k{number}", UPSERT, {"age": number}) for number in range(20)]
    await worker.put_many([*good[:10], Put("bad", UPSERT, {"age": -1}), *good[10:]])
    await worker.flush()
    assert origin.rows() == {one.key: row(one.key, **one.fields) for one in good}
    [dead] = await worker.dead()
    assert (dead.key, dead.operation, dead.fields) == ("bad", UPSERT, {"age": -1})
    assert dead.reason == "it breaks a check of the table"
    assert dead.refused_us > 1.7e15
    assert await worker.pending("bad") == "none"
    assert await worker.cached("bad") == "miss"
    backlog = await worker.backlog()
    assert (backlog.pending, backlog.oldest_us, backlog.dead) == (0, 0, 1)


async def test_of_folded_writes_only_what_is_refused_by_itself_is_dead(
    worker: Worker, origin: People
) -> None:
    await worker.put("ann", INSERT, name="Ann")
    await worker.put("ann", UPDATE, age=-1)
    await worker.put("ann", UPDATE, email="a@b")
    await worker.flush()
    assert origin.rows() == {"ann": row("ann", name="Ann", email="a@b")}
    [dead] = await worker.dead()
    assert dead.fields == {"age": -1}
    assert await worker.cached("ann") == "miss"  # it showed what the origin does not have


async def test_a_write_that_is_refused_only_at_the_commit_is_found(
    idle: Worker, origin: People, interrupted: Interrupted
) -> None:
    async def refuse(batch: Batch) -> None:
        if any(write.fields.get("age") == 13 for write in batch.writes):
            raise WriteRefused("it breaks a rule", "people")

    interrupted.before_apply = refuse
    for age in (1, 13, 2):
        await idle.put("ann", UPSERT, age=age)
        await idle.put(f"k{age}", UPSERT, age=age)
    assert await drain_of(idle).drain(interrupted) == 6
    assert {key: one["age"] for key, one in origin.rows().items()} == {"ann": 2, "k1": 1, "k2": 2}
    assert {(one.key, one.reason) for one in await idle.dead()} == {
        ("k13", "it breaks a rule"),
        ("ann", "it breaks a rule"),
    }
    assert await idle.log_length() == 0
    assert await origin.applied("unheard of", soon()) == 0


async def test_a_dead_write_is_retried_when_its_cause_is_gone(
    worker: Worker, origin: People
) -> None:
    origin.execute("INSERT INTO people (id, email) VALUES ('other', 'a@b')")
    await worker.put("ann", UPSERT, email="a@b")
    await worker.flush()
    [dead] = await worker.dead()
    index = worker.space.partitions.index(worker.space.partition_of("ann"))
    assert dead.id == f"{index}-{dead.version}"
    origin.execute("DELETE FROM people")
    assert await worker.dead_writes.retry(worker.space, [dead.id], soon()) == 1
    assert await worker.dead_writes.retry(worker.space, [dead.id], soon()) == 0
    assert await worker.dead() == []
    await worker.flush()
    assert origin.rows() == {"ann": row("ann", email="a@b")}
    assert (await worker.base("ann")).record == row("ann", email="a@b")


async def test_dead_writes_are_listed_in_pages_and_discarded(worker: Worker) -> None:
    await worker.put_many([Put(f"k{number}", UPSERT, {"age": -1}) for number in range(7)])
    await worker.flush()
    listed = []
    after = ""
    while True:
        page, after = await worker.dead_writes.page(worker.space, after, 3, soon())
        assert len(page) <= 3
        listed += page
        if not after:
            break
    assert sorted(one.key for one in listed) == [f"k{number}" for number in range(7)]
    ids = [one.id for one in listed]
    assert await worker.dead_writes.discard(worker.space, ids[:2], soon()) == 2
    assert await worker.dead_writes.discard(worker.space, None, soon()) == 5
    assert await worker.dead() == []


async def test_dead_writes_count_for_the_bound_of_the_backlog(
    store: Store, namespaces: NamespaceEngine, origin: People
) -> None:
    space = await behind_space(namespaces, whole=True, max_backlog=2)
    async with worker_of(store, space, origin) as worker:
        for _ in range(2):
            await worker.put("ann", UPSERT, age=-1)
            await worker.flush()
        with pytest.raises(WriteBacklogFull):
            await worker.put("ann", UPSERT, name="Ann")
        await worker.dead_writes.discard(worker.space, None, soon())
        await worker.put("ann", UPSERT, name="Ann")


async def test_a_write_is_not_dead_that_the_next_attempt_gets_in(
    idle: Worker, origin: People, interrupted: Interrupted
) -> None:
    origin.execute("INSERT INTO people (id, email) VALUES ('other', 'a@b')")
    await idle.put("ann", UPSERT, email="a@b")

    async def die(*_: Any) -> None:
        raise OriginUnavailable("away", "people")

    interrupted.before_commit = die
    one = drain_of(idle)
    with pytest.raises(OriginUnavailable):
        await one.drain(interrupted)
    assert await idle.dead() == []
    interrupted.before_commit = None
    origin.execute("DELETE FROM people")
    await one.drain(interrupted)
    assert await idle.dead() == []
    assert origin.rows() == {"ann": row("ann", email="a@b")}


async def test_nothing_is_committed_whose_dead_writes_are_not_noted(
    idle: Worker, origin: People, interrupted: Interrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    await idle.put("ann", UPSERT, name="Ann")
    await idle.put("bad", UPSERT, age=-1)
    one = drain_of(idle)
    call = idle.store.call

    async def lose(request: Request, deadline: float, **said: Any) -> Any:
        if keys.dead(one.partition) in request.commands[0] and b"bad" in request.commands[0]:
            raise StoreUnavailable("away", "cache")
        return await call(request, deadline, **said)

    monkeypatch.setattr(idle.store, "call", lose)
    with pytest.raises(StoreUnavailable):
        await one.drain(interrupted)
    assert origin.rows() == {}
    monkeypatch.undo()
    await one.drain(interrupted)
    assert len(origin.rows()) == 1
    assert [one.key for one in await idle.dead()] == ["bad"]


async def test_a_dead_write_stays_whose_commit_is_seen_late(
    idle: Worker, origin: People, interrupted: Interrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    await idle.put("ann", INSERT, name="Ann")
    await idle.put("bad", UPSERT, age=-1)

    async def not_seen(_log: str, _deadline: float) -> int:
        return 0

    async def lose() -> None:
        raise OriginOutcomeUnknown("people")

    interrupted.after_commit = lose
    one = drain_of(idle)
    with monkeypatch.context() as patched:
        patched.setattr(interrupted, "applied", not_seen)
        with pytest.raises(OriginOutcomeUnknown):
            await one.drain(interrupted)
    interrupted.after_commit = None
    await one.drain(interrupted)
    assert origin.rows() == {"ann": row("ann", name="Ann")}
    assert [dead.key for dead in await idle.dead()] == ["bad"]
    assert await idle.log_length() == 0


async def test_a_dead_write_stays_that_another_owner_sends_before_it_sees_the_commit(
    idle: Worker, origin: People, interrupted: Interrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    await idle.put("ann", INSERT, name="Ann")
    await idle.put("bad", UPSERT, age=-1)
    asked, landed = asyncio.Event(), asyncio.Event()
    applied = origin.applied

    async def ask_before(log: str, deadline: float) -> int:
        found = await applied(log, deadline)
        asked.set()
        await landed.wait()
        return found

    monkeypatch.setattr(origin, "applied", ask_before)
    others: list[asyncio.Task[int]] = []

    async def another_begins(_: Sequence[Refusal]) -> None:
        await expire_owner(idle)
        others.append(asyncio.create_task(drain_of(idle, "other").drain(origin)))
        await asked.wait()

    async def die() -> None:
        landed.set()
        raise Broken

    interrupted.before_commit = another_begins
    interrupted.after_commit = die
    with pytest.raises(Broken):
        await drain_of(idle).drain(interrupted)
    await asyncio.gather(*others)
    assert origin.batches == []
    assert [dead.key for dead in await idle.dead()] == ["bad"]
    assert await idle.log_length() == 0


async def test_a_dead_write_stays_after_a_defect_of_which_nobody_knows_what_was_done(
    idle: Worker, interrupted: Interrupted
) -> None:
    await idle.put("bad", UPSERT, age=-1)

    async def fail() -> None:
        raise Broken

    interrupted.after_commit = fail
    one = drain_of(idle)
    with pytest.raises(Broken):
        await one.drain(interrupted)
    interrupted.after_commit = None
    await one.drain(interrupted)
    assert [dead.key for dead in await idle.dead()] == ["bad"]


async def test_no_dead_write_is_retried_or_discarded_before_its_batch_is_over(
    idle: Worker, origin: People, interrupted: Interrupted
) -> None:
    origin.execute("INSERT INTO people (id, email) VALUES ('other', 'a@b')")
    await idle.put("ann", UPSERT, email="a@b", name="Old")

    async def die(_: Sequence[Refusal]) -> None:
        raise Broken

    interrupted.before_commit = die
    with pytest.raises(Broken):
        await drain_of(idle).drain(interrupted)
    [dead] = await idle.dead()
    assert await idle.dead_writes.retry(idle.space, None, soon()) == 0
    assert await idle.dead_writes.discard(idle.space, [dead.id], soon()) == 0
    assert await idle.dead() == [dead]
    await idle.put("ann", UPDATE, name="New")
    origin.execute("DELETE FROM people")
    await expire_owner(idle)
    await drain_of(idle, "other").drain(origin)
    assert origin.rows() == {"ann": row("ann", email="a@b", name="New")}
    assert await idle.dead() == []


async def test_the_database_is_free_while_dead_writes_get_to_the_disk(
    origin: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        ValkeyServer("--appendonly", "yes", "--appendfsync", "everysec") as server,
        worker_on(origin, {"url": server.url}, fsync=True) as worker,
    ):
        confirm = worker.durability.confirm
        reasons: set[str] = set()

        async def use_the_database(*said: Any) -> set[bytes]:
            # It would wait for the lock for 10 s, with all else here.
            origin.execute("INSERT OR IGNORE INTO people (id) VALUES ('of somebody else')")
            reasons.update(one.reason for one in await worker.dead())
            return await confirm(*said)

        await worker.put_many(
            [Put("ann", UPSERT, {"name": "Ann"}), Put("bad", UPSERT, {"age": -1})]
        )
        monkeypatch.setattr(worker.durability, "confirm", use_the_database)
        await worker.flush()
        assert origin.rows().keys() == {"ann", "of somebody else"}
        assert reasons == {"it breaks a check of the table"}
        assert [dead.key for dead in await worker.dead()] == ["bad"]
