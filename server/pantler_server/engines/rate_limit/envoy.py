"""Rate limits as Envoy asks for them: what the descriptors of one call come to.

A call takes from all limits that its descriptors meet, or from none. Only what a limit has left is
taken all the same by hits that do not fit in: they may be a report of what was used already.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from pantler_server.core.config import Settings
from pantler_server.core.envoy_config import EnvoyDescriptor, EnvoyDomain
from pantler_server.core.rate_limit import Algorithm, Rule
from pantler_server.engines.rate_limit.descriptors import (
    Bound,
    Entries,
    Found,
    Node,
    replaced,
    subject,
)
from pantler_server.engines.rate_limit.engine import RateLimitEngine
from pantler_server.engines.rate_limit.limit import Limit
from pantler_server.engines.rate_limit.model import SKIPPED, Check, Decision, Source, is_denied

MANY = (1 << 32) - 1  # the most that an answer can say is left


class Override(NamedTuple):
    """A limit that comes with a descriptor."""

    limit: int
    """0: nothing is allowed."""
    window_ms: int


class Descriptor(NamedTuple):
    """What a call counts."""

    entries: Entries
    hits: int
    """0: it only looks."""
    gives_back: bool = False
    override: Override | None = None


class Status(NamedTuple):
    """What a descriptor came to."""

    over: bool = False
    rule: Rule | None = None
    """The limit; None if there is none, or if it was not looked at."""
    name: str = ""
    remaining: int = 0
    until_us: int = 0
    """After how long the same is allowed; where it was, after how long nothing counts."""


class Verdict(NamedTuple):
    """What a call came to."""

    over: bool
    statuses: Sequence[Status]
    shown: Status | None
    """The one that the client is told of."""


class _Domain(NamedTuple):
    root: Node
    shows: bool


class EnvoyEngine:
    """Decides by `envoy_domains`, through the engine that is given. Raises as that one does."""

    def __init__(self, limits: RateLimitEngine, settings: Settings) -> None:
        self._limits = limits
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration; after the engine of the rules has."""
        self._domains = {one.domain: self._domain(one) for one in settings.envoy_domains}

    def _domain(self, config: EnvoyDomain) -> _Domain:
        def make(one: EnvoyDescriptor, path: str) -> Bound | None:
            said = one.rate_limit
            if said is None:
                return None
            limit = None
            if said.rule is not None:
                limit = self._limits.named(said.rule)
                if one.shadow_mode:
                    limit = Limit(replace(limit.rule, shadow=True))
            elif not said.unlimited:
                limit = Limit(said.own_rule(_name(config.domain), shadow=one.shadow_mode), path)
            return Bound(limit, said.name, frozenset(other.name for other in said.replaces))

        return _Domain(Node(config.domain, config.descriptors, make), config.response_headers)

    async def decide(
        self, domain: str, descriptors: Sequence[Descriptor], deadline: float
    ) -> Verdict:
        """One round trip, where hits fit in. A domain that is not known limits nothing."""
        known = self._domains.get(domain)
        if known is None:
            return Verdict(False, [Status()] * len(descriptors), None)
        found = replaced([_found(known.root, domain, one) for one in descriptors])
        checks = [
            Check(one.bound.limit, one.subject, descriptor.hits)
            if one is not None and one.bound.limit is not None
            else None
            for one, descriptor in zip(found, descriptors, strict=True)
        ]
        decisions = await self._decide(checks, descriptors, deadline)
        statuses = list(map(_status, found, checks, decisions))
        over = any(status.over for status in statuses)
        return Verdict(over, statuses, _shown(statuses) if known.shows else None)

    async def _decide(
        self,
        checks: Sequence[Check | None],
        descriptors: Sequence[Descriptor],
        deadline: float,
    ) -> list[Decision]:
        """First what takes nothing, so that what is denied then takes nothing either."""
        takes: dict[bytes, Check] = {}
        others: dict[int, Check] = {}
        for index, check in enumerate(checks):
            if check is None:
                continue
            if descriptors[index].gives_back or not check.cost:
                others[index] = check
            else:
                before = takes.get(check.place)
                cost = check.cost + (before.cost if before is not None else 0)
                takes[check.place] = Check(check.limit, check.subject, cost)
        looked = await self._look(others, deadline) if others else {}
        taken: dict[bytes, Decision] = {}
        if not is_denied(list(others.values()), list(looked.values())):
            taken = await self._take(takes.values(), deadline)
        return [
            looked.get(index) or taken.get(check.place, SKIPPED) if check is not None else SKIPPED
            for index, check in enumerate(checks)
        ]

    async def _look(self, checks: dict[int, Check], deadline: float) -> dict[int, Decision]:
        """Gives hits back, and looks where there are none."""

        async def ask(check: Check) -> Decision:
            if not check.cost:
                return await self._limits.peek(Check(check.limit, check.subject, 1), deadline)
            cost = min(check.cost, check.limit.rule.capacity)
            refund = Check(check.limit, check.subject, cost)
            return (await self._limits.refund(refund, "", deadline))._replace(allowed=True)

        ends = await asyncio.gather(*map(ask, checks.values()), return_exceptions=True)
        found: dict[int, Decision] = {}
        for index, end in zip(checks, ends, strict=True):
            if isinstance(end, BaseException):
                raise end
            found[index] = end
        return found

    async def _take(self, checks: Collection[Check], deadline: float) -> dict[bytes, Decision]:
        """By places. One that can never pass leaves the others alone, unless it is a shadow."""
        never = [check for check in checks if check.cost > check.limit.rule.capacity]
        fitting = [check for check in checks if check not in never]
        if any(not check.limit.rule.shadow for check in never):
            fitting = []
        decisions = {check.place: await self._fill(check, deadline) for check in never}
        if len(fitting) == 1:
            found = [await self._limits.acquire(fitting[0], "", deadline)]
        else:
            found = await self._limits.acquire_all(fitting, "", deadline) if fitting else []
        for check, decision in zip(fitting, found, strict=True):
            decisions[check.place] = await self._take_the_rest(check, decision, deadline)
        return decisions

    async def _fill(self, check: Check, deadline: float) -> Decision:
        """Takes all there is, for more than there can be."""
        all_there_can_be = Check(check.limit, check.subject, check.limit.rule.capacity)
        decision = await self._limits.acquire(all_there_can_be, "", deadline)
        if decision.allowed:
            return decision._replace(allowed=False)
        return await self._take_the_rest(check, decision, deadline)

    async def _take_the_rest(self, check: Check, decision: Decision, deadline: float) -> Decision:
        if decision.allowed or not decision.remaining or check.cost == 1:
            return decision
        rest = Check(check.limit, check.subject, decision.remaining)
        left = await self._limits.acquire(rest, "", deadline)
        return decision._replace(remaining=left.remaining)


