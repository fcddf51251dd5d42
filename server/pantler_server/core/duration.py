"""Durations as people write them: `250ms`, `90s`, `5m`, `1h30m`, `7d`."""

import re
from datetime import timedelta

MILLISECOND = timedelta(milliseconds=1)

_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def parse_duration(text: str) -> timedelta:
    """Reads a duration; ValueError says what one looks like."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 250ms, 90s, 5m, 1h30m or 7d")
    try:
        return timedelta(
            milliseconds=sum(float(n) * _UNIT_MS[unit] for n, unit in _PART.findall(text))
        )
    except OverflowError:
        raise ValueError(f"{text!r} is longer than a duration can be") from None


def format_duration(duration: timedelta) -> str:
    """Writes a duration in the form that `parse_duration` reads, to the millisecond."""
    rest_ms = round(duration.total_seconds() * 1_000)
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest_ms = divmod(rest_ms, _UNIT_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
