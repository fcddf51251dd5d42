"""What waits on its way to the origin: order, when it goes, and what fails in between."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pantler_server.core.errors import (
    OriginOutcomeUnknown,
    OriginUnavailable,
    StoreOutOfMemory,
    WriteBacklogFull,
)
from pantler_server.core.origin_config import OriginConfig, WriteMode
from pantler_server.engines.cache import keys as cache_keys
from pantler_server.engines.cache.record import keys, log_drain
from pantler_server.engines.cache.record.model import Flushed, Put, Source
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.origins.grpc import Channels, GrpcOrigin
from pantler_server.origins.guard import GuardedOrigin
from pantler_server.origins.origin import Batch
from pantler_server.store.store import Store
from prometheus_client import REGISTRY

from tests.engines.behind import (
    DELETE,
    INSERT,
    PATIENCE_S,
    UPDATE,
    UPSERT,
    Worker,
    behind_space,
    soon,
    worker_of,
    worker_on,
)
from tests.engines.draining import Broken, Interrupted, drain_of, row
from tests.engines.people import People
from tests.servers.origin_service import OriginService
from tests.servers.valkey import ValkeyServer


async def test_what_waits_gets_to_the_origin_in_the_order_of_each_key(
    worker: Worker, origin: People
) -> None:
    await worker.put("ann", INSERT, name="Ann")
    await worker.put("bob", UPSERT, name="Bob")
    await worker.put("ann", UPDATE, age=1)
    await worker.put("bob", DELETE)
    await worker.put("ann", UPDATE, age=2)
    assert await worker.flush() == Flushed(5, 0)
    assert origin.rows() == {"ann": row("ann", name="Ann", age=2)}
    assert await worker.pending("ann") == "none"
    assert await worker.cached("ann") == row("ann", name="Ann", age=2)
    assert await worker.dead() == []


async def test_a_write_waits_no_longer_than_the_interval(
    store: Store, namespaces: NamespaceEngine, origin: People
) -> None:
    space = await behind_space(namespaces, interval="50ms")
    async with worker_of(store, space, origin) as worker:
        await worker.put("ann", UPSERT, name="Ann")
        async with asyncio.timeout(2):
            await worker.until_drained()
        assert origin.rows() == {"ann": row("ann", name="Ann")}


async def test_a_full_batch_does_not_wait(
    store: Store, namespaces: NamespaceEngine, origin: People
) -> None:
    space = await behind_space(namespaces, whole=True, batch_size=5)
    async with worker_of(store, space, origin) as worker:
        await worker.put_many([Put(f"k{number}", UPSERT, {}) for number in range(5)])
        async with asyncio.timeout(2):
            await worker.until_drained()
        assert [len(batch.writes) for batch in origin.batches] == [5]


async def test_a_log_goes_in_batches_each_from_where_the_last_ended(
    idle: Worker, origin: People, interrupted: Interrupted
) -> None:
    await idle.put_many([Put(f"k{number}", UPSERT, {"age": number}) for number in range(25)])
    assert await drain_of(idle).drain(interrupted) == 25
    assert [len(batch.writes) for batch in interrupted.batches] == [10, 10, 5]
    lasts = [batch.last for batch in interrupted.batches]
    assert lasts == [batch.writes[-1].version for batch in interrupted.batches]
    assert len(origin.rows()) == 25
    assert await idle.log_length() == 0


async def test_a_defect_of_an_origin_is_told_of_and_tried_again(
    worker: Worker, origin: People, interrupted: Interrupted
) -> None:
    async def fail(_: Batch) -> None:
        raise Broken

    interrupted.before_apply = fail
    await worker.put("ann", UPSERT, age=1)
    assert await worker.flush(timeout_s=0.3) == Flushed(0, 1)
    assert "defect" in (await worker.backlog()).last_error
    interrupted.before_apply = None
    assert await worker.flush() == Flushed(1, 0)


async def test_the_database_may_be_away_until_nothing_more_is_taken(
    store: Store, namespaces: NamespaceEngine, origin: People
) -> None:
    space = await behind_space(namespaces, whole=True, interval="1ms", max_backlog=5)
    async with worker_of(store, space, origin) as worker:
        origin.away = True
        for number in range(5):
            await worker.put("ann", UPSERT, age=number)
        with pytest.raises(WriteBacklogFull):
            await worker.put("ann", UPSERT, age=5)
        async with asyncio.timeout(PATIENCE_S):
            while not (await worker.backlog()).last_error:
                await asyncio.sleep(0.01)
        backlog = await worker.backlog()
        assert backlog.last_error == "the database does not answer"
        assert backlog.pending == 5
        assert backlog.oldest_us > 0
        assert await worker.cached("ann") == row("ann", age=4)
        assert await worker.flush(timeout_s=0.05) == Flushed(0, 5)
        origin.away = False
        await worker.until_drained()
        assert origin.rows() == {"ann": row("ann", age=4)}
        assert (await worker.backlog()).last_error == ""
        await worker.put("ann", UPSERT, age=5)


async def test_the_drain_goes_on_with_what_a_worker_left_that_died(
    store: Store, namespaces: NamespaceEngine, origin: People
) -> None:
    space = await behind_space(namespaces)
    async with worker_of(store, space, origin, drains=False) as dying:
        await dying.put("ann", UPSERT, name="Ann")
        await dying.put("bob", UPSERT, name="Bob")
    async with worker_of(store, space, origin) as worker:
        worker.with_config(interval=timedelta(milliseconds=10))
        await worker.until_drained()
        assert len(origin.rows()) == 2


async def test_a_worker_that_stops_drains_first_and_gives_its_logs_back(
    store: Store, namespaces: NamespaceEngine, origin: People
) -> None:
    space = await behind_space(namespaces)
    async with worker_of(store, space, origin) as worker:
        await worker.put_many([Put(f"k{number}", UPSERT, {}) for number in range(20)])
        await worker.drainer.stop(soon())
        assert await worker.log_length() == 0
        assert len(origin.rows()) == 20
        for index, partition in enumerate(space.partitions):
            assert await worker.redis("GET", keys.log_owner(partition), index=index) is None


async def test_a_worker_that_stops_waits_for_a_database_no_longer_than_it_may(
    store: Store, namespaces: NamespaceEngine, origin: People
) -> None:
    space = await behind_space(namespaces)
    async with worker_of(store, space, origin) as worker:
        await worker.put("ann", UPSERT, name="Ann")
        origin.away = True
        loop = asyncio.get_running_loop()
        began = loop.time()
        await worker.drainer.stop(began + 0.3)
        assert 0.3 <= loop.time() - began < 2
        assert await worker.log_length() == 1


async def test_another_worker_has_the_owner_hurry(
    store: Store, namespaces: NamespaceEngine, origin: People
) -> None:
    space = await behind_space(namespaces, whole=True)
    async with (
        worker_of(store, space, origin) as owner,
        worker_of(store, space, origin) as other,
    ):
        await owner.put("ann", UPSERT, name="Ann")
        await owner.flush()
        await other.put("bob", UPSERT, name="Bob")
        async with asyncio.timeout(2):  # sooner than the ownership expires
            await other.flush()
        epochs = {batch.epoch for batch in origin.batches}
        assert len(epochs) == 1


async def test_a_record_of_which_the_origin_knew_more_is_loaded_after_the_commit(
    worker: Worker, origin: People, interrupted: Interrupted
) -> None:
    interrupted.has_defaults = True
    await worker.put("ann", INSERT, name="Ann")
    await worker.flush()
    assert await worker.cached("ann") == "miss"
    assert (await worker.base("ann")).record == row("ann", name="Ann")


async def test_what_waits_and_what_is_dead_is_measured(
    worker: Worker, origin: People, interrupted: Interrupted
) -> None:
    name = {"namespace": worker.space.name}

    def measured(metric: str) -> float | None:
        return REGISTRY.get_sample_value(metric, name)

    interrupted.away = True
    await worker.put("ann", UPSERT, age=1)
    await worker.put("bad", UPSERT, age=-1)
    worker.drainer.hurry(worker.space.partitions)
    async with asyncio.timeout(PATIENCE_S):
        while measured("pantler_write_backlog") != 2:
            await asyncio.sleep(0.01)
        while not measured("pantler_drain_failures_total"):
            await asyncio.sleep(0.01)
        while not measured("pantler_write_backlog_age_seconds"):
            await asyncio.sleep(0.01)
    interrupted.away = False
    await worker.flush()
    async with asyncio.timeout(PATIENCE_S):
        while (measured("pantler_dead_writes"), measured("pantler_write_backlog")) != (1, 0):
            await asyncio.sleep(0.01)
    assert measured("pantler_writes_drained_total") == 2


async def test_what_waits_is_drained_where_writes_do_not_wait_any_more(
    store: Store, namespaces: NamespaceEngine, origin: People
) -> None:
    origin.execute("INSERT INTO people (id, name) VALUES ('ann', 'Old')")
    space = await behind_space(namespaces)
    async with worker_of(store, space, origin, drains=False) as worker:
        await worker.put("ann", UPSERT, name="Ann")
        await worker.put("bob", UPSERT, name="Bob")
    config = space.config.model_copy(update={"writes": WriteMode.THROUGH})
    async with worker_of(store, replace(space, config=config), origin) as worker:
        await worker.flush()
        assert origin.rows() == {"ann": row("ann", name="Ann"), "bob": row("bob", name="Bob")}
        assert (await worker.base("ann")).record == row("ann", name="Ann")


@pytest.mark.parametrize("mode", [WriteMode.THROUGH, WriteMode.REFUSED])
async def test_what_waits_is_read_also_by_workers_whose_writes_do_not_wait(
    idle: Worker, origin: People, interrupted: Interrupted, mode: WriteMode
) -> None:
    origin.execute("INSERT INTO people (id, name) VALUES ('ann', 'old')")
    await idle.put("ann", UPSERT, name="new")
    partition, place = cache_keys.place(idle.space, "ann")
    await idle.redis("DEL", place)  # it was evicted
    config = idle.space.config.model_copy(update={"writes": mode})
    async with worker_of(
        idle.store, replace(idle.space, config=config), origin, drains=False
    ) as reloaded:
        assert (await reloaded.base("ann")).record == row("ann", name="new")
        await idle.redis("DEL", place, cache_keys.lease(partition, place))
        assert (await reloaded.read("ann")).source is Source.CACHE
        await drain_of(idle).drain(interrupted)  # by a worker that has not heard of it
        assert await reloaded.cached("ann") == row("ann", name="new")
    assert origin.rows()["ann"] == row("ann", name="new")
    assert origin.loads == 0


async def test_why_a_log_waits_is_told_also_if_a_batch_went_in_between(
    idle: Worker, interrupted: Interrupted
) -> None:
    """Two passes fail for one reason; the second after it has brought a batch."""
    idle.with_config(batch_size=1)
    for number in range(3):
        await idle.put(f"k{number}", UPSERT, age=number)
    fails = [True, False, True]

    async def maybe(_: Batch) -> None:
        if fails.pop(0):
            raise OriginOutcomeUnknown("people")

    interrupted.before_apply = maybe
    [one] = idle.drainer._logs.values()
    for _ in range(2):
        await idle.drainer._pass(one)
    assert fails == []
    error = (await idle.backlog()).last_error
    assert "took too long" in error
    assert "request id" not in error  # that is for who writes


async def test_two_deployments_on_one_table_lose_nothing_of_each_other(origin: People) -> None:
    """Each has a Redis of its own, and the namespace."""
    async with (
        ValkeyServer() as server,
        ValkeyServer() as other_server,
        worker_on(origin, {"url": server.url}, whole=True) as one,
        worker_on(origin, {"url": other_server.url}, whole=True) as other,
    ):
        one.space = replace(one.space, name=other.space.name)
        await one.put("ann", INSERT, name="Ann")
        await other.put("bob", INSERT, name="Bob")  # later, and written first
        await drain_of(other).drain(origin)
        await drain_of(one).drain(origin)
        assert origin.rows().keys() == {"ann", "bob"}
        names = [batch.log for batch in origin.batches]
        assert all(name.endswith(f"/{one.space.name}:0") for name in names)
        assert len({*names}) == 2


async def test_a_redis_that_is_full_gets_rid_of_what_waits(origin: People) -> None:
    async with (
        ValkeyServer("--appendonly", "yes", "--appendfsync", "everysec") as server,
        worker_on(origin, {"url": server.url}, fsync=True) as worker,
    ):
        await worker.put("first", UPSERT)
        await worker.flush()
        for number in range(5):
            await worker.put(f"k{number}", UPSERT, name="x" * 100)
        await worker.put("bad", UPSERT, age=-1)
        await server.execute("CONFIG", "SET", "maxmemory-policy", "noeviction")
        await server.execute("CONFIG", "SET", "maxmemory", "1000000")
        with pytest.raises(StoreOutOfMemory):
            await worker.put("more", UPSERT, name="x")
        assert await worker.flush() == Flushed(6, 0)
        assert len(origin.rows()) == 6
        assert [dead.key for dead in await worker.dead()] == ["bad"]


async def test_a_batch_that_takes_an_origin_too_long_comes_in_parts(idle: Worker) -> None:
    class Slow(OriginService):
        async def _Store(self, request: Any, context: Any) -> Any:
            await asyncio.sleep(0.15)
            return await super()._Store(request, context)

    async with Slow() as service:
        config = OriginConfig.model_validate(
            {"grpc": {"target": service.target}, "timeout": "500ms", "max_concurrency": 10}
        )
        origin = GuardedOrigin(
            GrpcOrigin(idle.space.name, config, Channels()), idle.space.name, config
        )
        await origin.start()
        idle.space = replace(
            idle.space, config=idle.space.config.model_copy(update={"origin": config})
        )
        idle.with_config(batch_size=500)
        idle.origin = origin
        await idle.put_many([Put(f"k{number}", UPSERT, {"n": number}) for number in range(200)])
        assert await drain_of(idle).drain(origin) == 200
        assert len(service.rows) == 200
        assert await idle.log_length() == 0
        assert origin.health.available
        await origin.stop()


async def test_an_origin_that_is_away_is_not_tried_with_parts(
    idle: Worker, interrupted: Interrupted
) -> None:
    tries: list[int] = []

    async def fail(batch: Batch) -> None:
        tries.append(len(batch.writes))
        raise OriginUnavailable("away", "people")

    interrupted.before_apply = fail
    await idle.put_many([Put(f"k{number}", UPSERT, {}) for number in range(5)])
    with pytest.raises(OriginUnavailable):
        await drain_of(idle).drain(interrupted)
    assert tries == [5]


async def test_large_records_go_in_smaller_batches(
    idle: Worker, origin: People, interrupted: Interrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_drain, "FIRST_PAGE", 2)
    monkeypatch.setattr(log_drain, "PAGE_BYTES", 3500)
    puts = [Put(f"k{number}", UPSERT, {"name": "x" * 1000}) for number in range(8)]
    await idle.put_many([*puts, *(Put(f"s{number}", UPSERT, {}) for number in range(20))])
    assert await drain_of(idle).drain(interrupted) == 28
    assert [len(batch.writes) for batch in interrupted.batches][:4] == [2, 3, 3, 3]
    assert max(len(batch.writes) for batch in interrupted.batches) == 10  # `batch_size`
    assert len(origin.rows()) == 28
