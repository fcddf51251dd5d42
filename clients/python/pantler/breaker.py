"""When a server that does not answer is left alone, so that calls fail at once, and don't wait.

    closed ── FAILURES calls in a row had no answer ──> open ── its pause passes ──> half-open
       ^                                                 ^                            |    |
       └──────────────── anything is answered ───────────┼────────────────────────────┘    |
                                                         └──── its trial has no answer ────┘

Half-open, exactly one call goes through; the others still fail. (The libraries that there are for
asyncio let all through that come then, and two of three have had no release for years.)
"""

import random
import time
from collections.abc import Callable
from datetime import timedelta

import grpc.aio

from pantler.errors import DeadlineExceeded, OutcomeUnknown, PantlerError, Unavailable

FAILURES = 5  # calls, each with all its repetitions
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0  # doubled after each trial that fails

Clock = Callable[[], float]


class Breaker:
    """That of one client. Nothing here waits.

    What counts is that nothing was answered: the server can't be reached, or the time was up. If it
    says itself that Redis is away, it is there, and some calls work all the same.
    """

    def __init__(
        self, address: str, changed: Callable[[], None], clock: Clock = time.monotonic
    ) -> None:
        """`changed` is called when `is_closed` has."""
        self._address = address
        self._changed = changed
        self._clock = clock
        self.is_closed = True
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._open_until = 0.0
        self._trials = 0
        self._is_trying = False
        self._newest: BaseException | None = None

    @property
    def left_s(self) -> float:
        """Of the pause."""
        return 0.0 if self.is_closed else max(0.0, self._open_until - self._clock())

    def begin(self) -> int:
        """The ticket of a call; 0 if it is no trial. Raises Unavailable if it may not begin."""
        if self.is_closed:
            return 0
        left_s = self.left_s
        if self._is_trying or left_s:
            error = Unavailable(
                f"the server at {self._address} did not answer and is left alone, for "
                f"{left_s:.1f} s more; newest failure: {self._newest}"
            )
            error.retry_after = timedelta(seconds=left_s)
            raise error
        self._is_trying = True
        self._trials += 1
        return self._trials

    def end(self, ticket: int, error: BaseException) -> None:
        """Of a call that failed. One that was answered calls `answered`. That a connection broke
        ends many calls at once, and says nothing yet of the server."""
        if isinstance(error, PantlerError) and error.reason:
            self.answered()
        elif isinstance(error, Unavailable | DeadlineExceeded) and not isinstance(
            error, OutcomeUnknown
        ):
            self._failed(ticket, error)
        elif isinstance(error.__cause__, grpc.aio.AioRpcError):
            self.answered()  # by what stands before the server, maybe
        elif ticket and ticket == self._trials:
            self._is_trying = False  # it was cancelled, say: the next call is the trial

    def answered(self) -> None:
        """Whatever it was: the server is there."""
        self._failures = 0
        if not self.is_closed:
            self._is_trying = False
            self._pause_s = FIRST_PAUSE_S
            self.is_closed = True
            self._changed()

    def tell_no_more(self) -> None:
        """Its client is closed. A call that ends later than that changes nothing for anybody."""
        self._changed = lambda: None

    def _failed(self, ticket: int, error: BaseException) -> None:
        self._newest = error
        if self.is_closed:
            self._failures += 1
            if self._failures == FAILURES:
                self._open()
        elif self._is_trying and ticket == self._trials:
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._open()

    def _open(self) -> None:
        self._open_until = self._clock() + self._pause_s * random.uniform(0.5, 1.0)
        self._is_trying = False
        self._failures = 0
        if self.is_closed:
            self.is_closed = False
            self._changed()
