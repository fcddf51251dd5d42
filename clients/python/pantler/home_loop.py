"""The event loop that a client is of: that of its first use, which gRPC ties its channels to."""

import asyncio

from pantler.errors import PantlerError

ANOTHERS = "the client is another event loop's: make one in each, and close it"


class HomeLoop:
    """That of one client."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_gone(self) -> bool:
        """Whether it was closed, so that nothing of the client runs any more."""
        return self._loop is not None and self._loop.is_closed()

    def check(self) -> None:
        """Raises PantlerError in another one. The first in which it is called is the client's."""
        running = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = running
        elif self._loop is not running:
            raise PantlerError(ANOTHERS)
