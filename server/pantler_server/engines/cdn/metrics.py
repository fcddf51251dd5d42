"""What purges come to, for Prometheus."""

from prometheus_client import Counter, Gauge

# Of the worker that sends to the target; the others have 0.
WAITING = Gauge(
    "pantler_purges_waiting",
    "Purges, or parts of large ones, that wait for a target",
    ("target",),
    multiprocess_mode="livemax",
)
AGE = Gauge(
    "pantler_purges_waiting_age_seconds",
    "For how long the oldest purge waits for a target",
    ("target",),
    multiprocess_mode="livemax",
)
REQUESTS = Counter(
    "pantler_purge_requests", "Requests to a target, by what they came to", ("target", "outcome")
)
FAILED = Counter(
    "pantler_purges_failed", "Purges that a target refused or did not take for a day", ("target",)
)
