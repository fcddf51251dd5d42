"""What all calls of a client have in common: the channel, and what runs beside them."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from functools import cached_property
from typing import Any, Self

import grpc.aio

from pantler.errors import PantlerError

_CHANNEL_OPTIONS = (
    # gRPC's own bound, 4 MiB, is below what a server may be configured to hold and to answer.
    ("grpc.max_receive_message_length", -1),
    # gRPC's own, 2 min, would let a server's return go unnoticed for longer than slots are held.
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class Connection:
    """The connection of a client, which derives from it, and so do the calls of each service."""

    def __init__(
        self, address: str = "127.0.0.1:50051", *, timeout: timedelta = timedelta(seconds=5)
    ) -> None:
        self._address = address
        self._timeout_s = timeout.total_seconds()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._until_closed: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._address!r})"

    async def close(self) -> None:
        """Closes the connection, for good. Calls under way fail; fetches in the background are
        cancelled, and leases given back."""
        self._closed = True
        for task in self._until_closed:
            task.cancel()
        while self._tasks:  # a fetch that is cancelled starts to give its lease back
            await asyncio.wait(tuple(self._tasks))
        await self._channel.close()

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        """Opened at its first use: gRPC ties it to the event loop that runs then."""
        return grpc.aio.insecure_channel(self._address, options=_CHANNEL_OPTIONS)

    def _background(
        self, work: Coroutine[Any, Any, object], *, until_closed: bool = False
    ) -> asyncio.Task[Any]:
        """Runs work that goes on if its caller is cancelled; `close` waits for it."""
        if until_closed and self._closed:
            work.close()
            raise PantlerError("the client is closed")
        task = asyncio.create_task(work)
        for owner in (self._tasks, self._until_closed) if until_closed else (self._tasks,):
            owner.add(task)
            task.add_done_callback(owner.discard)
        return task
