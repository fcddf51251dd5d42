"""Waits until what a primary was told is on its disk, or at replicas.

WAIT and WAITAOF hold up their connection, and count from that connection's own last write: so they
have one of their own to each primary, and a key is written there that expires at once. Who comes
while one waits, waits with the others for the next.
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
# A Redis that is full refuses a SET, but not after what frees memory.
_WRITE = """
redis.call('UNLINK', KEYS[1])
redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
"""
FSYNC_TIMEOUT_S = 3.0  # `appendfsync everysec` takes 1 s, and 2 s on a disk that is busy


class Written(NamedTuple):
    """That something was written."""

    slot: int
    run_id: bytes
    """Of the primary that did it."""
    place: bytes
    """A key of the slot that may be written."""


class Safety(NamedTuple):
    """Where something is that was written, or is to be."""

    fsync: bool
    """On the primary's own disk."""
    replicas: int
    """At how many replicas."""


class _Waits:
    """Those at one primary for the same."""

    def __init__(self, node: Node, wanted: Safety, timeout_s: float) -> None:
        self._node = node
        self._wanted = wanted
        self._timeout_s = max(timeout_s, FSYNC_TIMEOUT_S) if wanted.fsync else timeout_s
        self._link: Link | None = None
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[tuple[bytes, Safety]] | None = None
        self._tasks: set[asyncio.Task[tuple[bytes, Safety]]] = set()

    async def stop(self) -> None:
        await background.stop(self._tasks)
        if self._link is not None:
            self._link.close("shutting down")

    async def join(self, written: Written, limit: float) -> Safety:
        """Where it is, as far as that was asked."""
        if self._next is None:
            self._next = asyncio.create_task(self._wait(written.place))
            background.keep(self._tasks, self._next)
        async with asyncio.timeout_at(limit):
            run_id, reached = await asyncio.shield(self._next)
        if run_id != written.run_id:
            raise LinkLost("another is the primary now, and may lack it", sent=True)
        return reached

    async def _wait(self, place: bytes) -> tuple[bytes, Safety]:
        async with self._turn:
            self._next = None  # who comes from now on may have written after what this waits for
            link = self._link or await self._open()
            fsync, replicas = self._wanted
            wait_ms = max(1, round((self._timeout_s - MARGIN_S) * 1000))
            commands = [pack("EVAL", _WRITE, 1, place, WRITTEN_MS)]
            if fsync:
                commands.append(pack("WAITAOF", 1, 0, wait_ms))
            if replicas:
                commands.append(pack("WAIT", replicas, wait_ms))
            deadline = asyncio.get_running_loop().time() + len(commands) * self._timeout_s
            _, *replies = await link.submit(commands, deadline)
            on_disk = fsync and int(replies[0][0]) == 1
            return link.run_id, Safety(on_disk, int(replies[-1]) if replicas else 0)

    async def _open(self) -> Link:
        self._link = await self._node.open_apart(self._forget, lambda _: None)
        return self._link

    def _forget(self) -> None:
        self._link = None


class Replication:
    """Connections for WAIT and WAITAOF, opened at their first use. `stop` after use."""

    def __init__(self, topology: RedisTopology, timeout_s: float) -> None:
        self._topology = topology
        self._timeout_s = timeout_s
        self._waits: dict[tuple[Node, Safety], _Waits] = {}

    async def stop(self) -> None:
        await asyncio.gather(*(waits.stop() for waits in self._waits.values()))

    async def wait(self, written: Iterable[Written], wanted: Safety, limit: float) -> Safety:
        """Where what was written is everywhere, as far as that is wanted. Raises LinkLost,
        ReplyFailed and CONNECT_ERRORS."""
        nodes: dict[Node, Written] = {}
        for one in written:
            node = self._topology.primary(one.slot)
            if node is None:
                raise LinkLost("no primary", sent=True)
            nodes[node] = one
        reached = await asyncio.gather(
            *(self._at(node, wanted).join(one, limit) for node, one in nodes.items())
        )
        return Safety(all(one.fsync for one in reached), min(one.replicas for one in reached))

    def _at(self, node: Node, wanted: Safety) -> _Waits:
        waits = self._waits.get((node, wanted))
        if waits is None:
            waits = self._waits[node, wanted] = _Waits(node, wanted, self._timeout_s)
        return waits
