"""Moments, dates and times of day to and from the wire form of records, as sql_types.py has it."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME = re.compile(r"([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?", re.ASCII)
_TIMESTAMP = re.compile(
    rf"({_DATE.pattern})[Tt ]{_TIME.pattern}([Zz]|[+-][0-9]{{2}}:[0-9]{{2}})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Timestamps:
    """Moments. What has no time zone, in PostgreSQL or SQLite, is taken to be UTC."""

    has_zone: bool = True
    digits: int = 6
    """Of a second's fraction; what is given beyond is cut off."""
    as_text: bool = False
    """Whether the database has no type for it (SQLite): then `2026-01-31 12:30:00` in UTC."""

    def to_database(self, value: Any) -> datetime | str:
        match = _TIMESTAMP.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError('must be a timestamp of RFC 3339, as "2026-01-31T12:30:00Z"')
        day, clock, fraction, zone = match.groups()
        text = f"{day}T{clock}.{_cut(fraction, self.digits)}{zone.upper()}"
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(
                "must have a date that the calendar has, of the years 1 to 9999, a time up to "
                "23:59:59 and an offset below 24:00"
            ) from None
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            raise ValueError("must be a moment of the years 1 to 9999 in UTC") from None
        if self.as_text:
            return moment.replace(tzinfo=None).isoformat(" ")
        return moment if self.has_zone else moment.replace(tzinfo=None)

    def to_wire(self, value: Any) -> str:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if not isinstance(value, datetime):
            raise ValueError("is not a timestamp")
        if value.tzinfo is not None:
            value = value.astimezone(UTC).replace(tzinfo=None)
        return f"{value.isoformat()}Z"


def _cut(fraction: str | None, digits: int) -> str:
    """A fraction of a second, of six digits, without those that the column does not keep."""
    return (fraction or "")[:digits].ljust(6, "0")


@dataclass(frozen=True, slots=True)
class Dates:
    as_text: bool = False

    def to_database(self, value: Any) -> date | str:
        if not isinstance(value, str) or not _DATE.fullmatch(value):
            raise ValueError('must be a date, as "2026-01-31"')
        try:
            day = date.fromisoformat(value)
        except ValueError:
            raise ValueError("must be a date that the calendar has") from None
        return value if self.as_text else day

    def to_wire(self, value: Any) -> str:
        if isinstance(value, str):
            value = date.fromisoformat(value)
        if not isinstance(value, date):
            raise ValueError("is not a date")
        return value.isoformat()


@dataclass(frozen=True, slots=True)
class Times:
    """Times of day, without time zone."""

    digits: int = 6
    as_text: bool = False

    def to_database(self, value: Any) -> time | str:
        match = _TIME.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError('must be a time of day, as "12:30:00.5"')
        try:
            clock = time.fromisoformat(f"{match[1]}.{_cut(match[2], self.digits)}")
        except ValueError:
            raise ValueError("must be a time from 00:00:00 to 23:59:59") from None
        return clock.isoformat() if self.as_text else clock

    def to_wire(self, value: Any) -> str:
        if isinstance(value, str):
            value = time.fromisoformat(value)
        if not isinstance(value, time):
            raise ValueError("is not a time of day")
        return value.isoformat()
