"""Systems of record that a team serves itself, as pantler.origin.v1.OriginService.

There are no transactions here: each write stands alone, and is done once however often it comes,
since the service knows writes by their version (proto/pantler/origin/v1/origin.proto).

What a write came to is known only of an answer. So writes are sent only over a connection that
stands, and what fails before that surely did nothing; afterwards a lost connection and a time-out
leave it open.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import Struct
from pantler.origin.v1 import origin_pb2

from pantler_server.core import background, canonical_json
from pantler_server.core.errors import (
    FieldViolation,
    InvalidFields,
    OriginNotReady,
    OriginOutcomeUnknown,
    OriginUnavailable,
    RecordExists,
    RecordMissing,
    WriteRefused,
)
from pantler_server.core.origin_config import OriginConfig
from pantler_server.core.record import Operation, Record
from pantler_server.origins.origin import Batch, BeforeCommit, RecordOutcome, Refusal, Stored, Write
from pantler_server.record_struct import NotARecord, to_record, to_struct

MAX_KEYS = 1000  # of one LoadBatch; the service is promised no more
MAX_REASON_CHARACTERS = 200  # of the service's own words on a refusal, which end up in trailers
LOG_INTERVAL_S = 1.0  # at most one line for each origin in that time: failures come in swarms
OPEN_INTERVAL_S = 1.0  # how soon a `ca_file` that could not be read is noticed to be there

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # records have their own bound, `max_value_bytes`
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),  # who calls knows what may be repeated
    ("grpc.service_config_disable_resolution", 1),  # nor does DNS decide it
    # gRPC's own are 1 s to 2 min, in which an origin that is back would go unnoticed.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Servers allow a ping each 5 min by default. With pings on, the kernel gives a connection up
    # whose peer does not acknowledge for 10 s, instead of after a quarter of an hour.
    ("grpc.keepalive_time_ms", 360_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)

_AWAY = frozenset({grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN})
_REFUSALS = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.NOT_FOUND,
    }
)
_NOTHING_DONE = frozenset(  # with these a service, or what stands before it, has turned a call away
    {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }
)
_OPERATIONS = {
    Operation.INSERT: origin_pb2.STORE_OPERATION_INSERT,
    Operation.UPDATE: origin_pb2.STORE_OPERATION_UPDATE,
    Operation.UPSERT: origin_pb2.STORE_OPERATION_UPSERT,
}

_Response = TypeVar("_Response", bound=Message, covariant=True)

log = structlog.get_logger(__name__)


class _Call(Protocol[_Response]):
    """A method of the service. Raises AioRpcError, and DecodeError for what is no response."""

    async def __call__(self, request: Message, timeout_s: float) -> _Response: ...


class Service:
    """The stub of an OriginService on a channel that namespaces share."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.load = self._method("Load", origin_pb2.LoadResponse)
        self.load_batch = self._method("LoadBatch", origin_pb2.LoadBatchResponse)
        self.store = self._method("Store", origin_pb2.StoreResponse)
        self.remove = self._method("Remove", origin_pb2.RemoveResponse)

    def _method(self, name: str, response: type[_Response]) -> _Call[_Response]:
        # Not the generated stub: it says INTERNAL of a response that can't be parsed, as of much.
        send: Any = self.channel.unary_unary(f"/pantler.origin.v1.OriginService/{name}")

        async def call(request: Message, timeout_s: float) -> _Response:
            raw = await send(request.SerializeToString(), timeout=timeout_s)
            return response.FromString(raw)

        return call

    async def is_connected(self) -> bool:
        """Connects if need be. False once an attempt has failed, until a later one succeeds."""
        ready = grpc.ChannelConnectivity.READY
        while (state := self.channel.get_state(try_to_connect=True)) is not ready:
            if state in _AWAY:
                return False
            await self.channel.wait_for_state_change(state)
        return True


