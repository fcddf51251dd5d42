"""Writes that are acknowledged once Redis has them: what readers see, and what is refused."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pantler_server.core.errors import (
    InvalidFields,
    OutcomeUnknown,
    RecordExists,
    RecordMissing,
    StoreUnavailable,
    WriteBacklogFull,
)
from pantler_server.core.record import Operation
from pantler_server.engines.cache.model import Hit, Miss, NewEntry
from pantler_server.engines.cache.record import keys
from pantler_server.engines.cache.record.model import Durability, Put, Written
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.store import answers
from pantler_server.store.store import Store

from tests.engines.behind import (
    DELETE,
    INSERT,
    UPDATE,
    UPSERT,
    Worker,
    behind_space,
    soon,
    worker_of,
    worker_on,
)
from tests.engines.caller import Caller
from tests.engines.people import People
from tests.servers.fault_proxy import FaultProxy
from tests.servers.valkey import ValkeyServer

ANN = {"id": "ann", "name": "Ann", "email": None, "age": None}


@pytest_asyncio.fixture
async def worker(
    store: Store, namespaces: NamespaceEngine, origin: People
) -> AsyncIterator[Worker]:
    """Nothing leaves its log."""
    space = await behind_space(namespaces)
    async with worker_of(store, space, origin, drains=False) as running:
        yield running


async def test_a_write_is_readable_at_once_and_the_origin_does_not_know_of_it(
    worker: Worker, origin: People
) -> None:
    written = await worker.written("ann", UPSERT, name="Ann")
    assert written == Written(Durability.QUEUED, written.version)
    assert await worker.cached("ann") == ANN
    assert await worker.pending("ann") == ANN
    assert origin.rows() == {}
    found = await worker.cache.get(worker.space, "ann", soon())
    assert isinstance(found, Hit)
    assert found.version == written.version


async def test_records_that_are_queued_together_do_not_expire_together(
    store: Store, namespaces: NamespaceEngine, origin: People
) -> None:
    jitter = {"ttl": "100s", "ttl_jitter_ratio": 0.5}
    space = await behind_space(namespaces, namespace=jitter)
    expiries = []
    async with worker_of(store, space, origin, drains=False) as worker:
        names = [f"p{number}" for number in range(20)]
        await worker.put_many([Put(name, UPSERT, {"name": name}) for name in names])
        for name in names:
            hit = await worker.cache.get(space, name, soon())
            assert isinstance(hit, Hit)
            expiries.append(hit.expires_us)
    assert max(expiries) - min(expiries) > 10e6


async def test_the_entry_of_a_write_is_as_a_set_makes_it(worker: Worker) -> None:
    version = await worker.put("ann", UPSERT, name="Ann")
    [partition] = [worker.space.partition_of("ann")]
    index = worker.space.partitions.index(partition)
    by_write = await worker.redis("GET", partition.tag + b"e:ann", index=index)
    value = by_write[52:]
    await worker.cache.set(worker.space, NewEntry("ann", value), soon())
    by_set = await worker.redis("GET", partition.tag + b"e:ann", index=index)
    assert by_write[4:12] == version.to_bytes(8, "little")
    assert by_write[:4] == by_set[:4]
    assert by_write[12:20] == by_set[12:20]  # the generation
    assert by_write[44:] == by_set[44:]  # the ttl, and the value
    for packed in (by_write, by_set):
        created, expires, ttl = (
            int.from_bytes(packed[at : at + 8], "little") for at in (28, 36, 44)
        )
        assert expires - created == ttl == worker.space.ttl_ms * 1000


async def test_only_what_waits_has_no_expiry(worker: Worker) -> None:
    await worker.put("ann", UPSERT, "id1", name="Ann")
    await worker.put("bob", DELETE)
    for key in ("ann", "bob"):
        partition = worker.space.partition_of(key)
        index = worker.space.partitions.index(partition)
        for kept in (keys.log, keys.pending, keys.log_state):
            assert await worker.redis("PTTL", kept(partition), index=index) == -1
        most = worker.space.ttl_ms if key == "ann" else 30_000
        left = await worker.redis("PTTL", partition.tag + b"e:" + key.encode(), index=index)
        assert most - 5_000 < left <= most
        if key == "ann":
            answer = keys.answer(partition, answers.digest(key, "id1"))
            assert 595_000 < await worker.redis("PTTL", answer, index=index) <= 600_000


async def test_an_insert_of_what_waits_is_refused(worker: Worker) -> None:
    await worker.put("ann", INSERT, name="Ann")
    with pytest.raises(RecordExists):
        await worker.put("ann", INSERT, name="Ann")


async def test_an_insert_of_what_the_origin_has_is_refused(worker: Worker, origin: People) -> None:
    origin.execute("INSERT INTO people (id, name) VALUES ('ann', 'Ann')")
    with pytest.raises(RecordExists):
        await worker.put("ann", INSERT, name="Other")
    assert origin.loads == 1
    with pytest.raises(RecordExists):
        await worker.put("ann", INSERT, name="Other")
    assert origin.loads == 1  # it was cached


async def test_an_update_of_what_is_not_there_is_refused(worker: Worker, origin: People) -> None:
    for _ in range(2):
        with pytest.raises(RecordMissing):
            await worker.put("ann", UPDATE, name="Ann")
    assert origin.loads == 1


async def test_an_update_merges_into_what_waits(worker: Worker) -> None:
    await worker.put("ann", INSERT, name="Ann")
    await worker.put("ann", UPDATE, age=7)
    assert await worker.cached("ann") == {**ANN, "age": 7}


async def test_an_update_merges_into_what_the_origin_has(worker: Worker, origin: People) -> None:
    origin.execute("INSERT INTO people (id, name) VALUES ('ann', 'Ann')")
    await worker.put("ann", UPDATE, age=7)
    assert await worker.cached("ann") == {**ANN, "age": 7}


async def test_a_delete_hides_the_record_and_says_whether_it_was_there(worker: Worker) -> None:
    assert (await worker.written("ann", DELETE)).existed is None
    assert (await worker.written("ann", DELETE)).existed is False
    assert await worker.cached("ann") is None
    await worker.put("ann", UPSERT, name="Ann")
    assert (await worker.written("ann", DELETE)).existed is True
    assert (await worker.base("ann")).record is None


async def test_a_write_whose_entry_was_evicted_is_read_from_what_waits(
    worker: Worker, origin: People
) -> None:
    origin.execute("INSERT INTO people (id, name) VALUES ('ann', 'Old')")
    await worker.put("ann", UPSERT, name="Ann")
    partition = worker.space.partition_of("ann")
    index = worker.space.partitions.index(partition)
    assert await worker.redis("DEL", partition.tag + b"e:ann", index=index) == 1
    base = await worker.base("ann")
    assert base.record == ANN
    assert origin.loads == 0
    await worker.put("ann", UPDATE, age=7)
    assert await worker.cached("ann") == {**ANN, "age": 7}


async def test_a_repeat_with_its_request_id_is_one_write(worker: Worker) -> None:
    for operation, fields in ((UPSERT, {"name": "Ann"}), (UPDATE, {"age": 1}), (DELETE, {})):
        first = await worker.written("ann", operation, f"id{operation}", **fields)
        assert await worker.written("ann", operation, f"id{operation}", **fields) == first
    assert await worker.log_length() == 3


async def test_a_repeated_insert_finds_its_own_doing(worker: Worker) -> None:
    first = await worker.written("ann", INSERT, "id1", name="Ann")
    assert await worker.written("ann", INSERT, "id1", name="Ann") == first
    await worker.put("ann", DELETE)
    assert await worker.written("ann", INSERT, "id1", name="Ann") == first


async def test_a_request_id_of_another_request_is_refused(worker: Worker) -> None:
    await worker.put("ann", UPSERT, "id1", name="Ann")
    for operation, fields in ((UPSERT, {"name": "Bob"}), (INSERT, {"name": "Ann"}), (DELETE, {})):
        with pytest.raises(InvalidFields, match="request_id"):
            await worker.put("ann", operation, "id1", **fields)
    await worker.put("bob", UPSERT, "id1", name="Bob")  # ids are those of a key


async def test_what_the_origin_would_refuse_for_its_form_is_not_queued(worker: Worker) -> None:
    with pytest.raises(InvalidFields, match="colour"):
        await worker.put("ann", UPSERT, colour="red")
    assert await worker.log_length() == 0
    assert await worker.cached("ann") == "miss"


async def test_no_more_writes_wait_than_may(
    store: Store, namespaces: NamespaceEngine, origin: People
) -> None:
    space = await behind_space(namespaces)
    bound = 3 * len(space.partitions)
    space = await behind_space(namespaces, max_backlog=bound)
    async with worker_of(store, space, origin, drains=False) as worker:
        for _ in range(3):
            await worker.put("ann", UPSERT, "", name="Ann")
        with pytest.raises(WriteBacklogFull):
            await worker.put("ann", UPSERT, name="Bob")
        assert await worker.cached("ann") == ANN
        assert await worker.log_length() == 3


async def test_an_update_made_from_what_has_changed_is_made_again(worker: Worker) -> None:
    await worker.put("ann", INSERT, name="Ann", age=0)
    seen = asyncio.Event()
    goes_on = asyncio.Event()
    look = worker.bases.base

    async def look_slowly(*said: Any) -> Any:
        found = await look(*said)
        seen.set()
        await goes_on.wait()
        return found

    worker.bases.base = look_slowly  # type: ignore[method-assign,assignment]
    slow = asyncio.create_task(worker.put("ann", UPDATE, age=1))
    await seen.wait()
    worker.bases.base = look  # type: ignore[method-assign]
    await worker.put("ann", UPDATE, name="Anna")
    goes_on.set()
    await slow
    assert await worker.cached("ann") == {**ANN, "name": "Anna", "age": 1}


async def test_two_workers_lose_no_update_of_one_record(
    store: Store, namespaces: NamespaceEngine, origin: People
) -> None:
    space = await behind_space(namespaces)
    async with (
        worker_of(store, space, origin, drains=False) as one,
        worker_of(store, space, origin, drains=False) as other,
    ):
        await one.put("ann", INSERT, name="Ann")
        await asyncio.gather(one.put("ann", UPDATE, age=7), other.put("ann", UPDATE, email="a@b"))
        assert await one.cached("ann") == {**ANN, "age": 7, "email": "a@b"}
        assert await other.pending("ann") == {**ANN, "age": 7, "email": "a@b"}


async def test_versions_grow_with_each_write_of_a_partition(worker: Worker) -> None:
    versions = [await worker.put("ann", UPSERT, name=str(number)) for number in range(20)]
    assert versions == sorted(set(versions))
    assert versions[-1] < 1 << 53


async def test_a_batch_is_done_in_its_order_for_each_key(worker: Worker) -> None:
    results = await worker.put_many(
        [
            Put("ann", INSERT, {"name": "Ann"}),
            Put("bob", UPSERT, {"name": "Bob"}),
            Put("ann", UPDATE, {"age": 1}),
            Put("ann", INSERT, {"name": "Again"}),
            Put("bob", DELETE, {}),
            Put("cyd", UPDATE, {"age": 1}),
            Put("dan", UPSERT, {"colour": "red"}),
            Put("ann", UPDATE, {"email": "a@b"}),
        ]
    )
    kinds = [type(one) for one in results]
    assert kinds == [
        *(Written, Written, Written, RecordExists, Written, RecordMissing, InvalidFields, Written)
    ]
    assert await worker.cached("ann") == {**ANN, "age": 1, "email": "a@b"}
    assert await worker.cached("bob") is None


async def test_a_batch_keeps_the_order_of_a_key_and_tells_what_was_queued(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    puts = [Put("ann", UPSERT, {"name": name}) for name in ("first", "second", "third")]
    find_primary = worker.store.find_primary
    known = [b"of another", b"", None]  # a failover, then the primary is away, then it is back

    async def find(slot: int, deadline: float) -> bytes:
        match known.pop(0) if known else None:
            case None:
                return await find_primary(slot, deadline)
            case b"":
                raise StoreUnavailable("away", "cache")
            case other:
                return other

    monkeypatch.setattr(worker.store, "find_primary", find)
    first, second, third = await worker.put_many(puts)
    assert isinstance(first, StoreUnavailable)
    assert isinstance(second, Written)
    assert isinstance(third, Written)
    assert second.version < third.version
    assert await worker.pending("ann") == {**ANN, "name": "third"}


async def test_in_a_batch_nothing_of_a_key_comes_after_an_unknown_outcome(origin: People) -> None:
    async with ValkeyServer() as server, FaultProxy(server.port) as proxy:
        redis = {"url": f"redis://127.0.0.1:{proxy.port}", "command_timeout": "300ms"}
        async with worker_on(origin, redis) as worker:
            await worker.put("ann", UPSERT, name="before")
            proxy.hold_replies()
            puts = [Put("ann", UPSERT, {"name": name}) for name in ("first", "second")]
            unknown, held_back = await worker.put_many(puts)
            assert isinstance(unknown, OutcomeUnknown)
            assert isinstance(held_back, StoreUnavailable)
            proxy.restore()
            proxy.cut()
            assert await worker.pending("ann") == {**ANN, "name": "first"}


async def test_a_fill_that_began_before_a_write_does_not_hide_it(worker: Worker) -> None:
    await worker.cache.set(worker.space, NewEntry("ann", b"{}", ttl_ms=1), soon())
    caller = Caller(worker.cache, worker.space)
    missed = await caller.ask("bob")
    assert isinstance(missed, Miss)
    assert missed.lease is not None
    await worker.put("bob", UPSERT, name="Bob")
    assert (await caller.fill("bob", missed.lease.token)).name == "FILL_LOST"


async def test_a_record_of_which_only_the_origin_knows_all_is_marked(
    worker: Worker, origin: People
) -> None:
    origin.has_defaults = True
    await worker.put("ann", INSERT, name="Ann")
    known = {"id": "ann", "name": "Ann", "email": None, "age": None}
    assert await worker.cached("ann") == await worker.pending("ann") == known
    await worker.put("ann", UPDATE, age=7)
    assert await worker.cached("ann") == {**known, "age": 7}
    partition = worker.space.partition_of("ann")
    index = worker.space.partitions.index(partition)
    logged = await worker.redis("XRANGE", keys.log(partition), "-", "+", index=index)
    assert [said[9] for _, said in logged] == [b"1", b"1"]


async def test_a_record_has_the_version_of_the_write_that_waits(
    store: Store, namespaces: NamespaceEngine, tmp_path: Path
) -> None:
    origin = People(tmp_path / "versioned.db", version_column="revision")
    await origin.start()
    space = await behind_space(namespaces)
    async with worker_of(store, space, origin) as worker:
        await worker.put("ann", INSERT, name="Ann")
        version = await worker.put("ann", UPDATE, age=7)
        expected = {**ANN, "age": 7, "revision": version}
        assert await worker.cached("ann") == await worker.pending("ann") == expected
        await worker.flush()
        assert origin.rows() == {"ann": expected}
        assert await worker.cached("ann") == expected
    await origin.stop()


async def test_a_record_that_is_too_large_to_be_cached_is_read_from_what_waits(
    store: Store, namespaces: NamespaceEngine, origin: People
) -> None:
    space = await behind_space(namespaces, namespace={"max_value_bytes": 20})
    async with worker_of(store, space, origin, drains=False) as worker:
        await worker.put("ann", UPSERT, name="Ann")
        assert await worker.cached("ann") == "miss"
        assert (await worker.base("ann")).record == ANN
        assert origin.loads == 0


def test_operations_have_the_numbers_that_the_script_has() -> None:
    assert [one.value for one in Operation] == [1, 2, 3, 4]
