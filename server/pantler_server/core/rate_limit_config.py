"""Rules of rate limits in the configuration."""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, model_validator

from pantler_server.core.calendar import Period
from pantler_server.core.duration import MILLISECOND
from pantler_server.core.rate_limit import Algorithm, OnUnavailable, Rule
from pantler_server.core.setting_types import Duration, refuse


class RateLimitRule(BaseModel):
    """How much is allowed to each subject."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    algorithm: Algorithm
    """How it is counted."""
    limit: int
    """Permits in a window, or held at once."""
    window: Duration = timedelta(0)
    """The length of the window; of concurrency, how long a slot is held unless it is renewed."""
    burst: int = 0
    """Of token_bucket and gcra: how many permits may be taken at once after a rest; 0: as many as
    the limit."""
    calendar: Period | None = None
    """Of fixed_window, instead of a window: hour, day, week, month or year."""
    time_zone: str = ""
    """Where the calendar is; unset: UTC."""
    shadow: bool = False
    """Whether it only counts, and allows everything."""
    on_unavailable: OnUnavailable | None = None
    """What is decided while Redis is away; unset: the call fails."""

    @model_validator(mode="after")
    def _holds_together(self) -> "RateLimitRule":
        problems = list(self.rule("").problems())
        if self.window % MILLISECOND:
            problems.append(("window", "must be in whole milliseconds"))
        refuse("RateLimitRule", (((field,), message) for field, message in problems))
        return self

    def rule(self, name: str) -> Rule:
        """As the engine has it."""
        return Rule(
            self.algorithm,
            self.limit,
            self.window // MILLISECOND,
            self.burst,
            self.calendar,
            self.time_zone,
            name,
            self.shadow,
            self.on_unavailable,
        )
