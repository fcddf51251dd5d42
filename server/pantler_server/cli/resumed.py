"""Streams that commands follow until Ctrl-C, over as many calls as it takes."""

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

RETRY_S = 0.5
HEARTBEAT_S = 5
MISSED_HEARTBEATS = 3  # so many, and the call is given up: the connection may be half open


def answers(begin: Callable[[], Any], forgets: Callable[[Any], bool]) -> Iterator[tuple[Any, bool]]:
    """All answers, each with whether it is the first of its call. `begin` makes a call that goes on
    from here. `forgets` is told of the error of a call, and says whether the server does not know
    any more where this was, so that the next call begins anew. Raises what the first call fails
    with, and what trying again does not help against."""
    import grpc

    passing = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    begun = away = False
    while True:
        call = _Call(begin())
        first = True
        try:
            for answer in call:
                yield answer, first
                begun, away, first = True, False, False
        except grpc.RpcError as exc:
            failed: Any = exc
            if begun and forgets(failed):
                continue
            if not call.is_silent and not (begun and failed.code() in passing):
                raise
            if not away:
                print("pantler: the server went away; waiting for it", file=sys.stderr)
            away = True
        time.sleep(RETRY_S)


class _Call:
    """The messages of one call, which is cancelled once it was waited too long for the next."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._waits_since = math.inf
        self.is_silent = False

    def __iter__(self) -> Iterator[Any]:
        ended = threading.Event()
        threading.Thread(target=self._watch, args=(ended,), daemon=True).start()
        try:
            while True:
                self._waits_since = time.monotonic()
                answer = next(self._call, None)
                self._waits_since = math.inf
                if answer is None:
                    return
                yield answer
        finally:
            ended.set()

    def _watch(self, ended: threading.Event) -> None:
        left_s = patience_s = float(MISSED_HEARTBEATS * HEARTBEAT_S)
        while not ended.wait(left_s):
            left_s = min(patience_s, patience_s + self._waits_since - time.monotonic())
            if left_s <= 0:
                self.is_silent = True
                self._call.cancel()
                return
