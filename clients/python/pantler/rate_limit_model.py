"""What rate limits are asked with, and what they answer."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

Algorithm = Literal[
    "fixed_window",
    "sliding_window_log",
    "sliding_window_counter",
    "token_bucket",
    "gcra",
    "concurrency",
]
Calendar = Literal["hour", "day", "week", "month", "year"]
OnUnavailable = Literal["open", "closed", "local"]


@dataclass(frozen=True, slots=True)
class RateLimitRule:
    """How much is allowed to each subject: a rule that stands in no configuration, or one that
    `list_rules` tells of. Two that differ in more than `shadow` and `on_unavailable` count
    apart."""

    algorithm: Algorithm
    limit: int
    """Permits in a window, or held at once."""
    window: timedelta | None = None
    """In whole milliseconds; of concurrency, how long a slot is held unless it is renewed. None if
    there is a calendar."""
    burst: int = 0
    """Of token_bucket and gcra: how many permits may be taken at once after a rest; 0: as many as
    the limit."""
    calendar: Calendar | None = None
    """Of fixed_window, instead of a window."""
    time_zone: str = ""
    """Where the calendar is, as "Europe/Berlin"; empty: UTC."""
    shadow: bool = False
    """Whether it only counts, and allows everything."""
    on_unavailable: OnUnavailable | None = None
    """What is decided while Redis is away; None: the call raises Unavailable."""


@dataclass(frozen=True, slots=True)
class RateLimitCheck:
    """One subject and rule of an `acquire_all`, and how many permits to take."""

    subject: str
    rule: str | RateLimitRule
    cost: int = 1


@dataclass(frozen=True, slots=True, repr=False)
class Decision:
    """Whether something may be done now. It is true if it is allowed, so that
    `if await client.acquire(…)` means what it says."""

    allowed: bool
    limit: int
    """The rule's."""
    remaining: int
    """How many permits are left, as far as they can be taken at once."""
    retry_after: timedelta
    """After how long the same is allowed, if nobody else takes permits meanwhile. Of a shadow not
    zero if it would have denied."""
    reset_after: timedelta
    """After how long nothing that was taken counts any more."""
    shadow: bool = False
    slot_id: str = ""
    """The slot that is held now; empty but for concurrency."""
    slot_expires_after: timedelta = timedelta(0)
    """For how long it is held unless it is renewed."""
    source: str = "redis"
    """What it rests on. "redis"; "memory": Redis denied as much a moment ago; "fallback": Redis is
    away, and the rule's `on_unavailable` decided; "skipped": nothing, as another check of the
    `acquire_all` was denied before it."""

    def __bool__(self) -> bool:
        return self.allowed

    def __repr__(self) -> str:
        said = ["allowed" if self.allowed else "denied", f"{self.remaining} left"]
        if self.retry_after:
            said.append(f"retry after {self.retry_after.total_seconds():.3f} s")
        if self.shadow:
            said.append("by a shadow")
        if self.slot_id:
            said.append(f"slot {self.slot_id!r}")
        if self.source != "redis":
            said.append(f"from {self.source}")
        return f"<Decision: {', '.join(said)}>"


@dataclass(frozen=True, slots=True)
class AllDecision:
    """What an `acquire_all` came to. It is true if all was allowed."""

    allowed: bool
    """Whether all was allowed, and taken. If not, nothing was."""
    decisions: tuple[Decision, ...]
    """One for each check, in their order. If not all was allowed, each says whether it alone would
    have been."""

    def __bool__(self) -> bool:
        return self.allowed


@dataclass(frozen=True, slots=True)
class RefundResult:
    """What is left after a `refund`."""

    limit: int
    """The rule's."""
    remaining: int
    """How many permits are there now."""
    reset_after: timedelta
    """As in Decision."""
