"""A namespace and its configuration as messages of AdminService."""

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from pantler.v1 import admin_pb2, rate_limit_pb2, sort_order_pb2

from pantler_server.core.board_config import BoardConfig, BoardOrder
from pantler_server.core.calendar import Period
from pantler_server.core.channel_config import ChannelsConfig
from pantler_server.core.config import FirstLevelConfig, OnFailover
from pantler_server.engines.namespaces.engine import ListedNamespace

_ON_FAILOVER = {
    OnFailover.REPLAY: admin_pb2.ON_FAILOVER_REPLAY,
    OnFailover.HIDE_ALL: admin_pb2.ON_FAILOVER_HIDE_ALL,
}
SORT_ORDERS = {
    BoardOrder.HIGHEST: sort_order_pb2.SORT_ORDER_DESCENDING,
    BoardOrder.LOWEST: sort_order_pb2.SORT_ORDER_ASCENDING,
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
