"""Between the messages of RateLimitService and the rate limit engine's models, checking on the way
in."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from pantler.v1 import rate_limit_pb2

from pantler_server.core.errors import FieldViolation
from pantler_server.core.rate_limit import MAX_LIMIT, Algorithm, OnUnavailable, Rule
from pantler_server.engines.rate_limit.engine import RateLimitEngine
from pantler_server.engines.rate_limit.limit import Limit, inline
from pantler_server.engines.rate_limit.model import Check, Decision, Source, is_denied
from pantler_server.servicers import validate
from pantler_server.servicers.convert_namespace import PERIODS

MAX_CHECKS = 100  # bounds one script to some 2 to 5 ms of Redis

_ALGORITHMS = {
    rate_limit_pb2.ALGORITHM_FIXED_WINDOW: Algorithm.FIXED_WINDOW,
    rate_limit_pb2.ALGORITHM_SLIDING_WINDOW_LOG: Algorithm.SLIDING_WINDOW_LOG,
    rate_limit_pb2.ALGORITHM_SLIDING_WINDOW_COUNTER: Algorithm.SLIDING_WINDOW_COUNTER,
    rate_limit_pb2.ALGORITHM_TOKEN_BUCKET: Algorithm.TOKEN_BUCKET,
    rate_limit_pb2.ALGORITHM_GCRA: Algorithm.GCRA,
    rate_limit_pb2.ALGORITHM_CONCURRENCY: Algorithm.CONCURRENCY,
}
_PERIODS = {number: period for period, number in PERIODS.items()}
_ON_UNAVAILABLE = {
    rate_limit_pb2.ON_UNAVAILABLE_OPEN: OnUnavailable.OPEN,
    rate_limit_pb2.ON_UNAVAILABLE_CLOSED: OnUnavailable.CLOSED,
    rate_limit_pb2.ON_UNAVAILABLE_LOCAL: OnUnavailable.LOCAL,
}
_SOURCES = {
    Source.REDIS: rate_limit_pb2.DECISION_SOURCE_REDIS,
    Source.MEMORY: rate_limit_pb2.DECISION_SOURCE_MEMORY,
    Source.FALLBACK: rate_limit_pb2.DECISION_SOURCE_FALLBACK,
    Source.SKIPPED: rate_limit_pb2.DECISION_SOURCE_SKIPPED,
}

N = TypeVar("N", bound=int)

_HasSlot = rate_limit_pb2.RenewSlotRequest | rate_limit_pb2.ReleaseSlotRequest
_HasCost = (
    rate_limit_pb2.AcquireRequest
    | rate_limit_pb2.RateLimitCheck
    | rate_limit_pb2.PeekRequest
    | rate_limit_pb2.RefundRequest
)
_HasSubject = _HasCost | _HasSlot | rate_limit_pb2.ResetRequest
_HasRequestId = (
    rate_limit_pb2.AcquireRequest | rate_limit_pb2.AcquireAllRequest | rate_limit_pb2.RefundRequest
)
_WITHOUT_COST = (
    rate_limit_pb2.RenewSlotRequest,
    rate_limit_pb2.ReleaseSlotRequest,
    rate_limit_pb2.ResetRequest,
)
_HasDecision = (
    rate_limit_pb2.AcquireResponse | rate_limit_pb2.RateLimitDecision | rate_limit_pb2.PeekResponse
)


def check(request: _HasSubject, engine: RateLimitEngine, path: str = "") -> Check:
    """The rule, subject and cost; without a cost, 1. Raises RateLimitRuleUnknown."""
    violations: validate.Violations = []
    if not validate.is_key(request.subject):
        violations.append(validate.key_violation(request.subject, f"{path}subject"))
    limit = _limit(request, engine, path, violations)
    cost = _cost(request, limit, path, violations)
    validate.refuse(violations)
    assert limit is not None
    return Check(limit, request.subject, cost)


def checks(request: rate_limit_pb2.AcquireAllRequest, engine: RateLimitEngine) -> list[Check]:
    """Those of an AcquireAll, each of another rule or subject."""
    if not 1 <= len(request.checks) <= MAX_CHECKS:
        validate.refuse([FieldViolation("checks", f"must have 1 to {MAX_CHECKS} items")])
    found = [check(one, engine, f"checks[{index}].") for index, one in enumerate(request.checks)]
    first: dict[bytes, int] = {}
    for index, one in enumerate(found):
        before = first.setdefault(one.place, index)
        if before != index:
            rule = f"has the rule and subject of checks[{before}]: add the costs up"
            validate.refuse([FieldViolation(f"checks[{index}]", rule)])
    return found


def request_id(request: _HasRequestId) -> str:
    violations: validate.Violations = []
    found = validate.request_id(request.request_id, violations)
    validate.refuse(violations)
    return found


def refunded(request: rate_limit_pb2.RefundRequest, engine: RateLimitEngine) -> Check:
    found = check(request, engine)
    if found.limit.rule.algorithm is Algorithm.CONCURRENCY:
        path = request.WhichOneof("limited_by") or ""
        validate.refuse([FieldViolation(path, "is of concurrency: give its slots to ReleaseSlot")])
    return found


def slot(request: _HasSlot, engine: RateLimitEngine) -> tuple[Check, str]:
    """The rule and subject of a slot, and the slot."""
    found = check(request, engine)
    violations: validate.Violations = []
    if found.limit.rule.algorithm is not Algorithm.CONCURRENCY:
        path = request.WhichOneof("limited_by") or ""
        violations.append(FieldViolation(path, "must be of concurrency: others have no slots"))
    if not request.slot_id:
        violations.append(FieldViolation("slot_id", "must not be empty"))
    validate.text(request.slot_id, validate.MAX_ID_BYTES, "slot_id", violations)
    validate.refuse(violations)
    return found, request.slot_id


def _limit(
    request: _HasSubject, engine: RateLimitEngine, path: str, violations: validate.Violations
) -> Limit | None:
    """The rule; None if one that came with the call is wrong."""
    name = request.rule_name
    if name:  # the common case, sooner than by what follows
        return engine.named(name)
    match request.WhichOneof("limited_by"):
        case "rule_name":
            return engine.named(request.rule_name)
        case "rule":
            return _inline(request.rule, f"{path}rule", violations)
    violations.append(FieldViolation(f"{path}rule_name", "must be set, or rule"))
    return None


def _inline(
    message: rate_limit_pb2.RateLimitRule, path: str, violations: validate.Violations
) -> Limit | None:
    before = len(violations)
    algorithm = _ALGORITHMS.get(message.algorithm)
    if algorithm is None:
        names = ", ".join(rate_limit_pb2.Algorithm.keys()[1:])
        violations.append(FieldViolation(f"{path}.algorithm", f"must be one of {names}"))
        return None
    calendar = _PERIODS.get(message.calendar)
    if calendar is None and message.calendar:
        names = ", ".join(rate_limit_pb2.CalendarPeriod.keys()[1:])
        violations.append(FieldViolation(f"{path}.calendar", f"must be one of {names}"))
    on_unavailable = _ON_UNAVAILABLE.get(message.on_unavailable)
    if on_unavailable is None and message.on_unavailable:
        names = ", ".join(rate_limit_pb2.OnUnavailable.keys()[1:])
        violations.append(FieldViolation(f"{path}.on_unavailable", f"must be one of {names}"))
    window = message.window
    if window.nanos % 1_000_000:
        violations.append(FieldViolation(f"{path}.window", "must be in whole milliseconds"))
    rule = Rule(
        algorithm,
        message.limit,
        window.seconds * 1000 + window.nanos // 1_000_000,
        message.burst,
        calendar,
        message.time_zone,
        "",
        message.shadow,
        on_unavailable,
    )
    limit = inline(rule)
    if limit is None or len(violations) > before:
        violations += (FieldViolation(f"{path}.{field}", said) for field, said in rule.problems())
        return None
    return limit


def _cost(
    request: _HasSubject, limit: Limit | None, path: str, violations: validate.Violations
) -> int:
    """1 where there is none. A Refund may be of what the rule allowed before it was lowered."""
    if isinstance(request, _WITHOUT_COST) or not request.HasField("cost"):
        return 1
    is_refund = isinstance(request, rate_limit_pb2.RefundRequest)
    most = MAX_LIMIT if limit is None or is_refund else limit.rule.capacity
    if request.cost < 1:
        violations.append(FieldViolation(f"{path}cost", "must be at least 1; Peek takes nothing"))
    elif request.cost > most:
        rule = f"must be at most {most}: there are never more permits at once"
        violations.append(FieldViolation(f"{path}cost", rule))
    return request.cost


def acquire_response(check: Check, decision: Decision) -> rate_limit_pb2.AcquireResponse:
    response = rate_limit_pb2.AcquireResponse()
    _put_decision(response, check, decision)
    if decision.slot:
        _put_slot(response, check, decision)
    return response


def acquire_all_response(
    checks: Sequence[Check], decisions: Sequence[Decision]
) -> rate_limit_pb2.AcquireAllResponse:
    response = rate_limit_pb2.AcquireAllResponse(allowed=not is_denied(checks, decisions))
    for check, decision in zip(checks, decisions, strict=True):
        message = response.decisions.add()
        _put_decision(message, check, decision)
        if decision.slot and response.allowed:
            _put_slot(message, check, decision)
    return response


def peek_response(check: Check, decision: Decision) -> rate_limit_pb2.PeekResponse:
    response = rate_limit_pb2.PeekResponse()
    _put_decision(response, check, decision)
    return response


def refund_response(check: Check, decision: Decision) -> rate_limit_pb2.RefundResponse:
    response = rate_limit_pb2.RefundResponse(
        limit=check.limit.rule.limit, remaining=decision.remaining
    )
    _put_us(response.reset_after, decision.reset_us)
    return response


def rule_message(rule: Rule) -> rate_limit_pb2.RateLimitRule:
    message = rate_limit_pb2.RateLimitRule(
        algorithm=_number(_ALGORITHMS, rule.algorithm),
        limit=rule.limit,
        burst=rule.burst,
        time_zone=rule.time_zone,
        shadow=rule.shadow,
    )
    if rule.calendar is None:
        _put_us(message.window, rule.window_ms * 1000)
    else:
        message.calendar = PERIODS[rule.calendar]
    if rule.on_unavailable is not None:
        message.on_unavailable = _number(_ON_UNAVAILABLE, rule.on_unavailable)
    return message


def _put_decision(response: _HasDecision, check: Check, decision: Decision) -> None:
    rule, source = check.limit.rule, decision.source
    response.allowed = decision.allowed
    response.limit = rule.limit
    response.remaining = decision.remaining
    _put_us(response.retry_after, decision.retry_us)
    _put_us(response.reset_after, decision.reset_us)
    response.source = _SOURCES[source]
    if rule.shadow:
        response.shadow = True
        response.allowed = source is not Source.SKIPPED


def _put_slot(
    response: rate_limit_pb2.AcquireResponse | rate_limit_pb2.RateLimitDecision,
    check: Check,
    decision: Decision,
) -> None:
    response.slot_id = decision.slot
    _put_us(response.slot_expires_after, check.limit.window_us)


def _put_us(message: Duration, us: int) -> None:
    message.seconds = us // 1_000_000
    message.nanos = us % 1_000_000 * 1000


def _number(numbers: Mapping[N, object], meaning: object) -> N:
    return next(number for number, one in numbers.items() if one == meaning)
