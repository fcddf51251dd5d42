"""RecordService and, over records, CacheService through a real channel: what they answer, and what
they refuse."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import grpc.aio
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from google.rpc import code_pb2, error_details_pb2, status_pb2
from pantler.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    cache_pb2,
)
from pantler.v1 import record_pb2 as pb

from tests.servers.users_table import UsersTable
from tests.wire.test_cache_service import details, violations

UPSERT, INSERT, UPDATE = "UPSERT", "INSERT", "UPDATE"

_numbers = count()

both_modes = pytest.mark.parametrize("space", ["through", "behind"])


@pytest.fixture
def key() -> str:
    """One that no other test uses."""
    return f"u{next(_numbers)}"


def put(space: str, key: str, fields: dict[str, Any], what: str = UPSERT, **more: Any) -> Any:
    request = {"namespace": space, "key": key, "fields": fields, **more}
    return ParseDict({**request, "operation": f"WRITE_OPERATION_{what}"}, pb.PutRecordRequest())


def write(key: str, fields: dict[str, Any], what: str = UPSERT) -> dict[str, Any]:
    return {"key": key, "fields": fields, "operation": f"WRITE_OPERATION_{what}"}


def of(message: Struct) -> dict[str, Any]:
    return dict(MessageToDict(message))


async def get(records: Any, space: str, key: str, **more: Any) -> Any:
    return await records.GetRecord(pb.GetRecordRequest(namespace=space, key=key, **more))


async def flushed(records: Any, space: str) -> None:
    done = await records.FlushWrites(pb.FlushWritesRequest(namespace=space))
    assert done.remaining == 0


async def failure(call: Any) -> tuple[grpc.StatusCode, str, dict[str, Any]]:
    """The code, the reason, and the details of an error."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    found = details(failed.value)
    reason = found["ErrorInfo"].reason.removeprefix("ERROR_REASON_")
    return failed.value.code(), reason, found


def fields_of(status: status_pb2.Status) -> list[str]:
    """The fields that an item's INVALID_ARGUMENT names."""
    assert status.code == code_pb2.INVALID_ARGUMENT
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in status.details)
    return [one.field for one in bad.field_violations]


@both_modes
async def test_a_record_is_written_read_and_deleted(
    records: Any, users: UsersTable, space: str, key: str
) -> None:
    durability = pb.DURABILITY_WRITTEN if space == "through" else pb.DURABILITY_QUEUED
    first = await records.PutRecord(put(space, key, {"name": "Ada", "age": 36}, INSERT))
    assert first.durability == durability
    second = await records.PutRecord(put(space, key, {"age": 37, "score": 1.5}, UPDATE))
    assert second.version > first.version
    found = await get(records, space, key)
    record = {"id": key, "name": "Ada", "age": 37, "email": None, "score": 1.5}
    assert of(found.record) == record
    assert not found.stale
    await flushed(records, space)
    assert users.row(key) == ("Ada", 37, None, 1.5)
    replaced = await records.PutRecord(put(space, key, {"name": "Bob"}))
    assert replaced.version > second.version
    assert of((await get(records, space, key)).record) == {
        "id": key,
        "name": "Bob",
        "age": None,
        "email": None,
        "score": None,
    }
    deleted = await records.DeleteRecord(pb.DeleteRecordRequest(namespace=space, key=key))
    assert deleted.durability == durability
    assert deleted.version > replaced.version
    if space == "through":
        assert deleted.deleted
    assert not (await get(records, space, key)).HasField("record")
    await flushed(records, space)
    assert users.row(key) is None


async def test_a_delete_says_whether_there_was_a_record(records: Any, key: str) -> None:
    gone = await records.DeleteRecord(pb.DeleteRecordRequest(namespace="through", key=key))
    assert gone.HasField("deleted")
    assert not gone.deleted


