"""The line between the supervisor and a worker: JSON objects over a socket pair, one a line.

    worker -> supervisor    ready, failed {message}, reload, applied
    supervisor -> worker    start {settings, worker, embedded_socket}, apply {settings},
                            reloaded {changed, restart_required, problems}

When either end closes it, the other process is gone: a worker then drains and ends.
"""

import asyncio
import json
import socket
from typing import Any

MAX_LINE_BYTES = 16 << 20  # a configuration with tens of thousands of namespaces


class ControlChannel:
    """One end of the line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> "ControlChannel":
        return cls(*await asyncio.open_unix_connection(sock=end, limit=MAX_LINE_BYTES))

    def send(self, kind: str, **fields: Any) -> None:
        """Queues a message. To a process that is gone: nothing happens."""
        self._writer.write(json.dumps({"kind": kind, **fields}).encode() + b"\n")

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None when the other end is gone."""
        try:
            line = await self._reader.readline()
        except OSError:
            return None
        message: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        return message

    def close(self) -> None:
        self._writer.close()
