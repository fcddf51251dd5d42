"""A server that walks over keys as slowly as a test likes, which no real one can be made to."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self

import grpc.aio
from pantler.v1 import invalidation_pb2


class SlowWalk:
    """Answers InvalidatePattern alone. A walk stays at the first of three keys until it may go
    on."""

    def __init__(self) -> None:
        self.may_go_on = asyncio.Event()
        self.under_way = asyncio.Event()
        self.cancelled = asyncio.Event()
        self._server = grpc.aio.server()
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    async def __aenter__(self) -> Self:
        method = grpc.unary_stream_rpc_method_handler(
            self._walk,
            request_deserializer=invalidation_pb2.InvalidatePatternRequest.FromString,
            response_serializer=invalidation_pb2.InvalidatePatternResponse.SerializeToString,
        )
        handler = grpc.method_handlers_generic_handler(
            "pantler.v1.InvalidationService", {"InvalidatePattern": method}
        )
        self._server.add_generic_rpc_handlers((handler,))
        await self._server.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._server.stop(None)

    async def _walk(
        self, request: invalidation_pb2.InvalidatePatternRequest, context: Any
    ) -> AsyncIterator[invalidation_pb2.InvalidatePatternResponse]:
        yield invalidation_pb2.InvalidatePatternResponse(
            scanned=1, total=3, invalidated=1, examples=["a"]
        )
        self.under_way.set()
        try:
            await self.may_go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        yield invalidation_pb2.InvalidatePatternResponse(
            scanned=3, total=3, invalidated=2, examples=["b"], done=True
        )
