"""Between the messages of CounterService and the counter engine's models, checking on the way in.

What has a ttl is checked by its namespace, whose `max_ttl` bounds it.
"""

from collections.abc import Iterator, Sequence

from pantler.v1 import counter_pb2

from pantler_server.core.errors import FieldViolation
from pantler_server.core.namespace import Namespace
from pantler_server.engines.counter.model import MAX_VALUE, Increment, Incremented
from pantler_server.servicers import validate
from pantler_server.servicers.convert import timestamp

MAX_UNIQUE_SETS = 100  # of one call: bounds it to 0.2 ms of Valkey 9, 7 ms of Redis 7.0

_HasCounters = counter_pb2.GetCountersRequest | counter_pb2.ResetCountersRequest
_HasTtl = (
    counter_pb2.IncrementRequest | counter_pb2.AddUniqueRequest | counter_pb2.MergeUniqueRequest
)


def increment(request: counter_pb2.IncrementRequest, namespace: Namespace) -> Increment:
    """Checked with the name of the counter."""
    violations: validate.Violations = []
    validate.key(request.counter, "counter", violations)
    delta = request.delta if request.HasField("delta") else 1
    ceiling = request.ceiling if request.HasField("ceiling") else MAX_VALUE
    floor = request.floor if request.HasField("floor") else -MAX_VALUE
    for path, number in (("delta", delta), ("ceiling", ceiling), ("floor", floor)):
        if abs(number) > MAX_VALUE:
            rule = f"must be -{MAX_VALUE} to {MAX_VALUE}"
            violations.append(FieldViolation(path, rule))
    if floor > ceiling:
        violations.append(FieldViolation("floor", "must not be above ceiling"))
    ttl_ms = _ttl_ms(request, namespace, violations)
    request_id = validate.request_id(request.request_id, violations)
    validate.refuse(violations)
    return Increment(delta, floor, ceiling, ttl_ms, request_id)


def increment_response(result: Incremented) -> counter_pb2.IncrementResponse:
    return counter_pb2.IncrementResponse(
        value=result.value,
        applied=result.applied,
        expire_time=timestamp(result.expires_ms * 1000),
    )


def counters(request: _HasCounters) -> Sequence[str]:
    violations: validate.Violations = []
    validate.batch_of_keys(request.counters, validate.MAX_BATCH_ITEMS, "counters", violations)
    validate.refuse(violations)
    return request.counters


def values(
    counters: Sequence[str], values: Sequence[int | None]
) -> Iterator[counter_pb2.CounterValue]:
    for counter, value in zip(counters, values, strict=True):
        yield counter_pb2.CounterValue(counter=counter, value=value or 0, found=value is not None)


def added_unique(request: counter_pb2.AddUniqueRequest, namespace: Namespace) -> int:
    """Checks the set and its members; the ttl (ms), 0 for none."""
    violations: validate.Violations = []
    validate.key(request.set, "set", violations)
    validate.batch_of_keys(request.members, validate.MAX_BATCH_ITEMS, "members", violations)
    ttl_ms = _ttl_ms(request, namespace, violations)
    validate.refuse(violations)
    return ttl_ms


def counted_unique(request: counter_pb2.CountUniqueRequest) -> Sequence[str]:
    violations: validate.Violations = []
    validate.batch_of_keys(request.sets, MAX_UNIQUE_SETS, "sets", violations)
    validate.refuse(violations)
    return request.sets


def merged_unique(
    request: counter_pb2.MergeUniqueRequest, namespace: Namespace
) -> tuple[Sequence[str], int]:
    """The sets to merge from, checked with the one they go into, and the ttl (ms), 0 for none."""
    others: Sequence[str] = getattr(request, "from")  # a word of Python's
    violations: validate.Violations = []
    validate.key(request.into, "into", violations)
    validate.batch_of_keys(others, MAX_UNIQUE_SETS, "from", violations)
    ttl_ms = _ttl_ms(request, namespace, violations)
    validate.refuse(violations)
    return others, ttl_ms


def deleted_unique(request: counter_pb2.DeleteUniqueRequest) -> Sequence[str]:
    violations: validate.Violations = []
    validate.batch_of_keys(request.sets, validate.MAX_BATCH_ITEMS, "sets", violations)
    validate.refuse(violations)
    return request.sets


def _ttl_ms(request: _HasTtl, namespace: Namespace, violations: validate.Violations) -> int:
    """0 for none."""
    if not request.HasField("ttl"):
        return 0
    return validate.ttl_ms(request.ttl, namespace.max_ttl_ms, "ttl", violations)
