"""Turns a ServiceError into a gRPC status: the only file that knows the codes.

proto/pantler/v1/errors.proto documents each reason; tests/wire/test_errors.py walks the tree and
fails on a class that is missing here.
"""

from dataclasses import dataclass
from datetime import timedelta

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from pantler.v1 import errors_pb2

from pantler_server.core import errors

DOMAIN = "pantler.dev"
RETRY_AFTER = timedelta(milliseconds=200)  # a link reconnects within 500 ms, a failover in seconds


@dataclass(frozen=True, slots=True)
class _Meaning:
    code: int
    reason: "errors_pb2.ErrorReason"
    retry: bool = False


_MEANINGS: dict[type[errors.ServiceError], _Meaning] = {
    errors.InvalidFields: _Meaning(
        code_pb2.INVALID_ARGUMENT, errors_pb2.ERROR_REASON_INVALID_FIELD
    ),
    errors.NamespaceUnknown: _Meaning(
        code_pb2.NOT_FOUND, errors_pb2.ERROR_REASON_NAMESPACE_UNKNOWN
    ),
    errors.TooManyNamespaces: _Meaning(
        code_pb2.RESOURCE_EXHAUSTED, errors_pb2.ERROR_REASON_TOO_MANY_NAMESPACES
    ),
    errors.WrongKind: _Meaning(code_pb2.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_WRONG_KIND),
    errors.LeaseLost: _Meaning(code_pb2.ABORTED, errors_pb2.ERROR_REASON_LEASE_LOST),
    errors.NoTagIndex: _Meaning(code_pb2.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_NO_TAG_INDEX),
    errors.CascadeTooWide: _Meaning(
        code_pb2.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_CASCADE_TOO_WIDE
    ),
    errors.RateLimitRuleUnknown: _Meaning(
        code_pb2.NOT_FOUND, errors_pb2.ERROR_REASON_RATE_LIMIT_RULE_UNKNOWN
    ),
    errors.BoardUnknown: _Meaning(code_pb2.NOT_FOUND, errors_pb2.ERROR_REASON_BOARD_UNKNOWN),
    errors.NoHistory: _Meaning(code_pb2.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_NO_HISTORY),
    errors.SlotNotHeld: _Meaning(code_pb2.ABORTED, errors_pb2.ERROR_REASON_SLOT_NOT_HELD),
    errors.NotReplicated: _Meaning(
        code_pb2.UNAVAILABLE, errors_pb2.ERROR_REASON_NOT_REPLICATED, retry=True
    ),
    errors.NoOrigin: _Meaning(code_pb2.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_NO_ORIGIN),
    errors.HasOrigin: _Meaning(code_pb2.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_HAS_ORIGIN),
    errors.RecordExists: _Meaning(code_pb2.ALREADY_EXISTS, errors_pb2.ERROR_REASON_RECORD_EXISTS),
    errors.RecordMissing: _Meaning(code_pb2.NOT_FOUND, errors_pb2.ERROR_REASON_RECORD_MISSING),
    errors.RecordChanged: _Meaning(code_pb2.ABORTED, errors_pb2.ERROR_REASON_RECORD_CHANGED),
    errors.WriteRefused: _Meaning(
        code_pb2.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_WRITE_REFUSED
    ),
    errors.WriteBacklogFull: _Meaning(
        code_pb2.RESOURCE_EXHAUSTED, errors_pb2.ERROR_REASON_WRITE_BACKLOG_FULL, retry=True
    ),
    errors.OriginNotReady: _Meaning(
        code_pb2.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_ORIGIN_NOT_READY
    ),
    errors.OriginUnavailable: _Meaning(
        code_pb2.UNAVAILABLE, errors_pb2.ERROR_REASON_ORIGIN_UNAVAILABLE, retry=True
    ),
    errors.OriginOutcomeUnknown: _Meaning(
        code_pb2.UNAVAILABLE, errors_pb2.ERROR_REASON_ORIGIN_OUTCOME_UNKNOWN, retry=True
    ),
    errors.NoHttp: _Meaning(code_pb2.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_NO_HTTP),
    errors.CdnTargetUnknown: _Meaning(
        code_pb2.NOT_FOUND, errors_pb2.ERROR_REASON_CDN_TARGET_UNKNOWN
    ),
    errors.PurgeBacklogFull: _Meaning(
        code_pb2.RESOURCE_EXHAUSTED, errors_pb2.ERROR_REASON_PURGE_BACKLOG_FULL, retry=True
    ),
    errors.PurgeUnknown: _Meaning(code_pb2.NOT_FOUND, errors_pb2.ERROR_REASON_PURGE_UNKNOWN),
    errors.NoEdgeStore: _Meaning(
        code_pb2.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_NO_EDGE_STORE
    ),
    errors.CdnRefused: _Meaning(code_pb2.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_CDN_REFUSED),
    errors.CdnUnavailable: _Meaning(
        code_pb2.UNAVAILABLE, errors_pb2.ERROR_REASON_CDN_UNAVAILABLE, retry=True
    ),
    errors.ResponseTooLarge: _Meaning(
        code_pb2.RESOURCE_EXHAUSTED, errors_pb2.ERROR_REASON_RESPONSE_TOO_LARGE
    ),
    errors.TooManyOperations: _Meaning(
        code_pb2.RESOURCE_EXHAUSTED, errors_pb2.ERROR_REASON_TOO_MANY_OPERATIONS
    ),
    errors.ConfigInvalid: _Meaning(
        code_pb2.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_CONFIG_INVALID
    ),
    errors.DeadlinePassed: _Meaning(
        code_pb2.DEADLINE_EXCEEDED, errors_pb2.ERROR_REASON_DEADLINE_EXCEEDED
    ),
    errors.ShuttingDown: _Meaning(
        code_pb2.UNAVAILABLE, errors_pb2.ERROR_REASON_SHUTTING_DOWN, retry=True
    ),
    errors.InternalError: _Meaning(code_pb2.INTERNAL, errors_pb2.ERROR_REASON_INTERNAL),
    errors.StoreUnavailable: _Meaning(
        code_pb2.UNAVAILABLE, errors_pb2.ERROR_REASON_STORE_UNAVAILABLE, retry=True
    ),
    errors.PrimaryChanged: _Meaning(
        code_pb2.UNAVAILABLE, errors_pb2.ERROR_REASON_STORE_UNAVAILABLE, retry=True
    ),
    errors.OutcomeUnknown: _Meaning(
        code_pb2.UNAVAILABLE, errors_pb2.ERROR_REASON_OUTCOME_UNKNOWN, retry=True
    ),
    errors.StoreOutOfMemory: _Meaning(
        code_pb2.RESOURCE_EXHAUSTED, errors_pb2.ERROR_REASON_STORE_OUT_OF_MEMORY
    ),
}


