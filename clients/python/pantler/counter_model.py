"""What counters answer."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class CounterResult:
    """What an `increment` came to."""

    value: int
    """The counter's value now."""
    applied: bool
    """Whether something was added. If not, the counter and its expiry are as they were."""
    expire_time: datetime | None
    """When the counter expires; None: never, or there is none."""
