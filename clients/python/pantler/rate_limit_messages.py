"""Between the models of rate limits and the messages of RateLimitService."""

from typing import Any, Protocol, cast, get_args

from pantler.rate_limit_model import (
    Algorithm,
    Calendar,
    Decision,
    OnUnavailable,
    RateLimitCheck,
    RateLimitRule,
)
from pantler.v1 import rate_limit_pb2

_NAMES = {
    "algorithm": (Algorithm, rate_limit_pb2.Algorithm, "ALGORITHM_"),
    "calendar": (Calendar, rate_limit_pb2.CalendarPeriod, "CALENDAR_PERIOD_"),
    "on_unavailable": (OnUnavailable, rate_limit_pb2.OnUnavailable, "ON_UNAVAILABLE_"),
}
"""Of the fields that are one of some words: the words, and the enum with the prefix of its
names."""


def limited_by(rule: str | RateLimitRule) -> dict[str, Any]:
    """The fields of a request that name its rule."""
    return {"rule_name": rule} if isinstance(rule, str) else {"rule": _rule_message(rule)}


def check_message(check: RateLimitCheck) -> rate_limit_pb2.RateLimitCheck:
    return rate_limit_pb2.RateLimitCheck(
        subject=check.subject, cost=check.cost, **limited_by(check.rule)
    )


def decision(
    message: rate_limit_pb2.AcquireResponse | rate_limit_pb2.RateLimitDecision,
) -> Decision:
    return Decision(
        allowed=message.allowed,
        limit=message.limit,
        remaining=message.remaining,
        retry_after=message.retry_after.ToTimedelta(),
        reset_after=message.reset_after.ToTimedelta(),
        shadow=message.shadow,
        slot_id=message.slot_id,
        slot_expires_after=message.slot_expires_after.ToTimedelta(),
        source=_word(rate_limit_pb2.DecisionSource, "DECISION_SOURCE_", message.source),
    )


def peeked(message: rate_limit_pb2.PeekResponse) -> Decision:
    return Decision(
        allowed=message.allowed,
        limit=message.limit,
        remaining=message.remaining,
        retry_after=message.retry_after.ToTimedelta(),
        reset_after=message.reset_after.ToTimedelta(),
        shadow=message.shadow,
        source=_word(rate_limit_pb2.DecisionSource, "DECISION_SOURCE_", message.source),
    )


def rule(message: rate_limit_pb2.RateLimitRule) -> RateLimitRule:
    words = {
        field: _word(enum, prefix, number) if (number := getattr(message, field)) else None
        for field, (_, enum, prefix) in _NAMES.items()
    }
    return RateLimitRule(
        algorithm=cast(Algorithm, words["algorithm"]),
        limit=message.limit,
        window=message.window.ToTimedelta() if message.HasField("window") else None,
        burst=message.burst,
        calendar=cast(Calendar | None, words["calendar"]),
        time_zone=message.time_zone,
        shadow=message.shadow,
        on_unavailable=cast(OnUnavailable | None, words["on_unavailable"]),
    )


def _rule_message(rule: RateLimitRule) -> rate_limit_pb2.RateLimitRule:
    numbers: dict[str, Any] = {}
    for field, (words, enum, prefix) in _NAMES.items():
        word = getattr(rule, field)
        if word is None and field != "algorithm":
            continue
        if word not in get_args(words):
            raise ValueError(f"{field} must be one of {', '.join(get_args(words))}, not {word!r}")
        numbers[field] = enum.Value(f"{prefix}{word.upper()}")
    return rate_limit_pb2.RateLimitRule(
        limit=rule.limit,
        window=rule.window,
        burst=rule.burst,
        time_zone=rule.time_zone,
        shadow=rule.shadow,
        **numbers,
    )


class _Enum(Protocol):
    def Name(self, number: Any) -> str: ...  # noqa: N802  # as protobuf has it


def _word(enum: _Enum, prefix: str, number: int) -> str:
    """The name of a number, as the configuration has it; of a newer server's, the number."""
    try:
        return enum.Name(number).removeprefix(prefix).lower()
    except ValueError:
        return str(number)