async def test_what_is_loaded_says_so_and_what_is_cached_is_not_loaded(
    records: Any, users: UsersTable, key: str
) -> None:
    users.change("INSERT INTO users (id, name) VALUES (?, 'Ada')", key)
    loaded = await get(records, "through", key)
    assert loaded.source == pb.SOURCE_ORIGIN
    users.change("UPDATE users SET name = 'Bob' WHERE id = ?", key)
    cached = await get(records, "through", key)
    assert (cached.source, cached.record["name"]) == (pb.SOURCE_CACHE, "Ada")
    fresh = await get(records, "through", key, force_refresh=True)
    assert (fresh.source, fresh.record["name"]) == (pb.SOURCE_ORIGIN, "Bob")


@both_modes
async def test_that_there_is_no_record_is_an_answer(
    records: Any, cache: Any, space: str, key: str
) -> None:
    answer = await get(records, space, key)
    assert not answer.HasField("record")
    assert answer.source == pb.SOURCE_ORIGIN
    assert (await get(records, space, key)).source == pb.SOURCE_CACHE
    miss = await cache.Get(cache_pb2.GetRequest(namespace=space, key=key))
    assert miss.miss.reason == cache_pb2.MISS_REASON_NO_RECORD
    assert not miss.miss.fill_token


@both_modes
async def test_batches_answer_each_item_in_order(
    records: Any, users: UsersTable, space: str, key: str
) -> None:
    writes = [
        write(f"{key}-a", {"name": "Ada"}),
        write(f"{key}-b", {"name": "Bob"}, UPDATE),
        write(f"{key}-a", {"age": 36}, UPDATE),
        write(f"{key}-c", {"nome": "Cy"}),
    ]
    request = ParseDict({"namespace": space, "writes": writes}, pb.BatchPutRecordsRequest())
    answer = await records.BatchPutRecords(request)
    assert [one.WhichOneof("outcome") for one in answer.outcomes] == [
        "put",
        "error",
        "put",
        "error",
    ]
    assert answer.outcomes[1].error.code == code_pb2.NOT_FOUND
    assert fields_of(answer.outcomes[3].error) == ["fields.nome"]
    keys = [f"{key}-b", f"{key}-a", f"{key}-a"]
    asked = pb.BatchGetRecordsRequest(namespace=space, keys=keys)
    found = [one.found for one in (await records.BatchGetRecords(asked)).outcomes]
    assert [one.HasField("record") for one in found] == [False, True, True]
    assert found[1].record["age"] == 36
    await flushed(records, space)
    assert users.row(f"{key}-a") == ("Ada", 36, None, None)


@both_modes
async def test_a_record_that_cannot_be_read_is_an_error_of_its_own_item(
    records: Any, users: UsersTable, space: str, key: str
) -> None:
    for one in ("a", "b", "c"):
        users.change("INSERT INTO users (id, name) VALUES (?, 'Ada')", f"{key}-{one}")
    users.change("UPDATE users SET name = x'ff' WHERE id = ?", f"{key}-b")
    asked = pb.BatchGetRecordsRequest(namespace=space, keys=[f"{key}-{one}" for one in "abc"])
    first, bad, last = (await records.BatchGetRecords(asked)).outcomes
    assert bad.error.code == code_pb2.UNAVAILABLE
    assert "can't be read: column name" in bad.error.message
    assert [one.found.record["name"] for one in (first, last)] == ["Ada", "Ada"]


async def test_a_batch_of_nothing_but_wrong_fields_names_them_all(records: Any, key: str) -> None:
    writes = [write(key, {"nome": "Ada"}), write(key, {"name": "Ada", "aeg": 3})]
    request = ParseDict({"namespace": "through", "writes": writes}, pb.BatchPutRecordsRequest())
    named = await violations(records.BatchPutRecords(request))
    assert list(named) == ["writes[0].fields.nome", "writes[1].fields.aeg"]


