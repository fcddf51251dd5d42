"""AdminService/Warm on the wire: its stream, and what it refuses."""

import asyncio
from itertools import count
from typing import Any

import grpc.aio
import pytest
from pantler.v1 import admin_pb2, admin_pb2_grpc, errors_pb2

from tests.servers.pantler import PantlerServer
from tests.servers.people import COUNT
from tests.wire.test_cache_service import details

_numbers = count()


@pytest.fixture
def namespace() -> str:
    return f"warm{next(_numbers)}"


@pytest.fixture
def admin(people_server: PantlerServer) -> Any:
    channel = grpc.aio.insecure_channel(people_server.address)
    return admin_pb2_grpc.AdminServiceStub(channel)


async def answers(admin: Any, namespace: str, **said: Any) -> list[admin_pb2.WarmResponse]:
    request = admin_pb2.WarmRequest(namespace=namespace, **said)
    return [answer async for answer in admin.Warm(request)]


async def refused(admin: Any, namespace: str, **said: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await answers(admin, namespace, **said)
    return error.value


async def test_all_rows_without_a_warm_of_the_namespace(admin: Any, namespace: str) -> None:
    last = (await answers(admin, namespace, all=True, keys_per_second=100_000))[-1]
    assert (last.seen, last.loaded, last.failed, last.total, last.done) == (
        COUNT,
        COUNT,
        0,
        0,
        True,
    )


async def test_all_is_what_the_warm_of_the_namespace_names(admin: Any) -> None:
    [last] = await answers(admin, "adults", all=True)
    assert (last.seen, last.done) == (COUNT // 3, True)


async def test_keys_each_once(admin: Any, namespace: str) -> None:
    [last] = await answers(admin, namespace, keys=["p001", "nobody", "p001"])
    assert (last.seen, last.loaded, last.total, last.done) == (2, 2, 2, True)


async def test_hot_keys_of_a_namespace_that_nobody_reads(admin: Any, namespace: str) -> None:
    [last] = await answers(admin, namespace, hot=True)
    assert (last.seen, last.total, last.done) == (0, 0, True)


async def test_progress_comes_twice_a_second_and_another_call_goes_on(
    admin: Any, namespace: str
) -> None:
    call = admin.Warm(admin_pb2.WarmRequest(namespace=namespace, all=True, keys_per_second=100))
    async with asyncio.timeout(5):
        told = [await call.read() for _ in range(2)]
    call.cancel()
    assert 0 < told[0].seen < told[1].seen < COUNT
    assert not told[1].done
    rest = await answers(
        admin, namespace, all=True, keys_per_second=100_000, resume_token=told[1].resume_token
    )
    assert (rest[-1].seen, rest[-1].done) == (COUNT, True)


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ({}, "keys"),
        ({"keys": ["a"], "all": True}, "keys"),
        ({"all": True, "hot": True}, "keys"),
        ({"keys": ["a", ""]}, "keys[1]"),
        ({"keys": ["a"] * 10_001}, "keys"),
        ({"all": True, "keys_per_second": 1_000_001}, "keys_per_second"),
        ({"all": True, "resume_token": "nonsense"}, "resume_token"),
    ],
)
async def test_wrong_fields_are_named(
    admin: Any, namespace: str, said: dict[str, Any], path: str
) -> None:
    error = await refused(admin, namespace, **said)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [one.field for one in details(error)["BadRequest"].field_violations] == [path]


async def test_a_wrong_name_is_refused(admin: Any) -> None:
    error = await refused(admin, "No Name", all=True)
    assert [one.field for one in details(error)["BadRequest"].field_violations] == ["namespace"]


async def test_a_table_that_is_not_there_is_a_failed_precondition(admin: Any) -> None:
    error = await refused(admin, "gone", all=True)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    reason = errors_pb2.ErrorReason.Name(errors_pb2.ERROR_REASON_ORIGIN_NOT_READY)
    assert details(error)["ErrorInfo"].reason == reason


async def test_a_service_that_does_not_list_its_keys_is_a_failed_precondition(admin: Any) -> None:
    error = await refused(admin, "away", all=True)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "name them, or warm the hot ones" in (error.details() or "")


async def test_a_namespace_without_an_origin_is_a_failed_precondition(
    server: PantlerServer, namespace: str
) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        error = await refused(admin_pb2_grpc.AdminServiceStub(channel), namespace, hot=True)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    reason = errors_pb2.ErrorReason.Name(errors_pb2.ERROR_REASON_NO_ORIGIN)
    assert details(error)["ErrorInfo"].reason == reason
