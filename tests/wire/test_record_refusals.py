"""What RecordService refuses: the fields are named, and nothing is done."""

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from pantler.v1 import record_pb2 as pb
from redis.asyncio import Redis

from tests.servers.users_table import UsersTable
from tests.wire.test_cache_service import violations
from tests.wire.test_record_service import put, write


def nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"x": 1}
    for _ in range(levels - 1):
        inner = {"x": inner}
    return inner


LONG = "f" * 513
PUTS: list[tuple[dict[str, Any], list[str]]] = [
    ({"namespace": "Wrong"}, ["namespace"]),
    ({"key": ""}, ["key"]),
    ({"key": "x" * 513}, ["key"]),
    ({"key": "a\nb"}, ["key"]),
    ({"operation": "WRITE_OPERATION_UNSPECIFIED"}, ["operation"]),
    ({"operation": "WRITE_OPERATION_DELETE"}, ["operation"]),
    ({"operation": 99}, ["operation"]),
    ({"requestId": "x" * 129}, ["request_id"]),
    ({"requestId": "a\tb"}, ["request_id"]),
    ({"fields": {"": 1}}, ["fields"]),
    ({"fields": {LONG: 1}}, ["fields"]),
    ({"fields": {"a\nb": 1}}, ["fields"]),
    ({"fields": {"name": "x" * 200}}, ["fields"]),
    ({"fields": {"name": "\x01" * 33}}, ["fields"]),
    ({"fields": {"name": nested(16)}}, [f"fields.name{'.x' * 15}"]),
    ({"fields": {"name": [[[1]]], "nome": 1}}, ["fields.name", "fields.nome"]),
    ({"fields": {"nome": 1}}, ["fields.nome"]),
    ({"fields": {"age": "many"}}, ["fields.age"]),
    ({"fields": {"id": "another"}}, ["fields.id"]),
    ({"key": "", "operation": 0, "requestId": "\0"}, ["key", "operation", "request_id"]),
]
NUMBERS = [
    ({"age": float("nan")}, "age"),
    ({"score": float("inf")}, "score"),
    ({"name": {"a": {"b": float("-inf")}}}, "name.a.b"),
    ({"name": [1, {"a": [float("nan")]}]}, "name[1].a[0]"),
]
OTHERS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("GetRecord", {"key": ""}, ["key"]),
    ("GetRecord", {"key": "k", "namespace": ""}, ["namespace"]),
    ("BatchGetRecords", {"keys": []}, ["keys"]),
    ("BatchGetRecords", {"keys": ["k"] * 1001}, ["keys"]),
    ("BatchGetRecords", {"keys": ["k", "", "a\0"]}, ["keys[1]", "keys[2]"]),
    ("BatchPutRecords", {"writes": []}, ["writes"]),
    ("BatchPutRecords", {"writes": [write("k", {})] * 1001}, ["writes"]),
    (
        "BatchPutRecords",
        {"writes": [write("k", {}), {"key": "", "fields": {"": 1}, "requestId": "\0"}]},
        ["writes[1].key", "writes[1].operation", "writes[1].request_id", "writes[1].fields"],
    ),
    ("BatchPutRecords", {"writes": [{"key": "k", "operation": 3}]}, ["writes[0].fields"]),
    ("DeleteRecord", {"key": "", "requestId": "x" * 129}, ["key", "request_id"]),
    ("DeleteRecord", {"key": "k", "namespace": ""}, ["namespace"]),
    ("StopRefresh", {}, ["keys"]),
    ("StopRefresh", {"keys": ["k"], "all": True}, ["keys"]),
    ("StopRefresh", {"keys": ["k", ""]}, ["keys[1]"]),
    ("StopRefresh", {"keys": ["k"] * 1001}, ["keys"]),
    ("FlushWrites", {"timeout": "-1s"}, ["timeout"]),
    ("FlushWrites", {"timeout": "3601s"}, ["timeout"]),
    ("GetWriteBacklog", {"namespace": ""}, ["namespace"]),
    ("ListDeadWrites", {"pageSize": 1001}, ["page_size"]),
    ("ListDeadWrites", {"pageToken": "nonsense"}, ["page_token"]),
    ("RetryDeadWrites", {}, ["ids"]),
    ("RetryDeadWrites", {"ids": ["0-1"], "all": True}, ["ids"]),
    ("RetryDeadWrites", {"ids": ["0-1", "one"]}, ["ids[1]"]),
    ("RetryDeadWrites", {"ids": ["0-1"] * 1001}, ["ids"]),
    ("DiscardDeadWrites", {}, ["ids"]),
    ("DiscardDeadWrites", {"ids": ["0-1"], "all": True}, ["ids"]),
    ("DiscardDeadWrites", {"ids": ["", "0-1"]}, ["ids[0]"]),
]


async def written(redis: Redis) -> set[bytes]:
    """What Redis holds of the namespace `small`, but the marks that its first use makes."""
    return {key async for key in redis.scan_iter(b"*{small:*") if not key.endswith(b"}m")}


@pytest.mark.parametrize(("wrong", "paths"), PUTS, ids=lambda value: str(value)[:40])
async def test_a_wrong_put_is_refused_with_its_fields(
    wrong: dict[str, Any], paths: list[str], records: Any, users: UsersTable, redis: Redis
) -> None:
    before, rows = await written(redis), users.count
    right = {"namespace": "small", **write("refused", {"name": "Ada"}), "requestId": "refused"}
    call = records.PutRecord(ParseDict({**right, **wrong}, pb.PutRecordRequest()))
    assert sorted(await violations(call)) == sorted(paths)
    assert (await written(redis), users.count) == (before, rows)


@pytest.mark.parametrize(("fields", "path"), NUMBERS, ids=lambda value: str(value)[:40])
async def test_a_number_that_is_not_finite_is_refused_where_it_stands(
    fields: dict[str, Any], path: str, records: Any, users: UsersTable
) -> None:
    rows = users.count
    request = put("small", "refused", {})
    request.fields.update(fields)
    assert list(await violations(records.PutRecord(request))) == [f"fields.{path}"]
    assert users.count == rows


async def test_a_field_without_a_value_is_refused(records: Any) -> None:
    request = put("small", "refused", {})
    request.fields.fields["name"].SetInParent()
    request.fields.fields["age"].list_value.values.add()
    paths = await violations(records.PutRecord(request))
    assert sorted(paths) == ["fields.age[0]", "fields.name"]


@pytest.mark.parametrize(("method", "wrong", "paths"), OTHERS, ids=lambda value: str(value)[:40])
async def test_a_wrong_request_is_refused_with_its_fields(
    method: str,
    wrong: dict[str, Any],
    paths: list[str],
    records: Any,
    users: UsersTable,
    redis: Redis,
) -> None:
    before, rows = await written(redis), users.count
    request = ParseDict({"namespace": "small", **wrong}, getattr(pb, f"{method}Request")())
    assert list(await violations(getattr(records, method)(request))) == paths
    assert (await written(redis), users.count) == (before, rows)
