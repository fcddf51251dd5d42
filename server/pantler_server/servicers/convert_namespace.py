"""A namespace and its configuration as messages of AdminService."""

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from pantler.v1 import admin_pb2, rate_limit_pb2, sort_order_pb2

from pantler_server.core.board_config import BoardConfig, BoardOrder
from pantler_server.core.calendar import Period
from pantler_server.core.channel_config import ChannelsConfig
from pantler_server.core.config import FirstLevelConfig, OnFailover
from pantler_server.core.origin_config import (
    HotKeysConfig,
    OriginConfig,
    WarmConfig,
    WriteBehindConfig,
    WriteMode,
)
from pantler_server.core.setting_types import hide_password
from pantler_server.engines.namespaces.engine import ListedNamespace

_ON_FAILOVER = {
    OnFailover.REPLAY: admin_pb2.ON_FAILOVER_REPLAY,
    OnFailover.HIDE_ALL: admin_pb2.ON_FAILOVER_HIDE_ALL,
}
SORT_ORDERS = {
    BoardOrder.HIGHEST: sort_order_pb2.SORT_ORDER_DESCENDING,
    BoardOrder.LOWEST: sort_order_pb2.SORT_ORDER_ASCENDING,
}
_WRITE_MODES = {
    WriteMode.THROUGH: admin_pb2.WRITE_MODE_THROUGH,
    WriteMode.BEHIND: admin_pb2.WRITE_MODE_BEHIND,
    WriteMode.REFUSED: admin_pb2.WRITE_MODE_REFUSED,
}
PERIODS = {
    Period.HOUR: rate_limit_pb2.CALENDAR_PERIOD_HOUR,
    Period.DAY: rate_limit_pb2.CALENDAR_PERIOD_DAY,
    Period.WEEK: rate_limit_pb2.CALENDAR_PERIOD_WEEK,
    Period.MONTH: rate_limit_pb2.CALENDAR_PERIOD_MONTH,
    Period.YEAR: rate_limit_pb2.CALENDAR_PERIOD_YEAR,
}


def duration(value: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(value)
    return message


def namespace_message(listed: ListedNamespace, version: int) -> admin_pb2.Namespace:
    config = listed.config
    return admin_pb2.Namespace(
        name=listed.name,
        version=version,
        configured=listed.configured,
        partitions=listed.partitions,
        config=admin_pb2.NamespaceConfig(
            ttl=duration(config.ttl),
            max_ttl=duration(config.max_ttl),
            ttl_jitter_ratio=config.ttl_jitter_ratio,
            max_value_bytes=config.max_value_bytes,
            replica_reads=config.replica_reads,
            sliding=config.sliding,
            stale_while_revalidate=duration(config.stale_while_revalidate),
            stale_if_error=duration(config.stale_if_error),
            refresh_ratio=config.refresh_ratio,
            tag_index=config.tag_index,
            invalidation_replicas=config.invalidation_replicas,
            on_failover=_ON_FAILOVER[config.on_failover],
            reclaim_keys_per_second=config.reclaim_keys_per_second,
            l1=_first_level(config.l1),
            near_cache=config.near_cache,
            boards=[_board(pattern, board) for pattern, board in config.boards.items()],
            strict_boards=config.strict_boards,
            counter_ttl=None if config.counter_ttl is None else duration(config.counter_ttl),
            channels=_channels(config.channels),
            origin=None if config.origin is None else _origin(config.origin),
            negative_ttl=duration(config.negative_ttl),
            writes=_WRITE_MODES[config.writes],
            write_behind=_write_behind(config.write_behind),
            warm=None if config.warm is None else _warm(config.warm),
            hot_keys=_hot_keys(config.hot_keys),
        ),
    )


def _first_level(config: FirstLevelConfig | None) -> admin_pb2.FirstLevelConfig | None:
    if config is None:
        return None
    return admin_pb2.FirstLevelConfig(
        max_bytes=config.max_bytes,
        ttl=duration(config.ttl),
        max_staleness=duration(config.max_staleness),
        negative=config.negative,
        audit_ratio=config.audit_ratio,
    )


def _board(pattern: str, config: BoardConfig) -> admin_pb2.BoardConfig:
    return admin_pb2.BoardConfig(
        pattern=pattern,
        order=SORT_ORDERS[config.order],
        period=None if config.period is None else PERIODS[config.period],
        time_zone=config.time_zone,
        retention=duration(config.retention),
        max_members=config.max_members,
    )


def _channels(config: ChannelsConfig) -> admin_pb2.ChannelsConfig:
    message = admin_pb2.ChannelsConfig(max_payload_bytes=config.max_payload_bytes)
    if config.history is not None:
        message.history.max_messages = config.history.max_messages
        message.history.ttl.FromTimedelta(config.history.ttl)
    return message


def _origin(config: OriginConfig) -> admin_pb2.OriginConfig:
    message = admin_pb2.OriginConfig(
        timeout=duration(config.timeout),
        soft_timeout=None if config.soft_timeout is None else duration(config.soft_timeout),
        max_concurrency=config.max_concurrency,
        breaker_failures=config.breaker.failures,
        breaker_pause=duration(config.breaker.pause),
    )
    if (sql := config.sql) is not None:
        message.sql.MergeFrom(
            admin_pb2.SqlOriginConfig(
                url=hide_password(sql.url),
                table=sql.table,
                key_column=sql.key_column,
                columns=sql.columns,
                version_column=sql.version_column or "",
                pool_size=sql.pool_size,
            )
        )
    if config.grpc is not None:
        message.grpc_target = config.grpc.target
    return message


def _write_behind(config: WriteBehindConfig) -> admin_pb2.WriteBehindConfig:
    return admin_pb2.WriteBehindConfig(
        interval=duration(config.interval),
        batch_size=config.batch_size,
        max_backlog=config.max_backlog,
        fsync=config.fsync,
        replicas=config.replicas,
    )


def _warm(config: WarmConfig) -> admin_pb2.WarmConfig:
    return admin_pb2.WarmConfig(
        source=config.source,
        at_start=config.at_start,
        ready_after=config.ready_after,
        keys_per_second=config.keys_per_second,
    )


def _hot_keys(config: HotKeysConfig) -> admin_pb2.HotKeysConfig:
    return admin_pb2.HotKeysConfig(
        sample_ratio=config.sample_ratio,
        min_reads_per_second=config.min_reads_per_second,
        ttl_factor=config.ttl_factor,
        keep_refreshed=config.keep_refreshed,
        l1_only=config.l1_only,
    )
