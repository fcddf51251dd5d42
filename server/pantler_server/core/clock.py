"""Redis's clock, as far as a worker knows it."""

from time import time


class RedisClock:
    """Enough to guess the period of a calendar: the script that gets the guess checks it."""

    def __init__(self) -> None:
        self._ahead_us = 0

    def now_us(self) -> int:
        """Unix us."""
        return int(time() * 1e6) + self._ahead_us

    def correct(self, redis_us: int) -> None:
        """A script said that the guess was wrong, and what Redis has."""
        self._ahead_us = redis_us - int(time() * 1e6)