@both_modes
async def test_a_request_id_writes_once(records: Any, space: str, key: str) -> None:
    request = put(space, key, {"name": "Ada"}, INSERT, request_id="id")
    first = await records.PutRecord(request)
    assert await records.PutRecord(request) == first
    other = put(space, key, {"name": "Bob"}, INSERT, request_id="id")
    assert list(await violations(records.PutRecord(other))) == ["request_id"]


@both_modes
async def test_what_is_there_or_not_is_said_with_the_key(
    records: Any, space: str, key: str
) -> None:
    code, reason, found = await failure(records.PutRecord(put(space, key, {"age": 1}, UPDATE)))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "RECORD_MISSING")
    assert found["ErrorInfo"].metadata["key"] == key
    await records.PutRecord(put(space, key, {"age": 1}))
    code, reason, found = await failure(records.PutRecord(put(space, key, {"age": 2}, INSERT)))
    assert (code, reason) == (grpc.StatusCode.ALREADY_EXISTS, "RECORD_EXISTS")
    assert found["ErrorInfo"].metadata["key"] == key


async def test_what_the_table_forbids_is_refused(records: Any, users: UsersTable, key: str) -> None:
    code, reason, _ = await failure(records.PutRecord(put("through", key, {"age": -1})))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WRITE_REFUSED")
    assert users.row(key) is None
    code, reason, _ = await failure(records.PutRecord(put("readonly", key, {"age": 1})))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WRITE_REFUSED")


async def test_the_backlog_is_counted_and_flushed(
    records: Any, users: UsersTable, key: str
) -> None:
    for number in range(50):
        await records.PutRecord(put("behind", f"{key}-{number}", {"age": number}))
    wait = pb.FlushWritesRequest(namespace="behind", timeout={"seconds": 3})
    done = await records.FlushWrites(wait)
    assert done.remaining == 0
    assert users.row(f"{key}-49") == (None, 49, None, None)
    backlog = await records.GetWriteBacklog(pb.GetWriteBacklogRequest(namespace="behind"))
    assert backlog.pending == 0
    assert not backlog.HasField("oldest_age")


async def test_dead_writes_are_listed_retried_and_discarded(
    records: Any, users: UsersTable, key: str
) -> None:
    for number in range(3):
        await records.PutRecord(put("behind", f"{key}-{number}", {"age": -1 - number}))
        await flushed(records, "behind")
    dead: list[Any] = []
    token = ""
    while True:
        page = await records.ListDeadWrites(
            pb.ListDeadWritesRequest(namespace="behind", page_size=2, page_token=token)
        )
        assert len(page.writes) <= 2
        dead += page.writes
        token = page.next_page_token
        if not token:
            break
    mine = [one for one in dead if one.key.startswith(f"{key}-")]
    assert [one.key for one in mine] == [f"{key}-{number}" for number in range(3)]
    assert {one.operation for one in mine} == {pb.WRITE_OPERATION_UPSERT}
    assert mine[0].fields["age"] == -1
    assert mine[0].reason
    assert mine[0].refuse_time.seconds > 0
    assert users.row(f"{key}-0") is None
    backlog = await records.GetWriteBacklog(pb.GetWriteBacklogRequest(namespace="behind"))
    assert backlog.dead == len(dead)
    retried = await records.RetryDeadWrites(
        pb.RetryDeadWritesRequest(namespace="behind", ids=[mine[0].id, "0-1"])
    )
    assert retried.retried == 1
    await flushed(records, "behind")
    discarded = await records.DiscardDeadWrites(
        pb.DiscardDeadWritesRequest(namespace="behind", ids=[mine[1].id])
    )
    assert discarded.discarded == 1
    left = await records.DiscardDeadWrites(
        pb.DiscardDeadWritesRequest(namespace="behind", all=True)
    )
    assert left.discarded == len(dead) - 1
    backlog = await records.GetWriteBacklog(pb.GetWriteBacklogRequest(namespace="behind"))
    assert backlog.dead == 0


