"""What each algorithm of a rate limit must say, by its definition and in exact numbers: nothing
here is fast, or rounded, or forgets."""

from abc import ABC, abstractmethod
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

from pantler_server.core.rate_limit import Algorithm, Rule


class Answer(NamedTuple):
    """As a script gives it."""

    allowed: bool
    remaining: int
    retry_us: int
    reset_us: int


class Oracle(ABC):
    """One subject's. Times are Unix us, and never go back."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.window = rule.window_ms * 1000

    @abstractmethod
    def free(self, now: int) -> Fraction:
        """How many permits can be taken, if nothing else happens until then."""

    @abstractmethod
    def take(self, now: int, cost: int) -> None: ...

    @abstractmethod
    def refund(self, now: int, cost: int) -> None: ...

    @abstractmethod
    def reset_at(self, now: int) -> int:
        """When nothing counts any more."""

    def answer(self, action: str, cost: int, now: int) -> Answer:
        allowed = self.free(now) >= cost
        retry_us = 0 if allowed else self._first(now, cost) - now
        if action == "take" and allowed:
            self.take(now, cost)
        elif action == "refund":
            self.refund(now, cost)
        remaining = max(0, floor(self.free(now)))
        return Answer(allowed, remaining, retry_us, self.reset_at(now) - now)

    def _first(self, now: int, cost: int) -> int:
        """The first us at which so many are free: they only ever become more while nobody takes."""
        low, high = now, now + 2 * self.window * (1 + self.rule.capacity // self.rule.limit)
        while high - low > 1:
            middle = (low + high) // 2
            if self.free(middle) >= cost:
                high = middle
            else:
                low = middle
        return high


class FixedWindow(Oracle):
    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self.taken: dict[int, int] = {}

    def free(self, now: int) -> Fraction:
        return Fraction(self.rule.limit - self.taken.get(now // self.window, 0))

    def take(self, now: int, cost: int) -> None:
        self.taken[now // self.window] = self.taken.get(now // self.window, 0) + cost

    def refund(self, now: int, cost: int) -> None:
        self.taken[now // self.window] = max(0, self.taken.get(now // self.window, 0) - cost)

    def reset_at(self, now: int) -> int:
        window = now // self.window
        return (window + 1) * self.window if self.taken.get(window, 0) else now


class SlidingLog(Oracle):
    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self.permits: list[int] = []
        """The time of each."""

    def _counted(self, now: int) -> list[int]:
        return [at for at in self.permits if at > now - self.window]

    def free(self, now: int) -> Fraction:
        return Fraction(self.rule.limit - len(self._counted(now)))

    def take(self, now: int, cost: int) -> None:
        self.permits += [now] * cost

    def refund(self, now: int, cost: int) -> None:
        counted = self._counted(now)
        self.permits = counted[: max(0, len(counted) - cost)]

    def reset_at(self, now: int) -> int:
        return max((at + self.window for at in self._counted(now)), default=now)


class SlidingCounter(Oracle):
    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self.buckets: dict[int, int] = {}

    def free(self, now: int) -> Fraction:
        bucket, elapsed = divmod(now, self.window)
        share = Fraction(self.window - elapsed, self.window)
        estimate = self.buckets.get(bucket - 1, 0) * share + self.buckets.get(bucket, 0)
        return self.rule.limit - estimate

    def take(self, now: int, cost: int) -> None:
        bucket = now // self.window
        self.buckets[bucket] = self.buckets.get(bucket, 0) + cost

    def refund(self, now: int, cost: int) -> None:
        bucket = now // self.window
        for one in (bucket, bucket - 1):
            given = min(cost, self.buckets.get(one, 0))
            self.buckets[one] = self.buckets.get(one, 0) - given
            cost -= given

    def reset_at(self, now: int) -> int:
        bucket = now // self.window
        for one in (bucket, bucket - 1):
            if self.buckets.get(one, 0):
                return (one + 2) * self.window
        return now


class TokenBucket(Oracle):
    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self.tokens, self.at = Fraction(rule.capacity), 0

    def free(self, now: int) -> Fraction:
        filled = Fraction((now - self.at) * self.rule.limit, self.window)
        return min(Fraction(self.rule.capacity), self.tokens + filled)

    def take(self, now: int, cost: int) -> None:
        self.tokens, self.at = self.free(now) - cost, now

    def refund(self, now: int, cost: int) -> None:
        capacity = Fraction(self.rule.capacity)
        self.tokens, self.at = min(capacity, self.free(now) + cost), now

    def reset_at(self, now: int) -> int:
        missing = self.rule.capacity - self.free(now)
        return now + ceil(missing * self.window / self.rule.limit)


class Gcra(Oracle):
    """As I.371 words it: a theoretical arrival time, and a tolerance of burst - 1 spacings."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self.spacing = Fraction(self.window, rule.limit)
        self.arrival = Fraction(0)

    def free(self, now: int) -> Fraction:
        ahead = max(Fraction(0), self.arrival - now)
        return self.rule.capacity - ahead / self.spacing

    def take(self, now: int, cost: int) -> None:
        self.arrival = max(self.arrival, Fraction(now)) + cost * self.spacing

    def refund(self, now: int, cost: int) -> None:
        self.arrival = max(Fraction(now), self.arrival - cost * self.spacing)

    def reset_at(self, now: int) -> int:
        return max(now, ceil(self.arrival))


class Slots:
    """What is held of a rule of concurrency."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.window = rule.window_ms * 1000
        self.slots: dict[str, tuple[int, int]] = {}
        """Until when, and how many."""

    def answer(self, action: str, cost: int, now: int, slot: str) -> Answer:
        held = {one: (until, n) for one, (until, n) in self.slots.items() if until > now}
        self.slots = held
        taken = sum(n for _, n in held.values())
        retry_us = 0
        if action in ("renew", "release"):
            allowed = slot in held
            if allowed and action == "renew":
                held[slot] = now + self.window, held[slot][1]
            elif allowed:
                del held[slot]
        else:
            allowed = taken + cost <= self.rule.limit
            if allowed and action == "take":
                held[slot] = now + self.window, cost
            if not allowed:
                ends = sorted(until for until, _ in held.values())
                retry_us = next(end for end in ends if self._free(end) >= cost) - now
        last = max((until for until, _ in held.values()), default=now)
        return Answer(allowed, max(0, self._free(now)), retry_us, last - now)

    def _free(self, at: int) -> int:
        return self.rule.limit - sum(n for until, n in self.slots.values() if until > at)


ORACLES: dict[Algorithm, type[Oracle]] = {
    Algorithm.FIXED_WINDOW: FixedWindow,
    Algorithm.SLIDING_WINDOW_LOG: SlidingLog,
    Algorithm.SLIDING_WINDOW_COUNTER: SlidingCounter,
    Algorithm.TOKEN_BUCKET: TokenBucket,
    Algorithm.GCRA: Gcra,
}
