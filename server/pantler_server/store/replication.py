"""Waits until replicas have what a primary was told.

WAIT holds up its connection, and counts from that connection's own last write: so it has one of its
own to each primary, and writes a key there that expires at once. Who comes while one waits, waits
with the others for the next.
"""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from pantler_server.core import background
from pantler_server.store.link import Link, LinkLost
from pantler_server.store.node import Node
from pantler_server.store.request import pack
from pantler_server.store.topology import RedisTopology

MARGIN_S = 0.05  # of the time there is, so that the reply still arrives
WRITTEN_MS = 1000


class Written(NamedTuple):
    """That something was written."""

    slot: int
    run_id: bytes
    """Of the primary that did it."""
    place: bytes
    """A key of the slot that may be written."""


class _Waits:
    """Those at one primary for so many replicas."""

    def __init__(self, node: Node, wanted: int, timeout_s: float) -> None:
        self._node = node
        self._wanted = wanted
        self._timeout_s = timeout_s
        self._link: Link | None = None
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[tuple[bytes, int]] | None = None
        self._tasks: set[asyncio.Task[tuple[bytes, int]]] = set()

    async def stop(self) -> None:
        await background.stop(self._tasks)
        if self._link is not None:
            self._link.close("shutting down")

    async def join(self, written: Written, limit: float) -> int:
        """How many replicas have it."""
        if self._next is None:
            self._next = asyncio.create_task(self._wait(written.place))
            self._tasks.add(self._next)
            self._next.add_done_callback(self._ended)
        async with asyncio.timeout_at(limit):
            run_id, reached = await asyncio.shield(self._next)
        if run_id != written.run_id:
            raise LinkLost("another is the primary now, and may lack it", sent=True)
        return reached

    async def _wait(self, place: bytes) -> tuple[bytes, int]:
        async with self._turn:
            self._next = None  # who comes from now on may have written after what this waits for
            link = self._link or await self._open()
            commands = (
                pack("SET", place, b"", "PX", WRITTEN_MS),
                pack("WAIT", self._wanted, max(1, round((self._timeout_s - MARGIN_S) * 1000))),
            )
            deadline = asyncio.get_running_loop().time() + self._timeout_s
            _, reached = await link.submit(commands, deadline)
            return link.run_id, int(reached)

    async def _open(self) -> Link:
        self._link = await self._node.open_apart(self._forget, lambda _: None)
        return self._link

    def _forget(self) -> None:
        self._link = None

    def _ended(self, task: asyncio.Task[tuple[bytes, int]]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # who waited has it; else the log has it as never retrieved


class Replication:
    """Connections for WAIT, opened at their first use. `stop` after use."""

    def __init__(self, topology: RedisTopology, timeout_s: float) -> None:
        self._topology = topology
        self._timeout_s = timeout_s
        self._waits: dict[tuple[Node, int], _Waits] = {}

    async def stop(self) -> None:
        await asyncio.gather(*(waits.stop() for waits in self._waits.values()))

    async def wait(self, written: Iterable[Written], wanted: int, limit: float) -> int:
        """How many replicas have what was written, at the primary with the fewest. Raises LinkLost,
        ReplyFailed and CONNECT_ERRORS."""
        nodes: dict[Node, Written] = {}
        for one in written:
            node = self._topology.primary(one.slot)
            if node is None:
                raise LinkLost("no primary", sent=True)
            nodes[node] = one
        return min(
            await asyncio.gather(
                *(self._at(node, wanted).join(one, limit) for node, one in nodes.items())
            )
        )

    def _at(self, node: Node, wanted: int) -> _Waits:
        waits = self._waits.get((node, wanted))
        if waits is None:
            waits = self._waits[node, wanted] = _Waits(node, wanted, self._timeout_s)
        return waits
