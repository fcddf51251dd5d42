"""What rate limits decide, for Prometheus."""

from prometheus_client import Counter

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
    """The counters of one rule. Looking one up costs more than counting, so it is done once."""

    __slots__ = ("allowed", "denied", "memory", "near_limit", "open_closed_local", "shadow_denied")

    def __init__(self, rule: str) -> None:
        self.allowed = _DECISIONS.labels(rule, "allowed")
        self.near_limit = _DECISIONS.labels(rule, "near_limit")
        self.denied = _DECISIONS.labels(rule, "denied")
        self.shadow_denied = _DECISIONS.labels(rule, "shadow_denied")
        self.memory = _UNASKED.labels(rule, "memory")
        self.open_closed_local = {
            by: _UNASKED.labels(rule, by) for by in ("open", "closed", "local")
        }
