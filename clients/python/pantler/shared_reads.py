"""Callers of one client that want the same at the same moment: one of them asks for all.

Joined are only those that come before the question is sent. Who comes later may know of something
that happened to the key meanwhile, which what is on its way does not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from pantler.errors import AWAY, PantlerError

T = TypeVar("T")


class SharedReads(Generic[T]):
    """Those of one client."""

    def __init__(self) -> None:
        self._joinable: dict[Hashable, list[asyncio.Future[T | PantlerError | None]]] = {}

    async def read(self, what: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """What `read` gives, that of this caller or of another. It is called in this tick of the
        event loop, and must send nothing in it. That the server is away all raise; where the `read`
        of another fails otherwise, is cancelled, or gives nothing, the next caller reads."""
        loop = asyncio.get_running_loop()
        while (joined := self._joinable.get(what)) is not None:
            waiting: asyncio.Future[T | PantlerError | None] = loop.create_future()
            joined.append(waiting)
            came_to = await waiting
            if isinstance(came_to, PantlerError):
                raise came_to.with_traceback(None)
            if came_to:
                return came_to
        joined = self._joinable[what] = []
        loop.call_soon(self._close, what, joined)
        came_to = None
        try:
            came_to = await read()
        except AWAY as exc:
            came_to = exc
            raise
        finally:
            self._close(what, joined)  # it may have ended at once
            for waiting in joined:
                if not waiting.done():
                    waiting.set_result(came_to)
        return came_to

    def _close(self, what: Hashable, joined: list[asyncio.Future[T | PantlerError | None]]) -> None:
        if self._joinable.get(what) is joined:
            del self._joinable[what]
