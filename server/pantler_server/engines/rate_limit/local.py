"""What one worker allows by its own count, while Redis is away (`on_unavailable: local`).

A worker's share of a limit is the limit divided by the workers that were last seen, rounded down,
so that all of them together allow no more than the limit. What Redis allowed before is not known
here, nor does Redis know of this when it is back: around each of these moments up to twice the
limit may be allowed in one window.
"""

import math
from collections import OrderedDict
from time import monotonic, time
from typing import Protocol
from uuid import uuid4

from pantler_server.core.rate_limit import BUCKETS, Algorithm
from pantler_server.engines.rate_limit.limit import Limit
from pantler_server.engines.rate_limit.model import Check, Decision, Source

MAX_SUBJECTS = 50_000  # beyond them the one that was used least lately is counted anew
STEPS = 64  # parts of a window that are counted apart: what is taken may count for one part longer
SLOT = "local."
"""How the slots begin that a worker gave without Redis."""


class LocalCounts:
    """Those of one worker. Times are in us, of the clock of this machine."""

    def __init__(self) -> None:
        self._counts: OrderedDict[bytes, tuple[int, _Count]] = OrderedDict()

    def decide(self, check: Check, workers: int, *, take: bool) -> Decision:
        """With `take`, what is allowed is taken."""
        known = self._counts.get(check.place)
        if known is None or known[0] != workers:
            known = self._counts[check.place] = workers, _count_of(check.limit, workers)
        self._counts.move_to_end(check.place)
        if len(self._counts) > MAX_SUBJECTS:
            self._counts.popitem(last=False)
        count, now_us = known[1], _now_us()
        decision = count.decide(check.cost, now_us)
        if take and decision.allowed:
            slot = count.take(check.cost, now_us)
            decision = count.decide(check.cost, now_us)
            decision = decision._replace(allowed=True, retry_us=0, slot=slot)
        return decision._replace(source=Source.FALLBACK)

    def give_back(self, check: Check, slot: str) -> bool:
        """Whether it was taken here."""
        known = self._counts.get(check.place)
        return known is not None and known[1].give_back(check.cost, slot)

    def renew(self, check: Check, slot: str) -> bool:
        """Whether it is held: until a window from now on then."""
        known = self._counts.get(check.place)
        held = known[1] if known is not None else None
        return isinstance(held, _Held) and held.renew(slot, _now_us())


class _Count(Protocol):
    """What a subject has taken of a worker's share."""

    def decide(self, cost: int, now_us: int) -> Decision:
        """What taking so many would come to."""

    def take(self, cost: int, now_us: int) -> str:
        """Takes them; the slot, where there are such."""

    def give_back(self, cost: int, slot: str) -> bool: ...


class _Bucket:
    """A token bucket: what TOKEN_BUCKET and GCRA allow. Its level is in permits * us, as that of
    algorithms/token_bucket.lua."""

    def __init__(self, burst: int, limit: int, window_us: int) -> None:
        self._capacity, self._limit, self._window_us = burst * window_us, limit, window_us
        self._level, self._at_us = self._capacity, 0

    def decide(self, cost: int, now_us: int) -> Decision:
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

    def take(self, cost: int, now_us: int) -> str:
        self._level -= cost * self._window_us
        return ""

    def give_back(self, cost: int, slot: str) -> bool:
        self._level = min(self._capacity, self._level + cost * self._window_us)
        return True


class _Held:
    """Permits that count until a time: of a window, for its length from when they were taken; of a
    slot, until it expires. So in no span as long as a window more than the limit is allowed."""

    def __init__(self, limit: int, window_us: int, *, slots: bool) -> None:
        self._limit, self._window_us, self._slots = limit, window_us, slots
        self._held: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Until when, and how many, by slot or part of the window, the first to end first."""

    def decide(self, cost: int, now_us: int) -> Decision:
        while self._held and next(iter(self._held.values()))[0] <= now_us:
            self._held.popitem(last=False)
        taken = sum(count for _, count in self._held.values())
        missing, last_us = taken + cost - self._limit, now_us
        retry_us = self._window_us if missing > 0 else 0
        for until_us, count in self._held.values():
            if missing > 0:
                missing -= count
                retry_us = until_us - now_us
            last_us = until_us
        allowed = taken + cost <= self._limit
        return Decision(allowed, max(0, self._limit - taken), retry_us, last_us - now_us)

    def take(self, cost: int, now_us: int) -> str:
        if self._slots:
            slot = f"{SLOT}{uuid4().hex}.{cost}"
            self._held[slot] = now_us + self._window_us, cost
            return slot
        step_us = math.ceil(self._window_us / STEPS)
        part = now_us // step_us + 1
        _, before = self._held.get(str(part), (0, 0))
        self._held[str(part)] = part * step_us + self._window_us, before + cost
        return ""

    def give_back(self, cost: int, slot: str) -> bool:
        if self._slots:
            return self._held.pop(slot, None) is not None
        for part, (until_us, count) in reversed(list(self._held.items())):
            self._held[part] = until_us, max(0, count - cost)
            cost = max(0, cost - count)
        return True

    def renew(self, slot: str, now_us: int) -> bool:
        until_us, cost = self._held.pop(slot, (0, 0))
        if until_us > now_us:
            self._held[slot] = now_us + self._window_us, cost
        return until_us > now_us


def _count_of(limit: Limit, workers: int) -> _Count:
    rule = limit.rule
    share = rule.limit // workers
    if rule.algorithm in BUCKETS:
        return _Bucket(rule.capacity // workers, share, limit.window_us)
    window_us = limit.window_us
    if rule.calendar is not None:
        span = limit.span(int(time() * 1e6))
        window_us = span.end_us - span.start_us
    return _Held(share, window_us, slots=rule.algorithm is Algorithm.CONCURRENCY)


def _now_us() -> int:
    return int(monotonic() * 1e6)
