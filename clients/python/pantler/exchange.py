"""Carries operations of a client to the server in batches: those that begin in one tick of the
event loop leave as one message, on one of a few streams (`CacheService/Exchange`).

A message holds some LEAST_FULL operations, and more where many wait: so that with a few hundred
under way some are on their way while others are worked on. Each stream has a connection of its own,
and with it a worker of its own, where there are several.

What a stream that breaks leaves unanswered fails with StreamLost; connection.py decides what is
sent again. Nothing is sent twice from here.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc.aio

from pantler.batch import text
from pantler.errors import PantlerError
from pantler.home_loop import ANOTHERS
from pantler.model import Entry
from pantler.operation_stream import (
    MAX_UNDER_WAY,
    Gets,
    Operation,
    OperationStream,
    StreamLost,
    fail,
    too_late,
)
from pantler.v1 import cache_pb2

LEAST_FULL = 128  # operations: more make each hardly cheaper
MOST_FULL = 1_000  # as cache.proto bounds it
MOST_KEYS = 10_000  # of a message, as cache.proto bounds it
MAX_WAITING = 8_192  # of those that wait for other callers, which must not hold up the others
MAX_MESSAGE_BYTES = 1 << 20  # about; what is larger by itself is no operation of a stream
SWEEP_S = 0.1  # how much later than its time a Get may end
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0  # between tries to connect that fail
REFUSED_S = 60.0  # until a server that knows no streams is asked again
# How a call ends, before any answer, where something on the way does not know it, or forbids it.
_REFUSALS = frozenset(
    {
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.PERMISSION_DENIED,
    }
)
MOST_MS = (1 << 31) - 1
CLOSED = "the client was closed during the call"


class Exchange:
    """The streams of a client, opened when there is something to send. Deadlines are times of the
    event loop, which must be the one that runs when this is made."""

    def __init__(
        self,
        open_channel: Callable[[], grpc.aio.Channel],
        streams: int,
        timeout_s: float,
        *,
        address: str = "",
        answered: Callable[[], None] = lambda: None,
        sent: Callable[[int], None] | None = None,
    ) -> None:
        """`answered` is called at each message from the server, and `sent` with how many operations
        each has that goes there."""
        self.address = address
        self.answered = answered
        self._sent = sent
        self._open_channel = open_channel
        self._most_streams = streams
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._streams: list[OperationStream] = []
        self._ending: set[OperationStream] = set()
        self._groups: dict[tuple[str, bool], Gets] = {}
        self._unsent: deque[Gets | Operation] = deque()
        self._unsent_waiting: deque[Operation] = deque()
        self._is_scheduled = False
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweep_s = min(SWEEP_S, timeout_s / 10)
        self._next_id = 1
        self._pause_s = FIRST_PAUSE_S
        self._open_after = 0.0
        self.is_refused = False
        """Whether the server has no streams."""
        self._why = PantlerError("")  # no stream can be opened
        self._is_closed = False

    def get(self, namespace: str, key: str, accept_stale: bool) -> "asyncio.Future[Entry | None]":
        """Begins a Get. The future fails with StreamLost, or with the error of the call. Raises
        TypeError or ValueError for what is no text: in a message it would fail all others."""
        if not (type(key) is str and key.isascii()):
            text(key, "key")
        group = self._groups.get((namespace, accept_stale))
        if group is None:
            text(namespace, "namespace")
            self._schedule()
            deadline = self._loop.time() + self._timeout_s
            group = self._groups[namespace, accept_stale] = Gets(namespace, accept_stale, deadline)
        future = self._loop.create_future()
        group.keys.append(key)
        group.futures.append(future)
        return future

    async def operate(self, operation: Operation) -> Any:
        """The response of an operation. Raises StreamLost, DeadlineExceeded, or the error of the
        call. Cancelled, it gives up what has not been sent, or waits for others."""
        self._schedule()
        (self._unsent_waiting if operation.waits else self._unsent).append(operation)
        try:
            async with asyncio.timeout_at(operation.deadline):
                return await operation.future
        except TimeoutError:
            raise too_late() from None
        finally:
            if operation.stream is not None:
                operation.stream.end(operation)

    async def close(self) -> None:
        """Ends the streams; what is under way fails."""
        self._is_closed = True
        self._fail_unsent(lambda: PantlerError(CLOSED))
        streams = (*self._streams, *self._ending)
        for stream in streams:
            stream.fail(lambda: PantlerError(CLOSED))
        await asyncio.gather(*(stream.stop() for stream in streams))
        if self._sweeper is not None:
            self._sweeper.cancel()

    def connect_now(self) -> None:
        """The pause after a try that failed is over."""
        self._open_after = 0.0

    def _schedule(self) -> None:
        if self._is_closed:
            raise PantlerError("the client is closed")
        if asyncio.get_running_loop() is not self._loop:
            raise PantlerError(ANOTHERS)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._send)

    def send_on(self) -> None:
        """A stream may take more."""
        if (self._unsent or self._unsent_waiting) and not self._is_closed:
            self._schedule()

    def _send(self) -> None:
        """Sends what has not been sent, as far as streams take it."""
        self._is_scheduled = False
        if self._groups:
            self._unsent.extend(self._groups.values())
            self._groups = {}
            if self._sweeper is None:
                self._sweeper = self._loop.call_later(self._sweep_s, self._sweep)
        while self._unsent or self._unsent_waiting:
            stream = self._free_stream()
            if stream is None:
                if not self._streams:
                    self._fail_unsent(lambda: StreamLost(self._why, sent=False))
                return
            first = self._next_id
            request = self._fill(stream)
            if not request.operations:
                return
            stream.send(request)
            if self._sent is not None:
                self._sent(self._next_id - first)

    def _free_stream(self) -> "OperationStream | None":
        """The one with the least to do, of those that take more. Opens one if all have to do."""
        free = [stream for stream in self._streams if stream.is_free]
        best = min(free, key=lambda stream: stream.under_way, default=None)
        if (
            (best is None or best.under_way)
            and len(self._streams) < self._most_streams
            and all(stream.is_connected for stream in self._streams)
            and self._open_after <= self._loop.time()
        ):
            self._streams.append(OperationStream(self, self._open_channel(), self._loop))
        return best

    def _fill(self, stream: "OperationStream") -> cache_pb2.ExchangeRequest:
        """A message with what is next."""
        request = cache_pb2.ExchangeRequest()
        waiting = self._unsent_waiting
        unsent = sum(item.weight for item in self._unsent)
        room = min(MOST_FULL, max(LEAST_FULL, unsent // (2 * self._most_streams)))
        room = min(room, MAX_UNDER_WAY - stream.under_way)
        now, left_bytes, left_keys = self._loop.time(), MAX_MESSAGE_BYTES, MOST_KEYS
        while self._unsent and room > 0 and left_bytes > 0:
            item = self._unsent[0]
            if isinstance(item, Operation) or item.weight <= room:
                self._unsent.popleft()
            else:
                item = item.split_off(room)
            room -= item.weight
            left_keys -= item.weight
            left_bytes -= self._put(request, item, stream, now)
        while waiting and stream.waiting < MAX_WAITING and left_bytes > 0:
            left_keys -= waiting[0].weight
            if left_keys < 0 or len(request.operations) == MOST_FULL:
                break
            left_bytes -= self._put(request, waiting.popleft(), stream, now)
        return request

    def _put(
        self,
        request: cache_pb2.ExchangeRequest,
        item: Gets | Operation,
        stream: "OperationStream",
        now: float,
    ) -> int:
        """Into a message, as far as somebody waits for it; how many bytes that takes, about."""
        first = self._next_id
        if isinstance(item, Operation):
            if item.future.done():
                return 0
            added = request.operations.add(id=first, timeout_ms=_ms(item.deadline - now))
            getattr(added, item.name).CopyFrom(item.request)
            self._next_id += 1
            stream.carry(item, first)
            return item.bytes
        item.drop_ended()
        if not item.keys:
            return 0
        added = request.operations.add(id=first, timeout_ms=_ms(item.deadline - now))
        added.gets.namespace = item.namespace
        added.gets.accept_stale = item.accept_stale
        added.gets.keys.extend(item.keys)
        self._next_id += len(item.keys)
        stream.carry_gets(item, first)
        return 0

    def drop(self, stream: "OperationStream") -> None:
        """It takes no more."""
        if stream in self._streams:
            self._streams.remove(stream)
            self._ending.add(stream)

    def connected(self) -> None:
        """A stream can be sent to."""
        self._pause_s = FIRST_PAUSE_S
        self.send_on()

    def ended(self, stream: "OperationStream", error: PantlerError) -> None:
        """It carries nothing any more."""
        self.drop(stream)
        self._ending.discard(stream)
        stream.fail(lambda: StreamLost(error, sent=True))
        if not stream.has_answered:
            cause, now = error.__cause__, self._loop.time()
            if isinstance(cause, grpc.aio.AioRpcError) and cause.code() in _REFUSALS:
                self.is_refused = True
                self._loop.call_later(REFUSED_S, self._ask_again)
            self._why, self._open_after = error, now + self._pause_s
            self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)
        self.send_on()

    def _ask_again(self) -> None:
        self.is_refused = False

    def _fail_unsent(self, error: Callable[[], Exception]) -> None:
        for item in (*self._groups.values(), *self._unsent, *self._unsent_waiting):
            fail(item.futures if isinstance(item, Gets) else (item.future,), error)
        self._groups.clear()
        self._unsent.clear()
        self._unsent_waiting.clear()

    def _sweep(self) -> None:
        """Ends Gets whose time is up."""
        now, self._sweeper, is_busy = self._loop.time(), None, False
        for stream in (*self._streams, *self._ending):
            stream.sweep(now)
            is_busy = is_busy or bool(stream.gets)
        for item in self._unsent:
            if isinstance(item, Gets):
                is_busy = True
                if item.deadline <= now:
                    fail(item.futures, too_late)
        if is_busy:
            self._sweeper = self._loop.call_later(self._sweep_s, self._sweep)


def _ms(seconds: float) -> int:
    """At least 1: what is not set means no time-out."""
    return min(max(1, int(seconds * 1000)), MOST_MS)
