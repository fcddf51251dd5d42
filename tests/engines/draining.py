"""Logs that a test drains itself, step by step."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pantler_server.core.record import Record
from pantler_server.engines.cache.record import keys
from pantler_server.engines.cache.record.log_drain import LogDrain
from pantler_server.origins.origin import Batch, BeforeCommit, Refusal

from tests.engines.behind import Worker
from tests.engines.people import People


def row(key: str, **fields: Any) -> Record:
    return {"id": key, "name": None, "email": None, "age": None, **fields}


class Interrupted(People):
    """Runs what a test wants to happen at a step of a drain."""

    def __init__(self, *said: Any) -> None:
        super().__init__(*said)
        self.before_apply: Callable[[Batch], Awaitable[None]] | None = None
        self.before_commit: Callable[[Sequence[Refusal]], Awaitable[None]] | None = None
        self.after_commit: Callable[[], Awaitable[None]] | None = None

    async def apply(self, batch: Batch, before_commit: BeforeCommit, deadline: float) -> int:
        if self.before_apply is not None:
            await self.before_apply(batch)

        async def committing(refused: Sequence[Refusal]) -> None:
            await before_commit(refused)
            if self.before_commit is not None:
                await self.before_commit(refused)

        had = await super().apply(batch, committing, deadline)
        if self.after_commit is not None:
            await self.after_commit()
        return had


class Broken(Exception):
    """A process dies here."""


def drain_of(worker: Worker, name: str = "pantler:drain:test") -> LogDrain:
    """As a worker of its own would have it."""
    return LogDrain(
        worker.store, worker.cache, worker.durability, name, worker.space, 0, worker.deployment
    )


async def expire_owner(worker: Worker) -> None:
    await worker.redis("DEL", keys.log_owner(worker.space.partitions[0]))
