"""A gRPC channel that its stubs are made on: what each unary call of them has around it.

- The breaker lets it begin, and learns how it ended.
- One that the protos mark NO_SIDE_EFFECTS or IDEMPOTENT, or that has a request id, is made again
  where the server, or what is behind it, is away. gRPC's own retries would repeat by the status
  code alone; that of an invalidation which too few replicas have yet is the same, and what answers
  it is not a repetition at once, which would wait as long again.
- Hooks are told of it.

Streams pass as they are: what follows them goes on by itself.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool

from pantler.attempts import Attempts
from pantler.breaker import Breaker
from pantler.errors import NotReplicated, Unavailable, from_rpc_error
from pantler.home_loop import HomeLoop
from pantler.telemetry import Telemetry, Tokens

Method = Callable[..., Awaitable[Any]]


class GuardedChannel:
    """Takes the place of a channel where a stub is made."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        breaker: Breaker,
        telemetry: Telemetry | None,
        home: HomeLoop,
    ) -> None:
        self._channel = channel
        self._breaker = breaker
        self._telemetry = telemetry
        self._home = home

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def unary_unary(self, path: str, *args: Any, **kwargs: Any) -> Method:
        method: Method = self._channel.unary_unary(path, *args, **kwargs)
        is_idempotent = _is_idempotent(path)
        operation = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", path.rpartition("/")[2]).lower()

        async def call(request: Any, timeout: float) -> Any:  # gRPC's interface
            self._home.check()
            may_be_repeated = is_idempotent or bool(getattr(request, "request_id", ""))
            if self._telemetry is None:
                return await self._call(method, may_be_repeated, request, timeout)
            tokens = self._telemetry.begin(operation, getattr(request, "namespace", ""))
            try:
                answer = await self._call(
                    method, may_be_repeated, request, timeout, self._telemetry.metadata(tokens)
                )
            except BaseException as exc:
                self._end(self._telemetry, tokens, exc)
                raise
            self._telemetry.end(tokens, "ok")
            return answer

        return call

    def _end(self, telemetry: Telemetry, tokens: Tokens, exc: BaseException) -> None:
        error = from_rpc_error(exc) if isinstance(exc, grpc.aio.AioRpcError) else exc
        telemetry.end(tokens, type(error).__name__, error)

    async def _call(
        self,
        method: Method,
        may_be_repeated: bool,
        request: Any,
        timeout_s: float,
        metadata: list[tuple[str, str]] | None = None,
    ) -> Any:
        ticket = self._breaker.begin()
        attempts = Attempts(timeout_s)
        try:
            while True:
                try:
                    answer = await method(request, timeout=attempts.left_s, metadata=metadata)
                except grpc.aio.AioRpcError as exc:
                    error = from_rpc_error(exc)
                    is_away = isinstance(error, Unavailable) and not isinstance(
                        error, NotReplicated
                    )
                    if not (may_be_repeated and is_away and await attempts.another(error)):
                        raise
                else:
                    self._breaker.answered()
                    return answer
        except grpc.aio.AioRpcError as exc:
            self._breaker.end(ticket, from_rpc_error(exc))
            raise
        except BaseException as exc:
            self._breaker.end(ticket, exc)
            raise


def _is_idempotent(path: str) -> bool:
    """Whether the protos say so of a method, by its path: "/package.Service/Method"."""
    name = path.removeprefix("/").replace("/", ".")
    options = descriptor_pool.Default().FindMethodByName(name).GetOptions()
    return options.idempotency_level != descriptor_pb2.MethodOptions.IDEMPOTENCY_UNKNOWN
