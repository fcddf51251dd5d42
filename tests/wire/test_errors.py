"""The error tree and its statuses."""

from collections.abc import Iterator

import pytest
from google.rpc import code_pb2, error_details_pb2
from pantler.v1 import errors_pb2
from pantler_server.core import errors
from pantler_server.servicers.status import status_of

EXAMPLES: list[errors.ServiceError] = [
    errors.InvalidFields([errors.FieldViolation("key", "must not be empty")]),
    errors.NamespaceUnknown("users"),
    errors.TooManyNamespaces("users", 10),
    errors.WrongKind("k"),
    errors.LeaseLost("k"),
    errors.NoTagIndex("users"),
    errors.CascadeTooWide(10, 2),
    errors.RateLimitRuleUnknown("api"),
    errors.BoardUnknown("users", "b"),
    errors.NoHistory("users"),
    errors.SlotNotHeld("slot"),
    errors.NotReplicated(2, 1),
    errors.NoOrigin("users"),
    errors.HasOrigin("users"),
    errors.RecordExists("k"),
    errors.RecordMissing("k"),
    errors.RecordChanged("k"),
    errors.WriteRefused("a rule forbids it", "users"),
    errors.WriteBacklogFull("users", 10),
    errors.OriginNotReady("users", "table users does not exist"),
    errors.OriginUnavailable("away", "users"),
    errors.OriginOutcomeUnknown("users"),
    errors.NoHttp("users"),
    errors.CdnTargetUnknown("front"),
    errors.PurgeBacklogFull("front"),
    errors.PurgeUnknown("id"),
    errors.NoEdgeStore("front"),
    errors.CdnRefused("front", "403: wrong token"),
    errors.CdnUnavailable("front", "away"),
    errors.ResponseTooLarge(2, 1),
    errors.TooManyOperations(10),
    errors.ConfigInvalid([errors.ConfigProblem("f.yaml:1", "ttl", "must be more")]),
    errors.DeadlinePassed("too late"),
    errors.ShuttingDown("stopping"),
    errors.InternalError("a defect"),
    errors.StoreUnavailable("away", "cache"),
    errors.PrimaryChanged("away", "cache"),
    errors.OutcomeUnknown("away", "cache"),
    errors.StoreOutOfMemory("full", "cache"),
]
ROOTS = {errors.ServiceError, errors.StoreError}  # never raised themselves


def _tree(root: type[errors.ServiceError]) -> Iterator[type[errors.ServiceError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def test_every_error_has_an_example_here() -> None:
    assert {type(example) for example in EXAMPLES} == set(_tree(errors.ServiceError)) - ROOTS


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_has_a_code_a_reason_and_its_details(error: errors.ServiceError) -> None:
    status = status_of(error, "id-1")
    assert status.code != code_pb2.OK
    assert status.message
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "pantler.dev"
    assert errors_pb2.ErrorReason.Value(info.reason) > 0
    kinds = {detail.type_url.rpartition(".")[2] for detail in status.details}
    assert "RequestInfo" in kinds
    full = errors.WriteBacklogFull | errors.PurgeBacklogFull
    comes_back = isinstance(error, full) or status.code == code_pb2.UNAVAILABLE
    assert ("RetryInfo" in kinds) == comes_back
    assert ("BadRequest" in kinds) == (status.code == code_pb2.INVALID_ARGUMENT)
    assert ("PreconditionFailure" in kinds) == (status.code == code_pb2.FAILED_PRECONDITION)


def test_every_reason_is_used_once() -> None:
    used = []
    for error in EXAMPLES:
        if isinstance(error, errors.PrimaryChanged):  # to callers it is what it is derived from
            continue
        info = error_details_pb2.ErrorInfo()
        status_of(error).details[0].Unpack(info)
        used.append(info.reason)
    documented = set(errors_pb2.ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"}
    assert sorted(used) == sorted(documented)


def test_the_tree_is_drawn_as_it_is() -> None:
    assert errors.__doc__ is not None
    for error in _tree(errors.ServiceError):
        assert error.__name__ in errors.__doc__


@pytest.mark.parametrize("length", [5, 50, 300])
def test_many_violations_fit_what_clients_take_of_trailers(length: int) -> None:
    wrong = [errors.FieldViolation("p" * length, "d" * length) for _ in range(1000)]
    status = status_of(errors.InvalidFields(wrong))
    in_base64 = len(status.SerializeToString()) * 4 // 3
    assert len(status.message) + in_base64 < 8 << 10
    assert status.message.endswith("; and more")
    assert "p" * length in status.message
