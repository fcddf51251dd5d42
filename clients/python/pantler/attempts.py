"""How often, and after which pauses, a call that may be repeated is sent."""

import asyncio
import random

from pantler.errors import Unavailable

ATTEMPTS = 4
FIRST_PAUSE_S = 0.05  # before the second; twice that before the third


class Attempts:
    """Those of one call, within its time. The event loop must run."""

    def __init__(self, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.deadline = self._loop.time() + timeout_s
        """By the event loop's clock."""
        self._left = ATTEMPTS
        self._pause_s = FIRST_PAUSE_S

    @property
    def left_s(self) -> float:
        """Of its time."""
        return self.deadline - self._loop.time()

    async def another(self, error: object) -> bool:
        """After an attempt that failed: waits, as long as the server asks for at least, and not in
        step with other callers; False if there is no other attempt."""
        self._left -= 1
        if isinstance(error, Unavailable):
            self._pause_s = max(self._pause_s, error.retry_after.total_seconds())
        if not self._left or self._pause_s >= self.left_s:
            return False
        await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.0))
        self._pause_s *= 2
        return True
