import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pantler.v1 import rate_limit_pb2 as _rate_limit_pb2
from pantler.v1 import sort_order_pb2 as _sort_order_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OnFailover(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_FAILOVER_UNSPECIFIED: _ClassVar[OnFailover]
    ON_FAILOVER_REPLAY: _ClassVar[OnFailover]
    ON_FAILOVER_HIDE_ALL: _ClassVar[OnFailover]
ON_FAILOVER_UNSPECIFIED: OnFailover
ON_FAILOVER_REPLAY: OnFailover
ON_FAILOVER_HIDE_ALL: OnFailover

class NamespaceConfig(_message.Message):
    __slots__ = ("ttl", "max_ttl", "ttl_jitter_ratio", "max_value_bytes", "replica_reads", "sliding", "stale_while_revalidate", "stale_if_error", "refresh_ratio", "tag_index", "invalidation_replicas", "on_failover", "reclaim_keys_per_second", "l1", "near_cache", "boards", "strict_boards", "counter_ttl", "channels")
    TTL_FIELD_NUMBER: _ClassVar[int]
    MAX_TTL_FIELD_NUMBER: _ClassVar[int]
    TTL_JITTER_RATIO_FIELD_NUMBER: _ClassVar[int]
    MAX_VALUE_BYTES_FIELD_NUMBER: _ClassVar[int]
    REPLICA_READS_FIELD_NUMBER: _ClassVar[int]
    SLIDING_FIELD_NUMBER: _ClassVar[int]
    STALE_WHILE_REVALIDATE_FIELD_NUMBER: _ClassVar[int]
    STALE_IF_ERROR_FIELD_NUMBER: _ClassVar[int]
    REFRESH_RATIO_FIELD_NUMBER: _ClassVar[int]
    TAG_INDEX_FIELD_NUMBER: _ClassVar[int]
    INVALIDATION_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    ON_FAILOVER_FIELD_NUMBER: _ClassVar[int]
    RECLAIM_KEYS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    L1_FIELD_NUMBER: _ClassVar[int]
    NEAR_CACHE_FIELD_NUMBER: _ClassVar[int]
    BOARDS_FIELD_NUMBER: _ClassVar[int]
    STRICT_BOARDS_FIELD_NUMBER: _ClassVar[int]
    COUNTER_TTL_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    ttl: _duration_pb2.Duration
    max_ttl: _duration_pb2.Duration
    ttl_jitter_ratio: float
    max_value_bytes: int
    replica_reads: bool
    sliding: bool
    stale_while_revalidate: _duration_pb2.Duration
    stale_if_error: _duration_pb2.Duration
    refresh_ratio: float
    tag_index: bool
    invalidation_replicas: int
    on_failover: OnFailover
    reclaim_keys_per_second: int
    l1: FirstLevelConfig
    near_cache: bool
    boards: _containers.RepeatedCompositeFieldContainer[BoardConfig]
    strict_boards: bool
    counter_ttl: _duration_pb2.Duration
    channels: ChannelsConfig
    def __init__(self, ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., ttl_jitter_ratio: _Optional[float] = ..., max_value_bytes: _Optional[int] = ..., replica_reads: _Optional[bool] = ..., sliding: _Optional[bool] = ..., stale_while_revalidate: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., stale_if_error: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., refresh_ratio: _Optional[float] = ..., tag_index: _Optional[bool] = ..., invalidation_replicas: _Optional[int] = ..., on_failover: _Optional[_Union[OnFailover, str]] = ..., reclaim_keys_per_second: _Optional[int] = ..., l1: _Optional[_Union[FirstLevelConfig, _Mapping]] = ..., near_cache: _Optional[bool] = ..., boards: _Optional[_Iterable[_Union[BoardConfig, _Mapping]]] = ..., strict_boards: _Optional[bool] = ..., counter_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., channels: _Optional[_Union[ChannelsConfig, _Mapping]] = ...) -> None: ...

class BoardConfig(_message.Message):
    __slots__ = ("pattern", "order", "period", "time_zone", "retention", "max_members")
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    RETENTION_FIELD_NUMBER: _ClassVar[int]
    MAX_MEMBERS_FIELD_NUMBER: _ClassVar[int]
    pattern: str
    order: _sort_order_pb2.SortOrder
    period: _rate_limit_pb2.CalendarPeriod
    time_zone: str
    retention: _duration_pb2.Duration
    max_members: int
    def __init__(self, pattern: _Optional[str] = ..., order: _Optional[_Union[_sort_order_pb2.SortOrder, str]] = ..., period: _Optional[_Union[_rate_limit_pb2.CalendarPeriod, str]] = ..., time_zone: _Optional[str] = ..., retention: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_members: _Optional[int] = ...) -> None: ...

class ChannelsConfig(_message.Message):
    __slots__ = ("max_payload_bytes", "history")
    MAX_PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    max_payload_bytes: int
    history: ChannelHistoryConfig
    def __init__(self, max_payload_bytes: _Optional[int] = ..., history: _Optional[_Union[ChannelHistoryConfig, _Mapping]] = ...) -> None: ...

class ChannelHistoryConfig(_message.Message):
    __slots__ = ("max_messages", "ttl")
    MAX_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    max_messages: int
    ttl: _duration_pb2.Duration
    def __init__(self, max_messages: _Optional[int] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class FirstLevelConfig(_message.Message):
    __slots__ = ("max_bytes", "ttl", "max_staleness", "negative", "audit_ratio")
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    MAX_STALENESS_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_FIELD_NUMBER: _ClassVar[int]
    AUDIT_RATIO_FIELD_NUMBER: _ClassVar[int]
    max_bytes: int
    ttl: _duration_pb2.Duration
    max_staleness: _duration_pb2.Duration
    negative: bool
    audit_ratio: float
    def __init__(self, max_bytes: _Optional[int] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_staleness: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., negative: _Optional[bool] = ..., audit_ratio: _Optional[float] = ...) -> None: ...

class Namespace(_message.Message):
    __slots__ = ("name", "configured", "partitions", "config", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIGURED_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    configured: bool
    partitions: int
    config: NamespaceConfig
    version: int
    def __init__(self, name: _Optional[str] = ..., configured: _Optional[bool] = ..., partitions: _Optional[int] = ..., config: _Optional[_Union[NamespaceConfig, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class ListNamespacesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListNamespacesResponse(_message.Message):
    __slots__ = ("namespaces",)
    NAMESPACES_FIELD_NUMBER: _ClassVar[int]
    namespaces: _containers.RepeatedCompositeFieldContainer[Namespace]
    def __init__(self, namespaces: _Optional[_Iterable[_Union[Namespace, _Mapping]]] = ...) -> None: ...

class CacheStats(_message.Message):
    __slots__ = ("hits", "misses_unknown", "misses_hidden_by_namespace", "sets", "deletes", "stale_hits", "misses_expired", "leases", "fills_lost", "renewals_failed", "misses_hidden_by_key", "misses_hidden_by_tag", "misses_hidden_by_dependency", "misses_hidden_by_age", "invalidations", "l1_hits")
    HITS_FIELD_NUMBER: _ClassVar[int]
    MISSES_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    MISSES_HIDDEN_BY_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SETS_FIELD_NUMBER: _ClassVar[int]
    DELETES_FIELD_NUMBER: _ClassVar[int]
    STALE_HITS_FIELD_NUMBER: _ClassVar[int]
    MISSES_EXPIRED_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    FILLS_LOST_FIELD_NUMBER: _ClassVar[int]
    RENEWALS_FAILED_FIELD_NUMBER: _ClassVar[int]
    MISSES_HIDDEN_BY_KEY_FIELD_NUMBER: _ClassVar[int]
    MISSES_HIDDEN_BY_TAG_FIELD_NUMBER: _ClassVar[int]
    MISSES_HIDDEN_BY_DEPENDENCY_FIELD_NUMBER: _ClassVar[int]
    MISSES_HIDDEN_BY_AGE_FIELD_NUMBER: _ClassVar[int]
    INVALIDATIONS_FIELD_NUMBER: _ClassVar[int]
    L1_HITS_FIELD_NUMBER: _ClassVar[int]
    hits: int
    misses_unknown: int
    misses_hidden_by_namespace: int
    sets: int
    deletes: int
    stale_hits: int
    misses_expired: int
    leases: int
    fills_lost: int
    renewals_failed: int
    misses_hidden_by_key: int
    misses_hidden_by_tag: int
    misses_hidden_by_dependency: int
    misses_hidden_by_age: int
    invalidations: int
    l1_hits: int
    def __init__(self, hits: _Optional[int] = ..., misses_unknown: _Optional[int] = ..., misses_hidden_by_namespace: _Optional[int] = ..., sets: _Optional[int] = ..., deletes: _Optional[int] = ..., stale_hits: _Optional[int] = ..., misses_expired: _Optional[int] = ..., leases: _Optional[int] = ..., fills_lost: _Optional[int] = ..., renewals_failed: _Optional[int] = ..., misses_hidden_by_key: _Optional[int] = ..., misses_hidden_by_tag: _Optional[int] = ..., misses_hidden_by_dependency: _Optional[int] = ..., misses_hidden_by_age: _Optional[int] = ..., invalidations: _Optional[int] = ..., l1_hits: _Optional[int] = ...) -> None: ...

class GetStatsRequest(_message.Message):
    __slots__ = ("namespace",)
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    def __init__(self, namespace: _Optional[str] = ...) -> None: ...

class GetStatsResponse(_message.Message):
    __slots__ = ("worker", "deployment", "estimated_entries", "estimated_bytes")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_BYTES_FIELD_NUMBER: _ClassVar[int]
    worker: CacheStats
    deployment: CacheStats
    estimated_entries: int
    estimated_bytes: int
    def __init__(self, worker: _Optional[_Union[CacheStats, _Mapping]] = ..., deployment: _Optional[_Union[CacheStats, _Mapping]] = ..., estimated_entries: _Optional[int] = ..., estimated_bytes: _Optional[int] = ...) -> None: ...

class GetHealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StoreHealth(_message.Message):
    __slots__ = ("role", "topology", "available", "primaries", "latency", "detail")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    PRIMARIES_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    role: str
    topology: str
    available: bool
    primaries: _containers.RepeatedScalarFieldContainer[str]
    latency: _duration_pb2.Duration
    detail: str
    def __init__(self, role: _Optional[str] = ..., topology: _Optional[str] = ..., available: _Optional[bool] = ..., primaries: _Optional[_Iterable[str]] = ..., latency: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., detail: _Optional[str] = ...) -> None: ...

class GetHealthResponse(_message.Message):
    __slots__ = ("ready", "server_version", "worker", "start_time", "stores")
    READY_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    STORES_FIELD_NUMBER: _ClassVar[int]
    ready: bool
    server_version: str
    worker: int
    start_time: _timestamp_pb2.Timestamp
    stores: _containers.RepeatedCompositeFieldContainer[StoreHealth]
    def __init__(self, ready: _Optional[bool] = ..., server_version: _Optional[str] = ..., worker: _Optional[int] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., stores: _Optional[_Iterable[_Union[StoreHealth, _Mapping]]] = ...) -> None: ...

class ReloadConfigRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReloadConfigResponse(_message.Message):
    __slots__ = ("changed", "restart_required")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    RESTART_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    changed: _containers.RepeatedScalarFieldContainer[str]
    restart_required: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, changed: _Optional[_Iterable[str]] = ..., restart_required: _Optional[_Iterable[str]] = ...) -> None: ...
