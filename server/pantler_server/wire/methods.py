"""What every call passes through: parsing, deadline, errors, metrics and access log.

The chain is put together once for each method, when it is registered, and not at each call. It
stands here instead of in grpc.aio interceptors because those cost a coroutine and a handler for
each call.
"""

import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status
from prometheus_client import Histogram

from pantler_server.core.config import Settings
from pantler_server.core.errors import ResponseTooLarge
from pantler_server.servicers.failure import service_error
from pantler_server.servicers.status import status_of
from pantler_server.wire.gate import Gate
from pantler_server.wire.grpc_call import Context, GrpcCall

_SECONDS = Histogram(
    "pantler_rpc_seconds",
    "Time from a call's arrival to its answer, by method and status code",
    ("method", "code"),
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_ALWAYS_LOGGED = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE})

log = structlog.get_logger(__name__)


class Method:
    """One RPC of one service, from bytes to bytes.

    `handle` is the servicer's method: a coroutine function, or an async generator function where
    the response is a stream. It takes the request, or an iterator of requests, and the Call. What a
    stream has in bytes is sent as it is.
    """

    def __init__(
        self,
        descriptor: MethodDescriptor,
        handle: Callable[..., Any],
        settings: Settings,
        gate: Gate,
    ) -> None:
        self.name = f"{descriptor.containing_service.full_name}/{descriptor.name}"
        self._descriptor = descriptor
        self._handle = handle
        self._gate = gate
        self._parse: Callable[[bytes], Message] = GetMessageClass(descriptor.input_type).FromString
        self._took_s: dict[str, list[float]] = {"OK": []}
        self._took_ok_s = self._took_s["OK"]
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration."""
        self._default_deadline_s = settings.default_deadline.total_seconds()
        self._max_message_bytes = int(settings.max_message_bytes)
        self._access_sample_ratio = settings.log.access_sample_ratio

    def flush_metrics(self) -> None:
        """Hands on what was measured since the last time. One by one and between calls, Prometheus
        would cost each call 10 us, 4 % of it."""
        for code, took_s in self._took_s.items():
            observe = _SECONDS.labels(self.name, code).observe
            for one_s in took_s:
                observe(one_s)
            took_s.clear()

    def handler(self) -> "grpc.RpcMethodHandler[Any, Any]":
        """The handler to register, of the kind that the method is."""
        streams = (self._descriptor.client_streaming, self._descriptor.server_streaming)
        match streams:
            case (False, False):
                return grpc.unary_unary_rpc_method_handler(self._answer)
            case (True, False):
                return grpc.stream_unary_rpc_method_handler(self._answer)
            case (False, True):
                return grpc.unary_stream_rpc_method_handler(self._answer_in_parts)
            case _:
                return grpc.stream_stream_rpc_method_handler(self._answer_in_parts)

    async def _answer(self, raw: Any, context: Context) -> bytes:
        began = time.monotonic()
        call = GrpcCall(context, began, self._default_deadline_s)
        try:
            self._gate.enter()
            request = self._parse(raw) if raw.__class__ is bytes else self._parse_each(raw)
            response = await self._handle(request, call)
            data: bytes = response.SerializeToString()
            if len(data) > self._max_message_bytes:
                raise ResponseTooLarge(len(data), self._max_message_bytes)
        except Exception as exc:  # noqa: BLE001 - every error becomes a status
            await self._fail(exc, call, context, began)
        took_s = time.monotonic() - began
        self._took_ok_s.append(took_s)
        if random.random() < self._access_sample_ratio:
            self._log(call, "OK", took_s)
        return data

    async def _answer_in_parts(self, raw: Any, context: Context) -> AsyncIterator[bytes]:
        began = time.monotonic()
        call = GrpcCall(context, began, self._default_deadline_s)
        try:
            self._gate.enter()
            request = self._parse(raw) if raw.__class__ is bytes else self._parse_each(raw)
            async for response in self._handle(request, call):
                yield response if response.__class__ is bytes else response.SerializeToString()
        except Exception as exc:  # noqa: BLE001 - every error becomes a status
            await self._fail(exc, call, context, began)
        took_s = time.monotonic() - began
        self._took_ok_s.append(took_s)
        if random.random() < self._access_sample_ratio:
            self._log(call, "OK", took_s)

    async def _parse_each(self, raws: AsyncIterator[bytes]) -> AsyncIterator[Message]:
        async for raw in raws:
            yield self._parse(raw)

    async def _fail(
        self, exc: Exception, call: GrpcCall, context: Context, began: float
    ) -> NoReturn:
        """Ends the call with the status that says what went wrong."""
        error = service_error(exc, self.name, call.request_id)
        status = rpc_status.to_status(status_of(error, call.request_id))
        took_s = time.monotonic() - began
        self._took_s.setdefault(status.code.name, []).append(took_s)
        if status.code in _ALWAYS_LOGGED:
            self._log(call, status.code.name, took_s)
        await context.abort_with_status(status)

    def _log(self, call: GrpcCall, code: str, took_s: float) -> None:
        log.info(
            "call",
            method=self.name,
            code=code,
            ms=round(took_s * 1000, 3),
            peer=call.peer,
            request_id=call.request_id,
        )
