"""What the rate limit engine takes and gives."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple
from uuid import uuid4

from pantler_server.core.rate_limit import Algorithm
from pantler_server.engines.rate_limit.limit import Limit


class Check:
    """A rule, a subject, and how many permits."""

    __slots__ = ("cost", "limit", "place", "subject")

    def __init__(self, limit: Limit, subject: str, cost: int) -> None:
        self.limit = limit
        self.subject = subject
        self.cost = cost
        self.place = limit.place(subject)
        """Where Redis keeps what was taken."""


class Source(StrEnum):
    """What a decision rests on."""

    REDIS = "redis"
    MEMORY = "memory"
    """A denial of Redis that this worker remembers."""
    FALLBACK = "fallback"
    """Redis is away, and the rule's `on_unavailable` decided."""
    SKIPPED = "skipped"
    """Nothing: another check denied the call first, and this one was not looked at."""


class Decision(NamedTuple):
    """What a check came to."""

    allowed: bool
    """By the rule; a shadow's caller is allowed all the same."""
    remaining: int
    retry_us: int = 0
    """After how long the same is allowed, if nobody else takes permits."""
    reset_us: int = 0
    """After how long nothing that was taken counts."""
    slot: str = ""
    source: Source = Source.REDIS


SKIPPED = Decision(False, 0, source=Source.SKIPPED)


def is_denied(checks: Sequence[Check], decisions: Sequence[Decision | None]) -> bool:
    """Whether one of these denies all."""
    return any(
        decision is not None and not decision.allowed and not check.limit.rule.shadow
        for check, decision in zip(checks, decisions, strict=True)
    )


def new_slot(check: Check, beginning: str = "") -> str:
    """What tells a slot from all others, with how many permits it holds, as concurrency.lua wants
    it; empty where there are no slots."""
    if check.limit.rule.algorithm is not Algorithm.CONCURRENCY:
        return ""
    return f"{beginning}{uuid4().hex}.{check.cost}"
