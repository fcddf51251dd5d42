"""What calls of origins come to, for Prometheus. They take a network's time, so that they are
counted one by one (10 us)."""

from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge, Histogram

_CALLS = Counter(
    "pantler_origin_calls",
    "Calls of origins by what they came to: ok, refused (the origin does not take the write), "
    "not_ready (it is not configured well), unavailable, outcome_unknown, timeout, impatient (the "
    "caller's own time was over), busy (no turn in time), left_alone (the breaker is open), "
    "cancelled (by its caller), defect",
    ("namespace", "call", "outcome"),
)
_SECONDS = Histogram(
    "pantler_origin_seconds",
    "Time that origins took for calls, without the wait for a turn",
    ("namespace", "call"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_OPEN = Gauge(
    "pantler_origin_open",
    "1 from when an origin is left alone, since its calls failed, until one of them succeeds, by "
    "the worker that sees it worst",
    ("namespace",),
    multiprocess_mode="livemax",
)


@dataclass(slots=True)
class CallMetrics:
    """Those of one kind of call of one namespace."""

    namespace: str
    call: str
    _outcomes: dict[str, Counter] = field(default_factory=dict)
    _seconds: Histogram = field(init=False)

    def __post_init__(self) -> None:
        self._seconds = _SECONDS.labels(self.namespace, self.call)

    def count(self, outcome: str) -> None:
        counter = self._outcomes.get(outcome)
        if counter is None:
            counter = self._outcomes[outcome] = _CALLS.labels(self.namespace, self.call, outcome)
        counter.inc()

    def took(self, seconds: float) -> None:
        self._seconds.observe(seconds)


def open_gauge(namespace: str) -> Gauge:
    return _OPEN.labels(namespace)
