"""One stream of operations to a server (`CacheService/Exchange`), and what it carries."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol

import grpc.aio

from pantler.cache_messages import entry_of
from pantler.errors import (
    DeadlineExceeded,
    PantlerError,
    Unavailable,
    from_rpc_error,
    from_status,
)
from pantler.model import Entry
from pantler.v1 import cache_pb2, cache_pb2_grpc

MAX_UNDER_WAY = 4_096  # operations of a stream that are not answered; the next wait for these
MAX_UNANSWERED_BYTES = 16 << 20  # of the requests of a stream
GRACE_S = 0.2  # for the server to end a stream
GRPC_TELLS_S = 0.02  # of the end of a call that was cancelled; as a rule after 1 ms

StreamStreamCall = grpc.aio.StreamStreamCall[cache_pb2.ExchangeRequest, cache_pb2.ExchangeResponse]


class StreamLost(Exception):
    """The stream broke, or could not be opened, before there was an answer."""

    def __init__(self, cause: PantlerError, *, sent: bool) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.sent = sent
        """Whether the server may have done it."""


class Gets:
    """Gets of a namespace that were begun in one tick."""

    __slots__ = ("accept_stale", "deadline", "futures", "keys", "namespace")

    def __init__(self, namespace: str, accept_stale: bool, deadline: float) -> None:
        self.namespace = namespace
        self.accept_stale = accept_stale
        self.deadline = deadline
        self.keys: list[str] = []
        self.futures: list[asyncio.Future[Entry | None]] = []

    @property
    def weight(self) -> int:
        return len(self.keys)

    def split_off(self, count: int) -> "Gets":
        """The first of them, apart from the others."""
        first = Gets(self.namespace, self.accept_stale, self.deadline)
        first.keys, self.keys = self.keys[:count], self.keys[count:]
        first.futures, self.futures = self.futures[:count], self.futures[count:]
        return first

    def drop_ended(self) -> None:
        """Those that nobody waits for."""
        if any(map(asyncio.Future.done, self.futures)):
            left = [
                pair for pair in zip(self.keys, self.futures, strict=True) if not pair[1].done()
            ]
            self.keys = [key for key, _ in left]
            self.futures = [future for _, future in left]


class Operation:
    """What a stream carries by itself."""

    __slots__ = (
        "bytes",
        "deadline",
        "future",
        "id",
        "name",
        "request",
        "stream",
        "waits",
        "weight",
    )

    def __init__(self, name: str, request: Any, deadline: float, *, waits: bool) -> None:
        self.name = name
        self.request = request
        self.deadline = deadline
        self.waits = waits
        self.bytes: int = request.ByteSize()
        self.weight = _keys(name, request)
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.id = 0
        self.stream: OperationStream | None = None


class Owner(Protocol):
    """Who has opened a stream."""

    address: str
    """Of the server."""
    answered: Callable[[], None]
    """It has sent something."""

    def connected(self) -> None:
        """It can be sent to."""

    def send_on(self) -> None:
        """It may take more."""

    def drop(self, stream: "OperationStream") -> None:
        """It takes no more."""

    def ended(self, stream: "OperationStream", error: PantlerError) -> None:
        """It carries nothing any more."""


class OperationStream:
    """One of them, with what it carries."""

    def __init__(
        self, owner: Owner, channel: grpc.aio.Channel, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._owner = owner
        self._channel = channel
        self._loop = loop
        self.gets: dict[int, asyncio.Future[Entry | None]] = {}
        self.operations: dict[int, Operation] = {}
        self.waiting = 0
        """Of the operations, those that wait for others."""
        self._expiring: deque[tuple[float, int, int]] = deque()  # until when, ids of Gets from, to
        self._unanswered_bytes = 0
        self._cancelled: list[int] = []
        self._next: cache_pb2.ExchangeRequest | None = None
        self._wakes = asyncio.Event()
        self.is_connected = False
        self.has_answered = False
        self._is_closing = False
        self._task = asyncio.create_task(self._run(), name="pantler exchange")

    @property
    def under_way(self) -> int:
        """Operations that are not answered, but for those that wait for others."""
        return len(self.gets) + len(self.operations) - self.waiting

    @property
    def is_free(self) -> bool:
        """Whether it takes a message now."""
        return (
            self.is_connected
            and self._next is None
            and self.under_way < MAX_UNDER_WAY
            and self._unanswered_bytes < MAX_UNANSWERED_BYTES
        )

    def send(self, request: cache_pb2.ExchangeRequest) -> None:
        """Comes when it is free."""
        self._next = request
        self._wakes.set()

    def carry_gets(self, gets: Gets, first: int) -> None:
        end = first + len(gets.keys)
        self.gets.update(zip(range(first, end), gets.futures, strict=True))
        self._expiring.append((gets.deadline, first, end))

    def carry(self, operation: Operation, operation_id: int) -> None:
        operation.stream, operation.id = self, operation_id
        self.operations[operation_id] = operation
        self.waiting += operation.waits
        self._unanswered_bytes += operation.bytes

    def end(self, operation: Operation) -> None:
        """It is answered, or nobody waits for it any more."""
        if self.operations.pop(operation.id, None) is None:
            return
        self.waiting -= operation.waits
        self._unanswered_bytes -= operation.bytes
        if not operation.future.done() or operation.future.cancelled():
            self._cancelled.append(operation.id)
            self._wakes.set()
        self._owner.send_on()

    def sweep(self, now: float) -> None:
        """Ends Gets whose time is up."""
        expiring = self._expiring
        while expiring and (expiring[0][0] <= now or not self.gets):
            _, first, end = expiring.popleft()
            if self.gets:
                late = [self.gets.pop(one) for one in range(first, end) if one in self.gets]
                fail(late, too_late)
        if self._is_closing:
            self._wakes.set()

    def fail(self, error: Callable[[], Exception]) -> None:
        """Ends all that it carries."""
        futures = [*self.gets.values(), *(one.future for one in self.operations.values())]
        self.gets.clear()
        self._expiring.clear()
        fail(futures, error)

    async def stop(self) -> None:
        """Ends it. What it carries is given up."""
        self._cancelled.extend(self.operations)
        self._is_closing = True
        self._wakes.set()
        await asyncio.wait((self._task,), timeout=GRACE_S if self.is_connected else 0)
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _run(self) -> None:
        error: PantlerError = Unavailable("the server ended the stream")
        is_cancelled = False
        try:
            await self._connect()
            await self._carry()
        except grpc.aio.AioRpcError as exc:
            error = from_rpc_error(exc)
        except Unavailable as exc:
            error = exc
        except asyncio.CancelledError:
            is_cancelled = True
            raise
        finally:
            self._owner.ended(self, error)
            await self._channel.close()
            if is_cancelled:
                # What gRPC has yet to tell this event loop it would tell the next, if this ended.
                await asyncio.sleep(GRPC_TELLS_S)

    async def _connect(self) -> None:
        await connect(self._channel, self._owner.address)
        self.is_connected = True
        self._owner.connected()

    async def _carry(self) -> None:
        """Raises AioRpcError."""
        call = cache_pb2_grpc.CacheServiceStub(self._channel).Exchange()
        writer = asyncio.create_task(self._write(call))
        try:
            # Not `async for`: a loop that ends would close its generator, which runs then.
            while isinstance(response := await call.read(), cache_pb2.ExchangeResponse):
                self._receive(response)
        finally:
            call.cancel()
            writer.cancel()
            await asyncio.wait((writer,))

    async def _write(self, call: StreamStreamCall) -> None:
        """Ends with the call: whatever happens to that shows in what is read."""
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                while self._next is None and not self._cancelled:
                    if self._is_closing and not (self.gets or self.operations):
                        await call.done_writing()
                        return
                    self._wakes.clear()
                    await self._wakes.wait()
                request, cancelled = self._next or cache_pb2.ExchangeRequest(), self._cancelled
                if cancelled:
                    request.cancelled_ids.extend(cancelled)
                    self._cancelled = []
                await call.write(request)
                if self._next is request:  # not one that came while cancellations were written
                    self._next = None
                self._owner.send_on()

    def _end_gets(self, first: int, hits: cache_pb2.ExchangeHits) -> None:
        pop, new = self.gets.pop, tuple.__new__
        for index, value, version, create_us, expire_us in zip(
            hits.indexes or range(len(hits.values)),
            hits.values,
            hits.versions,
            hits.create_times_us,
            hits.expire_times_us,
            strict=True,
        ):
            future = pop(first + index, None)
            if future is not None and not future.done():
                # Past the constructor, which takes as long as all the rest.
                entry = new(Entry, (value, version, create_us, expire_us, "", (), False))
                future.set_result(entry)

    def _receive(self, response: cache_pb2.ExchangeResponse) -> None:
        gets, operations = self.gets, self.operations
        for result in response.results:
            if result.HasField("hits"):
                self._end_gets(result.id, result.hits)
                continue
            future = gets.pop(result.id, None)
            if future is not None:
                if not future.done():
                    _end_get(future, result)
            elif (operation := operations.get(result.id)) is not None:
                _end(operation, result)
        self.has_answered = True
        self._owner.answered()
        if response.closing:
            self._is_closing = True
            self._owner.drop(self)
        if self._is_closing:
            self._wakes.set()
        self._owner.send_on()


async def connect(channel: grpc.aio.Channel, address: str) -> None:
    """Raises Unavailable. Until it returns, nothing can have been sent."""
    idle = grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING
    while (state := channel.get_state(try_to_connect=True)) in idle:
        await channel.wait_for_state_change(state)
    if state is not grpc.ChannelConnectivity.READY:
        raise Unavailable(
            f"the server can't be reached at {address}: is it running, is the address right?"
        )


def _keys(name: str, request: Any) -> int:
    if name in ("batch_get", "batch_delete"):
        return len(request.keys)
    return len(request.entries) if name == "batch_set" else 1


def _end(operation: Operation, result: cache_pb2.ExchangeResult) -> None:
    if operation.future.done():
        return
    name = result.WhichOneof("result")
    if name == "error":
        operation.future.set_exception(from_status(result.error))
    else:
        operation.future.set_result(getattr(result, name or operation.name))


def _end_get(future: "asyncio.Future[Entry | None]", result: cache_pb2.ExchangeResult) -> None:
    if result.HasField("get"):
        get = result.get
        future.set_result(entry_of(get.hit) if get.HasField("hit") else None)
    else:
        future.set_exception(from_status(result.error))


def fail(futures: "Iterable[asyncio.Future[Any]]", error: Callable[[], Exception]) -> None:
    """Those that nobody has given up."""
    for future in futures:
        if not future.done():
            future.set_exception(error())


def too_late() -> DeadlineExceeded:
    return DeadlineExceeded("the time was up before there was an answer: allow more with `timeout`")
