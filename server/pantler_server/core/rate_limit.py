"""Rules of rate limits: how much is allowed, and how it is counted. docs/rate-limits.md explains
them."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pantler_server.core.calendar import Period, time_zone

MAX_LIMIT = 10**12
MAX_LISTED = 10**6  # where each permit is remembered apart: some 20 MB for one subject
MAX_WINDOW_MS = 366 * 86_400_000
MAX_FILL_MS = 100 * MAX_WINDOW_MS  # so that times in us stay exact in a double, as Redis's are


class Algorithm(StrEnum):
    """How a rule counts (engines/rate_limit/algorithms)."""

    FIXED_WINDOW = "fixed_window"
    SLIDING_WINDOW_LOG = "sliding_window_log"
    SLIDING_WINDOW_COUNTER = "sliding_window_counter"
    TOKEN_BUCKET = "token_bucket"
    GCRA = "gcra"
    CONCURRENCY = "concurrency"


class OnUnavailable(StrEnum):
    """What is decided while Redis is away."""

    OPEN = "open"
    """Everything is allowed."""
    CLOSED = "closed"
    """Everything is denied."""
    LOCAL = "local"
    """Each worker allows its share, by its own count."""


BUCKETS = frozenset({Algorithm.TOKEN_BUCKET, Algorithm.GCRA})
LISTED = frozenset({Algorithm.SLIDING_WINDOW_LOG, Algorithm.CONCURRENCY})


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, good only if it has no `problems`. `name` is empty where it came with a call."""

    algorithm: Algorithm
    limit: int
    """Permits in a window, or held at once."""
    window_ms: int = 0
    """0 if it goes by the calendar."""
    burst: int = 0
    """How many permits a bucket holds; 0: as many as the limit."""
    calendar: Period | None = None
    time_zone: str = ""
    name: str = ""
    shadow: bool = False
    on_unavailable: OnUnavailable | None = None
    """None: the call fails."""

    @property
    def capacity(self) -> int:
        """The most permits that can be taken at once."""
        return self.burst or self.limit

    def problems(self) -> Iterator[tuple[str, str]]:
        """Each field that is wrong, and what it must be."""
        most = MAX_LISTED if self.algorithm in LISTED else MAX_LIMIT
        if not 1 <= self.limit <= most:
            yield "limit", f"must be 1 to {most} for {self.algorithm}, not {self.limit}"
        if self.calendar is None:
            if not 1 <= self.window_ms <= MAX_WINDOW_MS:
                yield "window", "must be set, to 1 ms to 366 days"
            if self.time_zone:
                yield "time_zone", "is of use only with calendar"
        elif self.algorithm is not Algorithm.FIXED_WINDOW:
            yield "calendar", f"is for fixed_window only, not for {self.algorithm}"
        elif self.window_ms:
            yield "window", "must be left out where there is a calendar"
        if self.burst and self.algorithm not in BUCKETS:
            yield "burst", f"is for token_bucket and gcra only, not for {self.algorithm}"
        elif not 0 <= self.burst <= MAX_LIMIT:
            yield "burst", f"must be 1 to {MAX_LIMIT}, or 0 for as many as the limit"
        elif self.burst * self.window_ms > max(1, self.limit) * MAX_FILL_MS:
            yield "burst", "must be there again within 100 years: lower it, or raise the limit"
        try:
            time_zone(self.time_zone)
        except ValueError as exc:
            yield "time_zone", str(exc)
