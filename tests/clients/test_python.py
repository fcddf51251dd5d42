"""The Python SDK against a real server."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import grpc
import pantler
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from pantler.errors import from_status
from pantler.v1 import errors_pb2
from redis.asyncio import Redis

from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer
from tests.servers.valkey import free_port

_numbers = count()
ERRORS_PROTO = Path(__file__).parents[2] / "proto/pantler/v1/errors.proto"
REASONS = errors_pb2.ErrorReason.keys()[1:]  # the first is never sent


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


async def test_conditions_and_touch(client: pantler.AsyncClient, namespace: str) -> None:
    first = await client.set(namespace, "k", b"1", if_absent=True)
    assert first.stored
    refused = await client.set(namespace, "k", b"2", if_absent=True)
    assert (refused.stored, refused.version, refused.expire_time) == (False, 0, None)
    assert (await client.set(namespace, "k", b"2", if_version=first.version)).stored
    assert not (await client.set(namespace, "k", b"3", if_version=first.version)).stored
    assert not await client.delete(namespace, "k", if_version=first.version)
    assert (await client.set(namespace, "k", b"3", if_present=True)).stored
    with pytest.raises(TypeError, match="if_absent and if_version"):
        await client.set(namespace, "k", b"4", if_absent=True, if_version=1)
    expires = await client.touch(namespace, "k", timedelta(minutes=2))
    entry = await client.get(namespace, "k")
    assert entry is not None
    assert (entry.value, entry.expire_time) == (b"3", expires)
    assert await client.touch(namespace, "nothing") is None


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
            assert isinstance(failed.value.errors["foreign"], pantler.WrongKind)


async def test_a_client_may_be_made_where_no_event_loop_runs(
    server: PantlerServer, namespace: str
) -> None:
    client = await asyncio.to_thread(pantler.AsyncClient, server.address)
    async with client:
        assert await client.get(namespace, "k") is None


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


def status_with(code: int, reason: str) -> status_pb2.Status:
    status = status_pb2.Status(code=code, message="said")
    info = error_details_pb2.ErrorInfo(reason=reason, domain="pantler.dev", metadata={"key": "k"})
    status.details.add().Pack(info)
    return status


def documented_code(reason: str) -> int:
    """The code that a reason's comment in errors.proto begins with."""
    comment = re.search(
        rf"  // ([A-Z_]+)\. (?:.*\n  //)*.*\n  {reason} = ", ERRORS_PROTO.read_text()
    )
    assert comment is not None
    return int(code_pb2.Code.Value(comment[1]))


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_a_class(reason: str) -> None:
    error = from_status(status_with(code_pb2.UNKNOWN, reason))  # a code that has no class
    assert type(error) is not pantler.PantlerError
    assert (error.reason, error.metadata) == (reason, {"key": "k"})


@pytest.mark.parametrize("reason", REASONS)
def test_a_reasons_class_is_one_of_its_codes(reason: str) -> None:
    of_code = from_status(status_pb2.Status(code=documented_code(reason)))
    assert isinstance(from_status(status_with(code_pb2.UNKNOWN, reason)), type(of_code))


def test_a_reason_of_a_newer_server_is_known_by_its_code() -> None:
    error = from_status(status_with(code_pb2.RESOURCE_EXHAUSTED, "ERROR_REASON_OF_TOMORROW"))
    assert type(error) is pantler.ResourceExhausted
    assert error.reason == "ERROR_REASON_OF_TOMORROW"


def test_unavailable_says_when_to_come_back() -> None:
    status = status_with(code_pb2.UNAVAILABLE, "ERROR_REASON_OUTCOME_UNKNOWN")
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(200)
    status.details.add().Pack(retry)
    error = from_status(status)
    assert isinstance(error, pantler.OutcomeUnknown)
    assert error.retry_after == timedelta(milliseconds=200)


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    from pantler import errors

    assert errors.__doc__ is not None
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.PantlerError)
    ]
    assert len(classes) == 26
    assert all(one.__name__ in errors.__doc__ for one in classes)


async def test_what_begins_while_a_cancellation_is_written_is_sent(
    server: PantlerServer, namespace: str
) -> None:
    async with (
        FaultProxy(int(server.address.rpartition(":")[2])) as proxy,
        pantler.AsyncClient(f"127.0.0.1:{proxy.port}") as client,
    ):
        await client.set(namespace, "k", b"v")
        await client.get(namespace, "k")  # a stream is open
        proxy.hold_replies()
        for _ in range(5):
            writing = asyncio.create_task(client.set(namespace, "k", b"v"))
            await asyncio.sleep(0.05)
            writing.cancel()
            reading = asyncio.create_task(client.get(namespace, "k"))
            await asyncio.wait((writing,))
        proxy.restore()
        assert await reading is not None
