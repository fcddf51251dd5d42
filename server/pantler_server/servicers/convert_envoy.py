"""Between the messages of Envoy's RateLimitService and the engine's models, checking on the way
in."""

from collections.abc import Iterator

from pantler_server.core.calendar import Period
from pantler_server.core.envoy_config import Unit
from pantler_server.core.errors import FieldViolation
from pantler_server.core.rate_limit import MAX_WINDOW_MS, Rule
from pantler_server.engines.rate_limit.envoy import MANY, Descriptor, Override, Status, Verdict
from pantler_server.generated import rls_pb2
from pantler_server.servicers import validate

MAX_DESCRIPTORS = 100  # bounds one script to about 1 ms of Redis

_Limit = rls_pb2.RateLimitResponse.RateLimit
_UNITS = {
    _Limit.SECOND: Unit.SECOND,
    _Limit.MINUTE: Unit.MINUTE,
    _Limit.HOUR: Unit.HOUR,
    _Limit.DAY: Unit.DAY,
    _Limit.WEEK: Unit.WEEK,
    _Limit.MONTH: Unit.MONTH,
    _Limit.YEAR: Unit.YEAR,
}
_LONGEST_FIRST = sorted(_UNITS, key=lambda number: -_UNITS[number].ms)
_PERIODS = {
    Period.HOUR: _Limit.HOUR,
    Period.DAY: _Limit.DAY,
    Period.WEEK: _Limit.WEEK,
    Period.MONTH: _Limit.MONTH,
    Period.YEAR: _Limit.YEAR,
}


def descriptors(request: rls_pb2.RateLimitRequest) -> list[Descriptor]:
    """What a request counts. Raises InvalidFields."""
    if not 1 <= len(request.descriptors) <= MAX_DESCRIPTORS:
        rule = f"must have 1 to {MAX_DESCRIPTORS} items"
        validate.refuse([FieldViolation("descriptors", rule)])
    violations: validate.Violations = []
    if not request.domain:
        violations.append(FieldViolation("domain", "must not be empty"))
    hits = request.hits_addend or 1
    found = [
        _descriptor(message, hits, f"descriptors[{index}]", violations)
        for index, message in enumerate(request.descriptors)
    ]
    validate.refuse(violations)
    return found


def _descriptor(
    message: rls_pb2.RateLimitRequest.Descriptor,
    hits: int,
    path: str,
    violations: validate.Violations,
) -> Descriptor:
    if not message.entries:
        violations.append(FieldViolation(f"{path}.entries", "must not be empty"))
    return Descriptor(
        [(entry.key, entry.value) for entry in message.entries],
        message.hits_addend.value if message.HasField("hits_addend") else hits,
        message.is_negative_hits,
        _override(message.limit, f"{path}.limit", violations)
        if message.HasField("limit")
        else None,
    )


def _override(
    message: rls_pb2.RateLimitRequest.Override, path: str, violations: validate.Violations
) -> Override | None:
    unit = _UNITS.get(message.unit)
    if unit is None:
        names = ", ".join(_Limit.Unit.keys()[1:])
        violations.append(FieldViolation(f"{path}.unit", f"must be one of {names}"))
        return None
    units = message.unit_multiplier.value if message.HasField("unit_multiplier") else 1
    window_ms = units * unit.ms
    if not 1 <= window_ms <= MAX_WINDOW_MS:
        rule = "must give a window of up to 366 days"
        violations.append(FieldViolation(f"{path}.unit_multiplier", rule))
    return Override(message.requests_per_unit, window_ms)


def response(verdict: Verdict) -> rls_pb2.RateLimitResponse:
    message = rls_pb2.RateLimitResponse(overall_code=_code(over=verdict.over))
    for status in verdict.statuses:
        added = message.statuses.add(
            code=_code(over=status.over), limit_remaining=min(status.remaining, MANY)
        )
        if status.rule is not None:
            _put_limit(added.current_limit, status.rule)
            added.current_limit.name = status.name
            added.duration_until_reset.seconds = _seconds(status)
    if verdict.shown is not None:
        for key, value in _headers(verdict.shown):
            message.response_headers_to_add.add(key=key, value=value)
    return message


def _code(*, over: bool) -> rls_pb2.RateLimitResponse.Code:
    return rls_pb2.RateLimitResponse.OVER_LIMIT if over else rls_pb2.RateLimitResponse.OK


def _put_limit(message: rls_pb2.RateLimitResponse.RateLimit, rule: Rule) -> None:
    """The limit, in the longest unit that its window is made up of; UNKNOWN if there is none."""
    message.requests_per_unit = min(rule.limit, MANY)
    if rule.calendar is not None:
        message.unit = _PERIODS[rule.calendar]
        return
    for unit in _LONGEST_FIRST:
        units, rest = divmod(rule.window_ms, _UNITS[unit].ms)
        if units and not rest:
            message.unit = unit
            if units > 1:
                message.unit_multiplier.value = units
            return


def _seconds(status: Status) -> int:
    """Until what the status says, rounded up."""
    return -(-status.until_us // 1_000_000)


def _headers(status: Status) -> Iterator[tuple[str, str]]:
    assert status.rule is not None
    seconds = str(_seconds(status))
    yield "x-ratelimit-limit", str(status.rule.limit)
    yield "x-ratelimit-remaining", str(status.remaining)
    yield "x-ratelimit-reset", seconds
    if status.over:
        yield "retry-after", seconds
