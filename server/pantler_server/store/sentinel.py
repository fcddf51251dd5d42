"""A primary with replicas under Sentinels, which say who is who and promote a replica when
needed."""

import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from pantler_server.core.redis_config import RedisConfig, SentinelGroup, Topology
from pantler_server.store.connect import (
    CONNECT_ERRORS,
    Address,
    Connector,
    require_primary,
    tls_options,
)
from pantler_server.store.node import Node
from pantler_server.store.topology import DiscoveredTopology

log = structlog.get_logger(__name__)


class SentinelTopology(DiscoveredTopology):
    """The servers behind one service name.

    A server is used for writes only while the Sentinels name it and it says itself, on each new
    connection, that it is a primary. A primary that was cut off from its Sentinels keeps taking
    writes until this worker sees the new one, and loses them then: replication is asynchronous.
    """

    kind = Topology.SENTINEL

    def __init__(self, config: RedisConfig, group: SentinelGroup, connector: Connector) -> None:
        super().__init__(connector, config.connections)
        self._service = group.service
        self._sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
            [(address.host, address.port) for address in map(Address.parse, group.nodes)],
            sentinel_kwargs=_sentinel_options(config, group, connector.timeout),
        )
        self._primary: Node | None = None
        self._replicas: tuple[Node, ...] = ()
        self._turn = itertools.count()

    async def stop(self) -> None:
        await super().stop()
        for client in self._sentinel.sentinels:
            await client.aclose()

    def primary(self, slot: int) -> Node | None:
        return self._primary

    def primaries(self) -> Sequence[Node]:
        return () if self._primary is None else (self._primary,)

    def replica(self, slot: int) -> Node | None:
        self._want_replicas()
        connected = [node for node in self._replicas if node.available]
        return connected[next(self._turn) % len(connected)] if connected else None

    async def look(self) -> None:
        try:
            host, port = await self._sentinel.discover_master(self._service)
            replicas = (
                await self._sentinel.discover_slaves(self._service) if self._replicas_wanted else []
            )
        except CONNECT_ERRORS as exc:
            log.debug("no primary known to the sentinels", service=self._service, detail=str(exc))
            return
        primary = self._node(Address(host, port), require_primary)
        if primary is not self._primary:
            log.info("redis primary", service=self._service, address=str(primary.address))
        self._primary = primary
        self._replicas = tuple(self._node(Address(*address)) for address in replicas)
        await self._forget_all_but({primary, *self._replicas})


def _sentinel_options(
    config: RedisConfig, group: SentinelGroup, timeout: timedelta
) -> dict[str, Any]:
    seconds = timeout.total_seconds()
    options: dict[str, Any] = {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "retry": Retry(NoBackoff(), 0),
        **tls_options(config),
    }
    if config.tls is not None:
        options["ssl"] = True
    if group.username is not None:
        options["username"] = group.username
    if group.password is not None:
        options["password"] = group.password.get_secret_value()
    return options
