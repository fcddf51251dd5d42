"""Prometheus metrics of a client, with the extra `pantler[prometheus]`.

    client = AsyncClient("…", hooks=[PrometheusHook()])

| metric | labels | what |
| --- | --- | --- |
| `pantler_client_calls_total` | operation, outcome | calls that ended, as `Hook` has them |
| `pantler_client_call_seconds` | operation | how long they took, with repetitions |
| `pantler_client_message_operations` | | operations of the messages of the client's streams |
| `pantler_client_breaker_open` | | clients that leave their server alone now |
"""

import time
from typing import NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from pantler.telemetry import Hook

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
OPERATIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)


class _Call(NamedTuple):
    operation: str
    began: float


class PrometheusHook(Hook):
    """One may serve several clients: each registry takes only one."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        into = REGISTRY if registry is None else registry
        self._calls = Counter(
            "pantler_client_calls",
            "Calls to Pantler that ended.",
            ("operation", "outcome"),
            registry=into,
        )
        self._seconds = Histogram(
            "pantler_client_call_seconds",
            "How long calls to Pantler took, with repetitions.",
            ("operation",),
            buckets=SECONDS,
            registry=into,
        )
        self._operations = Histogram(
            "pantler_client_message_operations",
            "Operations of each message to Pantler.",
            buckets=OPERATIONS,
            registry=into,
        )
        self._open = Gauge(
            "pantler_client_breaker_open",
            "Clients that leave their server alone.",
            registry=into,
        )
        # `labels` takes longer than all the rest, and there are few of these.
        self._counters: dict[tuple[str, str], Counter] = {}
        self._timers: dict[str, Histogram] = {}

    def begin(self, operation: str, namespace: str, address: str) -> _Call:
        return _Call(operation, time.perf_counter())

    def end(self, token: _Call, outcome: str, error: BaseException | None) -> None:
        operation, took_s = token.operation, time.perf_counter() - token.began
        counter = self._counters.get((operation, outcome))
        if counter is None:
            counter = self._counters[operation, outcome] = self._calls.labels(operation, outcome)
        counter.inc()
        timer = self._timers.get(operation)
        if timer is None:
            timer = self._timers[operation] = self._seconds.labels(operation)
        timer.observe(took_s)

    def sent(self, operations: int) -> None:
        self._operations.observe(operations)

    def breaker(self, is_open: bool) -> None:
        self._open.inc(1 if is_open else -1)
