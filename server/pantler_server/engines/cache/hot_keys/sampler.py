"""A sample of the reads of a namespace, counted by key."""

from collections.abc import Sequence
from math import log, log1p
from random import random

from pantler_server.engines.cache.hot_keys.sketch import SpaceSaving

COUNTERS = 1000  # the most keys that a list of hot keys may have
MIN_RATIO = 1e-6  # of fewer reads than one in a million nothing would be known after 10 s


class Sampler:
    """Takes each read with the same chance, whatever the others are: so a key's share of what is
    taken is its share of the reads on average, also where reads come in a rhythm.

    No die is cast for each read: how many are left out before the next is drawn at once, as
    many as dice would leave out (a geometric distribution). So a read that is not taken costs a
    comparison and a decrement of `left`, which the caller does.
    """

    __slots__ = ("_gap_scale", "left", "ratio", "sketch")

    def __init__(self, ratio: float) -> None:
        self.ratio = max(ratio, MIN_RATIO)
        self._gap_scale = 1 / log1p(-self.ratio) if self.ratio < 1 else 0.0
        self.left = self._gap()
        """How many reads are left out before the next one that is taken."""
        self.sketch = SpaceSaving(COUNTERS)
        """What was taken."""

    def take(self, key: str) -> None:
        """Counts a read, for which `left` is 0."""
        self.sketch.add(key)
        self.left = self._gap()

    def take_of(self, keys: Sequence[str]) -> None:
        """Counts what is to be taken of these reads. O(taken)."""
        at, count = self.left, len(keys)
        while at < count:
            self.sketch.add(keys[at])
            at += 1 + self._gap()
        self.left = at - count

    def begin_anew(self) -> SpaceSaving:
        """What was taken since the last time."""
        sketch, self.sketch = self.sketch, SpaceSaving(COUNTERS)
        return sketch

    def _gap(self) -> int:
        # P(gap >= n) = (1 - ratio)^n, by inversion: 1 - random() is never 0.
        return int(log(1.0 - random()) * self._gap_scale)
