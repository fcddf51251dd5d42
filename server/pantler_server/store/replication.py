"""Waits until replicas have what a primary was told.

WAIT holds up its connection, and counts from that connection's own last write: so it has one of its
own to each primary, and writes a key there that expires at once.
"""

import asyncio
from collections.abc import Mapping

from pantler_server.store.link import Link, LinkLost
from pantler_server.store.node import Node
from pantler_server.store.request import pack
from pantler_server.store.topology import RedisTopology

MARGIN_S = 0.05  # of the time there is, so that the reply still arrives
WRITTEN_MS = 1000


class Replication:
    """Connections for WAIT, opened at their first use. `stop` after use."""

    def __init__(self, topology: RedisTopology) -> None:
        self._topology = topology
        self._links: dict[Node, Link] = {}

    def stop(self) -> None:
        for link in tuple(self._links.values()):
            link.close("shutting down")

    async def wait(self, places: Mapping[int, bytes], wanted: int, limit: float) -> int:
        """How many replicas have all that was done so far, at the primary with the fewest, of those
        that serve the slots of `places`: keys that may be written, by slot. Raises LinkLost,
        ReplyFailed and CONNECT_ERRORS."""
        nodes: dict[Node, bytes] = {}
        for slot, place in places.items():
            node = self._topology.primary(slot)
            if node is None:
                raise LinkLost("no primary", sent=False)
            nodes[node] = place
        asked = (self._ask(node, place, wanted, limit) for node, place in nodes.items())
        return min(await asyncio.gather(*asked))

    async def _ask(self, node: Node, place: bytes, wanted: int, limit: float) -> int:
        link = self._links.get(node) or await self._open(node)
        left_s = limit - asyncio.get_running_loop().time() - MARGIN_S
        commands = (
            pack("SET", place, b"", "PX", WRITTEN_MS),
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