async def test_a_page_token_is_of_a_page_of_the_same_list(records: Any, key: str) -> None:
    for number in range(2):
        await records.PutRecord(put("behind", f"{key}-{number}", {"age": -1}))
    await flushed(records, "behind")
    first = await records.ListDeadWrites(pb.ListDeadWritesRequest(namespace="behind", page_size=1))
    token = first.next_page_token
    for space, said in (("through", token), ("behind", first.writes[0].id), ("behind", token[:-1])):
        request = pb.ListDeadWritesRequest(namespace=space, page_token=said)
        assert list(await violations(records.ListDeadWrites(request))) == ["page_token"]
    everything = pb.DiscardDeadWritesRequest(namespace="behind", all=True)
    await records.DiscardDeadWrites(everything)


async def test_a_misspelt_namespace_is_not_made(records: Any, opened: grpc.aio.Channel) -> None:
    admin: Any = admin_pb2_grpc.AdminServiceStub(opened)
    get_record = pb.GetRecordRequest(namespace="thruogh", key="k")
    asked = (
        records.GetRecord(get_record),
        records.PutRecord(put("thruogh", "k", {})),
        records.GetWriteBacklog(pb.GetWriteBacklogRequest(namespace="thruogh")),
    )
    for call in asked:
        code, reason, _ = await failure(call)
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_ORIGIN")
    with pytest.raises(grpc.aio.AioRpcError) as warmed:
        async for _ in admin.Warm(admin_pb2.WarmRequest(namespace="thruogh", keys=["k"])):
            pass
    assert details(warmed.value)["ErrorInfo"].reason == "ERROR_REASON_NO_ORIGIN"
    listed = await admin.ListNamespaces(admin_pb2.ListNamespacesRequest())
    assert "thruogh" not in {one.name for one in listed.namespaces}


async def test_what_is_wrong_is_said_in_words(records: Any) -> None:
    names = records.PutRecord(put("small", "refused", {"": 1}))
    assert (await violations(names))["fields"].startswith("must have names of 1 to 512 bytes")
    wait = pb.FlushWritesRequest(namespace="behind", timeout={"seconds": 3601})
    said = await violations(records.FlushWrites(wait))
    assert said["timeout"] == "must be at most the longest wait, 1h"


@both_modes
async def test_refreshing_can_be_stopped(records: Any, space: str, key: str) -> None:
    await records.PutRecord(put(space, key, {"name": "Ada"}))
    for stopped in ({"keys": [key, "nobody"]}, {"all": True}):
        await records.StopRefresh(pb.StopRefreshRequest(namespace=space, **stopped))
    assert (await get(records, space, key)).HasField("record")


@both_modes
async def test_the_cache_gives_records_as_canonical_json(
    records: Any, cache: Any, space: str, key: str
) -> None:
    await records.PutRecord(put(space, key, {"score": 1.5, "name": "Adé", "age": 36}))
    value = f'{{"age":36,"email":null,"id":"{key}","name":"Adé","score":1.5}}'.encode()
    ask: dict[str, Any] = {"lease": {"ttl": {"seconds": 5}}}
    hit = (await cache.Get(cache_pb2.GetRequest(namespace=space, key=key, **ask))).hit
    assert (hit.entry.value, hit.entry.content_type) == (value, "application/json")
    assert hit.entry.version
    assert hit.entry.expire_time.seconds > hit.entry.create_time.seconds > 0
    assert not hit.stale
    assert not hit.HasField("lease")
    keys = ["nobody", key]
    batch = await cache.BatchGet(cache_pb2.BatchGetRequest(namespace=space, keys=keys, **ask))
    assert batch.outcomes[0].miss.reason == cache_pb2.MISS_REASON_NO_RECORD
    assert not batch.outcomes[0].miss.HasField("lease")
    assert batch.outcomes[1].hit == hit


async def test_the_cache_drops_its_copy_and_not_the_record(
    records: Any, cache: Any, users: UsersTable, key: str
) -> None:
    await records.PutRecord(put("through", key, {"name": "Ada"}))
    deleted = await cache.Delete(cache_pb2.DeleteRequest(namespace="through", key=key))
    assert deleted.deleted
    assert users.row(key) == ("Ada", None, None, None)
    assert (await get(records, "through", key)).source == pb.SOURCE_ORIGIN


