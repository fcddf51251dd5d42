"""Which server holds what: one interface over every way to run Redis.

The standalone server (embedded or configured) is here; store/sentinel.py and store/cluster.py have
the topologies whose servers change and must be looked for.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress

from pantler_server.core import background
from pantler_server.core.redis_config import Topology
from pantler_server.store.connect import Address, Connector, Greeting
from pantler_server.store.node import Node

LOOK_INTERVAL_S = 1.0  # how soon a change is noticed that no reply shows
LOOK_AGAIN_S = 0.05  # the shortest pause between two looks, however many replies ask for one


class RedisTopology(ABC):
    """The servers of one role. `start` before use, `stop` after it."""

    kind: Topology
    default_partitions = 1
    """Over how many partitions a new namespace is spread."""

    @abstractmethod
    async def start(self) -> None:
        """Finds the servers and begins to connect; a Redis that is away is looked for further."""

    @abstractmethod
    async def stop(self) -> None:
        """Closes every connection; calls under way fail with LinkLost."""

    @abstractmethod
    def primary(self, slot: int) -> Node | None:
        """The server that takes writes for a slot; None while it isn't known."""

    @abstractmethod
    def primaries(self) -> Sequence[Node]:
        """Every server that takes writes; none while none is known."""

    def replica(self, slot: int) -> Node | None:
        """A connected server that may answer reads for a slot and may be behind, if there is
        one."""
        return None

    def suspect(self) -> None:  # noqa: B027 - a fixed server has nothing to look for
        """Told when an answer shows that servers changed their roles: look again now."""

    def redirected(self, address: Address) -> Node | None:
        """The server that a MOVED or ASK reply names."""
        return None


class StandaloneTopology(RedisTopology):
    """One server at a fixed address."""

    def __init__(self, kind: Topology, connector: Connector, address: Address, links: int) -> None:
        self.kind = kind
        self._node = Node(address, connector, links)

    async def start(self) -> None:
        self._node.start()

    async def stop(self) -> None:
        await self._node.stop()

    def primary(self, slot: int) -> Node | None:
        return self._node

    def primaries(self) -> Sequence[Node]:
        return (self._node,)


class DiscoveredTopology(RedisTopology):
    """Servers that are looked for: at the start, at an interval, and when `suspect` says so."""

    def __init__(self, connector: Connector, links: int) -> None:
        self._connector = connector
        self._link_count = links
        self._nodes: dict[tuple[Address, Greeting | None], Node] = {}
        self._look_now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._replicas_wanted = False

    @abstractmethod
    async def look(self) -> None:
        """Finds out who is what, and connects accordingly. Keeps what it has when nobody
        answers."""

    async def start(self) -> None:
        await self.look()
        self._task = background.start(self._keep_looking(), f"redis {self.kind}")

    async def stop(self) -> None:
        if self._task is not None:
            await background.stop((self._task,))
        await asyncio.gather(*(node.stop() for node in self._nodes.values()))

    def suspect(self) -> None:
        self._look_now.set()

    async def _keep_looking(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_INTERVAL_S):
                    await self._look_now.wait()
            self._look_now.clear()
            await self.look()
            await asyncio.sleep(LOOK_AGAIN_S)

    def _want_replicas(self) -> None:
        """Replicas are connected from the first read that may use one."""
        if not self._replicas_wanted:
            self._replicas_wanted = True
            self.suspect()

    def _node(self, address: Address, greet: Greeting | None = None) -> Node:
        """The node of an address, started at its first use."""
        node = self._nodes.get((address, greet))
        if node is None:
            node = Node(address, self._connector, self._link_count, greet)
            node.start()
            self._nodes[address, greet] = node
        return node

    async def _forget_all_but(self, used: set[Node]) -> None:
        unused = [place for place, node in self._nodes.items() if node not in used]
        await asyncio.gather(*(self._nodes.pop(place).stop() for place in unused))
