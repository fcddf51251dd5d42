"""What one worker allows by its own count, while Redis is away (`on_unavailable: local`).

A worker's share of a limit is the limit divided by the workers that were last seen, rounded down,
so that all of them together allow no more than the limit in a window. What Redis allowed before is
not known here, nor does Redis know of this when it is back: around each of these moments up to
twice the limit may be allowed in one window.
"""

import math
from collections import OrderedDict
from time import monotonic, time
from typing import Protocol

from pantler_server.core.rate_limit import BUCKETS
from pantler_server.engines.rate_limit.limit import Limit
from pantler_server.engines.rate_limit.model import Check, Decision, Source

MAX_SUBJECTS = 50_000  # beyond them the one that was used least lately is counted anew
STEPS = 8  # parts of a window that are counted apart: what is taken may count for one part longer


class LocalCounts:
    """Those of one worker. Times are in us, of the clock of this machine."""

    def __init__(self) -> None:
        self._counts: OrderedDict[bytes, _Count] = OrderedDict()

    def decide(self, check: Check, workers: int, slot: str = "", *, take: bool) -> Decision:
        """With `take`, what is allowed is taken, of concurrency under the name of a slot."""
        count = self._counts.get(check.place)
        if count is None:
            count = self._counts[check.place] = _count_of(check.limit)
            if len(self._counts) > MAX_SUBJECTS:
                self._counts.popitem(last=False)
        self._counts.move_to_end(check.place)
        rule, now_us = check.limit.rule, _now_us()
        limit = rule.limit // workers
        # With a burst of 1, say, each worker still allows one at once.
        count.resize(limit, max(1, rule.capacity // workers) if limit else 0)
        decision = count.decide(check.cost, now_us)
        if take and decision.allowed:
            count.take(check.cost, now_us, slot)
            decision = count.decide(check.cost, now_us)
            decision = decision._replace(allowed=True, retry_us=0, slot=slot)
        return decision._replace(source=Source.FALLBACK)

    def give_back(self, check: Check, slot: str) -> bool:
        """Whether it was taken here."""
        count = self._counts.get(check.place)
        return count is not None and count.give_back(check.cost, slot)

    def renew(self, check: Check, slot: str) -> bool:
        """Whether it is held: until a window from now on then."""
        count = self._counts.get(check.place)
        return isinstance(count, _Held) and count.renew(slot, _now_us())


class _Count(Protocol):
    """What a subject has taken of a worker's share."""

    def resize(self, limit: int, burst: int) -> None:
        """Comes before all else: rules are reloaded, and workers come and go. What was taken
        stays."""

    def decide(self, cost: int, now_us: int) -> Decision:
        """What taking so many would come to."""

    def take(self, cost: int, now_us: int, slot: str) -> None: ...

    def give_back(self, cost: int, slot: str) -> bool: ...


class _Bucket:
    """A token bucket: what TOKEN_BUCKET and GCRA allow. Its level is in permits * us, as that of
    algorithms/token_bucket.lua."""

    __slots__ = ("_at_us", "_capacity", "_level", "_limit", "_window_us")

    def __init__(self, window_us: int) -> None:
        self._window_us = window_us
        self._limit = self._capacity = self._at_us = 0
        self._level: int | None = None

    def resize(self, limit: int, burst: int) -> None:
        self._limit, self._capacity = limit, burst * self._window_us
        if self._level is None:
            self._level = self._capacity

    def decide(self, cost: int, now_us: int) -> Decision:
        assert self._level is not None
        filled = self._level + (now_us - self._at_us) * self._limit
        self._level, self._at_us = min(self._capacity, filled), now_us
        missing = cost * self._window_us - self._level
        return Decision(
            missing <= 0,
            self._level // self._window_us,
            self._time_us(max(0, missing)),
            self._time_us(self._capacity - self._level),
        )

    def _time_us(self, level: int) -> int:
        """How long it takes to fill so far; a share of nothing takes for ever: a window, say."""
        return -(-level // self._limit) if self._limit else self._window_us

    def take(self, cost: int, now_us: int, slot: str) -> None:
        assert self._level is not None
        self._level -= cost * self._window_us

    def give_back(self, cost: int, slot: str) -> bool:
        assert self._level is not None
        self._level = min(self._capacity, self._level + cost * self._window_us)
        return True


class _Held:
    """Permits that count until a time: of a window, for its length from when they were taken; of a
    slot, until it expires. So in no span as long as a window more than the limit is allowed."""

    __slots__ = ("_held", "_limit", "_taken", "_window_us")

    def __init__(self, window_us: int) -> None:
        self._window_us = window_us
        self._limit = self._taken = 0
        self._held: dict[str, tuple[int, int]] = {}
        """Until when, and how many, by slot or part of the window, the first to end first."""

    def resize(self, limit: int, burst: int) -> None:
        self._limit = limit

    def decide(self, cost: int, now_us: int) -> Decision:
        while self._held and (first := next(iter(self._held.items())))[1][0] <= now_us:
            del self._held[first[0]]
            self._taken -= first[1][1]
        missing = self._taken + cost - self._limit
        retry_us = self._window_us if missing > 0 else 0
        for until_us, count in self._held.values():
            if missing <= 0:
                break
            missing -= count
            retry_us = until_us - now_us
        last_us = next(reversed(self._held.values()))[0] if self._held else now_us
        allowed = self._taken + cost <= self._limit
        return Decision(allowed, max(0, self._limit - self._taken), retry_us, last_us - now_us)

    def take(self, cost: int, now_us: int, slot: str) -> None:
        self._taken += cost
        if slot:
            self._held[slot] = now_us + self._window_us, cost
            return
        step_us = math.ceil(self._window_us / STEPS)
        part = now_us // step_us + 1
        _, before = self._held.get(str(part), (0, 0))
        self._held[str(part)] = part * step_us + self._window_us, before + cost

    def give_back(self, cost: int, slot: str) -> bool:
        if slot:
            _, cost = self._held.pop(slot, (0, 0))
            self._taken -= cost
            return cost > 0
        for part, (until_us, count) in reversed(list(self._held.items())):
            given = min(cost, count)
            self._held[part] = until_us, count - given
            self._taken -= given
            cost -= given
        return True

    def renew(self, slot: str, now_us: int) -> bool:
        until_us, cost = self._held.pop(slot, (0, 0))
        if until_us <= now_us:
            self._taken -= cost
            return False
        self._held[slot] = now_us + self._window_us, cost
        return True


def _count_of(limit: Limit) -> _Count:
    rule = limit.rule
    if rule.algorithm in BUCKETS:
        return _Bucket(limit.window_us)
    window_us = limit.window_us
    if rule.calendar is not None:
        span = limit.span(int(time() * 1e6))
        window_us = span.end_us - span.start_us
    return _Held(window_us)


def _now_us() -> int:
    return int(monotonic() * 1e6)
