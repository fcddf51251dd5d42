"""Writes behind while their Redis fails over, or comes back with less than it had."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from pantler_server.core.errors import OutcomeUnknown, StoreUnavailable
from pantler_server.engines.cache.record import keys

from tests.engines.behind import INSERT, UPSERT, Worker, worker_on
from tests.engines.people import People
from tests.servers.sentinel import SERVICE, SentinelGroup
from tests.servers.valkey import ValkeyServer

FAILOVER_S = 30.0


@pytest_asyncio.fixture
async def origin(tmp_path: Path) -> AsyncIterator[People]:
    """An empty table of people."""
    opened = People(tmp_path / "people.db")
    await opened.start()
    yield opened
    await opened.stop()


async def write_until_acknowledged(worker: Worker, key: str, age: int) -> None:
    """Repeats a write with its request id, as a client does."""
    async with asyncio.timeout(FAILOVER_S):
        while True:
            try:
                await worker.put(key, UPSERT, f"{key}-{age}", age=age)
                return
            except (OutcomeUnknown, StoreUnavailable):
                await asyncio.sleep(0.05)


async def test_a_failover_loses_no_write_that_a_replica_had_to_have(origin: People) -> None:
    async with SentinelGroup() as group:
        redis = {"sentinel": {"nodes": group.addresses, "service": SERVICE}}
        async with worker_on(origin, redis, replicas=1, interval="20ms") as worker:
            acknowledged: dict[str, int] = {}

            async def write(key: str, count: int) -> None:
                for age in range(count):
                    await write_until_acknowledged(worker, key, age)
                    acknowledged[key] = age

            old = await group.primary()
            writing = [asyncio.create_task(write(f"k{number}", 60)) for number in range(10)]
            async with asyncio.timeout(FAILOVER_S):
                while sum(acknowledged.values()) < 100:
                    await asyncio.sleep(0.01)
            await old.kill()
            await group.wait_for_new_primary(old)
            await group.restart_dead()  # with no replica nothing is acknowledged
            await asyncio.gather(*writing)
            await worker.flush()
            rows = origin.rows()
            assert {key: row["age"] for key, row in rows.items()} == acknowledged
            assert set(acknowledged.values()) == {59}
            assert await worker.dead() == []
            assert await worker.log_length() == 0


async def test_a_primary_that_lacks_the_newest_does_nothing_twice_and_takes_nothing_for_done(
    origin: People,
) -> None:
    async with ValkeyServer() as server, worker_on(origin, {"url": server.url}) as worker:
        await worker.put("ann", INSERT, age=1)
        await server.execute("SAVE")
        await worker.put("bob", INSERT, age=2)
        await worker.flush()
        await server.kill()
        await server.start()  # it has no epoch, nothing settled, and no write of `bob`
        await write_until_acknowledged(worker, "cyd", 3)
        assert await worker.log_length() == 2
        await worker.flush()
        assert await worker.log_length() == 0
        assert await worker.redis("HLEN", keys.pending(worker.space.partitions[0])) == 0
        rows = origin.rows()
        assert {key: row["age"] for key, row in rows.items()} == {"ann": 1, "bob": 2, "cyd": 3}
        assert [len(batch.writes) for batch in origin.batches] == [2, 1]
        assert await worker.dead() == []


async def test_an_entry_that_a_failover_brings_back_is_not_read_if_it_was_written_since(
    origin: People,
) -> None:
    async with ValkeyServer() as server, worker_on(origin, {"url": server.url}) as worker:
        await worker.put("ann", UPSERT, age=1)
        await worker.flush()
        await server.execute("SAVE")
        await worker.put("ann", UPSERT, age=2)
        await worker.flush()
        await server.kill()
        await server.start()
        await write_until_acknowledged(worker, "bob", 1)
        record = (await worker.base("ann")).record
        assert record is not None
        assert record["age"] == 2
