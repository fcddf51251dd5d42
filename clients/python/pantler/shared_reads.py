"""Callers of one client that want the same: one of them asks, or fetches, for all.

What is asked at the same moment is asked once (`SharedReads`). Joined are only those that come
before the question is sent. Who comes later may know of something that happened to the key
meanwhile, which what is on its way does not.

The server lets those that wait for a key fetch one after the other, until one has a value. Of a
fetch that gives none they would all wait for their turn; so they share what it came to, if they
waited when it began (`FruitlessFetches`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from types import TracebackType
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class _CameTo(NamedTuple, Generic[T]):
    """What a read did, that was not cancelled."""

    value: T | None
    error: Exception | None = None
    traceback: TracebackType | None = None
    """That of the error then: each who raises it adds to it."""


class SharedReads(Generic[T]):
    """Those of one client."""

    def __init__(self) -> None:
        self._joinable: dict[Hashable, list[asyncio.Future[_CameTo[T] | None]]] = {}

    async def read(self, what: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """What `read` gives or raises, that of this caller or of another. It is called in this tick
        of the event loop, and must send nothing in it. Where the `read` of another is cancelled,
        the next caller reads."""
        loop = asyncio.get_running_loop()
        while (joined := self._joinable.get(what)) is not None:
            waiting: asyncio.Future[_CameTo[T] | None] = loop.create_future()
            joined.append(waiting)
            came_to = await waiting
            if came_to is not None:
                if came_to.error is not None:
                    raise came_to.error.with_traceback(came_to.traceback)
                return came_to.value  # type: ignore[return-value]
        joined = self._joinable[what] = []
        loop.call_soon(self._close, what, joined)
        came_to = None
        try:
            value = await read()
            came_to = _CameTo(value)
            return value
        except Exception as exc:
            came_to = _CameTo(None, exc, exc.__traceback__)
            raise
        finally:
            self._close(what, joined)  # it may have ended at once
            for waiting in joined:
                if not waiting.done():
                    waiting.set_result(came_to)
            del came_to  # else an error would keep itself alive through this frame

    def _close(self, what: Hashable, joined: list[asyncio.Future[_CameTo[T] | None]]) -> None:
        if self._joinable.get(what) is joined:
            del self._joinable[what]


class Fruitless(NamedTuple):
    """A fetch that gave no value."""

    error: Exception | None
    """What it failed with, if it did."""
    traceback: TracebackType | None
    released: "asyncio.Task[object]"
    """Gives its leases back."""


Waiting = asyncio.Future[Fruitless | None]


class FruitlessFetches:
    """Those of one client, and who waits at the server meanwhile."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, set[Waiting]] = {}

    def wait(self, what: Hashable, asking: "asyncio.Task[object]") -> Waiting:
        """Comes to None when the server has answered; before that, to what a fetch came to that
        began after this."""
        waiting: Waiting = asyncio.get_running_loop().create_future()
        waiters = self._waiting.setdefault(what, set())
        waiters.add(waiting)

        def answered(_: object) -> None:
            if not waiting.done():
                waiting.set_result(None)

        def ended(_: object) -> None:
            asking.remove_done_callback(answered)
            waiters.discard(waiting)
            if not waiters and self._waiting.get(what) is waiters:
                del self._waiting[what]

        asking.add_done_callback(answered)
        waiting.add_done_callback(ended)
        return waiting

    def waiting(self, what: Hashable) -> list[Waiting]:
        """Who waits now, when a fetch begins."""
        return list(self._waiting.get(what, ()))


def share(came_to: Fruitless, waiting: Iterable[Waiting]) -> None:
    """With those that still wait."""
    for one in waiting:
        if not one.done():
            one.set_result(came_to)
