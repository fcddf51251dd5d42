"""A TCP proxy in front of a server that can stall, swallow replies and cut connections."""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Self


class FaultProxy:
    """Passes everything on until it is told otherwise. `mark` is what some connections send and
    others don't, to tell them apart."""

    def __init__(self, target_port: int, mark: bytes = b"") -> None:
        self.port = 0
        self._target_port = target_port
        self._mark = mark
        self._marked: set[tuple[asyncio.Event, asyncio.Event]] = set()
        self._forward_requests = asyncio.Event()
        self._forward_replies = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusing = False
        self.restore()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def restore(self) -> None:
        self._forward_requests.set()
        self._forward_replies.set()
        self._refusing = False

    def stall(self) -> None:
        """Nothing passes in either direction; connections stay open."""
        self._forward_requests.clear()
        self._forward_replies.clear()

    def stall_marked(self, *, replies_only: bool = False) -> None:
        """As `stall`, or `hold_replies`, for those connections only that have sent the mark."""
        assert self._marked
        for requests, replies in self._marked:
            replies.clear()
            if not replies_only:
                requests.clear()

    def hold_replies(self) -> None:
        """Requests reach the server, and its replies don't come back."""
        self._forward_replies.clear()

    def refuse(self) -> None:
        """New connections are reset; those that are open go on."""
        self._refusing = True

    def cut(self) -> None:
        """Resets every connection now; what was held is lost."""
        for writer in tuple(self._writers):
            _reset(writer)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            _reset(writer)
            return
        try:
            behind = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        own = asyncio.Event(), asyncio.Event()
        for source, target, gate, own_gate in (
            (reader, behind[1], self._forward_requests, own[0]),
            (behind[0], writer, self._forward_replies, own[1]),
        ):
            own_gate.set()
            marked = own if source is reader and self._mark else None
            task = asyncio.create_task(self._pump(source, target, (gate, own_gate), marked))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        gates: tuple[asyncio.Event, asyncio.Event],
        marked: tuple[asyncio.Event, asyncio.Event] | None,
    ) -> None:
        self._writers.add(target)
        with suppress(OSError):
            while data := await source.read(65536):
                if marked is not None and self._mark in data:
                    self._marked.add(marked)
                for gate in gates:
                    await gate.wait()
                target.write(data)
                await target.drain()
        self._writers.discard(target)
        if marked is not None:
            self._marked.discard(marked)
        target.transport.abort()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection by a TCP reset, where a plain close would tell the peer of an orderly
    end."""
    linger_no_time = struct.pack("ii", 1, 0)
    with suppress(OSError):  # it has ended already
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, linger_no_time
        )
    writer.transport.abort()