def reason_of(error: errors.ServiceError) -> str:
    """The name of an error's reason."""
    return errors_pb2.ErrorReason.Name(_MEANINGS[type(error)].reason)


def status_of(error: errors.ServiceError, request_id: str = "") -> status_pb2.Status:
    """The status of an error, with everything that errors.proto promises of its reason."""
    meaning = _MEANINGS[type(error)]
    info = error_details_pb2.ErrorInfo(
        reason=errors_pb2.ErrorReason.Name(meaning.reason), domain=DOMAIN, metadata=error.metadata
    )
    details: list[Message] = [info]
    if meaning.retry:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(_retry_after(error))
        details.append(retry)
    details += _specific(error)
    if request_id:
        details.append(error_details_pb2.RequestInfo(request_id=request_id))
    return status_pb2.Status(
        code=meaning.code, message=error.message, details=[_any(detail) for detail in details]
    )


def _retry_after(error: errors.ServiceError) -> timedelta:
    if isinstance(error, errors.CdnUnavailable):
        return max(RETRY_AFTER, timedelta(seconds=error.retry_after_s))
    return RETRY_AFTER


def _specific(error: errors.ServiceError) -> list[Message]:
    """What only errors of one class carry."""
    match error:
        case errors.InvalidFields():
            fields = [
                error_details_pb2.BadRequest.FieldViolation(
                    field=violation.path, description=violation.description
                )
                for violation in error.violations
            ]
            return [error_details_pb2.BadRequest(field_violations=fields)]
        case errors.ConfigInvalid():
            wrong = [("CONFIG", problem.source, str(problem)) for problem in error.problems]
            return [_precondition(wrong)]
        case errors.WrongKind():
            return [_precondition([("KIND", error.key, error.message)])]
        case errors.NoTagIndex():
            return [_precondition([("TAG_INDEX", error.metadata["namespace"], error.message)])]
        case errors.NoHistory():
            return [_precondition([("HISTORY", error.metadata["namespace"], error.message)])]
        case (
            errors.NoOrigin() | errors.HasOrigin() | errors.WriteRefused() | errors.OriginNotReady()
        ):
            return [_precondition([("ORIGIN", error.metadata["namespace"], error.message)])]
        case errors.NoHttp():
            return [_precondition([("HTTP", error.metadata["namespace"], error.message)])]
        case errors.NoEdgeStore() | errors.CdnRefused():
            return [_precondition([("CDN", error.metadata["target"], error.message)])]
        case errors.CascadeTooWide():
            return [_precondition([("CASCADE", "keys", error.message)])]
    return []


def _precondition(violations: list[tuple[str, str, str]]) -> error_details_pb2.PreconditionFailure:
    return error_details_pb2.PreconditionFailure(
        violations=[
            error_details_pb2.PreconditionFailure.Violation(
                type=kind, subject=subject, description=description
            )
            for kind, subject, description in violations
        ]
    )


def _any(detail: Message) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed
