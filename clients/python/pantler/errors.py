"""What a call can fail with, as one tree.

    PantlerError
    ├── InvalidArgument       fields are out of range: correct the call
    ├── NotFound              a rate limit rule, or a strict namespace or board, is not configured
    │   └── RecordMissing     an UPDATE of a record that is not there
    ├── FailedPrecondition    the server's state does not allow the call: an operator corrects it
    │   ├── WriteRefused      … because the origin does not take the write
    │   ├── WrongKind         … because data that Pantler did not write stands in the key's place
    │   └── CascadeTooWide    … because too much depends on a key: what is nearest was invalidated
    ├── LeaseLost             a lease is over: its holder may stop fetching
    ├── RecordExists          an INSERT of a record that is there
    ├── RecordChanged         others kept writing the record: try again
    ├── SlotNotHeld           a slot has expired, was released, or its subject was reset
    ├── ResourceExhausted     Redis or the server is full, or the answer is too large
    │   ├── PurgeBacklogFull  … with purges that wait for a CDN: come back after `retry_after`
    │   └── WriteBacklogFull  … with writes that wait for the origin: come back after `retry_after`
    ├── Unavailable           the server or its Redis is away: try again after `retry_after`
    │   ├── OutcomeUnknown    … and whether a write took effect is unknown
    │   └── NotReplicated     … as too few replicas have an invalidation, which did take effect
    ├── DeadlineExceeded      the time was up: allow more; a write may have taken effect
    ├── InternalError         a defect in the server: report it with `request_id`
    ├── ForkedClient          the process was forked from one with an open client
    ├── RateLimited           `rate_limited` or `slot` was denied: come back after `retry_after`
    ├── EncodeError           a codec does not take a value: nothing was stored
    ├── DecodeError           what is stored is not of the codec that reads it
    ├── UncacheableArgument   arguments of a `cached` or `rate_limited` function make no key
    └── PartialFailure        some items of a batch failed: `results` has the others

A miss is not among them: `get` gives None; nor is the denial of an `acquire`: its Decision says
so. `reason` is a name of
`pantler.v1.errors_pb2.ErrorReason`, whose comments say more; it is empty where the error did not
come from Pantler itself (no connection, say).
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import grpc.aio
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

if TYPE_CHECKING:
    from pantler.rate_limit_model import Decision

T = TypeVar("T")


class PantlerError(Exception):
    """The root: catch it for whatever a call fails with. It is raised itself for what has no class
    of its own, as a newer server may have; its message says what to do."""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.request_id = request_id
        """What the server's log has the call under."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field that is out of range: its path in the request, and what it must be. Of keys, tags and
    entries an index counts those that the caller gave."""

    path: str
    description: str


class InvalidArgument(PantlerError):
    """One or more fields are out of range; nothing was done. Correct the call."""

    violations: tuple[FieldViolation, ...] = ()


class NotFound(PantlerError):
    """No rate limit rule has this name; or the namespace or the board is not configured, and the
    server, or the namespace, is strict. Add it, or correct its name."""


class RecordMissing(NotFound):
    """An UPDATE of a record that is not there. Insert it."""


class FailedPrecondition(PantlerError):
    """The server's state does not allow the call: its configuration is wrong, say. Nothing was
    changed, and trying again does not help before an operator has corrected it."""


class WrongKind(FailedPrecondition):
    """Data that Pantler did not write, or of another kind, stands in the key's place in Redis.
    Nothing was changed; an operator finds out who else writes there."""


class CascadeTooWide(FailedPrecondition):
    """More keys depend on what was to be invalidated, or over more steps, than one call may reach;
    `metadata` has the bounds. The nearest of them were invalidated. Give such entries a tag, and
    invalidate that."""


class LeaseLost(PantlerError):
    """The lease is over: it expired, was released, or its key was set, deleted or invalidated. A
    fill with its token would be refused."""


class SlotNotHeld(PantlerError):
    """The slot is not held: it has expired, was released, or its subject was reset. Another may
    hold it: stop what it was for, or acquire another."""


class WriteRefused(FailedPrecondition):
    """The origin does not take the write: a rule of its table forbids it, or the namespace is read
    only. Nothing was changed; correct the write."""


class RecordExists(PantlerError):
    """An INSERT of a record that is there. Update it, or take another key."""


class RecordChanged(PantlerError):
    """The record was written by others again and again while this write was made ready. Nothing was
    done: try again."""


class ResourceExhausted(PantlerError):
    """Redis or the server is full, or the answer would be too large. Ask for less, or give more."""


class PurgeBacklogFull(ResourceExhausted):
    """As much waits for a CDN as may, and no purge was written down; an invalidation is in force
    all the same. Try again after `retry_after`."""

    retry_after: timedelta = timedelta(0)


class WriteBacklogFull(ResourceExhausted):
    """As many writes wait for the origin as may; nothing was done. Try again after
    `retry_after`."""

    retry_after: timedelta = timedelta(0)


class Unavailable(PantlerError):
    """The server or its Redis can't be reached; nothing was done. Try again after `retry_after`."""

    retry_after: timedelta = timedelta(0)


class OutcomeUnknown(Unavailable):
    """Redis went away with a write under way: it took effect or it did not. Repeat the call only if
    twice is as good as once; a plain set, a delete and an invalidation are."""


class NotReplicated(Unavailable):
    """An invalidation took effect, but fewer replicas said in time that they have it than its
    namespace asks for, so a failover now might undo it. Repeat it after `retry_after`."""


class DeadlineExceeded(PantlerError):
    """The time was up before there was an answer. Allow more with `timeout`. A write may have taken
    effect: repeat it only if twice is as good as once, or it has a `request_id`."""


AWAY = (Unavailable, DeadlineExceeded)
"""The server, or its Redis, is of no use."""


class InternalError(PantlerError):
    """A defect in the server. Report it with `request_id`."""


class RateLimited(PantlerError):
    """A function under `rate_limited` was not called, or a `slot` not given. Try again after
    `retry_after`; of a slot, one may be released sooner."""

    def __init__(self, subject: str, decision: "Decision") -> None:
        self.decision = decision
        self.retry_after = decision.retry_after
        after_s = decision.retry_after.total_seconds()
        super().__init__(f"{subject!r} is at its limit: try again in {after_s:.3f} s")


class EncodeError(PantlerError):
    """The codec of a namespace does not take a value, which was not stored. Its cause says why.
    Give what the codec is for, or the namespace another codec."""

    def __init__(self, namespace: str, key: str, content_type: str, value: object) -> None:
        kind = type(value)
        super().__init__(
            f"the value for {key!r} in {namespace!r}, of type {kind.__module__}.{kind.__qualname__}"
            f", can't be stored as {content_type}"
        )
        self.namespace = namespace
        self.key = key
        self.content_type = content_type
        """Of the codec."""


class DecodeError(PantlerError):
    """What is stored is of another codec, or it is damaged; nothing was changed. Read it with the
    codec that it was stored with; after a change of the type, invalidate it, or store values of the
    new type in another namespace."""

    def __init__(
        self, namespace: str, key: str, stored: str, wanted: str, problem: str = ""
    ) -> None:
        message = f"the value of {key!r} in {namespace!r} is stored as {stored or 'unknown'}"
        super().__init__(
            f"{message} and can't be read: {problem}" if problem else f"{message}, not as {wanted}"
        )
        self.namespace = namespace
        self.key = key
        self.stored = stored
        """The content type that was stored with it, empty if there was none."""
        self.wanted = wanted
        """The content type of the codec."""


class UncacheableArgument(PantlerError):
    """An argument of a function under `cached` or `rate_limited` makes no key; the function was not
    called. Name in the template what stands for it, as `{user.id}` for `user`, or `{price!s}`."""

    def __init__(self, function: str, argument: str, problem: str) -> None:
        super().__init__(f"the argument {argument!r} of {function} makes no key: {problem}")
        self.argument = argument


class ForkedClient(PantlerError):
    """The process was forked from one with an open client, and its gRPC can't be used. Open clients
    after the fork only, or close them before it."""


class PartialFailure(PantlerError):
    """Some items of a batch failed. Nothing of the others is lost: they stand in `results`."""

    def __init__(self, results: Mapping[str, object], errors: Mapping[str, PantlerError]) -> None:
        first_key, first = next(iter(errors.items()))
        super().__init__(f"{len(errors)} items failed, the first is {first_key!r}: {first}")
        self.results = dict(results)
        """What the call would have returned, without the items that failed."""
        self.errors = dict(errors)
        """The error of each item that failed, by its key."""


