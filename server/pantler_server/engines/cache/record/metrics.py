"""What writes behind do, for Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

# Each worker sees what the deployment has: of those that differ for a moment the highest counts.
BACKLOG = Gauge(
    "pantler_write_backlog",
    "Writes that wait for the origin",
    ("namespace",),
    multiprocess_mode="livemax",
)
BACKLOG_AGE = Gauge(
    "pantler_write_backlog_age_seconds",
    "For how long the oldest write waits for the origin",
    ("namespace",),
    multiprocess_mode="livemax",
)
DEAD = Gauge(
    "pantler_dead_writes",
    "Writes that the origin refused, and nobody has retried or discarded",
    ("namespace",),
    multiprocess_mode="livemax",
)
DRAINED = Counter(
    "pantler_writes_drained", "Writes that the origin has taken, or refused", ("namespace",)
)
DRAIN_LAG = Histogram(
    "pantler_drain_lag_seconds",
    "From the acknowledgement of the oldest write of a batch to its commit at the origin",
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000),
)
DRAIN_FAILURES = Counter(
    "pantler_drain_failures",
    "Batches that did not get to the origin, to be tried again",
    ("namespace",),
)
