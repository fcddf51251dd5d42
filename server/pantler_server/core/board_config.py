"""Boards in the configuration of a namespace."""

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pantler_server.core.calendar import Period, time_zone
from pantler_server.core.glob import compile_glob
from pantler_server.core.setting_types import Duration, Problem, refuse

MAX_RETENTION = timedelta(days=3650)
MAX_PERIODS = 1000  # that are kept: who deletes a board names the keys of all in one script
_SHORTEST = {
    Period.HOUR: timedelta(hours=1),
    Period.DAY: timedelta(hours=23),
    Period.WEEK: timedelta(days=6, hours=23),
    Period.MONTH: timedelta(days=28),
    Period.YEAR: timedelta(days=365),
}


class BoardOrder(StrEnum):
    """Which scores are best."""

    HIGHEST = "highest"
    LOWEST = "lowest"


class BoardConfig(BaseModel):
    """How a board is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    order: BoardOrder = BoardOrder.HIGHEST
    """Which scores are best: highest or lowest. A board keeps the order that it began with."""
    period: Period | None = None
    """With which part of the calendar it begins anew: hour, day, week, month or year; unset: never.
    """
    time_zone: str = ""
    """Where the calendar is; unset: UTC."""
    retention: Duration = Field(timedelta(days=31), ge=timedelta(0), le=MAX_RETENTION)
    """How long a period stays readable that is over."""
    max_members: int = Field(0, ge=0, le=(1 << 31) - 1)
    """How many members are kept, the best of them; 0: all."""

    @model_validator(mode="after")
    def _holds_together(self) -> "BoardConfig":
        refuse("BoardConfig", self._problems())
        return self

    def _problems(self) -> Iterator[Problem]:
        if self.period is None:
            for name in sorted({"retention", "time_zone"} & self.model_fields_set):
                yield (name,), "is of use only with period"
        if self.period and self.retention // _SHORTEST[self.period] >= MAX_PERIODS:
            yield ("retention",), f"would keep more than {MAX_PERIODS} periods"
        try:
            time_zone(self.time_zone)
        except ValueError as exc:
            yield ("time_zone",), str(exc)


def pattern_problems(boards: dict[str, BoardConfig]) -> Iterator[Problem]:
    """Names and patterns that are malformed, each with its place within the namespace."""
    for pattern in boards:
        try:
            compile_glob(pattern)
        except ValueError as exc:
            yield ("boards", pattern), str(exc)
