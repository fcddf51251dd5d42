"""The settings of a Redis: how it is reached, or that Pantler starts a Valkey itself."""

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    SerializationInfo,
    field_serializer,
    model_validator,
)

from pantler_server.core.duration import MILLISECOND
from pantler_server.core.setting_types import Address, Bytes, Duration, hide_password, revealed


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Topology(StrEnum):
    """How a Redis is reached."""

    EMBEDDED = "embedded"
    STANDALONE = "standalone"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class EmbeddedRedis(_Section):
    """The Valkey that Pantler starts itself where no Redis is configured."""

    directory: Path | None = None
    """Where it keeps its data across restarts (append-only file, fsync each second). Unset: nothing
    survives a restart."""
    max_memory: Bytes = Field(ByteSize(1 << 30), ge=1 << 22)
    eviction_policy: Literal["noeviction", "volatile-lru", "volatile-lfu", "volatile-ttl"] = (
        "volatile-lfu"
    )


class SentinelGroup(_Section):
    """A primary with replicas, watched by Sentinels."""

    nodes: tuple[Address, ...] = Field(min_length=1)
    """The Sentinels, each host:port."""
    service: str = Field(min_length=1)
    """The name under which they watch the primary."""
    username: str | None = None
    password: SecretStr | None = None
    """Credentials of the Sentinels themselves; those of the servers stand beside `sentinel`."""

    @field_serializer("password", when_used="json-unless-none")
    def _hide_password(self, value: SecretStr, info: SerializationInfo) -> str:
        return _secret(value, info)


class ClusterSeeds(_Section):
    """A Redis Cluster."""

    nodes: tuple[Address, ...] = Field(min_length=1)
    """Some of its nodes, each host:port; the others are found through them."""


class RedisTls(_Section):
    """TLS to Redis (and to its Sentinels)."""

    ca_file: Path | None = None
    """The authority that signed the servers' certificates; unset: the system's."""
    cert_file: Path | None = None
    key_file: Path | None = None
    """The client's certificate, where the servers ask for one."""
    check_hostname: bool = True


class RedisConfig(_Section):
    """One Redis: at most one of `url`, `sentinel` and `cluster`; none means an embedded Valkey."""

    url: str | None = None
    """A standalone server: redis://host:6379/0, rediss://host:6379/0 or unix:///path/to/socket."""
    sentinel: SentinelGroup | None = None
    cluster: ClusterSeeds | None = None
    embedded: EmbeddedRedis = EmbeddedRedis()
    database: int = Field(0, ge=0)
    """The database of the servers behind Sentinel (a URL carries its own)."""
    username: str | None = None
    password: SecretStr | None = None
    """The ACL user (or the plain password) of the servers."""
    tls: RedisTls | None = None
    connections: int = Field(1, ge=1, le=64)
    """Shared connections from each worker to each server. One is fastest, since more commands leave
    together; with more, a large value keeps fewer small ones waiting."""
    connect_timeout: Duration = Field(timedelta(seconds=1), ge=MILLISECOND)
    command_timeout: Duration = Field(timedelta(seconds=1), ge=MILLISECOND)
    """The longest wait for a reply, where the call's own deadline is not sooner."""

    @model_validator(mode="after")
    def _one_topology(self) -> "RedisConfig":
        chosen = [
            name for name in ("url", "sentinel", "cluster") if getattr(self, name) is not None
        ]
        if len(chosen) > 1:
            raise ValueError(f"give one of {' and '.join(chosen)}, not both")
        if self.url is not None and not self.url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("url must start with redis://, rediss:// or unix://")
        return self

    @field_serializer("password", when_used="json-unless-none")
    def _hide_password(self, value: SecretStr, info: SerializationInfo) -> str:
        return _secret(value, info)

    @field_serializer("url", when_used="json-unless-none")
    def _hide_password_in_url(self, value: str, info: SerializationInfo) -> str:
        return value if revealed(info) else hide_password(value)

    @property
    def topology(self) -> Topology:
        if self.sentinel is not None:
            return Topology.SENTINEL
        if self.cluster is not None:
            return Topology.CLUSTER
        return Topology.EMBEDDED if self.url is None else Topology.STANDALONE


def _secret(value: SecretStr, info: SerializationInfo) -> str:
    return value.get_secret_value() if revealed(info) else str(value)
