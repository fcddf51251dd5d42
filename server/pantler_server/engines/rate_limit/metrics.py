"""What rate limits decide, for Prometheus.

Calls count in plain integers, which go to Prometheus once a second: one by one they would cost a
call that is denied from memory a quarter of its time.
"""

from functools import cache

from prometheus_client import Counter

from pantler_server.core.rate_limit import OnUnavailable

FLUSH_INTERVAL_S = 1.0
NEAR_RATIO = 0.8  # of the capacity in use, from which on an allowed call is near the limit

_DECISIONS = Counter(
    "pantler_rate_limit_decisions",
    "Checks by what they came to: allowed, near_limit (allowed, with over 80 % in use), denied, or "
    "shadow_denied (allowed, since the rule is a shadow)",
    ("rule", "outcome"),
)
_UNASKED = Counter(
    "pantler_rate_limit_unasked",
    "Checks that were decided without Redis: from the memory of a denial, or by the rule's "
    "on_unavailable (open, closed, local)",
    ("rule", "by"),
)
NOT_GIVEN_BACK = Counter(
    "pantler_rate_limit_not_given_back",
    "Checks of an AcquireAll that was denied whose permits could not be given back, and stay taken",
)


class Outcomes:
    """What checks of one rule came to since `flush`."""

    __slots__ = (
        "_counters",
        "allowed",
        "denied",
        "fallback_closed",
        "fallback_local",
        "fallback_open",
        "memory",
        "near_limit",
        "shadow_denied",
    )

    def __init__(self, rule: str) -> None:
        self._counters = {
            "allowed": _DECISIONS.labels(rule, "allowed"),
            "near_limit": _DECISIONS.labels(rule, "near_limit"),
            "denied": _DECISIONS.labels(rule, "denied"),
            "shadow_denied": _DECISIONS.labels(rule, "shadow_denied"),
            "memory": _UNASKED.labels(rule, "memory"),
            "fallback_open": _UNASKED.labels(rule, "open"),
            "fallback_closed": _UNASKED.labels(rule, "closed"),
            "fallback_local": _UNASKED.labels(rule, "local"),
        }
        self.allowed = self.near_limit = self.denied = self.shadow_denied = 0
        self.memory = self.fallback_open = self.fallback_closed = self.fallback_local = 0

    def count_fallback(self, by: OnUnavailable) -> None:
        match by:
            case OnUnavailable.OPEN:
                self.fallback_open += 1
            case OnUnavailable.CLOSED:
                self.fallback_closed += 1
            case OnUnavailable.LOCAL:
                self.fallback_local += 1

    def flush(self) -> None:
        """Hands on to Prometheus what was counted."""
        for field, counter in self._counters.items():
            count = getattr(self, field)
            if count:
                counter.inc(count)
                setattr(self, field, 0)


@cache
def outcomes_of(rule: str) -> Outcomes:
    """Those of a rule of the configuration, or of all that came with calls; as long as the process
    lives, like Prometheus's own."""
    _all.append(outcomes := Outcomes(rule))
    return outcomes


def flush() -> None:
    """Hands on to Prometheus what was counted of all rules."""
    for outcomes in _all:
        outcomes.flush()


_all: list[Outcomes] = []
