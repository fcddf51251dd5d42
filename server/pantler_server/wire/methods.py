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
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status
from prometheus_client import Counter, Histogram

from pantler_server.core.config import Settings
from pantler_server.core.errors import (
    DeadlinePassed,
    FieldViolation,
    InternalError,
    InvalidFields,
    ResponseTooLarge,
    ServiceError,
)
from pantler_server.servicers.status import status_of
from pantler_server.wire.gate import Gate
from pantler_server.wire.grpc_call import Context, GrpcCall

_HANDLED = Counter("pantler_rpc_handled", "Calls answered, by status code", ("method", "code"))
_SECONDS = Histogram(
    "pantler_rpc_seconds",
    "Time from a call's arrival to its answer",
    ("method",),
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_ALWAYS_LOGGED = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE})

log = structlog.get_logger(__name__)

SettingsNow = Callable[[], Settings]


class Method:
    """One RPC of one service, from bytes to bytes.

    `handle` is the servicer's method: a coroutine function, or an async generator function where
    the response is a stream. It takes the request, or an iterator of requests, and the Call.
    """

    def __init__(
        self,
        descriptor: MethodDescriptor,
        handle: Callable[..., Any],
        settings: SettingsNow,
        gate: Gate,
    ) -> None:
        self.name = f"{descriptor.containing_service.full_name}/{descriptor.name}"
        self._descriptor = descriptor
        self._handle = handle
        self._settings = settings
        self._gate = gate
        self._request_name = descriptor.input_type.name
        self._parse_bytes: Callable[[bytes], Message] = GetMessageClass(
            descriptor.input_type
        ).FromString
        self._observe = _SECONDS.labels(self.name).observe
        self._count_ok = _HANDLED.labels(self.name, "OK").inc

    def handler(self) -> "grpc.RpcMethodHandler[Any, Any]":
        """The handler to register, of the kind that the method is."""
        streams = (self._descriptor.client_streaming, self._descriptor.server_streaming)
        return {
            (False, False): lambda: grpc.unary_unary_rpc_method_handler(self._answer),
            (False, True): lambda: grpc.unary_stream_rpc_method_handler(self._answer_in_parts),
            (True, False): lambda: grpc.stream_unary_rpc_method_handler(self._answer),
            (True, True): lambda: grpc.stream_stream_rpc_method_handler(self._answer_in_parts),
        }[streams]()

    async def _answer(self, raw: Any, context: Context) -> bytes:
        began = time.monotonic()
        settings = self._settings()
        call = GrpcCall(context, began, settings.default_deadline.total_seconds())
        try:
            self._gate.enter()
            response = await self._handle(self._request(raw), call)
            data: bytes = response.SerializeToString()
            if len(data) > settings.max_message_bytes:
                raise ResponseTooLarge(len(data), settings.max_message_bytes)
        except Exception as exc:  # noqa: BLE001 - every error becomes a status
            await self._fail(exc, call, context, began)
        self._succeeded(call, began, settings)
        return data

    async def _answer_in_parts(self, raw: Any, context: Context) -> AsyncIterator[bytes]:
        began = time.monotonic()
        settings = self._settings()
        call = GrpcCall(context, began, settings.default_deadline.total_seconds())
        try:
            self._gate.enter()
            async for response in self._handle(self._request(raw), call):
                yield response.SerializeToString()
        except Exception as exc:  # noqa: BLE001 - every error becomes a status
            await self._fail(exc, call, context, began)
        self._succeeded(call, began, settings)

    def _request(self, raw: Any) -> Any:
        if self._descriptor.client_streaming:
            return self._parse_each(raw)
        return self._parse(raw)

    async def _parse_each(self, raws: AsyncIterator[bytes]) -> AsyncIterator[Message]:
        async for raw in raws:
            yield self._parse(raw)

    def _parse(self, raw: bytes) -> Message:
        try:
            return self._parse_bytes(raw)
        except DecodeError:
            problem = FieldViolation("", f"the bytes are not a {self._request_name}")
            raise InvalidFields([problem]) from None

    def _succeeded(self, call: GrpcCall, began: float, settings: Settings) -> None:
        took_s = time.monotonic() - began
        self._observe(took_s)
        self._count_ok()
        if random.random() < settings.log.access_sample_ratio:
            self._log(call, "OK", took_s)

    async def _fail(
        self, exc: Exception, call: GrpcCall, context: Context, began: float
    ) -> NoReturn:
        """Ends the call with the status that says what went wrong."""
        if isinstance(exc, ServiceError):
            error = exc
        elif isinstance(exc, TimeoutError):
            error = DeadlinePassed("the deadline passed before there was an answer")
        else:
            log.exception("defect", method=self.name, request_id=call.request_id)
            error = InternalError("a defect in Pantler; the log has it under the request id")
        status = rpc_status.to_status(status_of(error, call.request_id))
        took_s = time.monotonic() - began
        self._observe(took_s)
        _HANDLED.labels(self.name, status.code.name).inc()
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
