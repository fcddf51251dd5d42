"""When an origin that fails is left alone, so that callers get their answer at once, and it gets
the rest that it may need.

    closed ── `failures` calls in a row fail ──> open ── `pause` passes ──> half-open
       ^                                          ^                          |   |
       └──────────────────────────────────────────┼──── its probe succeeds ──┘   |
                                                  └──── its probe fails ─────────┘

Half-open, exactly one call is let through to probe. (The libraries that there are for asyncio let
all through that come then: a thousand waiting callers would meet an origin that has just returned.)
"""

import time
from collections.abc import Callable

Clock = Callable[[], float]


class Breaker:
    """Counts the failures of one origin. Each call asks `begin` for a ticket, and hands it to one
    of `succeeded`, `failed` and `told_nothing` at its end. Nothing here waits; all is O(1).

    A ticket counts only in the state that gave it: of the calls that began before the breaker
    opened some end when it probes, and they don't say how the origin is by then.
    """

    def __init__(self, failures: int, pause_s: float, clock: Clock = time.monotonic) -> None:
        self._failures = failures
        self._pause_s = pause_s
        self._clock = clock
        self._in_a_row = 0
        self._open_until: float | None = None
        self._probing = False
        self._ticket = 0

    @property
    def is_closed(self) -> bool:
        """Whether calls are let through as they come."""
        return self._open_until is None

    @property
    def refuses(self) -> bool:
        """Whether a call that would begin now is refused."""
        return self._open_until is not None and (self._probing or self._clock() < self._open_until)

    def begin(self) -> int | None:
        """The ticket of a call that may begin now; None if it may not."""
        if self.refuses:
            return None
        if self._open_until is not None:
            self._probing = True
            self._ticket += 1
        return self._ticket

    def succeeded(self, ticket: int) -> None:
        """The origin answered, be it with a refusal."""
        if ticket == self._ticket:
            self._in_a_row = 0
            if self._probing:
                self._enter(None)

    def failed(self, ticket: int) -> None:
        """The origin did not answer, or not as it should."""
        if ticket != self._ticket:
            return
        self._in_a_row += 1
        if self._probing or self._in_a_row >= self._failures:
            self._enter(self._clock() + self._pause_s)

    def told_nothing(self, ticket: int) -> None:
        """The call was cancelled, say. If it was the probe, the next call is."""
        if ticket == self._ticket and self._probing:
            self._enter(self._open_until)

    def _enter(self, open_until: float | None) -> None:
        self._open_until = open_until
        self._probing = False
        self._in_a_row = 0
        self._ticket += 1
