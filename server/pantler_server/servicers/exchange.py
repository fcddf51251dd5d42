"""CacheService/Exchange: many operations in each message of a stream, and their results back.

Each operation of a message runs in a task of its own, but for the Gets, of which those of a
namespace are one. What they ask of Redis in a tick of the event loop leaves as one write, and the
results that are there in a tick as one message.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message
from pantler.v1 import cache_pb2
from prometheus_client import Counter

from pantler_server.core import background
from pantler_server.core.call import Call, answer_by
from pantler_server.core.config import Settings
from pantler_server.core.errors import (
    FieldViolation,
    InvalidFields,
    ResponseTooLarge,
    ServiceError,
    ShuttingDown,
    TooManyOperations,
)
from pantler_server.core.namespace import Namespace, Namespaces
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.record.engine import RecordEngine
from pantler_server.servicers import convert_record, validate
from pantler_server.servicers.convert_exchange import (
    CLOSING,
    error_result,
    result,
    results_of_gets,
)
from pantler_server.servicers.failure import service_error
from pantler_server.servicers.status import reason_of

NAME = "pantler.v1.CacheService/Exchange"
MAX_OPERATIONS = 1_000  # of a message, as cache.proto says: bounds what is begun in a tick
MAX_KEYS = 10_000  # of a message, in all its operations
MAX_ID = 2**63  # positive in every client's language
MAX_UNDER_WAY = 20_000  # operations of a stream, Gets counted each: those that wait take some 10 KB
MAX_UNSENT_BYTES = 8 << 20  # of results: then no more is read until the caller has taken some
MAX_GETS = 8  # reads of many keys at once, of a stream: what they find is held in memory
MESSAGE_BYTES = 1 << 20  # of a response, about: larger ones are no faster
SHORTEST_AGE, LONGEST_AGE = 0.6, 0.8  # of a stream, in ages at which gRPC ends its connection

_OPERATIONS = Counter(
    "pantler_exchange_operations",
    "Operations of Exchange streams, by kind and by how they ended: OK or the error's reason",
    ("operation", "outcome"),
)

Handler = Callable[[Any, Call], Awaitable[Message]]
"""An RPC of a servicer."""


class Exchange:
    """The streams of a worker. `handlers` have the RPCs by the names of their operations."""

    def __init__(
        self,
        engine: CacheEngine,
        records: RecordEngine,
        namespaces: Namespaces,
        handlers: Mapping[str, Handler],
        settings: Settings,
    ) -> None:
        self.engine = engine
        self.records = records
        self.namespaces = namespaces
        self.handlers = handlers
        self.is_dismissed = False
        self._streams: set[_Stream] = set()
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration."""
        self.default_wait_s = settings.default_deadline.total_seconds()
        self.max_message_bytes = int(settings.max_message_bytes)
        self._max_age_s = settings.max_connection_age.total_seconds()

    def dismiss(self) -> None:
        """Refuses operations from now on, and ends streams once all theirs are answered."""
        self.is_dismissed = True
        for stream in self._streams:
            stream.close()

    async def serve(
        self, requests: AsyncIterator[cache_pb2.ExchangeRequest], call: Call
    ) -> AsyncIterator[bytes]:
        """The messages of one stream."""
        stream = _Stream(self, call)
        self._streams.add(stream)
        age_s = self._max_age_s * random.uniform(SHORTEST_AGE, LONGEST_AGE)
        ageing = asyncio.get_running_loop().call_later(age_s, stream.close)
        if self.is_dismissed:
            stream.close()
        try:
            async for message in stream.messages(requests):
                yield message
        finally:
            ageing.cancel()
            self._streams.discard(stream)
            await stream.stop()


