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

class WriteMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WRITE_MODE_UNSPECIFIED: _ClassVar[WriteMode]
    WRITE_MODE_THROUGH: _ClassVar[WriteMode]
    WRITE_MODE_BEHIND: _ClassVar[WriteMode]
    WRITE_MODE_REFUSED: _ClassVar[WriteMode]

class OnFailover(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_FAILOVER_UNSPECIFIED: _ClassVar[OnFailover]
    ON_FAILOVER_REPLAY: _ClassVar[OnFailover]
    ON_FAILOVER_HIDE_ALL: _ClassVar[OnFailover]
WRITE_MODE_UNSPECIFIED: WriteMode
WRITE_MODE_THROUGH: WriteMode
WRITE_MODE_BEHIND: WriteMode
WRITE_MODE_REFUSED: WriteMode
ON_FAILOVER_UNSPECIFIED: OnFailover
ON_FAILOVER_REPLAY: OnFailover
ON_FAILOVER_HIDE_ALL: OnFailover

class NamespaceConfig(_message.Message):
    __slots__ = ("ttl", "max_ttl", "ttl_jitter_ratio", "max_value_bytes", "replica_reads", "sliding", "stale_while_revalidate", "stale_if_error", "refresh_ratio", "tag_index", "invalidation_replicas", "on_failover", "reclaim_keys_per_second", "l1", "near_cache", "boards", "strict_boards", "counter_ttl", "channels", "origin", "negative_ttl", "writes", "write_behind", "warm", "hot_keys")
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
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_TTL_FIELD_NUMBER: _ClassVar[int]
    WRITES_FIELD_NUMBER: _ClassVar[int]
    WRITE_BEHIND_FIELD_NUMBER: _ClassVar[int]
    WARM_FIELD_NUMBER: _ClassVar[int]
    HOT_KEYS_FIELD_NUMBER: _ClassVar[int]
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
    origin: OriginConfig
    negative_ttl: _duration_pb2.Duration
    writes: WriteMode
    write_behind: WriteBehindConfig
    warm: WarmConfig
    hot_keys: HotKeysConfig
    def __init__(self, ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., ttl_jitter_ratio: _Optional[float] = ..., max_value_bytes: _Optional[int] = ..., replica_reads: _Optional[bool] = ..., sliding: _Optional[bool] = ..., stale_while_revalidate: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., stale_if_error: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., refresh_ratio: _Optional[float] = ..., tag_index: _Optional[bool] = ..., invalidation_replicas: _Optional[int] = ..., on_failover: _Optional[_Union[OnFailover, str]] = ..., reclaim_keys_per_second: _Optional[int] = ..., l1: _Optional[_Union[FirstLevelConfig, _Mapping]] = ..., near_cache: _Optional[bool] = ..., boards: _Optional[_Iterable[_Union[BoardConfig, _Mapping]]] = ..., strict_boards: _Optional[bool] = ..., counter_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., channels: _Optional[_Union[ChannelsConfig, _Mapping]] = ..., origin: _Optional[_Union[OriginConfig, _Mapping]] = ..., negative_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., writes: _Optional[_Union[WriteMode, str]] = ..., write_behind: _Optional[_Union[WriteBehindConfig, _Mapping]] = ..., warm: _Optional[_Union[WarmConfig, _Mapping]] = ..., hot_keys: _Optional[_Union[HotKeysConfig, _Mapping]] = ...) -> None: ...

class OriginConfig(_message.Message):
    __slots__ = ("sql", "grpc_target", "timeout", "soft_timeout", "max_concurrency", "breaker_failures", "breaker_pause")
    SQL_FIELD_NUMBER: _ClassVar[int]
    GRPC_TARGET_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    SOFT_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FAILURES_FIELD_NUMBER: _ClassVar[int]
    BREAKER_PAUSE_FIELD_NUMBER: _ClassVar[int]
    sql: SqlOriginConfig
    grpc_target: str
    timeout: _duration_pb2.Duration
    soft_timeout: _duration_pb2.Duration
    max_concurrency: int
    breaker_failures: int
    breaker_pause: _duration_pb2.Duration
    def __init__(self, sql: _Optional[_Union[SqlOriginConfig, _Mapping]] = ..., grpc_target: _Optional[str] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., soft_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_concurrency: _Optional[int] = ..., breaker_failures: _Optional[int] = ..., breaker_pause: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SqlOriginConfig(_message.Message):
    __slots__ = ("url", "table", "key_column", "columns", "version_column", "pool_size")
    URL_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEY_COLUMN_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    VERSION_COLUMN_FIELD_NUMBER: _ClassVar[int]
    POOL_SIZE_FIELD_NUMBER: _ClassVar[int]
    url: str
    table: str
    key_column: str
    columns: _containers.RepeatedScalarFieldContainer[str]
    version_column: str
    pool_size: int
    def __init__(self, url: _Optional[str] = ..., table: _Optional[str] = ..., key_column: _Optional[str] = ..., columns: _Optional[_Iterable[str]] = ..., version_column: _Optional[str] = ..., pool_size: _Optional[int] = ...) -> None: ...

class WriteBehindConfig(_message.Message):
    __slots__ = ("interval", "batch_size", "max_backlog", "fsync", "replicas")
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_BACKLOG_FIELD_NUMBER: _ClassVar[int]
    FSYNC_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    interval: _duration_pb2.Duration
    batch_size: int
    max_backlog: int
    fsync: bool
    replicas: int
    def __init__(self, interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., batch_size: _Optional[int] = ..., max_backlog: _Optional[int] = ..., fsync: _Optional[bool] = ..., replicas: _Optional[int] = ...) -> None: ...

class WarmConfig(_message.Message):
    __slots__ = ("source", "at_start", "ready_after", "keys_per_second")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    AT_START_FIELD_NUMBER: _ClassVar[int]
    READY_AFTER_FIELD_NUMBER: _ClassVar[int]
    KEYS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    source: str
    at_start: bool
    ready_after: bool
    keys_per_second: int
    def __init__(self, source: _Optional[str] = ..., at_start: _Optional[bool] = ..., ready_after: _Optional[bool] = ..., keys_per_second: _Optional[int] = ...) -> None: ...

class HotKeysConfig(_message.Message):
    __slots__ = ("sample_ratio", "min_reads_per_second", "ttl_factor", "keep_refreshed", "l1_only")
    SAMPLE_RATIO_FIELD_NUMBER: _ClassVar[int]
    MIN_READS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    TTL_FACTOR_FIELD_NUMBER: _ClassVar[int]
    KEEP_REFRESHED_FIELD_NUMBER: _ClassVar[int]
    L1_ONLY_FIELD_NUMBER: _ClassVar[int]
    sample_ratio: float
    min_reads_per_second: float
    ttl_factor: float
    keep_refreshed: bool
    l1_only: bool
    def __init__(self, sample_ratio: _Optional[float] = ..., min_reads_per_second: _Optional[float] = ..., ttl_factor: _Optional[float] = ..., keep_refreshed: _Optional[bool] = ..., l1_only: _Optional[bool] = ...) -> None: ...

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
    __slots__ = ("ready", "server_version", "worker", "start_time", "stores", "origins", "warming")
    READY_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    STORES_FIELD_NUMBER: _ClassVar[int]
    ORIGINS_FIELD_NUMBER: _ClassVar[int]
    WARMING_FIELD_NUMBER: _ClassVar[int]
    ready: bool
    server_version: str
    worker: int
    start_time: _timestamp_pb2.Timestamp
    stores: _containers.RepeatedCompositeFieldContainer[StoreHealth]
    origins: _containers.RepeatedCompositeFieldContainer[OriginHealth]
    warming: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ready: _Optional[bool] = ..., server_version: _Optional[str] = ..., worker: _Optional[int] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., stores: _Optional[_Iterable[_Union[StoreHealth, _Mapping]]] = ..., origins: _Optional[_Iterable[_Union[OriginHealth, _Mapping]]] = ..., warming: _Optional[_Iterable[str]] = ...) -> None: ...

class OriginHealth(_message.Message):
    __slots__ = ("namespace", "available", "detail")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    available: bool
    detail: str
    def __init__(self, namespace: _Optional[str] = ..., available: _Optional[bool] = ..., detail: _Optional[str] = ...) -> None: ...

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

class ListHotKeysRequest(_message.Message):
    __slots__ = ("namespace", "limit")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    limit: int
    def __init__(self, namespace: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListHotKeysResponse(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[HotKey]
    def __init__(self, keys: _Optional[_Iterable[_Union[HotKey, _Mapping]]] = ...) -> None: ...

class HotKey(_message.Message):
    __slots__ = ("key", "reads_per_second", "hot")
    KEY_FIELD_NUMBER: _ClassVar[int]
    READS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    HOT_FIELD_NUMBER: _ClassVar[int]
    key: str
    reads_per_second: float
    hot: bool
    def __init__(self, key: _Optional[str] = ..., reads_per_second: _Optional[float] = ..., hot: _Optional[bool] = ...) -> None: ...

class WarmRequest(_message.Message):
    __slots__ = ("namespace", "keys", "all", "hot", "keys_per_second", "resume_token")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    HOT_FIELD_NUMBER: _ClassVar[int]
    KEYS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    all: bool
    hot: bool
    keys_per_second: int
    resume_token: str
    def __init__(self, namespace: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ..., all: _Optional[bool] = ..., hot: _Optional[bool] = ..., keys_per_second: _Optional[int] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WarmResponse(_message.Message):
    __slots__ = ("seen", "loaded", "failed", "total", "resume_token", "done")
    SEEN_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    seen: int
    loaded: int
    failed: int
    total: int
    resume_token: str
    done: bool
    def __init__(self, seen: _Optional[int] = ..., loaded: _Optional[int] = ..., failed: _Optional[int] = ..., total: _Optional[int] = ..., resume_token: _Optional[str] = ..., done: _Optional[bool] = ...) -> None: ...
