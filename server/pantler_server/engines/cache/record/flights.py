"""Reads of one key that come together: one of them reads, and the others get its answer.

A read can be joined until the event loop has turned. It has not been sent before then, or only just
now: nothing that has happened since, elsewhere, can have reached whoever joins. So each is answered
from a read that was sent after it could last have heard of a change.
"""

import asyncio
from types import TracebackType

from pantler_server.core.errors import ServiceError
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache.record.model import Found

SLACK_S = 0.05  # between the deadlines of those who share a read: whoever joins needs no timer


class Flight:
    """A read that others may join. Whatever ends it answers them."""

    __slots__ = ("deadline", "found", "has_ended", "joined", "space")

    def __init__(self, space: Namespace, deadline: float) -> None:
        self.space = space
        self.deadline = deadline
        self.joined: list[asyncio.Future[Found | None]] = []
        self.found: Found | None = None
        self.has_ended = False

    def __enter__(self) -> "Flight":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.has_ended = True
        for one in self.joined:
            if one.done():  # cancelled
                continue
            if isinstance(error, ServiceError):
                one.set_exception(error)
            else:
                one.set_result(self.found)


class Flights:
    """Those of a worker."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._open: dict[tuple[str, str], Flight] = {}

    def join(
        self, space: Namespace, key: str, deadline: float
    ) -> "asyncio.Future[Found | None] | None":
        """The answer of a read that has just begun, None if there is none. It is None itself if
        whoever read was cancelled: then ask again."""
        flight = self._open.get((space.name, key))
        if flight is None or flight.has_ended or flight.space is not space:
            return None
        if abs(flight.deadline - deadline) > SLACK_S:
            return None
        answer: asyncio.Future[Found | None] = self._loop.create_future()
        flight.joined.append(answer)
        return answer

    def begin(self, space: Namespace, key: str, deadline: float) -> Flight:
        """A read that others can join now. It must ask Redis, if it asks at all, before it waits
        for anything else."""
        flight = Flight(space, deadline)
        name = space.name, key
        self._open[name] = flight
        self._loop.call_soon(self._open.pop, name, None)
        return flight
