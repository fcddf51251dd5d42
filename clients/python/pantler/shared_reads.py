"""Callers of one client that want the same at the same moment: one of them asks for all.

Joined are only those that come before the question is sent. Who comes later may know of something
that happened to the key meanwhile, which what is on its way does not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from pantler.errors import PantlerError

T = TypeVar("T")


class SharedReads(Generic[T]):
    """Those of one client."""

    def __init__(self) -> None:
        self._joinable: dict[Hashable, list[asyncio.Future[T | PantlerError | None]]] = {}

    async def read(
        self,
        what: Hashable,
        read: Callable[[], Awaitable[T]],
        is_common: Callable[[PantlerError], bool],
    ) -> T:
        """What `read` gives, that of this caller or of another. It is called in this tick of the
        event loop, and must send nothing in it. An error that `is_common` all raise; where that of
        another fails otherwise, or is cancelled, the next caller reads."""
        loop = asyncio.get_running_loop()
        while (joined := self._joinable.get(what)) is not None:
            waiting: asyncio.Future[T | PantlerError | None] = loop.create_future()
            joined.append(waiting)
            came_to = await waiting
            if isinstance(came_to, PantlerError):
                raise came_to.with_traceback(None)
            if came_to is not None:
                return came_to
        joined = self._joinable[what] = []
        loop.call_soon(self._joinable.pop, what)
        came_to = None
        try:
            came_to = await read()
        except PantlerError as exc:
            came_to = exc if is_common(exc) else None
            raise
        finally:
            for waiting in joined:
                if not waiting.done():
                    waiting.set_result(came_to)
        return came_to
