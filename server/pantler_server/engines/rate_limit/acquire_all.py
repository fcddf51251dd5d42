"""AcquireAll: permits from several rules and subjects, or from none.

One script does it for those that one Redis has in a slot. On a Cluster it goes slot by slot, and
gives back what it took if a later one denies. So it never allows too much; but others may be denied
meanwhile. It runs to its end also if its caller goes away, since what was taken is known only here.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TypeVar

import structlog

from pantler_server.core import background
from pantler_server.core.clock import RedisClock
from pantler_server.core.errors import ServiceError, StoreError
from pantler_server.core.redis_config import Topology
from pantler_server.engines.rate_limit import metrics, scripts
from pantler_server.engines.rate_limit.asking import Asking
from pantler_server.engines.rate_limit.denials import Denials
from pantler_server.engines.rate_limit.fallback import Fallback
from pantler_server.engines.rate_limit.model import (
    SKIPPED,
    Check,
    Decision,
    Source,
    is_denied,
    new_slot,
)
from pantler_server.store.request import Request
from pantler_server.store.store import Store

GIVE_BACK_S = 5.0  # a time of its own: that of the call may be up

T = TypeVar("T")
Group = Sequence[Check]
"""Checks that one script can do."""

log = structlog.get_logger(__name__)


class AcquireAll:
    """`stop` after use."""

    def __init__(self, store: Store, asking: Asking, denials: Denials, fallback: Fallback) -> None:
        self._store = store
        self._is_cluster = store.topology.kind is Topology.CLUSTER
        self._asking = asking
        self._denials = denials
        self._fallback = fallback
        self._going_on: set[asyncio.Task[object]] = set()

    async def stop(self) -> None:
        if self._going_on:
            await asyncio.wait(self._going_on)

    async def __call__(
        self, checks: Sequence[Check], request_id: str, deadline: float
    ) -> list[Decision]:
        """One for each check. Those after one that was denied may be SKIPPED."""
        if not request_id:
            remembered = [self._denials.find(check) for check in checks]
            if is_denied(checks, remembered):
                return [one or SKIPPED for one in remembered]
        groups = self._groups(checks)
        if len(groups) == 1:
            return await self._acquire(checks, request_id, deadline)
        asking = self._goes_on(self._acquire_in_turn(groups, request_id, deadline))
        decisions = await asyncio.shield(asking)
        return [decisions.get(check, SKIPPED) for check in checks]

    def _groups(self, checks: Sequence[Check]) -> Sequence[Group]:
        if not self._is_cluster:
            return [checks]
        groups: dict[int, list[Check]] = {}
        for check in checks:
            groups.setdefault(scripts.slot_of(check), []).append(check)
        return list(groups.values())

    async def _acquire(self, group: Group, request_id: str, deadline: float) -> list[Decision]:
        """All or none of a group. One round trip."""
        slots = [new_slot(check) for check in group]
        asked_at = asyncio.get_running_loop().time()
        numbers = [self._denials.number(check.place) for check in group]

        def make(clock: RedisClock) -> Request:
            return scripts.acquire_all(group, slots, clock, request_id)

        try:
            _, *answers = await self._asking.ask(group, make, deadline)
        except StoreError as error:
            return self._fallback.decide(group, error)
        decisions = list(map(scripts.decision, group, answers))
        if not request_id:
            for check, decision, number in zip(group, decisions, numbers, strict=True):
                if not decision.allowed:
                    self._denials.keep(check, decision, number, asked_at)
        return decisions

    async def _acquire_in_turn(
        self, groups: Sequence[Group], request_id: str, deadline: float
    ) -> dict[Check, Decision]:
        """Until one is denied: what those before it took is given back."""
        taken: list[tuple[Group, Sequence[Decision]]] = []
        decisions: dict[Check, Decision] = {}
        for group in groups:
            try:
                found = await self._acquire(group, request_id, deadline)
            except ServiceError:
                await self._end_in_vain(taken, request_id, deadline, is_known=False)
                raise
            decisions.update(zip(group, found, strict=True))
            if is_denied(group, found):
                by_redis = all(one.source is Source.REDIS for one in found)
                await self._end_in_vain(taken, request_id, deadline, is_known=by_redis)
                break
            taken.append((group, found))
        return decisions

    async def _end_in_vain(
        self,
        taken: Sequence[tuple[Group, Sequence[Decision]]],
        request_id: str,
        deadline: float,
        *,
        is_known: bool,
    ) -> None:
        """Gives back, and waits for that while there is time."""
        if taken:
            giving = self._goes_on(self._give_back(taken, request_id, is_known=is_known))
            left_s = deadline - asyncio.get_running_loop().time()
            await asyncio.wait((giving,), timeout=max(0.0, left_s))

    async def _give_back(
        self,
        taken: Sequence[tuple[Group, Sequence[Decision]]],
        request_id: str,
        *,
        is_known: bool,
    ) -> None:
        """Gives back what groups took before one was denied, or failed.

        If Redis denied it and knows that by the request id (`is_known`), a repeat comes here again,
        and gives back no more. Otherwise a repeat may be allowed, and must not get the answers by
        which a group took what is given back here: they are forgotten first.
        """
        back_id = f"{request_id}\0back" if request_id and is_known else ""
        deadline = asyncio.get_running_loop().time() + GIVE_BACK_S
        for group, decisions in taken:
            try:
                if request_id and not is_known:
                    await self._store.call(scripts.forget_answer(group, request_id), deadline)
                for check, decision in zip(group, decisions, strict=True):
                    if decision.allowed:
                        await self._give_one_back(check, decision, back_id, deadline)
            except ServiceError as error:
                metrics.NOT_GIVEN_BACK.inc(len(group))
                log.warning("permits not given back", error=str(error))

    async def _give_one_back(
        self, check: Check, decision: Decision, back_id: str, deadline: float
    ) -> None:
        if decision.source is Source.FALLBACK:
            self._fallback.give_back(check, decision.slot)
            return

        slot = decision.slot
        action = "release" if slot else "refund"

        def make(clock: RedisClock) -> Request:
            return scripts.acquire(check, clock, action=action, slot=slot, request_id=back_id)

        await self._asking.ask([check], make, deadline)

    def _goes_on(self, work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        """Runs it whether or not anybody waits for it."""
        task = asyncio.create_task(work)
        background.keep(self._going_on, task)
        return task
