"""A rule made ready: what its calls have in common, put together once."""

from functools import lru_cache

from pantler_server.core.calendar import Span, span_at, time_zone
from pantler_server.core.rate_limit import Algorithm, Rule
from pantler_server.engines.rate_limit import keys
from pantler_server.engines.rate_limit.metrics import NEAR_RATIO, outcomes_of


class Limit:
    """A rule in use. `kind` is how it counts, as it stands in keys; `label` is what metrics call
    it, if not by its name."""

    __slots__ = (
        "_span",
        "_zone",
        "beginning",
        "kind",
        "near_from",
        "outcomes",
        "rule",
        "window_us",
    )

    def __init__(self, rule: Rule, label: str = "") -> None:
        self.rule = rule
        self.window_us = rule.window_ms * 1000
        self.near_from = (1 - NEAR_RATIO) * rule.capacity
        """With fewer permits left than this an allowed call is near the limit."""
        self.outcomes = outcomes_of(label or rule.name or "(inline)")
        length = f"{rule.calendar}:{rule.time_zone}" if rule.calendar else str(rule.window_ms)
        kind = f"{rule.algorithm}:{length}"
        # Names have no "=", so a rule without one can't take the place of one that has.
        self.beginning = keys.beginning(rule.name or f"={kind}:{rule.limit}:{rule.burst}")
        if rule.algorithm is Algorithm.CONCURRENCY:
            kind = rule.algorithm  # slots know when they expire: those of another window are held
        self.kind = kind.encode()
        self._zone = time_zone(rule.time_zone)
        self._span = Span(0, 0)

    def place(self, subject: str) -> bytes:
        return keys.state(self.beginning, subject, self.kind)

    def span(self, unix_us: int) -> Span:
        """The period of the calendar at a time; of no use to a rule with a window."""
        assert self.rule.calendar is not None
        if not self._span.start_us <= unix_us < self._span.end_us:
            self._span = span_at(self.rule.calendar, self._zone, unix_us)
        return self._span

    @property
    def is_remembered(self) -> bool:
        """Whether a denial holds until its time: not where others may give permits back."""
        return self.rule.algorithm is not Algorithm.CONCURRENCY


@lru_cache(maxsize=1024)
def inline(rule: Rule) -> Limit | None:
    """A rule that came with a call; None if it has problems. Those in use are kept."""
    return None if any(rule.problems()) else Limit(rule)
