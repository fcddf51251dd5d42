"""How commands watch: they look again and again, and wait for a server that went away."""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import typer

from pantler_server.cli.call import seconds

MIN_INTERVAL_S = 0.05  # more often than a person can see

T = TypeVar("T")


def interval_seconds(interval: str) -> float:
    """The option --interval."""
    interval_s = seconds(interval, "--interval")
    if interval_s < MIN_INTERVAL_S:
        raise typer.BadParameter("must be at least 50ms", param_hint="--interval")
    return interval_s


def looks(look: Callable[[], T], interval_s: float) -> Iterator[T]:
    """What each look gives. Raises what the first one fails with, and what trying again does not
    help against."""
    import grpc

    passing = (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    )
    begun = away = False
    while True:
        try:
            seen = look()
        except grpc.RpcError as exc:
            failed: Any = exc
            if not begun or failed.code() not in passing:
                raise
            if not away:
                print("pantler: the server went away; waiting for it", file=sys.stderr)
            away = True
        else:
            begun, away = True, False
            yield seen
        time.sleep(interval_s)
