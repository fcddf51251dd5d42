"""Rate limits: whether something may be done now, by rules that all machines share.

A check is one script on Redis's clock (acquire.lua and algorithms/): one round trip (asking.py).
What Redis denied lately is denied again from memory (denials.py); while Redis is away, a rule may
say what to decide without it (fallback.py). Several at once: acquire_all.py.
"""

import asyncio
from collections.abc import Mapping, Sequence

from pantler_server.core import background
from pantler_server.core.clock import RedisClock
from pantler_server.core.config import Settings
from pantler_server.core.errors import RateLimitRuleUnknown, SlotNotHeld, StoreError
from pantler_server.engines.rate_limit import metrics, scripts
from pantler_server.engines.rate_limit.acquire_all import AcquireAll
from pantler_server.engines.rate_limit.asking import Asking
from pantler_server.engines.rate_limit.denials import Denials
from pantler_server.engines.rate_limit.fallback import SLOT, Fallback
from pantler_server.engines.rate_limit.limit import Limit
from pantler_server.engines.rate_limit.model import Check, Decision, Source, new_slot
from pantler_server.store.request import Request
from pantler_server.store.store import Store


class RateLimitEngine:
    """Deadlines are times of the event loop. `start` before use, `stop` after it.

    Where a rule says nothing of it, all raise the StoreErrors, and WrongKind.
    """

    def __init__(self, state: Store, settings: Settings) -> None:
        self._store = state
        self._asking = Asking(state)
        self._denials = Denials(state)
        self._fallback = Fallback(state, settings.workers)
        self._acquire_all = AcquireAll(state, self._asking, self._denials, self._fallback)
        self._metrics_task: asyncio.Task[None] | None = None
        self.apply(settings)

    def start(self) -> None:
        self._denials.start()
        self._fallback.start()
        self._metrics_task = background.start(_keep_flushing_metrics(), "rate limit metrics")

    async def stop(self) -> None:
        await self._acquire_all.stop()
        await self._denials.stop()
        await self._fallback.stop()
        if self._metrics_task is not None:
            await background.stop((self._metrics_task,))
        metrics.flush()

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration. What was taken under a rule that counts alike still
        counts."""
        self._named = {
            name: Limit(config.rule(name)) for name, config in sorted(settings.rate_limits.items())
        }
        self._denials.clear()

    def named(self, name: str) -> Limit:
        """The rule of the configuration. Raises RateLimitRuleUnknown."""
        try:
            return self._named[name]
        except KeyError:
            raise RateLimitRuleUnknown(name) from None

    @property
    def rules(self) -> Mapping[str, Limit]:
        """Those of the configuration, by name."""
        return self._named

    async def acquire(self, check: Check, request_id: str, deadline: float) -> Decision:
        """Takes the permits if they are there. One round trip, none for what was denied lately.

        The same request id gets the first decision again; raises InvalidFields if that was for
        another cost.
        """
        if not request_id:
            denied = self._denials.find(check)
            if denied is not None:
                return _counted(check, denied)
        slot = new_slot(check)
        number, asked_at = self._denials.number(check.place), asyncio.get_running_loop().time()

        def make(clock: RedisClock) -> Request:
            return scripts.acquire(check, clock, slot=slot, request_id=request_id)

        try:
            decision = scripts.decision(check, await self._asking.ask([check], make, deadline))
        except StoreError as error:
            return _counted(check, self._fallback.decide([check], error)[0])
        if not decision.allowed and not request_id:
            self._denials.keep(check, decision, number, asked_at)
        return _counted(check, decision)

    async def acquire_all(
        self, checks: Sequence[Check], request_id: str, deadline: float
    ) -> list[Decision]:
        """Takes all permits, or none: unless one check that is no shadow was denied, all are taken
        but those that a shadow would have denied. The checks are of different rules or subjects.

        One round trip; on a Cluster one for each slot, in order, and one more for each check that
        is given back.
        """
        decisions = await self._acquire_all(checks, request_id, deadline)
        return list(map(_counted, checks, decisions))

    async def peek(self, check: Check, deadline: float) -> Decision:
        """What `acquire` would say. One round trip."""

        def make(clock: RedisClock) -> Request:
            return scripts.acquire(check, clock, action="peek")

        try:
            reply = await self._asking.ask([check], make, deadline)
        except StoreError as error:
            return self._fallback.decide([check], error, take=False)[0]
        return scripts.decision(check, reply)._replace(slot="")

    async def reset(self, check: Check, deadline: float) -> None:
        """Forgets what the subject has taken. One round trip."""
        await self._store.call(scripts.reset(check), deadline)
        self._denials.forget(check.place)

    async def refund(self, check: Check, request_id: str, deadline: float) -> Decision:
        """Gives permits back. One round trip. A request id as with `acquire`."""

        def make(clock: RedisClock) -> Request:
            return scripts.acquire(check, clock, action="refund", request_id=request_id)

        reply = await self._asking.ask([check], make, deadline)
        self._denials.forget(check.place)
        return scripts.decision(check, reply)

    async def renew_slot(self, check: Check, slot: str, deadline: float) -> None:
        """Holds a slot for a window from now on. One round trip. Raises SlotNotHeld."""
        if slot.startswith(SLOT):
            held = self._fallback.renew(check, slot)
        else:
            held = await self._change_slot(check, "renew", slot, deadline)
        if not held:
            raise SlotNotHeld(slot)

    async def release_slot(self, check: Check, slot: str, deadline: float) -> None:
        """As `renew_slot`; the slot is free then."""
        if slot.startswith(SLOT):
            held = self._fallback.give_back(check, slot)
        else:
            held = await self._change_slot(check, "release", slot, deadline)
        if not held:
            raise SlotNotHeld(slot)

    async def _change_slot(self, check: Check, action: str, slot: str, deadline: float) -> bool:
        def make(clock: RedisClock) -> Request:
            return scripts.acquire(check, clock, action=action, slot=slot)

        try:
            reply = await self._asking.ask([check], make, deadline)
        except StoreError:
            if self._fallback.is_open(check):  # what runs goes on, as what comes is allowed
                return True
            raise
        return int(reply[0]) == 1


async def _keep_flushing_metrics() -> None:
    while True:
        await asyncio.sleep(metrics.FLUSH_INTERVAL_S)
        metrics.flush()


def _counted(check: Check, decision: Decision) -> Decision:
    limit, source = check.limit, decision.source
    outcomes = limit.outcomes
    if source is Source.SKIPPED:
        return decision
    if source is Source.MEMORY:
        outcomes.memory += 1
    elif source is Source.FALLBACK and limit.rule.on_unavailable is not None:
        outcomes.count_fallback(limit.rule.on_unavailable)
    if not decision.allowed:
        if limit.rule.shadow:
            outcomes.shadow_denied += 1
        else:
            outcomes.denied += 1
    elif decision.remaining < limit.near_from:
        outcomes.near_limit += 1
    else:
        outcomes.allowed += 1
    return decision