_BY_REASON: dict[str, type[PantlerError]] = {
    "ERROR_REASON_INVALID_FIELD": InvalidArgument,
    "ERROR_REASON_NAMESPACE_UNKNOWN": NotFound,
    "ERROR_REASON_CONFIG_INVALID": FailedPrecondition,
    "ERROR_REASON_WRONG_KIND": WrongKind,
    "ERROR_REASON_NO_TAG_INDEX": FailedPrecondition,
    "ERROR_REASON_CASCADE_TOO_WIDE": CascadeTooWide,
    "ERROR_REASON_LEASE_LOST": LeaseLost,
    "ERROR_REASON_RATE_LIMIT_RULE_UNKNOWN": NotFound,
    "ERROR_REASON_BOARD_UNKNOWN": NotFound,
    "ERROR_REASON_NO_HISTORY": FailedPrecondition,
    "ERROR_REASON_SLOT_NOT_HELD": SlotNotHeld,
    "ERROR_REASON_NO_ORIGIN": FailedPrecondition,
    "ERROR_REASON_HAS_ORIGIN": FailedPrecondition,
    "ERROR_REASON_RECORD_EXISTS": RecordExists,
    "ERROR_REASON_RECORD_MISSING": RecordMissing,
    "ERROR_REASON_RECORD_CHANGED": RecordChanged,
    "ERROR_REASON_WRITE_REFUSED": WriteRefused,
    "ERROR_REASON_WRITE_BACKLOG_FULL": WriteBacklogFull,
    "ERROR_REASON_ORIGIN_NOT_READY": FailedPrecondition,
    "ERROR_REASON_ORIGIN_UNAVAILABLE": Unavailable,
    "ERROR_REASON_ORIGIN_OUTCOME_UNKNOWN": OutcomeUnknown,
    "ERROR_REASON_NO_HTTP": FailedPrecondition,
    "ERROR_REASON_CDN_TARGET_UNKNOWN": NotFound,
    "ERROR_REASON_PURGE_BACKLOG_FULL": PurgeBacklogFull,
    "ERROR_REASON_PURGE_UNKNOWN": NotFound,
    "ERROR_REASON_NO_EDGE_STORE": FailedPrecondition,
    "ERROR_REASON_CDN_REFUSED": FailedPrecondition,
    "ERROR_REASON_CDN_UNAVAILABLE": Unavailable,
    "ERROR_REASON_STORE_OUT_OF_MEMORY": ResourceExhausted,
    "ERROR_REASON_TOO_MANY_NAMESPACES": ResourceExhausted,
    "ERROR_REASON_RESPONSE_TOO_LARGE": ResourceExhausted,
    "ERROR_REASON_TOO_MANY_OPERATIONS": ResourceExhausted,
    "ERROR_REASON_STORE_UNAVAILABLE": Unavailable,
    "ERROR_REASON_SHUTTING_DOWN": Unavailable,
    "ERROR_REASON_OUTCOME_UNKNOWN": OutcomeUnknown,
    "ERROR_REASON_NOT_REPLICATED": NotReplicated,
    "ERROR_REASON_DEADLINE_EXCEEDED": DeadlineExceeded,
    "ERROR_REASON_INTERNAL": InternalError,
}

# For errors that gRPC raises itself, and for reasons of a newer server.
_BY_CODE: dict[int, type[PantlerError]] = {
    code_pb2.INVALID_ARGUMENT: InvalidArgument,
    code_pb2.NOT_FOUND: NotFound,
    code_pb2.FAILED_PRECONDITION: FailedPrecondition,
    code_pb2.RESOURCE_EXHAUSTED: ResourceExhausted,
    code_pb2.UNAVAILABLE: Unavailable,
    code_pb2.DEADLINE_EXCEEDED: DeadlineExceeded,
    code_pb2.INTERNAL: InternalError,
}


async def answer_to(method: Callable[..., Awaitable[T]], request: Message, timeout_s: float) -> T:
    """The answer of a method of the server. Raises the error that the call failed with."""
    with _errors_of_a_call():
        return await method(request, timeout=timeout_s)


async def answers_to(
    method: Callable[..., "grpc.aio.UnaryStreamCall[Any, T]"], request: Message
) -> AsyncGenerator[T, None]:
    """The answers of a method that streams them, for as long as that takes. When the generator is
    closed the call is cancelled. Raises as `answer_to` does."""
    with _errors_of_a_call():
        call = method(request)
        try:
            async for answer in call:
                yield answer
        finally:
            call.cancel()


@contextmanager
def _errors_of_a_call() -> Iterator[None]:
    """Raises what gRPC raises in the block as the client's error."""
    try:
        yield
    except grpc.aio.UsageError as exc:
        raise PantlerError("the client is closed") from exc
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise PantlerError("the client was closed during the call") from None
    except grpc.aio.AioRpcError as exc:
        raise from_rpc_error(exc) from exc


def from_rpc_error(exc: grpc.aio.AioRpcError) -> PantlerError:
    """The error that a call ended with, with that of gRPC as its cause."""
    status = rpc_status.from_call(exc)  # type: ignore[arg-type]  # it reads what both kinds have
    if status is None:
        code: int = exc.code().value[0]
        status = status_pb2.Status(code=code, message=exc.details() or exc.code().name)
    error = from_status(status)
    error.__cause__ = exc
    return error


def from_status(status: status_pb2.Status) -> PantlerError:
    """The error that a status says: of a call, or of an item of a batch."""
    info, bad, retry, request = (
        _detail(status, kind())
        for kind in (
            error_details_pb2.ErrorInfo,
            error_details_pb2.BadRequest,
            error_details_pb2.RetryInfo,
            error_details_pb2.RequestInfo,
        )
    )
    chosen = _BY_REASON.get(info.reason) or _BY_CODE.get(status.code, PantlerError)
    error = chosen(
        status.message, reason=info.reason, metadata=info.metadata, request_id=request.request_id
    )
    if isinstance(error, InvalidArgument):
        error.violations = tuple(_violations(bad.field_violations))
    if isinstance(error, Unavailable | PurgeBacklogFull | WriteBacklogFull):
        error.retry_after = retry.retry_delay.ToTimedelta()
    return error


def _violations(
    found: Iterable[error_details_pb2.BadRequest.FieldViolation],
) -> Iterable[FieldViolation]:
    return (FieldViolation(violation.field, violation.description) for violation in found)


def _detail(status: status_pb2.Status, message: "error_details_pb2.Any") -> "error_details_pb2.Any":
    """The status's detail of the message's type; the message itself, empty, if there is none."""
    for detail in status.details:
        if detail.Unpack(message):
            break
    return message
