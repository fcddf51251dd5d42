"""Permits for the time of a block: waits for them, and keeps a slot until the block is left."""

import asyncio
import logging
import random
from datetime import timedelta
from typing import TYPE_CHECKING

from pantler.errors import PantlerError, RateLimited, SlotNotHeld
from pantler.rate_limit_model import Decision, RateLimitRule

if TYPE_CHECKING:
    from pantler.rate_limit import RateLimitCalls

FIRST_PAUSE_S = 0.1  # between two tries for a slot, which may be released at any time
LONGEST_PAUSE_S = 1.0
RENEWALS = 3  # in the time for which a slot is held; when one fails, the next comes sooner

log = logging.getLogger("pantler")


class Permits:
    """Those of one block: `async with` gives the Decision. `RateLimitCalls.slot` says what is
    raised."""

    def __init__(
        self,
        calls: "RateLimitCalls",
        subject: str,
        rule: str | RateLimitRule,
        cost: int,
        wait: timedelta,
        *,
        needs_slot: bool = False,
    ) -> None:
        if needs_slot and isinstance(rule, RateLimitRule) and rule.algorithm != "concurrency":
            raise ValueError(f"a rule of {rule.algorithm} has no slots")
        self._calls = calls
        self._subject = subject
        self._rule = rule
        self._cost = cost
        self._wait_s = wait.total_seconds()
        self._needs_slot = needs_slot
        self._entered = False
        self._asked_at = 0.0
        self._keeping: asyncio.Task[None] | None = None
        self._lost: SlotNotHeld | None = None

    async def __aenter__(self) -> Decision:
        if self._entered:
            raise RuntimeError("this is good for one block: call slot() for each")
        self._entered = True
        decision = await self._acquire_in_time()
        if decision.slot_id:
            block = asyncio.current_task()
            assert block is not None
            self._block, self._cancelling = block, block.cancelling()
            self._slot_id = decision.slot_id
            self._keeping = asyncio.create_task(self._keep(decision.slot_expires_after))
        elif self._needs_slot and not decision.shadow:
            await self._calls.refund(self._subject, self._rule, cost=self._cost)
            raise ValueError(f"the rule {self._rule!r} is not of concurrency: it has no slots")
        return decision

    async def __aexit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._keeping is None:
            return
        self._keeping.cancel()  # from here on it cancels the block no more
        if self._lost is None:
            # In the background, since the block may be cancelled (again) meanwhile.
            await asyncio.shield(self._calls._background(self._end(self._keeping)))
            return
        also_cancelled = self._block.uncancel() > self._cancelling
        if not also_cancelled and (kind is None or issubclass(kind, asyncio.CancelledError)):
            raise self._lost

    async def _acquire_in_time(self) -> Decision:
        """Raises RateLimited once it would have to wait for too long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._wait_s
        pause_s, spread = FIRST_PAUSE_S, 1.0
        while not (decision := await self._acquire()):
            left_s = until - loop.time()
            after_s = decision.retry_after.total_seconds()
            if self._needs_slot:
                after_s = min(after_s, pause_s * random.uniform(0.5, 1), max(left_s, 0))
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            if left_s <= 0 or after_s > left_s:
                raise RateLimited(self._subject, decision)
            await asyncio.sleep(min(after_s * random.uniform(1, spread), left_s))
            spread = 1.5  # denied again: others wait for the same permits, so don't go in step
        return decision

    async def _acquire(self) -> Decision:
        """If it is cancelled, a slot that is on its way is given back."""
        self._asked_at = asyncio.get_running_loop().time()
        asking = self._calls._background(
            self._calls.acquire(self._subject, self._rule, cost=self._cost)
        )
        try:
            decision: Decision = await asyncio.shield(asking)
        except asyncio.CancelledError:
            self._calls._background(self._give_back_when_given(asking))
            raise
        return decision

    async def _give_back_when_given(self, asking: "asyncio.Task[Decision]") -> None:
        await asyncio.wait((asking,))
        if not asking.cancelled() and asking.exception() is None and asking.result().slot_id:
            await self._release(asking.result().slot_id)

    async def _keep(self, expires_after: timedelta) -> None:
        """Renews the slot; cancels the block when it is lost, or may be: a renewal that fails is
        tried again until the slot has expired."""
        loop = asyncio.get_running_loop()
        held_s = expires_after.total_seconds()
        held_until, pause_s = self._asked_at + held_s, held_s / RENEWALS
        while self._lost is None:
            await asyncio.sleep(min(pause_s, held_until - loop.time()))
            asked_at = loop.time()
            try:
                async with asyncio.timeout_at(min(asked_at + held_s / RENEWALS, held_until)):
                    held_s = await self._renew()
                held_until, pause_s = asked_at + held_s, held_s / RENEWALS
            except SlotNotHeld as error:
                self._lost = error
            except (PantlerError, TimeoutError) as error:
                pause_s = held_s / (4 * RENEWALS)
                if loop.time() >= held_until:
                    self._lost = SlotNotHeld("the slot has expired: no renewal came through")
                    self._lost.__cause__ = error
        self._block.cancel()

    async def _renew(self) -> float:
        """For how many seconds the slot is held then: the rule's window may be another by now."""
        held = await self._calls.renew_slot(self._subject, self._rule, self._slot_id)
        return held.total_seconds()

    async def _end(self, keeping: "asyncio.Task[None]") -> None:
        await asyncio.wait((keeping,))
        await self._release(self._slot_id)

    async def _release(self, slot_id: str) -> None:
        """A slot that can't be released expires by itself, so the block's outcome stands."""
        try:
            await self._calls.release_slot(self._subject, self._rule, slot_id)
        except SlotNotHeld:
            pass  # it expired as the block ended
        except PantlerError as exc:
            log.warning("slot of %r not released: %s", self._subject, exc)
