"""A real OriginService of a test's own, over a dict."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NoReturn, Self

import grpc
import grpc.aio
from google.protobuf.message import Message
from pantler.origin.v1 import origin_pb2

from tests.servers.certificates import Pair

_SERVICE = "pantler.origin.v1.OriginService"
_REQUESTS = {
    "Load": origin_pb2.LoadRequest,
    "LoadBatch": origin_pb2.LoadBatchRequest,
    "Store": origin_pb2.StoreRequest,
    "Remove": origin_pb2.RemoveRequest,
}


@dataclass
class _Row:
    fields: dict[str, Any] | None
    """None: it was removed."""
    version: int


@dataclass
class OriginService:
    """Started by `async with`. What a test sets holds from the next call on."""

    port: int = 0
    tls: Pair | None = None
    fails: grpc.StatusCode | None = None
    """What every call is answered with, before it does anything."""
    words: str = ""
    """What it says with that."""
    fails_after: bool = False
    """Whether `fails` comes only when all is done."""
    refuses: dict[str, grpc.StatusCode] = field(default_factory=dict)
    """What writes of a key are answered with."""
    answers: dict[str, Message | bytes] = field(default_factory=dict)
    """What methods answer instead, after they have done what was asked."""
    says_records: bool = True
    """Whether Store answers the record."""
    rows: dict[str, _Row] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    under_way: int = 0
    most_under_way: int = 0

    def __post_init__(self) -> None:
        self.goes_on = asyncio.Event()
        """Cleared, calls wait until it is set."""
        self.goes_on.set()
        self.entered = asyncio.Event()
        """Set by each call."""
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """On the port of the last time, if there was one."""
        self._server = server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(
                self._handler(name, request), request_deserializer=request.FromString
            )
            for name, request in _REQUESTS.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
        address = f"127.0.0.1:{self.port}"
        if self.tls is None:
            self.port = server.add_insecure_port(address)
        else:
            pair = (self.tls.key.read_bytes(), self.tls.cert.read_bytes())
            self.port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        await server.start()

    async def stop(self) -> None:
        """At once: calls under way are cut."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    def record(self, key: str) -> dict[str, Any] | None:
        """What it has."""
        row = self.rows.get(key)
        return None if row is None else row.fields

    def put(self, key: str, **fields: Any) -> None:
        """As a team's own write would."""
        self.rows[key] = _Row(fields, 0)

    def _handler(self, name: str, request: Any) -> Any:
        work = getattr(self, f"_{name}")

        async def handle(message: Any, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            self.calls[name] += 1
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            self.entered.set()
            try:
                await self.goes_on.wait()
                if self.fails is not None and not self.fails_after:
                    await context.abort(self.fails, self.words)
                response = await work(message, context)
                if self.fails is not None:
                    await context.abort(self.fails, self.words)
                if name in self.answers:
                    response = self.answers[name]
                data: bytes = (
                    response if isinstance(response, bytes) else response.SerializeToString()
                )
                return data
            finally:
                self.under_way -= 1

        return handle

    async def _Load(self, request: Any, context: Any) -> Any:
        fields = self.record(request.key)
        return origin_pb2.LoadResponse(record=fields)

    async def _LoadBatch(self, request: Any, context: Any) -> Any:
        found = {key: self.record(key) for key in request.keys}
        response = origin_pb2.LoadBatchResponse()
        for key, fields in found.items():
            if fields is not None:
                response.records[key].update(fields)
        return response

    async def _Store(self, request: Any, context: Any) -> Any:
        if request.key in self.refuses:
            await self._refuse(context, self.refuses[request.key])
        row = self.rows.setdefault(request.key, _Row(None, 0))
        if request.version > row.version:
            fields = dict(request.fields)
            if request.operation == origin_pb2.STORE_OPERATION_INSERT and row.fields is not None:
                await self._refuse(context, grpc.StatusCode.ALREADY_EXISTS)
            if request.operation == origin_pb2.STORE_OPERATION_UPDATE:
                if row.fields is None:
                    await self._refuse(context, grpc.StatusCode.NOT_FOUND)
                fields = {**(row.fields or {}), **fields}
            row.fields, row.version = fields, request.version
        return origin_pb2.StoreResponse(record=row.fields if self.says_records else None)

    async def _Remove(self, request: Any, context: Any) -> Any:
        if request.key in self.refuses:
            await self._refuse(context, self.refuses[request.key])
        row = self.rows.setdefault(request.key, _Row(None, 0))
        existed = row.fields is not None
        if request.version > row.version:
            row.fields, row.version = None, request.version
        return origin_pb2.RemoveResponse(removed=existed)

    async def _refuse(self, context: Any, code: grpc.StatusCode) -> NoReturn:
        await context.abort(code, self.words)
        raise AssertionError
