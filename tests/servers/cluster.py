"""A real Redis Cluster: three primaries, each with a replica."""

import asyncio
from pathlib import Path
from typing import Self

from redis.exceptions import ResponseError

from tests.servers.valkey import ValkeyServer, start_all

SLOTS = 16384
PRIMARIES = 3
NODE_TIMEOUT_MS = 1000
READY_TIMEOUT_S = 20.0


class ClusterGroup:
    """Ready when every node sees the cluster as whole and every replica is linked."""

    def __init__(self, binary: Path | None = None) -> None:
        self.servers = [
            ValkeyServer(
                *("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
                *("--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0"),
                *("--cluster-replica-validity-factor", "0"),
                binary=binary,
            )
            for _ in range(2 * PRIMARIES)
        ]
        self.primaries = self.servers[:PRIMARIES]
        self.replicas = self.servers[PRIMARIES:]

    @property
    def addresses(self) -> list[str]:
        return [server.address for server in self.servers]

    async def __aenter__(self) -> Self:
        try:
            await self._form()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.gather(*(server.stop() for server in self.servers))

    async def _form(self) -> None:
        await start_all(self.servers)
        bounds = [SLOTS * index // PRIMARIES for index in range(PRIMARIES + 1)]
        for server, first, after in zip(self.primaries, bounds, bounds[1:], strict=False):
            await server.execute("CLUSTER", "ADDSLOTSRANGE", first, after - 1)
        for server in self.servers[1:]:
            await self.servers[0].execute("CLUSTER", "MEET", "127.0.0.1", server.port)
        async with asyncio.timeout(READY_TIMEOUT_S):
            await self._until_all_know(f"cluster_known_nodes:{len(self.servers)}")
            for primary, replica in zip(self.primaries, self.replicas, strict=True):
                await self._follow(replica, await self.node_id(primary))
            await self._until_all_know("cluster_state:ok")
            for replica in self.replicas:
                while (await replica.execute("ROLE"))[3] != b"connected":
                    await asyncio.sleep(0.05)
            while not await self._all_see_replicas():
                await asyncio.sleep(0.05)

    async def _follow(self, replica: ValkeyServer, primary_id: str) -> None:
        """A node that it knows it may know by another name yet, until both have shaken hands."""
        while True:
            try:
                await replica.execute("CLUSTER", "REPLICATE", primary_id)
            except ResponseError as exc:
                if "Unknown node" not in str(exc):
                    raise
                await asyncio.sleep(0.05)
            else:
                return

    async def node_id(self, server: ValkeyServer) -> str:
        answer: bytes = await server.execute("CLUSTER", "MYID")
        return answer.decode()

    def owner(self, slot: int) -> ValkeyServer:
        """The primary that had the slot when the cluster was formed."""
        return self.primaries[min(slot * PRIMARIES // SLOTS, PRIMARIES - 1)]

    async def wait_for_promotion(self, replica: ValkeyServer, timeout_s: float = 20.0) -> None:
        async with asyncio.timeout(timeout_s):
            while (await replica.execute("ROLE"))[0] != b"master":
                await asyncio.sleep(0.05)

    async def begin_move(self, slot: int, target: ValkeyServer) -> None:
        """Half moves a slot: keys that its owner does not have are asked for at the target."""
        source = self.owner(slot)
        await target.execute("CLUSTER", "SETSLOT", slot, "IMPORTING", await self.node_id(source))
        await source.execute("CLUSTER", "SETSLOT", slot, "MIGRATING", await self.node_id(target))

    async def end_move(self, slot: int, target: ValkeyServer) -> None:
        """Gives a slot to the target, with the keys that it has there."""
        for server in (target, *(one for one in self.primaries if one is not target)):
            await server.execute("CLUSTER", "SETSLOT", slot, "NODE", await self.node_id(target))

    async def _until_all_know(self, line: str) -> None:
        for server in self.servers:
            while line not in await self._info(server):
                await asyncio.sleep(0.05)

    async def _all_see_replicas(self) -> bool:
        counts = [len(await server.execute("CLUSTER", "SHARDS")) for server in self.servers]
        nodes = [str(await server.execute("CLUSTER", "NODES")) for server in self.servers]
        return set(counts) == {PRIMARIES} and all(
            text.count("slave") == PRIMARIES for text in nodes
        )

    async def _info(self, server: ValkeyServer) -> str:
        # redis-py parses CLUSTER INFO into a dictionary
        info = await server.execute("CLUSTER", "INFO")
        return (
            str(info)
            if not isinstance(info, dict)
            else "\n".join(f"{name}:{value}" for name, value in info.items())
        )
