"""A guarded origin over a service, and what tests of it have in common."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest
from pantler_server.core.errors import (
    OriginUnavailable,
)
from pantler_server.core.record import Operation, Record
from pantler_server.origins.grpc import GrpcOrigin
from pantler_server.origins.guard import GuardedOrigin
from pantler_server.origins.origin import Write

from tests.servers.origin_service import OriginService

FAILURES, PAUSE_S, TURNS = 3, 30.0, 4


INSERT = Write("ada", Operation.INSERT, {}, 1)


class Clock:
    """The breaker's, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Origin(GrpcOrigin):
    """With what no service can do: not to let itself be cancelled, to start slowly, to have keys to
    list."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.lets_go = asyncio.Event()
        self.started = asyncio.Event()
        self.started.set()

    async def start(self) -> None:
        await self.started.wait()
        await super().start()

    async def load(self, key: str, deadline: float) -> Record | None:
        if key != "stubborn":
            return await super().load(key, deadline)
        while not self.lets_go.is_set():
            try:
                await self.lets_go.wait()
            except asyncio.CancelledError:
                continue
        return {}

    async def list_keys(
        self, query: str | None, after: str, page_size: int
    ) -> AsyncIterator[Sequence[str]]:
        for page in (["a", "b"], ["c"]):
            await self.load(page[0], soon())
            yield page


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def loads(origin: GuardedOrigin, calls: int, deadline: float) -> list[Any]:
    """What each of them came to."""
    return await asyncio.gather(
        *(origin.load("ada", deadline) for _ in range(calls)), return_exceptions=True
    )


async def entered(service: OriginService, calls: int) -> None:
    """Waits until so many are under way."""
    async with asyncio.timeout(5):
        while service.under_way != calls:
            await asyncio.sleep(0.001)


async def fail(origin: GuardedOrigin, service: OriginService) -> None:
    """Until it is left alone."""
    service.fails = grpc.StatusCode.UNAVAILABLE
    for _ in range(FAILURES):
        with pytest.raises(OriginUnavailable, match="is not available"):
            await origin.load("ada", soon())
    service.fails = None
    assert not origin.health.available
