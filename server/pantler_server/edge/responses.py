"""Responses that say what went wrong, and what is counted of all."""

import json
from collections.abc import Mapping

from aiohttp import web
from prometheus_client import Counter, Histogram

SERVER = "pantler"

_RESPONSES = Counter("pantler_http_responses", "Responses of the HTTP gateway", ("status",))
_SECONDS = Histogram(
    "pantler_http_seconds",
    "Time from a request's arrival at the HTTP gateway to its response",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


def refusal(
    status: int, reason: str, message: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A response that says why there is none of the kind that was asked for; not to be kept, unless
    its headers say otherwise."""
    body = json.dumps({"error": {"reason": reason, "message": message}}).encode() + b"\n"
    told = {
        "Content-Type": "application/json",
        "X-Content-Type-Options": "nosniff",
        "Server": SERVER,
        "Cache-Control": "no-store",
        **(headers or {}),
    }
    return web.Response(body=body, status=status, headers=told)


class ResponseMetrics:
    """Hands on what was measured in batches: one by one, Prometheus would cost each response
    10 us."""

    def __init__(self) -> None:
        self._took_s: dict[int, list[float]] = {}

    def count(self, status: int, took_s: float) -> None:
        times = self._took_s.get(status)
        if times is None:
            times = self._took_s[status] = []
        times.append(took_s)

    def flush(self) -> None:
        for status, times in self._took_s.items():
            if times:
                _RESPONSES.labels(status).inc(len(times))
                for took_s in times:
                    _SECONDS.observe(took_s)
                times.clear()
