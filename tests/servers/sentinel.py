"""A primary and its replicas under three Sentinels, all real."""

import asyncio
from pathlib import Path
from typing import Any, Self

from tests.servers.valkey import ValkeyServer, start_all

SERVICE = "pantler-test"
QUORUM = 2
DOWN_AFTER_MS = 500
# Its own periods are made for failovers that may take half a minute. A PING must be answered well
# within DOWN_AFTER_MS: the default sends the first one to a new primary when that already counts as
# down, and a second failover follows. And five times its period must exceed the second between two
# INFOs during a failover, or no replica is fresh enough to be promoted.
PERIODS_MS = ("PING-PERIOD", 250, "INFO-PERIOD", 500, "PUBLISH-PERIOD", 500)
READY_TIMEOUT_S = 20.0


class SentinelServer(ValkeyServer):
    """One Sentinel that watches the primary at `port`."""

    def __init__(self, watched_port: int, binary: Path | None) -> None:
        super().__init__(binary=binary)
        config = self.folder / "sentinel.conf"
        config.write_text(
            f"port {self.port}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {watched_port} {QUORUM}\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {SERVICE} 2000\n"
            f"sentinel parallel-syncs {SERVICE} 1\n"
        )
        self._arguments = (str(config), "--sentinel")

    async def start(self) -> None:
        await super().start()
        await self.execute("SENTINEL", "DEBUG", *PERIODS_MS)


class SentinelGroup:
    """Ready when a failover could succeed at once: all Sentinels know each other and all
    replicas."""

    def __init__(self, binary: Path | None = None, *, replicas: int = 1) -> None:
        # It is the primary that delays a sync, by 5 s unless told, and each of them may become it.
        at_once = ("--repl-diskless-sync-delay", "0")
        self.servers = [ValkeyServer(*at_once, binary=binary)]
        first = self.servers[0].port
        follows = ("--replicaof", f"127.0.0.1 {first}")
        self.servers += [ValkeyServer(*at_once, *follows, binary=binary) for _ in range(replicas)]
        self.sentinels = [SentinelServer(first, binary) for _ in range(3)]

    @property
    def addresses(self) -> list[str]:
        return [sentinel.address for sentinel in self.sentinels]

    async def __aenter__(self) -> Self:
        try:
            await start_all(self.servers)
            await start_all(self.sentinels)
            await self._until_ready()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.gather(*(server.stop() for server in (*self.sentinels, *self.servers)))

    async def primary(self) -> ValkeyServer:
        """The primary that the first Sentinel names."""
        _, port = await self.sentinels[0].execute("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    async def wait_for_new_primary(
        self, old: ValkeyServer, timeout_s: float = 15.0
    ) -> ValkeyServer:
        async with asyncio.timeout(timeout_s):
            while True:
                primary = await self.primary()
                if primary is not old and (await primary.execute("ROLE"))[0] == b"master":
                    return primary
                await asyncio.sleep(0.05)

    async def restart_dead(self) -> None:
        """Starts again what was killed, and waits until the group is whole: an old primary has
        become a replica of the new one."""
        servers = (*self.servers, *self.sentinels)
        await start_all(server for server in servers if not server.running)
        await self._until_ready()

    async def _until_ready(self) -> None:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while not all([await self._knows_all(sentinel) for sentinel in self.sentinels]):
                await asyncio.sleep(0.1)

    async def _knows_all(self, sentinel: SentinelServer) -> bool:
        state = await _master_state(sentinel)
        others, replicas = int(state["num-other-sentinels"]), int(state["num-slaves"])
        expected = (len(self.sentinels) - 1, len(self.servers) - 1, "master")
        if (others, replicas, state["flags"]) != expected:
            return False
        known = map(_text, await sentinel.execute("SENTINEL", "REPLICAS", SERVICE))
        return all(
            fields["master-link-status"] == "ok" and fields["flags"] == "slave" for fields in known
        )


async def _master_state(sentinel: SentinelServer) -> dict[str, str]:
    return _text(await sentinel.execute("SENTINEL", "MASTER", SERVICE))


def _text(fields: Any) -> dict[str, str]:
    """A reply of names and values, which redis-py may have parsed already or not."""
    pairs = (
        fields.items() if isinstance(fields, dict) else zip(fields[::2], fields[1::2], strict=True)
    )
    return {_str(name): _str(value) for name, value in pairs}


def _str(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