def _found(root: Node, domain: str, descriptor: Descriptor) -> Found | None:
    override = descriptor.override
    if override is None:
        return root.find(descriptor.entries)
    counted = subject([*descriptor.entries, override.limit])  # so that no limit counts for another
    return Found(Bound(_override(domain, override), "", frozenset()), counted)


@lru_cache(maxsize=1024)
def _override(domain: str, override: Override) -> Limit:
    """Those in use are kept."""
    rule = Rule(Algorithm.FIXED_WINDOW, override.limit, override.window_ms, name=_name(domain))
    return Limit(rule, f"{domain}.(override)")


def _name(domain: str) -> str:
    """What the limits of a domain are called in keys: no rule of `rate_limits` may be called so."""
    return f"@{domain}"


def _status(found: Found | None, check: Check | None, decision: Decision) -> Status:
    if found is not None and check is None:
        return Status(remaining=MANY)
    if found is None or check is None or decision.source is Source.SKIPPED:
        return Status()
    rule = check.limit.rule
    until_us = decision.reset_us
    if not decision.allowed:  # what can never pass is told the longest time
        until_us = decision.retry_us or decision.reset_us or check.limit.window_us
    over = not (decision.allowed or rule.shadow)
    return Status(over, rule, found.bound.name, decision.remaining, until_us)


def _shown(statuses: Sequence[Status]) -> Status | None:
    """The last that is over, or the one with the least left; shadows are not for clients."""
    in_force = [one for one in statuses if one.rule is not None and not one.rule.shadow]
    over = [one for one in in_force if one.over]
    return over[-1] if over else min(in_force, key=lambda one: one.remaining, default=None)
