"""A Redis Cluster: 16,384 slots spread over primaries, each with replicas."""

import asyncio
from collections.abc import Sequence
from itertools import chain, count

import structlog

from pantler_server.core.redis_config import ClusterSeeds, RedisConfig, Topology
from pantler_server.store.connect import Address, Connector, allow_replica_reads
from pantler_server.store.link import LinkLost, Reply, ReplyFailed
from pantler_server.store.node import Node
from pantler_server.store.request import pack
from pantler_server.store.topology import DiscoveredTopology

log = structlog.get_logger(__name__)

SLOTS = 16384  # of every Redis Cluster


class ClusterTopology(DiscoveredTopology):
    """The servers of a Cluster, found through any of them."""

    kind = Topology.CLUSTER
    default_partitions = 64  # spreads a namespace evenly enough over tens of primaries

    def __init__(self, config: RedisConfig, seeds: ClusterSeeds, connector: Connector) -> None:
        super().__init__(connector, config.connections)
        self._seeds = tuple(map(Address.parse, seeds.nodes))
        self._timeout_s = connector.timeout.total_seconds()
        self._primaries: list[Node | None] = [None] * SLOTS
        self._replicas: list[tuple[Node, ...]] = [()] * SLOTS
        self._known: tuple[Node, ...] = ()
        self._turn = count()

    def primary(self, slot: int) -> Node | None:
        return self._primaries[slot]

    def primaries(self) -> Sequence[Node]:
        return self._known

    def replica(self, slot: int) -> Node | None:
        self._want_replicas()
        connected = [node for node in self._replicas[slot] if node.available]
        return connected[next(self._turn) % len(connected)] if connected else None

    def redirected(self, address: Address) -> Node | None:
        return self._node(address)

    async def look(self) -> None:
        """One CLUSTER SLOTS, answered by the first server that can."""
        # The seeds lazily: most of the time the first server known answers, and none is connected.
        for node in chain(self._known, map(self._node, self._seeds)):
            ranges = await self._ask(node)
            if ranges is not None:
                await self._adopt(node, ranges)
                return
        log.debug("no server of the cluster answers")

    async def _ask(self, node: Node) -> list[Reply] | None:
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        await node.wait_connected(deadline)
        link = node.pick()
        if link is None:
            return None
        try:
            [ranges] = await link.submit((pack("CLUSTER", "SLOTS"),), deadline)
        except (LinkLost, ReplyFailed):
            return None
        return ranges or None  # a server that was reset knows no slots

    async def _adopt(self, asked: Node, ranges: list[Reply]) -> None:
        primaries: list[Node | None] = [None] * SLOTS
        replicas: list[tuple[Node, ...]] = [()] * SLOTS
        used: dict[Node, None] = {}
        for first, last, primary, *others in ranges:
            node = self._node(_announced(primary, asked))
            copies = tuple(
                self._node(_announced(other, asked), allow_replica_reads)
                for other in (others if self._replicas_wanted else ())
            )
            primaries[first : last + 1] = [node] * (last + 1 - first)
            replicas[first : last + 1] = [copies] * (last + 1 - first)
            used[node] = None
            for copy in copies:
                used[copy] = None
        self._known = tuple(node for node in used if node in set(primaries))
        self._primaries, self._replicas = primaries, replicas
        await self._forget_all_but(set(used))


def _announced(server: list[Reply], asked: Node) -> Address:
    """The address that CLUSTER SLOTS gives a server; a host left out is that of the server
    asked."""
    host = server[0].decode() if server[0] else ""
    return Address(host or asked.address.host, server[1])
