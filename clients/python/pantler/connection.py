"""What all calls of a client have in common: how they reach the server, what is sent again, and
what runs beside them."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast

import grpc.aio

from pantler import forks
from pantler.attempts import Attempts
from pantler.breaker import Breaker
from pantler.codecs import Encoded
from pantler.errors import (
    AWAY,
    OutcomeUnknown,
    PantlerError,
    Unavailable,
    answer_to,
)
from pantler.exchange import MAX_MESSAGE_BYTES, Exchange
from pantler.guarded_channel import GuardedChannel
from pantler.home_loop import HomeLoop
from pantler.leased_fetch import HeldLeases
from pantler.near_cache import NearCache
from pantler.operation_stream import Operation, StreamLost, connect, too_late
from pantler.shared_reads import FruitlessFetches, SharedReads
from pantler.telemetry import Hook, Telemetry
from pantler.v1 import cache_pb2_grpc, counter_pb2_grpc, rate_limit_pb2_grpc

if TYPE_CHECKING:
    from pantler.near_cached import NearCached

T = TypeVar("T")

STREAMS = 2  # of a client: one is answered while another is sent to

_CHANNEL_OPTIONS = (
    # gRPC's own bound, 4 MiB, is below what a server may be configured to hold and to answer.
    ("grpc.max_receive_message_length", -1),
    # gRPC's own, 2 min, would let a server's return go unnoticed for longer than slots are held.
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # With its own, 1 s, no attempt of a call would come late enough for a second connection.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Shared with no other channel, whose failures to connect would be those of this one.
    ("grpc.use_local_subchannel_pool", 1),
)
_STREAM_OPTIONS = (
    *_CHANNEL_OPTIONS,
    # A server that is gone without a word shows only in a ping that is not answered.
    ("grpc.keepalive_time_ms", 15_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)

log = logging.getLogger("pantler")


class Connection:
    """The connection of a client, which derives from it, and so do the calls of each service."""

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        *,
        timeout: timedelta = timedelta(seconds=5),
        coalesce: bool = True,
        near_cache: NearCache | None = None,
        on_unavailable: Literal["raise", "fetch"] = "raise",
        hooks: Iterable[Hook] = (),
    ) -> None:
        if on_unavailable not in ("raise", "fetch"):
            raise ValueError(f"on_unavailable is 'raise' or 'fetch', not {on_unavailable!r}")
        if not isinstance(timeout, timedelta) or timeout <= timedelta(0):
            raise ValueError(f"timeout is a timedelta above 0, not {timeout!r}")
        self._address = address
        self._timeout_s = timeout.total_seconds()
        self._coalesce = coalesce
        self._is_optional = on_unavailable == "fetch"
        self._breaker = Breaker(address, self._breaker_changed)
        self._exchange: Exchange | None = None
        self._direct: Exchange | None = None
        """Where a `get` may go at once: the breaker lets all through."""
        self._telemetry: Telemetry | None = None
        if all_hooks := tuple(hooks):
            self._telemetry = Telemetry(all_hooks, address)
            self._tell(self._telemetry)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._until_closed: set[asyncio.Task[Any]] = set()
        self._held: set[HeldLeases] = set()
        self._home = HomeLoop()
        self._closed = False
        self._shared_reads: SharedReads[dict[str, Encoded]] = SharedReads()
        self._fruitless = FruitlessFetches()
        self._near: NearCached | None = None
        if near_cache is not None:
            from pantler import near_cached  # it needs an extra

            self._near = near_cached.NearCached(near_cache)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        parts = [repr(self._address)]
        parts += [] if self._coalesce else ["coalesce=False"]
        parts += ["on_unavailable='fetch'"] if self._is_optional else []
        if self._closed:
            parts.append("closed")
        elif not self._breaker.is_closed:
            parts.append(f"left alone for {self._breaker.left_s:.1f} s more")
        return f"{type(self).__name__}({', '.join(parts)})"

    async def close(self) -> None:
        """Closes the connection, for good. Calls under way fail; fetches in the background are
        cancelled, and leases given back. A caller whose fetch is under way gets its value, which is
        not stored. To be called in the client's event loop: in another one it raises PantlerError,
        unless that is closed."""
        is_gone = self._home.is_gone  # with all that ran there
        if not (is_gone or self._closed):
            self._home.check()
        self._closed = True
        if not is_gone:
            for task in self._until_closed:
                task.cancel()
            while self._tasks:  # a fetch that is cancelled starts to give its lease back
                await asyncio.wait(tuple(self._tasks))
            await asyncio.gather(*(held.give_back() for held in self._held))
            if self._exchange is not None:
                await self._exchange.close()
        self._breaker.tell_no_more()
        if self._telemetry is not None and not self._breaker.is_closed:
            self._telemetry.breaker(False)
        # They know the client: without them it goes, with what it has of gRPC, as forks.py needs.
        self._exchange = self._direct = None
        self._breaker = Breaker(self._address, lambda: None)
        if "_open_channel" in vars(self) and not is_gone:
            await self._open_channel.close()
        for name in tuple(vars(self)):  # the channel, and the stubs on it
            if isinstance(getattr(type(self), name, None), cached_property):
                delattr(self, name)

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        """That of the stubs."""
        guarded = GuardedChannel(self._open_channel, self._breaker, self._telemetry, self._home)
        return cast(grpc.aio.Channel, guarded)

    @cached_property
    def _open_channel(self) -> grpc.aio.Channel:
        """Opened at its first use: gRPC ties it to the event loop of then. Not after `close`:
        gRPC 1.85 may crash where a stub is made on a channel that is closed."""
        if self._closed:
            raise PantlerError("the client is closed")
        self._home.check()
        return forks.opened(partial(grpc.aio.insecure_channel, self._address, _CHANNEL_OPTIONS))

    def _streams(self) -> Exchange | None:
        """What operations go through; None if each is a call of its own."""
        if self._exchange is None and self._coalesce:
            if self._closed:
                raise PantlerError("the client is closed")
            self._home.check()
            sent = None if self._telemetry is None else self._telemetry.sent
            self._exchange = Exchange(
                self._own_channel,
                STREAMS,
                self._timeout_s,
                address=self._address,
                answered=self._breaker.answered,
                sent=sent,
            )
            self._direct = self._exchange if self._breaker.is_closed else None
        return None if self._exchange is None or self._exchange.is_refused else self._exchange

    def _own_channel(self) -> grpc.aio.Channel:
        """One with a connection that no other has."""
        return forks.opened(partial(grpc.aio.insecure_channel, self._address, _STREAM_OPTIONS))

    def _operate(
        self,
        name: str,
        request: Any,
        timeout_s: float = 0.0,
        *,
        repeatable: bool = True,
        waits: bool = False,
    ) -> Coroutine[Any, Any, Any]:
        """The response of an operation, by its name in ExchangeOperation. `repeatable`: twice is as
        good as once. `waits`: maybe for other callers. Raises the error of the call."""
        answer = self._guarded(name, request, timeout_s, repeatable=repeatable, waits=waits)
        return answer if self._near is None else self._near.beside(self, name, request, answer)

    async def _guarded(
        self, name: str, request: Any, timeout_s: float, *, repeatable: bool, waits: bool
    ) -> Any:
        ticket = self._breaker.begin()
        if ticket and self._exchange is not None:
            self._exchange.connect_now()
        try:
            answer = await self._repeat(name, request, timeout_s, repeatable, waits)
        except BaseException as exc:
            self._breaker.end(ticket, exc)
            raise
        self._breaker.answered()
        return answer

    async def _repeat(
        self, name: str, request: Any, timeout_s: float, repeatable: bool, waits: bool
    ) -> Any:
        attempts = Attempts(timeout_s or self._timeout_s)
        while True:
            try:
                streams = self._streams()
                if streams is not None and request.ByteSize() <= MAX_MESSAGE_BYTES:
                    operation = Operation(name, request, attempts.deadline, waits=waits)
                    return await streams.operate(operation)
                if not repeatable:
                    async with asyncio.timeout_at(attempts.deadline):
                        await connect(self._open_channel, self._address)
                return await self._alone(name, request, attempts.left_s)
            except StreamLost as lost:
                if lost.sent and not repeatable:
                    raise OutcomeUnknown(
                        "the connection broke before there was an answer, and whether the call "
                        "took effect is unknown: with a `request_id` it may be repeated"
                    ) from lost.cause
                error: Exception = lost.cause
            except OutcomeUnknown as exc:
                if not repeatable:
                    raise
                error = exc
            except Unavailable as exc:  # nothing was done
                error = exc
            except TimeoutError:
                raise too_late() from None
            if not self._breaker.is_closed or not await attempts.another(error):
                raise error

    def _is_miss(self, result: object) -> bool:
        """Whether a read that came to this is a miss."""
        return self._is_optional and isinstance(result, AWAY)

    def _breaker_changed(self) -> None:
        is_closed = self._breaker.is_closed
        self._direct = self._exchange if is_closed else None
        if is_closed:
            log.info("the server at %s answers again", self._address)
        else:
            log.warning("the server at %s does not answer, and is left alone", self._address)
        if self._telemetry is not None:
            self._telemetry.breaker(not is_closed)

    def _tell(self, telemetry: Telemetry) -> None:
        """Has the hooks told, by methods of this object alone: others pay nothing for hooks."""
        own = vars(self)
        own["_operate"] = telemetry.operate(self._operate)
        own["get"] = telemetry.get(cast(Any, self).get)

    async def _alone(self, name: str, request: Any, timeout_s: float) -> Any:
        """An operation as a call of its own. Raises StreamLost where gRPC itself says that the
        server is away."""
        self._home.check()
        try:
            return await answer_to(self._methods[name], request, timeout_s)
        except Unavailable as exc:
            if exc.reason:
                raise
            raise StreamLost(exc, sent=True) from exc

    def _near_stub(self, stub: T) -> T:
        """The stub of a service, for what it writes to be forgotten by the near cache."""
        return stub if self._near is None else cast(T, self._near.stub(stub))

    @cached_property
    def _methods(self) -> Mapping[str, Callable[..., Any]]:
        """Those that are operations of an Exchange too, by their names there. `_operate` does for
        these what the guarded channel does for the others."""
        channel = self._open_channel
        cache = cache_pb2_grpc.CacheServiceStub(channel)
        return {
            "get": cache.Get,
            "batch_get": cache.BatchGet,
            "set": cache.Set,
            "batch_set": cache.BatchSet,
            "delete": cache.Delete,
            "batch_delete": cache.BatchDelete,
            "touch": cache.Touch,
            "release_lease": cache.ReleaseLease,
            "extend_lease": cache.ExtendLease,
            "acquire": rate_limit_pb2_grpc.RateLimitServiceStub(channel).Acquire,
            "increment": counter_pb2_grpc.CounterServiceStub(channel).Increment,
        }

    def _background(
        self, work: Coroutine[Any, Any, object], *, until_closed: bool = False
    ) -> asyncio.Task[Any]:
        """Runs work that goes on if its caller is cancelled; `close` waits for it."""
        if until_closed and self._closed:
            work.close()
            raise PantlerError("the client is closed")
        task = asyncio.create_task(work)
        for owner in (self._tasks, self._until_closed) if until_closed else (self._tasks,):
            owner.add(task)
            task.add_done_callback(owner.discard)
        return task
