"""The settings of a Pantler, with their defaults, units and bounds.

`core/config_file.py` reads them from a YAML file and the environment. Everything has a default:
with no file at all the service works, on an embedded Valkey.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Literal

from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    model_validator,
)

from pantler_server.core.board_config import BoardConfig, pattern_problems
from pantler_server.core.cdn_config import CdnTarget, HttpPolicy, NamespaceCdn
from pantler_server.core.channel_config import ChannelsConfig
from pantler_server.core.duration import MILLISECOND
from pantler_server.core.envoy_config import EnvoyDomain, check_domains
from pantler_server.core.event_config import MAX_RULES, EventRule, Name, check_rules
from pantler_server.core.keyspace import NAMESPACE
from pantler_server.core.origin_config import (
    HotKeysConfig,
    OriginConfig,
    WarmConfig,
    WriteBehindConfig,
    WriteMode,
)
from pantler_server.core.rate_limit_config import RateLimitRule
from pantler_server.core.redis_config import RedisConfig, Topology
from pantler_server.core.setting_types import (
    REVEAL_SECRETS,
    Address,
    Bytes,
    Duration,
    Problem,
    refuse,
)

REST_OF_MESSAGE_BYTES = 1 << 16  # a key, tags and dependencies of the longest, and a token


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OnFailover(StrEnum):
    """What happens to a namespace when another Redis becomes its primary."""

    REPLAY = "replay"
    """Each worker repeats the invalidations that it acknowledged in the last minute."""
    HIDE_ALL = "hide_all"
    """All entries are hidden."""


class FirstLevelConfig(_Section):
    """A first level: entries of the namespace in the memory of each worker."""

    max_bytes: Bytes = Field(ByteSize(64 << 20), ge=1 << 20)
    """How much memory it may take in a worker; what is used least goes."""
    ttl: Duration = Field(timedelta(seconds=30), ge=MILLISECOND, le=timedelta(days=1))
    """How long an entry is kept there at most; it is read again then."""
    max_staleness: Duration = Field(timedelta(seconds=1), ge=timedelta(milliseconds=250))
    """How long ago what it answers may have changed, at the most, while Redis can't tell of it.
    Redis is asked every 100 ms whether it told of everything."""
    negative: bool = False
    """Whether it also keeps, for up to 10 s, that there is no entry."""
    audit_ratio: float = Field(0.001, ge=0.0, le=1.0)
    """The share of its answers that are compared with Redis, and counted."""


class NamespaceConfig(_Section):
    """How a namespace treats its entries."""

    ttl: Duration = Field(timedelta(hours=1), ge=MILLISECOND)
    """The ttl of an entry that is set without one."""
    max_ttl: Duration = Field(timedelta(days=30), ge=MILLISECOND, le=timedelta(days=3650))
    """The longest ttl that a call may ask for."""
    ttl_jitter_ratio: float = Field(0.0, ge=0.0, le=1.0)
    """The share of a ttl by which it is shortened at random: with 0.1, 60 s becomes 54 to 60 s."""
    sliding: bool = False
    """Whether a read lets an entry live for its ttl again, where its Set does not say."""
    stale_while_revalidate: Duration = Field(timedelta(0), ge=timedelta(0), le=timedelta(days=3650))
    """For how long after its ttl an entry is served as stale to those who accept it, while one of
    them fetches it anew."""
    stale_if_error: Duration = Field(timedelta(0), ge=timedelta(0), le=timedelta(days=3650))
    """The same after a fetch of it has failed: for 10 s from when a holder of its lease said so."""
    refresh_ratio: float = Field(0.8, gt=0.0, le=1.0)
    """The share of its ttl after which a hit offers a lease to one caller that asks for one, to
    refresh it ahead; 1: none does."""
    max_value_bytes: Bytes = Field(ByteSize(4 << 20), ge=1, le=256 << 20)
    """The largest value."""
    replica_reads: bool = False
    """Whether replicas may answer reads. They may be behind: a read may miss a write that was
    acknowledged, and may return what was deleted."""
    tag_index: bool = False
    """Whether an index of tags is kept, so that the keys of a tag can be listed."""
    invalidation_replicas: int = Field(0, ge=0, le=16)
    """How many replicas must have an invalidation before it is acknowledged. They lower the odds
    that a failover loses it; they don't rule it out."""
    on_failover: OnFailover = OnFailover.REPLAY
    """What is done when another Redis becomes the primary, which may lack the newest
    invalidations."""
    reclaim_keys_per_second: int = Field(0, ge=0, le=1_000_000)
    """How many keys of each primary are looked at in a second in order to free entries that
    invalidations hide, before they expire; 0: none."""
    near_cache: bool = False
    """Whether those who watch are told of writes too, for near caches in clients."""
    l1: FirstLevelConfig | None = None
    """The first level; unset: every read goes to Redis."""
    partitions: int | None = Field(None, ge=1, le=1024)
    """Over how many parts the keys are spread; unset: 64 on a Cluster, else 1. Fixed at the first
    use of the namespace: a later change has no effect."""
    boards: dict[str, BoardConfig] = {}
    """Its boards, by name or pattern: a name holds before all patterns, of these the first."""
    strict_boards: bool = False
    """Whether only the boards of the configuration exist."""
    counter_ttl: Duration | None = Field(None, ge=MILLISECOND, le=timedelta(days=3650))
    """The ttl of a new counter, or set of uniques, that is given none; unset: it stays."""
    channels: ChannelsConfig = ChannelsConfig()
    """Its channels."""
    origin: OriginConfig | None = None
    """The system of record whose records it caches; unset: what callers set."""
    negative_ttl: Duration = Field(timedelta(seconds=30), ge=MILLISECOND)
    """How long it is remembered that the origin has no record of a key."""
    writes: WriteMode = WriteMode.THROUGH
    """What a write of a record does: through, behind or refused."""
    write_behind: WriteBehindConfig = WriteBehindConfig()
    """How writes get to the origin, with `writes: behind`."""
    warm: WarmConfig | None = None
    """What is loaded ahead from the origin."""
    hot_keys: HotKeysConfig = HotKeysConfig()
    """How keys are found that are read much, and what is done for them."""
    http: HttpPolicy | None = None
    """How its entries are served over HTTP; unset: they are not."""
    cdn: NamespaceCdn | None = None
    """The CDNs that its invalidations purge; unset: none."""

    @model_validator(mode="after")
    def _boards_are_well_formed(self) -> "NamespaceConfig":
        refuse("NamespaceConfig", pattern_problems(self.boards))
        return self

    @model_validator(mode="after")
    def _hot_keys_have_a_first_level(self) -> "NamespaceConfig":
        if self.hot_keys.l1_only and self.l1 is None:
            refuse("NamespaceConfig", [(("hot_keys", "l1_only"), "is of use only with l1")])
        return self


