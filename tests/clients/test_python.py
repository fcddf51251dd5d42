"""The Python SDK against a real server."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import count

import grpc
import pantler
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from pantler.errors import from_status
from pantler.v1 import errors_pb2
from redis.asyncio import Redis

from tests.servers.pantler import PantlerServer
from tests.servers.valkey import free_port

_numbers = count()


@pytest.fixture
def namespace() -> str:
    return f"sdk{next(_numbers)}"


async def test_set_get_delete(server: PantlerServer, namespace: str) -> None:
    async with pantler.AsyncClient(server.address) as client:
        stored = await client.set(
            namespace, "k", b"v", ttl=timedelta(minutes=5), content_type="text/plain"
        )
        entry = await client.get(namespace, "k")
        assert entry is not None
        assert (entry.value, entry.version, entry.content_type) == (
            b"v",
            stored.version,
            "text/plain",
        )
        assert entry.expire_time == stored.expire_time
        assert abs(entry.create_time - datetime.now(UTC)) < timedelta(seconds=5)
        assert entry.expire_time - entry.create_time == timedelta(minutes=5)
        assert await client.delete(namespace, "k") is True
        assert await client.delete(namespace, "k") is False
        assert await client.get(namespace, "k") is None


async def test_batches_of_any_size(server: PantlerServer, namespace: str) -> None:
    values = {f"k{index}": str(index).encode() for index in range(2500)}
    async with pantler.AsyncClient(server.address) as client:
        stored = await client.set_many(namespace, values)
        assert list(stored) == list(values)
        found = await client.get_many(namespace, [*values, "nothing", "k0"])
        assert {key: entry.value for key, entry in found.items()} == values
        deleted = await client.delete_many(namespace, [*values, "nothing"])
        assert deleted == {**dict.fromkeys(values, True), "nothing": False}
        assert await client.get_many(namespace, []) == {}


async def test_a_value_as_large_as_allowed_comes_back(
    server: PantlerServer, namespace: str
) -> None:
    async with pantler.AsyncClient(server.address) as client:
        await client.set(namespace, "k", b"x" * (4 << 20))
        entry = await client.get(namespace, "k")
        assert entry is not None
        assert len(entry.value) == 4 << 20


async def test_a_refused_field_is_named(server: PantlerServer, namespace: str) -> None:
    async with pantler.AsyncClient(server.address) as client:
        with pytest.raises(pantler.InvalidArgument) as refused:
            await client.set(namespace, "", b"v", ttl=timedelta(days=999))
    assert [violation.path for violation in refused.value.violations] == ["key", "ttl"]
    assert refused.value.reason == "ERROR_REASON_INVALID_FIELD"
    assert refused.value.request_id


async def test_a_batch_that_fails_in_part_keeps_the_rest(
    server: PantlerServer, namespace: str
) -> None:
    path = (await server.wait_for("serving"))["redis"]
    async with pantler.AsyncClient(server.address) as client:
        await client.set(namespace, "good", b"v")
        async with Redis(unix_socket_path=path) as redis:
            await redis.rpush(f"{{{namespace}:0}}e:foreign", "theirs")
        for call in (
            client.get_many(namespace, ["good", "foreign", "nothing"]),
            client.set_many(namespace, {"good": b"v", "foreign": b"v"}),
            client.delete_many(namespace, ["good", "foreign"]),
        ):
            with pytest.raises(pantler.PartialFailure) as failed:
                await call
            assert list(failed.value.results) == ["good"]
            assert list(failed.value.errors) == ["foreign"]
            assert isinstance(failed.value.errors["foreign"], pantler.FailedPrecondition)


async def test_a_server_that_is_away_is_unavailable() -> None:
    async with pantler.AsyncClient(f"127.0.0.1:{free_port()}") as client:
        with pytest.raises(pantler.Unavailable):
            await client.get("users", "k")


async def test_a_server_that_does_not_answer_is_given_up_in_time() -> None:
    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(ignore, "127.0.0.1", 0)
    address = f"127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    async with pantler.AsyncClient(address, timeout=timedelta(milliseconds=100)) as client:
        with pytest.raises(pantler.DeadlineExceeded):
            await client.get("users", "k")
    silent.close()
    await silent.wait_closed()


@pytest.mark.parametrize(
    "code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
)
def test_every_code_becomes_an_error(code: grpc.StatusCode) -> None:
    number: int = code.value[0]
    error = from_status(status_pb2.Status(code=number, message="said"))
    assert isinstance(error, pantler.PantlerError)
    assert str(error) == "said"


@pytest.mark.parametrize("reason", errors_pb2.ErrorReason.keys()[1:])
def test_every_reason_reaches_the_caller(reason: str) -> None:
    status = status_pb2.Status(code=code_pb2.UNAVAILABLE, message="said")
    info = error_details_pb2.ErrorInfo(reason=reason, domain="pantler.dev", metadata={"key": "k"})
    status.details.add().Pack(info)
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(200)
    status.details.add().Pack(retry)
    error = from_status(status)
    assert error.reason == reason
    assert error.metadata == {"key": "k"}
    assert isinstance(error, pantler.Unavailable)
    assert error.retry_after == timedelta(milliseconds=200)
    unknown = reason == "ERROR_REASON_OUTCOME_UNKNOWN"
    assert isinstance(error, pantler.OutcomeUnknown) is unknown


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    from pantler import errors

    assert errors.__doc__ is not None
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.PantlerError)
    ]
    assert len(classes) == 10
    assert all(one.__name__ in errors.__doc__ for one in classes)
