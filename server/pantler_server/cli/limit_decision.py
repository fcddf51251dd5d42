"""How decisions and rules of rate limits are printed."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pantler_server.core.duration import format_duration

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from pantler.v1 import rate_limit_pb2

    Answer = rate_limit_pb2.AcquireResponse | rate_limit_pb2.PeekResponse


def said(answer: "Answer") -> str:
    """The decision in a few words."""
    from pantler.v1 import rate_limit_pb2

    if answer.allowed:
        text = f"allowed, {left(answer)}"
    else:
        text = f"denied: try again in {short(answer.retry_after)}"
    if answer.shadow and answer.retry_after.ToMicroseconds():
        text += f"; were the rule no shadow: denied, for {short(answer.retry_after)}"
    if answer.source == rate_limit_pb2.DECISION_SOURCE_FALLBACK:
        text += "; decided without Redis, which is away"
    return text


def left(answer: "Answer | rate_limit_pb2.RefundResponse") -> str:
    """Not "of the limit": a bucket has `burst` permits when it is full."""
    return f"{answer.remaining} left (limit {answer.limit})"


def decision_as_json(answer: "Answer") -> dict[str, Any]:
    """Durations are in seconds, as in the JSON of protobuf: 1.200s."""
    from pantler.v1 import rate_limit_pb2

    return {
        "allowed": answer.allowed,
        "limit": answer.limit,
        "remaining": answer.remaining,
        "retry_after": answer.retry_after.ToJsonString(),
        "reset_after": answer.reset_after.ToJsonString(),
        "shadow": answer.shadow,
        "source": _word(rate_limit_pb2.DecisionSource, "DECISION_SOURCE_", answer.source),
    }


def rule_as_json(rule: "rate_limit_pb2.RateLimitRule") -> dict[str, Any]:
    """With the words of the configuration; None is what the rule has not."""
    from pantler.v1 import rate_limit_pb2

    periods, away = rate_limit_pb2.CalendarPeriod, rate_limit_pb2.OnUnavailable
    return {
        "algorithm": _word(rate_limit_pb2.Algorithm, "ALGORITHM_", rule.algorithm),
        "limit": rule.limit,
        "window": rule.window.ToJsonString() if rule.HasField("window") else None,
        "burst": rule.burst or None,
        "calendar": _word(periods, "CALENDAR_PERIOD_", rule.calendar),
        "time_zone": rule.time_zone or None,
        "shadow": rule.shadow,
        "on_unavailable": _word(away, "ON_UNAVAILABLE_", rule.on_unavailable),
    }


def short(duration: "Duration") -> str:
    """Some two digits, rounded up, so that whoever waits for so long waits for long enough."""
    ms = -(-duration.ToMicroseconds() // 1000)
    step_ms = 1 if ms < 1000 else 100 if ms < 60_000 else 1000
    ms = -(-ms // step_ms) * step_ms
    if 1000 <= ms < 60_000:
        return f"{ms / 1000:g}s"
    return format_duration(timedelta(milliseconds=ms))


def _word(enum: Any, prefix: str, number: int) -> str | None:
    """The name of a number, as the configuration has it; of a newer server's, the number. None if
    it is unset."""
    if not number:
        return None
    try:
        return str(enum.Name(number)).removeprefix(prefix).lower()
    except ValueError:
        return str(number)
