"""Waits until replicas have what a primary was told.

WAIT holds up its connection, and counts from that connection's own last write: so it has one of its
own to each primary, and writes a key there that expires at once.
"""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

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


class Replication:
    """Connections for WAIT, opened at their first use. `stop` after use."""

    def __init__(self, topology: RedisTopology) -> None:
        self._topology = topology
        self._links: dict[Node, Link] = {}

    def stop(self) -> None:
        for link in tuple(self._links.values()):
            link.close("shutting down")

    async def wait(self, written: Iterable[Written], wanted: int, limit: float) -> int:
        """How many replicas have what was written, at the primary with the fewest. Raises LinkLost,
        ReplyFailed and CONNECT_ERRORS."""
        nodes: dict[Node, Written] = {}
        for one in written:
            node = self._topology.primary(one.slot)
            if node is None:
                raise LinkLost("no primary", sent=True)
            nodes[node] = one
        asked = (self._ask(node, one, wanted, limit) for node, one in nodes.items())
        return min(await asyncio.gather(*asked))

    async def _ask(self, node: Node, written: Written, wanted: int, limit: float) -> int:
        link = self._links.get(node) or await self._open(node)
        if link.run_id != written.run_id:
            raise LinkLost("another is the primary now, and may lack it", sent=True)
        left_s = limit - asyncio.get_running_loop().time() - MARGIN_S
        commands = (
            pack("SET", written.place, b"", "PX", WRITTEN_MS),
            pack("WAIT", wanted, max(1, round(left_s * 1000))),
        )
        _, reached = await link.submit(commands, limit)
        return int(reached)

    async def _open(self, node: Node) -> Link:
        link = await node.open_apart(lambda: self._forget(node), lambda _: None)
        known = self._links.get(node)
        if known is not None:  # another was opened meanwhile
            link.close("not needed")
            return known
        self._links[node] = link
        return link

    def _forget(self, node: Node) -> None:
        self._links.pop(node, None)
