"""What Redis denied lately, in this worker's memory: a flood of denied calls costs Redis nothing.

A denial holds until its time, whatever others take, unless permits are given back. Whoever resets
or refunds tells all workers, and what is remembered is forgotten. What must not happen is that a
denial is remembered after the word of its end has been heard:

    this worker                             Redis
    sends an Acquire
                                            denies it, on one connection
                                            is told to reset, tells of it on another
    hears of the reset: nothing to forget
    gets the denial: remembers it           … and would deny on

So each word counts up a number, and only a denial is remembered whose number is still that of when
it was asked for. A connection that tells of nothing any more shows in `Subscription.sure_at`: past
SURE_S nothing is answered from here.
"""

import asyncio
from typing import NamedTuple

from moka_py import Moka

from pantler_server.core.rate_limit import BUCKETS, Algorithm
from pantler_server.engines.rate_limit import keys
from pantler_server.engines.rate_limit.limit import Limit
from pantler_server.engines.rate_limit.model import Check, Decision, Source
from pantler_server.store.store import Store
from pantler_server.store.subscription import channel_subscription

SURE_S = 1.0  # how long a reset may stay unheard of, at most
MAX_DENIALS = 50_000  # some 400 B each: 20 MB
LONGEST_S = 86_400.0  # so that a subject that is asked for no more is forgotten some day
NUMBERS = 1024  # subjects that share one are forgotten together, for the one moment that it counts


class _Denied(NamedTuple):
    limit: Limit
    """The one in force: another is for another rule, or was before a reload."""
    cost: int
    until: float
    """Times of the event loop: for how long it holds for sure, …"""
    retry_at: float
    """… when it is over for sure, which is later by up to a round trip …"""
    reset_at: float
    remaining: int


class Denials:
    """`start` before use, `stop` after it."""

    def __init__(self, store: Store) -> None:
        self._loop = asyncio.get_running_loop()
        self._denied: Moka[bytes, _Denied] = Moka(MAX_DENIALS)
        self._numbers = [0] * NUMBERS
        self._cleared = 0
        self._subscription = channel_subscription(store, keys.FORGET, self.forget, self.clear)

    def start(self) -> None:
        self._subscription.start()

    async def stop(self) -> None:
        await self._subscription.stop()

    def find(self, check: Check) -> Decision | None:
        """What would be decided again; None if Redis is to be asked."""
        denied = self._denied.get(check.place)
        if denied is None or denied.limit is not check.limit or check.cost < denied.cost:
            return None
        now = self._loop.time()
        if now >= denied.until or now - self._subscription.sure_at > SURE_S:
            return None
        return Decision(
            False,
            denied.remaining,
            int((_retry_at(check, denied) - now) * 1e6) + 1,
            int((denied.reset_at - now) * 1e6) + 1,
            source=Source.MEMORY,
        )

    def number(self, place: bytes) -> int:
        """To be given to `keep`; comes before the Acquire is sent."""
        return self._numbers[hash(place) % NUMBERS] + self._cleared

    def keep(self, check: Check, decision: Decision, number: int, asked_at: float) -> None:
        """Remembers a denial that was asked for at a time of the event loop."""
        if number != self.number(check.place) or not check.limit.is_remembered:
            return
        now = self._loop.time()
        retry_s = decision.retry_us / 1e6
        denied = _Denied(
            check.limit,
            check.cost,
            asked_at + retry_s,
            now + retry_s,
            now + decision.reset_us / 1e6,
            decision.remaining,
        )
        self._denied.set(check.place, denied, ttl=min(retry_s, LONGEST_S))

    def forget(self, place: bytes) -> None:
        """Permits were given back."""
        self._numbers[hash(place) % NUMBERS] += 1
        self._denied.remove(place)

    def clear(self) -> None:
        """Rules have changed, or words of resets may have been lost."""
        self._cleared += 1
        self._denied.clear()


def _retry_at(check: Check, denied: _Denied) -> float:
    """When as much is there for sure, if nobody else takes permits."""
    rule = check.limit.rule
    if check.cost == denied.cost or rule.algorithm is Algorithm.FIXED_WINDOW:
        return denied.retry_at
    if rule.algorithm in BUCKETS:
        more = check.cost - denied.cost
        return denied.retry_at + more * check.limit.window_us / rule.limit / 1e6
    return denied.reset_at
