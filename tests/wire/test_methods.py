"""What every call passes through, for the four kinds of methods, on a service of the test's own."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.wrappers_pb2 import StringValue
from pantler_server.core.call import Call
from pantler_server.core.config import Settings
from pantler_server.core.errors import NamespaceUnknown
from pantler_server.wire.host import GrpcHost

from tests.servers.valkey import free_port
from tests.wire.test_cache_service import details

KINDS = ["UnaryUnary", "UnaryStream", "StreamUnary", "StreamStream"]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a call knew while it was under way: grpc crashes when its context is asked later."""

    left_s: float
    tenant: str | bytes | None
    peer: str
    request_ids: set[str]

    @classmethod
    def of(cls, call: Call) -> "_Seen":
        return cls(
            left_s=call.deadline - time.monotonic(),
            tenant=call.metadata.get("x-tenant"),
            peer=call.peer,
            request_ids={call.request_id, call.request_id},
        )


class Servicer:
    """Answers `say X` with X, and with an error of the kind that is asked for."""

    def __init__(self) -> None:
        self.calls: list[_Seen] = []

    async def UnaryUnary(self, request: StringValue, call: Call) -> StringValue:
        self.calls.append(_Seen.of(call))
        return self._answer(request)

    async def UnaryStream(self, request: StringValue, call: Call) -> AsyncIterator[StringValue]:
        self.calls.append(_Seen.of(call))
        yield StringValue(value="first")
        yield self._answer(request)

    async def StreamUnary(self, requests: AsyncIterator[StringValue], call: Call) -> StringValue:
        self.calls.append(_Seen.of(call))
        return self._answer([request async for request in requests][-1])

    async def StreamStream(
        self, requests: AsyncIterator[StringValue], call: Call
    ) -> AsyncIterator[StringValue]:
        self.calls.append(_Seen.of(call))
        async for request in requests:
            yield self._answer(request)

    def _answer(self, request: StringValue) -> StringValue:
        match request.value:
            case "unknown":
                raise NamespaceUnknown("users")
            case "late":
                raise TimeoutError
            case "defect":
                raise ZeroDivisionError("secret of the driver")
        return request


def _descriptor() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="tests/kinds.proto",
        package="tests",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    service = file.service.add(name="KindsService")
    for kind in KINDS:
        service.method.add(
            name=kind,
            input_type=".google.protobuf.StringValue",
            output_type=".google.protobuf.StringValue",
            client_streaming=kind.startswith("Stream"),
            server_streaming=kind.endswith("Stream"),
        )
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName("tests.KindsService")


class Host:
    def __init__(self) -> None:
        self.servicer = Servicer()
        address = f"127.0.0.1:{free_port()}"
        self.settings = Settings(listen=address)
        self.host = GrpcHost(self.settings)
        self.host.add(_descriptor(), self.servicer)
        self.channel = grpc.aio.insecure_channel(address)

    async def call(self, kind: str, *requests: str, **options: Any) -> list[str]:
        """The values that a method of this kind answers with."""
        method = getattr(self.channel, _snake(kind))(f"/tests.KindsService/{kind}")
        messages = [StringValue(value=value).SerializeToString() for value in requests]
        call = method(iter(messages) if kind.startswith("Stream") else messages[-1], **options)
        raws = [raw async for raw in call] if kind.endswith("Stream") else [await call]
        return [StringValue.FromString(raw).value for raw in raws]


def _snake(kind: str) -> str:
    return kind.replace("Unary", "unary_").replace("Stream", "stream_").rstrip("_")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kinds() -> AsyncIterator[Host]:
    host = Host()
    await host.host.start()
    yield host
    await host.channel.close()
    await host.host.drain(0)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_answers(kinds: Host, kind: str) -> None:
    assert (await kinds.call(kind, "say"))[-1] == "say"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("request_value", "code", "reason"),
    [
        ("unknown", grpc.StatusCode.NOT_FOUND, "ERROR_REASON_NAMESPACE_UNKNOWN"),
        ("late", grpc.StatusCode.DEADLINE_EXCEEDED, "ERROR_REASON_DEADLINE_EXCEEDED"),
        ("defect", grpc.StatusCode.INTERNAL, "ERROR_REASON_INTERNAL"),
    ],
)
async def test_every_kind_says_what_went_wrong(
    kinds: Host, kind: str, request_value: str, code: grpc.StatusCode, reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await kinds.call(kind, request_value, metadata=(("x-request-id", "id-7"),))
    assert failed.value.code() is code
    found = details(failed.value)
    assert found["ErrorInfo"].reason == reason
    assert found["RequestInfo"].request_id == "id-7"
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_has_the_callers_deadline_metadata_and_peer(kinds: Host, kind: str) -> None:
    await kinds.call(kind, "say", timeout=2.0, metadata=(("x-tenant", "blue"),))
    seen = kinds.servicer.calls[-1]
    assert 1.0 < seen.left_s < 2.0
    assert seen.tenant == "blue"
    assert seen.peer.startswith("ipv4:127.0.0.1")
    assert len(seen.request_ids) == 1
    assert "" not in seen.request_ids


async def test_a_call_without_a_deadline_gets_the_configured_one(kinds: Host) -> None:
    await kinds.call("UnaryUnary", "say")
    left_s = kinds.servicer.calls[-1].left_s
    assert 4.0 < left_s < kinds.settings.default_deadline.total_seconds()