@dataclass(slots=True)
class _Shared:
    service: Service
    users: int = 0


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels of a worker, one for each target (and authority); each open while any origin
    uses it."""

    _open: dict[tuple[str, Path | None], _Shared] = field(default_factory=dict)

    def take(self, target: str, ca_file: Path | None) -> Service:
        """The channel's service; connects at its first use. Raises OSError if the file can't be
        read, or holds no certificate."""
        shared = self._open.get((target, ca_file))
        if shared is None:
            shared = _Shared(Service(_channel(target, ca_file)))
            self._open[target, ca_file] = shared
        shared.users += 1
        return shared.service

    async def give_back(self, target: str, ca_file: Path | None) -> None:
        """Closes the channel if nobody else has it; calls under way fail then."""
        shared = self._open[target, ca_file]
        shared.users -= 1
        if not shared.users:
            del self._open[target, ca_file]
            await shared.service.channel.close()


def _channel(target: str, ca_file: Path | None) -> grpc.aio.Channel:
    if ca_file is None:
        return grpc.aio.insecure_channel(target, options=_OPTIONS)
    authority = ca_file.read_bytes()
    ssl.create_default_context(cafile=ca_file)  # gRPC would fail each call, and not say why
    credentials = grpc.ssl_channel_credentials(authority)
    return grpc.aio.secure_channel(target, credentials, options=_OPTIONS)


class GrpcOrigin:
    """The records of one namespace. An Origin (origins/origin.py)."""

    def __init__(self, namespace: str, config: OriginConfig, channels: Channels) -> None:
        assert config.grpc is not None
        self._namespace = namespace
        self._target = config.grpc.target
        self._ca_file = config.grpc.ca_file
        self._channels = channels
        # Of all batches together: beside the calls that come one by one, that many more.
        self._batch_turns = asyncio.Semaphore(config.max_concurrency)
        self._service: Service | None = None
        self._problem = ""
        self._opening: asyncio.Task[None] | None = None
        self._logged_at = -LOG_INTERVAL_S

    async def start(self) -> None:
        if not self._open():
            self._opening = background.start(self._keep_opening(), "origin")

    async def stop(self) -> None:
        if self._opening is not None:
            await background.stop((self._opening,))
        if self._service is not None:
            self._service = None
            await self._channels.give_back(self._target, self._ca_file)

    @property
    def problem(self) -> str:
        return self._problem

    @property
    def keys_can_be_listed(self) -> bool:
        return False

    def require(self) -> None:
        """Each call is tried."""

    def check_key(self, key: str) -> None:
        """Any key may have a record."""

    async def check(
        self, key: str, operation: Operation, fields: Record, deadline: float
    ) -> Record:
        """Only that they are JSON: which fields there are, the service knows."""
        checked, violations = {}, []
        for name, value in fields.items():
            try:
                checked[name] = canonical_json.normal(value)
            except ValueError as exc:
                violations.append(FieldViolation(f"fields.{name}", str(exc)))
        if violations:
            raise InvalidFields(violations)
        return checked

    def whole_record(self, key: str, fields: Record, version: int) -> Record | None:
        return fields

    def part_of_record(self, key: str, fields: Record, version: int) -> Record:
        return fields

    async def load(self, key: str, deadline: float) -> Record | None:
        request = origin_pb2.LoadRequest(namespace=self._namespace, key=key)
        response = await self._read(self._ready().load, request, deadline)
        if not response.HasField("record"):
            return None
        return self._record(response.record)

    async def load_many(self, keys: Sequence[str], deadline: float) -> Mapping[str, RecordOutcome]:
        """One call for each thousand keys, one after the other."""
        found: dict[str, RecordOutcome] = {}
        for first in range(0, len(keys), MAX_KEYS):
            asked = keys[first : first + MAX_KEYS]
            request = origin_pb2.LoadBatchRequest(namespace=self._namespace, keys=asked)
            response = await self._read(self._ready().load_batch, request, deadline)
            if strangers := response.records.keys() - set(asked):
                self._log("unasked keys", keys=sorted(strangers)[:3])
                raise self._unavailable("answered with records that it was not asked for")
            for key, one in response.records.items():
                try:
                    found[key] = self._record(one)
                except OriginUnavailable as error:
                    found[key] = error
        return found

    async def store(self, write: Write, deadline: float) -> Stored:
        """Raises WriteRefused with the service's own words, if it gives a reason: they are meant
        for whoever wrote."""
        if write.operation is Operation.DELETE:
            return await self._remove(write, deadline)
        request = origin_pb2.StoreRequest(
            namespace=self._namespace,
            key=write.key,
            fields=to_struct(write.fields),
            operation=_OPERATIONS[write.operation],
            version=write.version,
        )
        service = self._ready()
        try:
            response = await self._write(service, service.store, request, deadline)
        except grpc.aio.AioRpcError as exc:
            raise self._refusal(write, exc) from exc
        if not response.HasField("record"):
            return Stored(None, is_known=False)
        try:
            return Stored(to_record(response.record), is_known=True)
        except NotARecord as exc:
            self._log("no record", field=exc.path, problem=str(exc))
            raise OriginOutcomeUnknown(self._namespace) from exc

    async def apply(self, batch: Batch, before_commit: BeforeCommit, deadline: float) -> int:
        """Side by side, `max_concurrency` writes at a time. Where some fail, the others are done
        nevertheless, and do nothing when the batch comes again. Always 0: the service says of each
        write anew what it came to."""
        ends = await asyncio.gather(
            *(self._store_in_turn(write, deadline) for write in batch.writes),
            return_exceptions=True,
        )
        refused = []
        for write, end in zip(batch.writes, ends, strict=True):
            match end:
                case RecordExists() | RecordMissing() | WriteRefused():
                    refused.append(Refusal(write.version, str(end)))
                case OriginOutcomeUnknown():  # of no matter: done or not, it comes again
                    raise self._unavailable("failed within a batch") from end
                case BaseException():
                    raise end
        if refused:
            await before_commit(refused)
        return 0

    async def applied(self, log: str, deadline: float) -> int:
        """Always 0: the service keeps no positions, and knows each write by its version."""
        return 0

    def list_keys(
        self, query: str | None, after: str, page_size: int
    ) -> AsyncIterator[Sequence[str]]:
        raise OriginNotReady(self._namespace, "a service does not list its keys")

    async def _store_in_turn(self, write: Write, deadline: float) -> Stored:
        async with self._batch_turns:
            return await self.store(write, deadline)

    async def _remove(self, write: Write, deadline: float) -> Stored:
        request = origin_pb2.RemoveRequest(
            namespace=self._namespace, key=write.key, version=write.version
        )
        service = self._ready()
        try:
            response = await self._write(service, service.remove, request, deadline)
        except grpc.aio.AioRpcError as exc:
            if exc.code() is grpc.StatusCode.NOT_FOUND:  # as good as the answer that it asked for
                return Stored(None, is_known=False, existed=False)
            raise self._refusal(write, exc) from exc
        return Stored(None, is_known=False, existed=response.removed)

    async def _read(
        self,
        method: _Call[_Response],
        request: Message,
        deadline: float,
    ) -> _Response:
        try:
            return await method(request, _left_s(deadline))
        except grpc.aio.AioRpcError as exc:
            self._fail(exc)
        except DecodeError as exc:
            self._log("no response")
            raise self._unavailable("answered what is no response") from exc

    async def _write(
        self,
        service: Service,
        method: _Call[_Response],
        request: Message,
        deadline: float,
    ) -> _Response:
        """Raises AioRpcError only if the service refuses the write."""
        try:
            async with asyncio.timeout_at(deadline):
                if not await service.is_connected():
                    raise self._unavailable("can't be reached")
        except TimeoutError:
            raise self._unavailable("could not be reached in time") from None
        try:
            return await method(request, _left_s(deadline))
        except grpc.aio.AioRpcError as exc:
            if exc.code() in _REFUSALS:
                raise
            if exc.code() in _NOTHING_DONE:
                self._fail(exc)
            self._log(exc.code().name, details=exc.details())
            raise OriginOutcomeUnknown(self._namespace) from exc
        except DecodeError as exc:
            self._log("no response")
            raise OriginOutcomeUnknown(self._namespace) from exc

    def _refusal(
        self, write: Write, error: grpc.aio.AioRpcError
    ) -> RecordExists | RecordMissing | WriteRefused:
        match error.code(), write.operation:
            case grpc.StatusCode.ALREADY_EXISTS, Operation.INSERT:
                return RecordExists(write.key)
            case grpc.StatusCode.NOT_FOUND, Operation.UPDATE:
                return RecordMissing(write.key)
        reason = (error.details() or error.code().name)[:MAX_REASON_CHARACTERS]
        return WriteRefused(f"the origin refuses the write: {reason}", self._namespace)

    def _fail(self, error: grpc.aio.AioRpcError) -> NoReturn:
        self._log(error.code().name, details=error.details())
        match error.code():
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                what = "did not answer in time"
            case grpc.StatusCode.UNAVAILABLE:  # by its own words, or by those of who can't reach it
                what = "is not available"
            case code:
                what = f"answered {code.name}"
        raise self._unavailable(what) from error

    def _record(self, message: Struct) -> Record:
        try:
            return to_record(message)
        except NotARecord as exc:
            self._log("no record", field=exc.path, problem=str(exc))
            raise self._unavailable("answered with what is no record") from exc

    def _unavailable(self, what: str) -> OriginUnavailable:
        return OriginUnavailable(
            f"the origin of namespace {self._namespace!r} {what}", self._namespace
        )

    def _ready(self) -> Service:
        if self._service is None:
            raise OriginNotReady(self._namespace, self._problem or "it is not started")
        return self._service

    def _open(self) -> bool:
        try:
            self._service = self._channels.take(self._target, self._ca_file)
        except OSError as exc:
            self._problem = f"the ca_file {self._ca_file} can't be used: {exc.strerror}"
            return False
        self._problem = ""
        return True

    async def _keep_opening(self) -> None:
        while not self._open():  # noqa: ASYNC110 - no event tells of a file
            await asyncio.sleep(OPEN_INTERVAL_S)

    def _log(self, answer: str, **details: object) -> None:
        now = time.monotonic()
        if now - self._logged_at >= LOG_INTERVAL_S:
            self._logged_at = now
            log.warning("origin failed", namespace=self._namespace, answer=answer, **details)


def _left_s(deadline: float) -> float:
    return max(deadline - asyncio.get_running_loop().time(), 0.0)
