"""What rules say while Redis is away (`on_unavailable`)."""

from collections.abc import Sequence

from pantler_server.core.errors import StoreError
from pantler_server.core.rate_limit import OnUnavailable
from pantler_server.engines.rate_limit.local import LocalCounts
from pantler_server.engines.rate_limit.model import Check, Decision, Source, is_denied, new_slot
from pantler_server.engines.rate_limit.workers import Workers
from pantler_server.store.store import Store

RETRY_US = 200_000  # of what is denied: as long as an error's RetryInfo says
SLOT = "local."
"""How the slots begin that a worker gave without Redis."""


class Fallback:
    """`start` before use, `stop` after it."""

    def __init__(self, store: Store, workers: int) -> None:
        self.workers = Workers(store, workers)
        self._local = LocalCounts()

    def start(self) -> None:
        self.workers.start()

    async def stop(self) -> None:
        await self.workers.stop()

    def decide(
        self, checks: Sequence[Check], error: StoreError, *, take: bool = True
    ) -> list[Decision]:
        """All permits are taken, or none. Raises the error if one of the rules says nothing."""
        if not all(check.limit.rule.on_unavailable for check in checks):
            raise error
        found = [self._decide_one(check, take=False) for check in checks]
        if not take or is_denied(checks, found):
            return found
        return [
            self._decide_one(check, take=True) if one.allowed else one
            for check, one in zip(checks, found, strict=True)
        ]

    def give_back(self, check: Check, slot: str) -> bool:
        """Whether it was given by this worker, and is held; always by rules of `open`, which count
        nothing."""
        return self.is_open(check) or self._local.give_back(check, slot)

    def renew(self, check: Check, slot: str) -> bool:
        """As `give_back`; the slot is held for a window then."""
        return self.is_open(check) or self._local.renew(check, slot)

    @staticmethod
    def is_open(check: Check) -> bool:
        return check.limit.rule.on_unavailable is OnUnavailable.OPEN

    def _decide_one(self, check: Check, *, take: bool) -> Decision:
        match check.limit.rule.on_unavailable:
            case OnUnavailable.OPEN:
                slot = new_slot(check, SLOT) if take else ""
                remaining = check.limit.rule.capacity
                return Decision(True, remaining, slot=slot, source=Source.FALLBACK)
            case OnUnavailable.LOCAL:
                slot = new_slot(check, SLOT) if take else ""
                return self._local.decide(check, self.workers.count, slot, take=take)
        return Decision(False, 0, RETRY_US, source=Source.FALLBACK)