class _OperationCall(Call):
    """An operation as the call that it would be alone."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Call, deadline: float) -> None:
        self.deadline = deadline
        self._stream = stream

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        return self._stream.metadata

    @property
    def peer(self) -> str:
        return self._stream.peer

    @property
    def request_id(self) -> str:
        return self._stream.request_id


class _Stream:
    """`messages`, then `stop`."""

    def __init__(self, exchange: Exchange, call: Call) -> None:
        self._exchange = exchange
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._reader: asyncio.Task[None] | None = None
        self._tasks: dict[asyncio.Task[None], int] = {}  # with how many operations each does
        self._waiting: dict[int, asyncio.Task[None]] = {}  # of what may wait for others, by id
        self._under_way = 0
        self._gets_under_way = 0
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._wakes = asyncio.Event()
        self._has_room = asyncio.Event()
        self._is_closing = False

    def close(self) -> None:
        """Tells the caller to send no more here."""
        if not self._is_closing:
            self._is_closing = True
            self._put([CLOSING])

    async def stop(self) -> None:
        if self._reader is not None:
            await background.stop((self._reader, *self._tasks))

    async def messages(
        self, requests: AsyncIterator[cache_pb2.ExchangeRequest]
    ) -> AsyncIterator[bytes]:
        """Until the caller has ended its side and all is answered. Raises InvalidFields for a
        message that has too much in it."""
        self._reader = reader = asyncio.create_task(self._read(requests), name=NAME)
        reader.add_done_callback(lambda _: self._wakes.set())
        while True:
            while self._unsent:
                yield self._take()
            self._has_room.set()
            if reader.done():
                reader.result()
                if not self._tasks:
                    return
            self._wakes.clear()
            await self._wakes.wait()

    async def _read(self, requests: AsyncIterator[cache_pb2.ExchangeRequest]) -> None:
        async for request in requests:
            for operation_id in request.cancelled_ids:
                if (task := self._waiting.get(operation_id)) is not None:
                    task.cancel()
            self._begin(request.operations)
            while self._unsent_bytes > MAX_UNSENT_BYTES or self._gets_under_way >= MAX_GETS:
                self._has_room.clear()
                await self._has_room.wait()

    def _begin(self, operations: Sequence[cache_pb2.ExchangeOperation]) -> None:
        if len(operations) > MAX_OPERATIONS:
            raise _too_much(f"must have at most {MAX_OPERATIONS} items")
        now, keys = self._loop.time(), 0
        for index, operation in enumerate(operations):
            name = operation.WhichOneof("operation") or ""
            request: Any = getattr(operation, name or "gets")
            count = _keys_in(name, request)
            keys += count
            if keys > MAX_KEYS:
                raise _too_much(f"must have at most {MAX_KEYS} keys")
            deadline = answer_by(now, operation.timeout_ms / 1000 or self._exchange.default_wait_s)
            most = (count or 1) if name == "gets" else 1
            ids = range(operation.id, min(operation.id + most, MAX_ID))
            refusal = self._flaw(operation, name, f"operations[{index}]", most)
            if refusal := refusal or self._refusal(most):
                self._fail(ids or (operation.id,), name, refusal)
                continue
            if name == "gets":
                task = self._start(self._gets(operation.id, request, deadline), most)
                task.add_done_callback(self._gets_ended)
                self._gets_under_way += 1
                continue
            call = _OperationCall(self._call, deadline)
            task = self._start(self._operate(operation.id, name, request, call), 1)
            if name in ("get", "batch_get"):  # they may wait for a lease
                self._waiting[operation.id] = task

    def _refusal(self, count: int) -> ServiceError | None:
        """Why so many more are not begun, if they are not."""
        if self._exchange.is_dismissed:
            return ShuttingDown("this worker is shutting down; nothing was done")
        if self._under_way + count > MAX_UNDER_WAY:
            return TooManyOperations(MAX_UNDER_WAY)
        return None

    def _flaw(
        self, operation: cache_pb2.ExchangeOperation, name: str, path: str, ids: int
    ) -> ServiceError | None:
        if operation.id + ids > MAX_ID:
            return InvalidFields([FieldViolation(f"{path}.id", "must be less than 2**63")])
        if not name:
            return InvalidFields([FieldViolation(path, "must have an operation")])
        if operation.id in self._waiting:
            return InvalidFields([FieldViolation(f"{path}.id", "is that of one under way")])
        return None

    def _start(self, work: Coroutine[Any, Any, None], count: int) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks[task] = count
        self._under_way += count
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way -= self._tasks.pop(task)
        background.report(task)
        self._wakes.set()

    def _gets_ended(self, _: asyncio.Task[None]) -> None:
        self._gets_under_way -= 1

    async def _operate(self, operation_id: int, name: str, request: Any, call: Call) -> None:
        try:
            response = await self._exchange.handlers[name](request, call)
            packed = result(operation_id, name, response)
            if len(packed) > self._exchange.max_message_bytes:
                raise ResponseTooLarge(len(packed), self._exchange.max_message_bytes)
        except Exception as exc:  # noqa: BLE001 - every error becomes a result
            self._fail((operation_id,), name, self._error_of(exc))
        else:
            _OPERATIONS.labels(name, "OK").inc()
            self._put([packed])
        finally:
            self._waiting.pop(operation_id, None)

    async def _gets(self, first_id: int, request: cache_pb2.ExchangeGets, deadline: float) -> None:
        """Those of a namespace with an origin are read one by one: a load holds up no other."""
        exchange, keys = self._exchange, list(request.keys)
        indexes: Sequence[int] = range(len(keys) or 1)
        try:
            name = validate.namespace(request.namespace)
            validate.batch(len(keys), "keys")
            if not validate.are_keys(keys):
                indexes = self._well_formed(first_id, keys)
                keys = [keys[index] for index in indexes]
            space = await exchange.namespaces.resolve(name, deadline)
            if space.config.origin is not None:
                for index, key in zip(indexes, keys, strict=True):
                    self._start(self._get_record(first_id + index, space, key, deadline), 1)
                return
            found = await exchange.engine.get_many(
                space, keys, deadline, accept_stale=request.accept_stale
            )
        except Exception as exc:  # noqa: BLE001 - every error becomes a result
            self._fail([first_id + index for index in indexes], "gets", self._error_of(exc))
            return
        failed = 0
        for index, one in zip(indexes, found, strict=True):
            if isinstance(one, ServiceError):
                self._fail((first_id + index,), "gets", one)
                failed += 1
        _OPERATIONS.labels("gets", "OK").inc(len(found) - failed)
        self._put(results_of_gets(first_id, indexes, found, len(request.keys)))

    def _well_formed(self, first_id: int, keys: Sequence[str]) -> list[int]:
        """Which keys are; the others fail, each by itself."""
        left = []
        for index, key in enumerate(keys):
            if validate.is_key(key):
                left.append(index)
                continue
            violation = validate.key_violation(key, f"keys[{index}]")
            self._fail((first_id + index,), "gets", InvalidFields([violation]))
        return left

    async def _get_record(
        self, operation_id: int, space: Namespace, key: str, deadline: float
    ) -> None:
        try:
            record = await self._exchange.records.get(space, key, deadline)
            packed = result(operation_id, "get", convert_record.get_response(record))
        except Exception as exc:  # noqa: BLE001 - every error becomes a result
            self._fail((operation_id,), "gets", self._error_of(exc))
        else:
            _OPERATIONS.labels("gets", "OK").inc()
            self._put([packed])

    def _error_of(self, exc: Exception) -> ServiceError:
        return service_error(exc, NAME, self._call.request_id)

    def _fail(self, ids: Sequence[int], name: str, error: ServiceError) -> None:
        _OPERATIONS.labels(name or "none", reason_of(error)).inc(len(ids))
        self._put([error_result(one, error, self._call.request_id) for one in ids])

    def _put(self, results: Sequence[bytes]) -> None:
        self._unsent.extend(results)
        self._unsent_bytes += sum(map(len, results))
        self._wakes.set()

    def _take(self) -> bytes:
        """What is to be sent, as one message if it is not too large."""
        if self._unsent_bytes <= MESSAGE_BYTES:
            message = b"".join(self._unsent)
            self._unsent.clear()
        else:
            part = [self._unsent.popleft()]
            size = len(part[0])
            while self._unsent and size + len(self._unsent[0]) <= MESSAGE_BYTES:
                size += len(self._unsent[0])
                part.append(self._unsent.popleft())
            message = b"".join(part)
        self._unsent_bytes -= len(message)
        return message


def _keys_in(name: str, request: Any) -> int:
    if name in ("gets", "batch_get", "batch_delete"):
        return len(request.keys)
    return len(request.entries) if name == "batch_set" else 1


def _too_much(rule: str) -> InvalidFields:
    return InvalidFields([FieldViolation("operations", rule)])
