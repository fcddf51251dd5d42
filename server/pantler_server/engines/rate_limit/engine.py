"""Rate limits: whether something may be done now, by rules that all machines share.

A check is one script on Redis's clock (acquire.lua and algorithms/): one round trip. What Redis
denied lately is denied again from memory (denials.py); while Redis is away, a rule may say what to
decide without it (local.py).
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import uuid4

import structlog

from pantler_server.core import background
from pantler_server.core.config import Settings, Topology
from pantler_server.core.errors import (
    FieldViolation,
    InvalidFields,
    RateLimitRuleUnknown,
    ServiceError,
    SlotNotHeld,
    StoreError,
    StoreUnavailable,
)
from pantler_server.core.rate_limit import Algorithm, OnUnavailable, Rule
from pantler_server.engines.rate_limit import limit as limits
from pantler_server.engines.rate_limit import local, metrics, scripts
from pantler_server.engines.rate_limit.denials import Denials
from pantler_server.engines.rate_limit.limit import Limit
from pantler_server.engines.rate_limit.model import SKIPPED, Check, Decision, Source, is_denied
from pantler_server.engines.rate_limit.workers import Workers
from pantler_server.store.link import Reply
from pantler_server.store.node import Node
from pantler_server.store.request import Request
from pantler_server.store.store import Store

RETRY_US = 200_000  # of what is denied since Redis is away: as long as an error's RetryInfo says
ASK_AGAIN_S = 0.1  # how often a Redis that is away is tried, where a rule can do without it
_REUSED, _OUTDATED = 2, 3  # replies of the scripts

log = structlog.get_logger(__name__)


class RateLimitEngine:
    """Deadlines are times of the event loop. `start` before use, `stop` after it.

    Where a rule says nothing of it, all raise the StoreErrors, and WrongKind.
    """

    def __init__(self, state: Store, settings: Settings) -> None:
        self._store = state
        self._is_cluster = state.topology.kind is Topology.CLUSTER
        self._denials = Denials(state)
        self._workers = Workers(state)
        self._local = local.LocalCounts()
        self._clock = scripts.Clock()
        self._ask_again: dict[Node | None, float] = {}
        """When each Redis that was away is to be tried again (time of the event loop)."""
        self._metrics_task: asyncio.Task[None] | None = None
        self.apply(settings)

    def start(self) -> None:
        self._denials.start()
        self._workers.start()
        self._metrics_task = background.start(_keep_flushing_metrics(), "rate limit metrics")

    async def stop(self) -> None:
        await self._denials.stop()
        await self._workers.stop()
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

    def inline(self, rule: Rule) -> Limit | None:
        """A rule that came with a call; None if it has problems."""
        return limits.inline(rule)

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
        slot = _new_slot(check)
        number, asked_at = self._denials.number(check.place), asyncio.get_running_loop().time()

        def ask() -> Request:
            return scripts.acquire(check, self._clock, slot=slot, request_id=request_id)

        try:
            decision = scripts.decision(check, await self._ask([check], ask, deadline))
        except StoreError as error:
            return _counted(check, self._decide_without([check], error)[0])
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
        if not request_id:
            remembered = [self._denials.find(check) for check in checks]
            if is_denied(checks, remembered):
                found = [one or SKIPPED for one in remembered]
                return list(map(_counted, checks, found))
        taken: list[tuple[Sequence[Check], Sequence[Decision]]] = []
        decisions: dict[Check, Decision] = {}
        try:
            for group in self._groups(checks):
                found = await self._acquire_group(group, request_id, deadline)
                decisions.update(zip(group, found, strict=True))
                if is_denied(group, found):
                    by_redis = all(one.source is Source.REDIS for one in found)
                    await self._give_back(taken, request_id, deadline, is_known=by_redis)
                    break
                taken.append((group, found))
        except ServiceError:
            await self._give_back(taken, request_id, deadline, is_known=False)
            raise
        return [_counted(check, decisions.get(check, SKIPPED)) for check in checks]

    async def peek(self, check: Check, deadline: float) -> Decision:
        """What `acquire` would say. One round trip."""

        def ask() -> Request:
            return scripts.acquire(check, self._clock, action="peek")

        try:
            reply = await self._ask([check], ask, deadline)
        except StoreError as error:
            return self._decide_without([check], error, take=False)[0]
        return scripts.decision(check, reply)._replace(slot="")

    async def reset(self, check: Check, deadline: float) -> None:
        """Forgets what the subject has taken. One round trip."""
        await self._store.call(scripts.reset(check), deadline)
        self._denials.forget(check.place)

    async def refund(self, check: Check, request_id: str, deadline: float) -> Decision:
        """Gives permits back. One round trip. A request id as with `acquire`."""

        def ask() -> Request:
            return scripts.acquire(check, self._clock, action="refund", request_id=request_id)

        reply = await self._ask([check], ask, deadline)
        self._denials.forget(check.place)
        return scripts.decision(check, reply)

    async def renew_slot(self, check: Check, slot: str, deadline: float) -> None:
        """Holds a slot for a window from now on. One round trip. Raises SlotNotHeld."""
        if slot.startswith(local.SLOT):
            held = self._is_open(check) or self._local.renew(check, slot)
        else:
            held = await self._change_slot(check, "renew", slot, deadline)
        if not held:
            raise SlotNotHeld(slot)

    async def release_slot(self, check: Check, slot: str, deadline: float) -> None:
        """As `renew_slot`; the slot is free then."""
        if slot.startswith(local.SLOT):
            held = self._is_open(check) or self._local.give_back(check, slot)
        else:
            held = await self._change_slot(check, "refund", slot, deadline)
        if not held:
            raise SlotNotHeld(slot)

    async def _change_slot(self, check: Check, action: str, slot: str, deadline: float) -> bool:
        request = scripts.acquire(check, self._clock, action=action, slot=slot)
        [reply] = await self._store.call(request, deadline)
        return int(reply[0]) == 1

    def _is_open(self, check: Check) -> bool:
        """Whether slots that were given without Redis are counted by nobody."""
        return check.limit.rule.on_unavailable is OnUnavailable.OPEN

    def _groups(self, checks: Sequence[Check]) -> Iterable[Sequence[Check]]:
        """The checks that one script can do, in order."""
        if not self._is_cluster:
            return [checks]
        groups: dict[int, list[Check]] = {}
        for check in checks:
            groups.setdefault(scripts.slot_of(check), []).append(check)
        return groups.values()

    async def _acquire_group(
        self, group: Sequence[Check], request_id: str, deadline: float
    ) -> list[Decision]:
        slots = [_new_slot(check) for check in group]
        asked_at = asyncio.get_running_loop().time()
        numbers = [self._denials.number(check.place) for check in group]

        def ask() -> Request:
            return scripts.acquire_all(group, slots, self._clock, request_id)

        try:
            _, *replies = await self._ask(group, ask, deadline)
        except StoreError as error:
            return self._decide_without(group, error)
        decisions = list(map(scripts.decision, group, replies))
        if not request_id:
            for check, decision, number in zip(group, decisions, numbers, strict=True):
                if not decision.allowed:
                    self._denials.keep(check, decision, number, asked_at)
        return decisions

    async def _give_back(
        self,
        taken: Sequence[tuple[Sequence[Check], Sequence[Decision]]],
        request_id: str,
        deadline: float,
        *,
        is_known: bool,
    ) -> None:
        """Gives back what groups took before one was denied, or failed.

        If Redis denied it and knows that by the request id (`is_known`), a repeat comes here again,
        and gives back no more. Otherwise a repeat may be allowed, and must not get the answers by
        which a group took what is given back here: they are forgotten first.
        """
        back_id = f"{request_id}\0back" if request_id and is_known else ""
        for group, decisions in taken:
            try:
                if request_id and not is_known:
                    await self._store.call(scripts.forget_answer(group[0], request_id), deadline)
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
            self._local.give_back(check, decision.slot)
            return
        request = scripts.acquire(
            check, self._clock, action="refund", slot=decision.slot, request_id=back_id
        )
        await self._store.call(request, deadline)

    async def _ask(
        self, checks: Sequence[Check], make: Callable[[], Request], deadline: float
    ) -> Reply:
        """What Redis answers to a request; it is made again if it went by the wrong period of the
        calendar. Where Redis was away a moment ago and all rules can do without it, only one call
        at a time tries: the others get StoreUnavailable at once, however long that one takes."""
        loop = asyncio.get_running_loop()
        request = make()
        node = self._store.topology.primary(request.slot) if self._ask_again else None
        again_at = self._ask_again.get(node)
        if again_at is not None and all(check.limit.rule.on_unavailable for check in checks):
            if loop.time() < again_at:
                raise StoreUnavailable("Redis was away a moment ago", self._store.role)
            self._ask_again[node] = loop.time() + ASK_AGAIN_S
        try:
            [reply] = await self._store.call(request, deadline)
            while reply[0] == _OUTDATED:
                self._clock.correct(reply[1])
                [reply] = await self._store.call(make(), deadline)
        except StoreError:
            if loop.time() < deadline:  # not for want of the caller's time
                away = self._store.topology.primary(request.slot)
                self._ask_again[away] = loop.time() + ASK_AGAIN_S
            raise
        if again_at is not None:
            self._ask_again.pop(node, None)
        if reply[0] == _REUSED:
            rule = "was that of another request within the last 10 minutes: use a new one"
            raise InvalidFields([FieldViolation("request_id", rule)])
        return reply

    def _decide_without(
        self, checks: Sequence[Check], error: StoreError, *, take: bool = True
    ) -> list[Decision]:
        """What the rules say while Redis is away. Raises the error if one of them says nothing."""
        if not all(check.limit.rule.on_unavailable for check in checks):
            raise error
        found = [self._without(check, take=False) for check in checks]
        if not take or is_denied(checks, found):
            return found
        return [
            self._without(check, take=True) if one.allowed else one
            for check, one in zip(checks, found, strict=True)
        ]

    def _without(self, check: Check, *, take: bool) -> Decision:
        match check.limit.rule.on_unavailable:
            case OnUnavailable.LOCAL:
                return self._local.decide(check, self._workers.count, take=take)
            case OnUnavailable.OPEN:
                slot = _new_slot(check)
                slot = local.SLOT + slot if slot else ""
                remaining = check.limit.rule.capacity
                return Decision(True, remaining, slot=slot, source=Source.FALLBACK)
        return Decision(False, 0, RETRY_US, source=Source.FALLBACK)


def _new_slot(check: Check) -> str:
    """What tells a slot from all others, with how many permits it holds, as concurrency.lua wants
    it; empty where there are no slots."""
    if check.limit.rule.algorithm is not Algorithm.CONCURRENCY:
        return ""
    return f"{uuid4().hex}.{check.cost}"


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