class LogConfig(_Section):
    """What is logged, to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """auto: console on a terminal, else JSON."""
    access_sample_ratio: float = Field(0.001, ge=0.0, le=1.0)
    """The share of successful calls that get a line in the access log; failed calls (INTERNAL and
    UNAVAILABLE) always do."""


class Settings(_Section):
    """All settings."""

    listen: Address = "127.0.0.1:50051"
    """Where gRPC is served. Port 0 takes a free one."""
    http_listen: Address = "127.0.0.1:8080"
    """Where the HTTP side port is served."""
    workers: int = Field(1, ge=1, le=256)
    """Processes that share the port."""
    redis: RedisConfig = RedisConfig()
    """The Redis of entries and leases, and of everything else unless `state_redis` is given."""
    state_redis: RedisConfig | None = None
    """The Redis of boards, limits, counters, queues and the list of namespaces."""
    strict_namespaces: bool = False
    """Whether only the namespaces of the configuration exist."""
    max_dynamic_namespaces: int = Field(1000, ge=0)
    """How many namespaces may be used that the configuration does not name."""
    namespace_defaults: NamespaceConfig = NamespaceConfig()
    """What a namespace has where its own section says nothing."""
    namespaces: dict[str, NamespaceConfig] = {}
    events: tuple[EventRule, ...] = Field((), max_length=MAX_RULES)
    """What events invalidate, in the order in which it is done."""
    rate_limits: dict[Name, RateLimitRule] = {}
    """Rules of rate limits by the names that calls give."""
    envoy_domains: tuple[EnvoyDomain, ...] = ()
    """Limits for Envoy."""
    cdn_targets: dict[Name, CdnTarget] = {}
    """CDNs and proxies that are purged, by the names that calls give."""
    default_deadline: Duration = Field(timedelta(seconds=5), ge=MILLISECOND)
    """How long a call may take that comes without a deadline."""
    drain_timeout: Duration = Field(timedelta(seconds=10), ge=timedelta(0))
    """How long a worker that was told to stop waits for its calls in flight."""
    max_connection_age: Duration = Field(timedelta(minutes=5), ge=timedelta(seconds=1))
    """After how long a client's connection is asked to reconnect, so that clients spread over
    workers."""
    max_message_bytes: Bytes = Field(ByteSize(16 << 20), ge=1 << 10, le=(1 << 31) - 1)
    """The largest request and response."""
    max_concurrent_calls: int = Field(20_000, ge=1)
    """Calls under way in one worker; one more is refused with RESOURCE_EXHAUSTED."""
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _namespaces_hold_together(self) -> "Settings":
        for name in self.namespaces:
            if not NAMESPACE.fullmatch(name):
                raise ValueError(f"namespace {name!r} does not match {NAMESPACE.pattern}")
        for place, config in self._effective_namespaces():
            path = ".".join(place)
            if config.ttl > config.max_ttl:
                raise ValueError(f"{path}.ttl is longer than its max_ttl")
            if config.max_value_bytes + REST_OF_MESSAGE_BYTES > self.max_message_bytes:
                raise ValueError(
                    f"{path}.max_value_bytes must leave 64 KiB of max_message_bytes to the rest of "
                    "the message"
                )
            if config.counter_ttl is not None and config.counter_ttl > config.max_ttl:
                raise ValueError(f"{path}.counter_ttl is longer than its max_ttl")
            if config.channels.max_payload_bytes + REST_OF_MESSAGE_BYTES > self.max_message_bytes:
                raise ValueError(
                    f"{path}.channels.max_payload_bytes must leave 64 KiB of max_message_bytes to "
                    "the rest of the message"
                )
            if config.origin is None:
                refuse("Settings", _problems_without_origin(place, config))
            elif config.replica_reads:
                raise ValueError(
                    f"{path} has both origin and replica_reads: a replica may be behind what was "
                    "written; choose one"
                )
            elif config.sliding:
                raise ValueError(
                    f"{path} has both origin and sliding: what is read all the time would never "
                    "be loaded again; choose one"
                )
            if config.cdn is not None:
                refuse("Settings", _unfit_targets(place, config.cdn, self.cdn_targets))
                if config.replica_reads:
                    raise ValueError(
                        f"{path} has both cdn and replica_reads: after a purge the CDN could be "
                        "filled from a replica that is behind; choose one"
                    )
            if config.negative_ttl > config.max_ttl:
                raise ValueError(f"{path}.negative_ttl is longer than its max_ttl")
            if (
                config.writes is WriteMode.BEHIND
                and self.redis.topology is Topology.EMBEDDED
                and self.redis.embedded.directory is None
            ):
                raise ValueError(
                    f"{path}.writes is behind, and the embedded Valkey would lose what was not "
                    "written yet: set redis.embedded.directory (--data-dir)"
                )
            if config.l1 is not None and config.replica_reads:
                raise ValueError(
                    f"{path} has both l1 and replica_reads: a replica may be behind what Redis "
                    "has told of; choose one"
                )
        return self

    @model_validator(mode="after")
    def _event_rules_hold_together(self) -> "Settings":
        check_rules(self.events, self.namespaces if self.strict_namespaces else None)
        return self

    @model_validator(mode="after")
    def _envoy_domains_hold_together(self) -> "Settings":
        check_domains(self.envoy_domains, self.rate_limits)
        return self

    def _effective_namespaces(self) -> Iterator[tuple[tuple[str, ...], NamespaceConfig]]:
        """With their places."""
        yield ("namespace_defaults",), self.namespace_defaults
        for name in self.namespaces:
            yield ("namespaces", name), self.namespace(name)

    @property
    def writes_behind(self) -> bool:
        """Whether any namespace does."""
        return any(one.writes is WriteMode.BEHIND for _, one in self._effective_namespaces())

    def to_json(self) -> str:
        """For another process of ours: secrets in the clear, and only what was set, so that what a
        namespace leaves to the defaults is still theirs."""
        return self.model_dump_json(exclude_unset=True, context={REVEAL_SECRETS: True})

    def namespace(self, name: str) -> NamespaceConfig:
        """The effective configuration of a namespace, whether or not it is named here."""
        own = self.namespaces.get(name)
        if own is None:
            return self.namespace_defaults
        return self.namespace_defaults.model_copy(
            update={field: getattr(own, field) for field in own.model_fields_set}
        )


def _problems_without_origin(place: tuple[str, ...], config: NamespaceConfig) -> Iterator[Problem]:
    if config.writes is WriteMode.BEHIND:
        yield (*place, "writes"), "is behind, but there is no origin to write to"
    if config.warm is not None:
        yield (*place, "warm"), "has no origin to load from"


def _unfit_targets(
    place: tuple[str, ...], cdn: NamespaceCdn, targets: Mapping[str, CdnTarget]
) -> Iterator[Problem]:
    for index, name in enumerate(cdn.targets):
        at: tuple[str | int, ...] = (*place, "cdn", "targets", index)
        if name not in targets:
            yield at, f"{name!r} is not under cdn_targets"
            continue
        http = targets[name].http
        if http is None or http.tag_url is not None or (http.url_url is not None and cdn.urls):
            continue
        lack = "no http.url_url" if http.url_url is None else "the namespace no cdn.urls"
        yield at, f"{name!r} would never be purged: it has no http.tag_url, and {lack}"


RELOADABLE = frozenset(
    {
        "strict_namespaces",
        "max_dynamic_namespaces",
        "namespace_defaults",
        "namespaces",
        "events",
        "rate_limits",
        "envoy_domains",
        "cdn_targets",
        "default_deadline",
        "log",
    }
)
"""The settings that take effect on reload; the others wait for a restart."""
