"""Lets a worker stop without losing calls that have reached it.

When grpc.aio is stopped, gRPC's core cancels what it has not handed out yet, and what clients still
send until they see that the connection closes; they are told CANCELLED, which says nothing. So a
worker that stops first refuses new calls, with an error that says that nothing was done and when to
come back, and closes its connections when for a moment no call came in.
"""

import asyncio

from pantler_server.core.errors import ShuttingDown

LULL_S = 0.02  # longer than a round trip, and shorter than the RetryInfo of the refusal
LONGEST_WAIT_S = 1.0  # for a lull, if callers do not heed the RetryInfo


class Gate:
    """What every call passes on its way in."""

    def __init__(self) -> None:
        self._arrivals = 0
        self._closed = False

    def enter(self) -> None:
        """Lets a call in, or refuses it with ShuttingDown."""
        self._arrivals += 1
        if self._closed:
            raise ShuttingDown("this worker is shutting down; nothing was done")

    async def close(self) -> None:
        """Refuses calls from now on; returns in a lull, or when there was none for too long."""
        self._closed = True
        loop = asyncio.get_running_loop()
        until = loop.time() + LONGEST_WAIT_S
        before = -1
        while self._arrivals != before and loop.time() < until:
            before = self._arrivals
            await asyncio.sleep(LULL_S)