@both_modes
async def test_the_cache_does_not_set_what_is_a_record(cache: Any, space: str, key: str) -> None:
    entry = cache_pb2.BatchSetEntry(key=key, value=b"v")
    for call in (
        cache.Set(cache_pb2.SetRequest(namespace=space, key=key, value=b"v")),
        cache.BatchSet(cache_pb2.BatchSetRequest(namespace=space, entries=[entry])),
    ):
        code, reason, found = await failure(call)
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "HAS_ORIGIN")
        assert found["PreconditionFailure"].violations[0].subject == space


def all_calls(records: Any, space: str) -> Iterator[Any]:
    """A right one of each."""
    yield get(records, space, "k")
    yield records.BatchGetRecords(pb.BatchGetRecordsRequest(namespace=space, keys=["k"]))
    yield records.PutRecord(put(space, "k", {"name": "Ada"}))
    writes = {"namespace": space, "writes": [write("k", {"name": "Ada"})]}
    yield records.BatchPutRecords(ParseDict(writes, pb.BatchPutRecordsRequest()))
    yield records.DeleteRecord(pb.DeleteRecordRequest(namespace=space, key="k"))
    yield records.StopRefresh(pb.StopRefreshRequest(namespace=space, all=True))
    yield records.FlushWrites(pb.FlushWritesRequest(namespace=space))
    yield records.GetWriteBacklog(pb.GetWriteBacklogRequest(namespace=space))
    yield records.ListDeadWrites(pb.ListDeadWritesRequest(namespace=space))
    yield records.RetryDeadWrites(pb.RetryDeadWritesRequest(namespace=space, all=True))
    yield records.DiscardDeadWrites(pb.DiscardDeadWritesRequest(namespace=space, all=True))


async def test_a_namespace_without_an_origin_has_no_records(records: Any) -> None:
    for call in all_calls(records, "plain"):
        code, reason, found = await failure(call)
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_ORIGIN")
        assert found["PreconditionFailure"].violations[0].subject == "plain"


async def test_a_table_that_is_missing_stops_its_namespace_alone(
    records: Any, cache: Any, key: str
) -> None:
    await records.PutRecord(put("through", key, {"name": "Ada"}))
    for call in (
        get(records, "gone", key),
        records.PutRecord(put("gone", key, {"name": "Ada"})),
        cache.Get(cache_pb2.GetRequest(namespace="gone", key=key)),
    ):
        code, reason, found = await failure(call)
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ORIGIN_NOT_READY")
        assert found["ErrorInfo"].metadata["namespace"] == "gone"
    assert (await get(records, "through", key)).HasField("record")


def test_only_what_a_repeat_loses_nothing_of_is_idempotent() -> None:
    levels = descriptor_pb2.MethodOptions.IdempotencyLevel
    methods = pb.DESCRIPTOR.services_by_name["RecordService"].methods
    assert {
        method.name: levels.Name(method.GetOptions().idempotency_level) for method in methods
    } == {
        "GetRecord": "NO_SIDE_EFFECTS",
        "BatchGetRecords": "NO_SIDE_EFFECTS",
        "PutRecord": "IDEMPOTENCY_UNKNOWN",
        "BatchPutRecords": "IDEMPOTENCY_UNKNOWN",
        "DeleteRecord": "IDEMPOTENCY_UNKNOWN",
        "StopRefresh": "IDEMPOTENT",
        "FlushWrites": "IDEMPOTENT",
        "GetWriteBacklog": "NO_SIDE_EFFECTS",
        "ListDeadWrites": "NO_SIDE_EFFECTS",
        "RetryDeadWrites": "IDEMPOTENT",
        "DiscardDeadWrites": "IDEMPOTENT",
    }
