"""Periods of the calendar in a time zone: the hours, days, weeks, months and years of a place."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo


class Period(StrEnum):
    """A part of the calendar. Weeks begin on Monday."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Span:
    """From a time (Unix us) until right before another."""

    start_us: int
    end_us: int


@lru_cache(maxsize=256)
def time_zone(name: str) -> ZoneInfo:
    """A time zone by its IANA name; empty: UTC. Raises ValueError."""
    try:
        return ZoneInfo(name or "UTC")
    except (OSError, ValueError, KeyError):  # a folder of the database, a path, no such name
        raise ValueError(f"{name[:64]!r} is not a time zone such as Europe/Berlin") from None


def span_at(period: Period, zone: ZoneInfo, unix_us: int) -> Span:
    """The period that a time falls into. Days are 23 to 25 hours long where clocks are changed; a
    midnight that the change leaves out is the moment of the change."""
    local = datetime.fromtimestamp(unix_us // 1_000_000, zone)
    if period is Period.HOUR:  # not by its name: one hour of the year comes twice
        past = timedelta(minutes=local.minute, seconds=local.second)
        start = local.astimezone(UTC) - past
        end = start + timedelta(hours=1)
        while (_offset(start, zone) - _offset(local, zone)) % timedelta(hours=1):
            start += timedelta(minutes=1)  # where clocks change by half an hour, it cuts one short
        return Span(_unix_us(start), _unix_us(end))
    midnight = local.replace(hour=0, minute=0, second=0, fold=0)
    match period:
        case Period.DAY:
            start, end = midnight, midnight + timedelta(days=1)
        case Period.WEEK:
            start = midnight - timedelta(days=midnight.weekday())
            end = start + timedelta(days=7)
        case Period.MONTH:
            start = midnight.replace(day=1)
            end = (start + timedelta(days=31)).replace(day=1)
        case Period.YEAR:
            start = midnight.replace(month=1, day=1)
            end = start.replace(year=start.year + 1)
    return Span(_unix_us(start), _unix_us(end))


def earlier_span(period: Period, zone: ZoneInfo, start_us: int, ago: int) -> Span:
    """The period so many before one that begins at a time."""
    local = datetime.fromtimestamp(start_us // 1_000_000, zone)
    match period:  # a time amid it, which no change of clocks leaves out
        case Period.HOUR:
            return span_at(period, zone, start_us - ago * 3_600_000_000)
        case Period.DAY | Period.WEEK:
            days = ago if period is Period.DAY else 7 * ago
            amid = local.replace(hour=12) - timedelta(days=days)
        case Period.MONTH:
            year, month = divmod(12 * local.year + local.month - 1 - ago, 12)
            amid = local.replace(year=year, month=month + 1, day=15)
        case Period.YEAR:
            amid = local.replace(year=local.year - ago, month=7)
    return span_at(period, zone, _unix_us(amid))


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    """How far a place is ahead of UTC at a time."""
    ahead = moment.astimezone(zone).utcoffset()
    assert ahead is not None
    return ahead


def _unix_us(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000
