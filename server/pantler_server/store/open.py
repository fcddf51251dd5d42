"""Makes the `Store` of a role out of its configuration."""

from pathlib import Path

from pantler_server.core.redis_config import RedisConfig, Topology
from pantler_server.store.cluster import ClusterTopology
from pantler_server.store.connect import Address, Connector
from pantler_server.store.sentinel import SentinelTopology
from pantler_server.store.store import Store
from pantler_server.store.topology import RedisTopology, StandaloneTopology


def open_store(role: str, config: RedisConfig, embedded_socket: Path | None) -> Store:
    """A store, not started yet. `embedded_socket` is where the supervisor's Valkey listens."""
    return Store(role, _topology(config, embedded_socket), config.command_timeout.total_seconds())


def _topology(config: RedisConfig, embedded_socket: Path | None) -> RedisTopology:
    connector, address = Connector.of(config)
    if config.sentinel is not None:
        return SentinelTopology(config, config.sentinel, connector)
    if config.cluster is not None:
        return ClusterTopology(config, config.cluster, connector)
    if address is not None:
        return StandaloneTopology(Topology.STANDALONE, connector, address, config.connections)
    return StandaloneTopology(
        Topology.EMBEDDED, connector, Address(path=str(embedded_socket)), config.connections
    )
