"""AdminService: what is configured, how it is doing, and a reload."""

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from pantler.v1 import admin_pb2

from pantler_server.core.call import Call
from pantler_server.core.config import FirstLevelConfig, OnFailover
from pantler_server.core.reload import Reloader
from pantler_server.core.version import server_version
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.stats import FIELDS, NamespaceStats
from pantler_server.engines.health.engine import HealthEngine, StoreHealth
from pantler_server.engines.namespaces.engine import ListedNamespace, NamespaceEngine
from pantler_server.servicers import validate
from pantler_server.servicers.convert import timestamp

_ON_FAILOVER = {
    OnFailover.REPLAY: admin_pb2.ON_FAILOVER_REPLAY,
    OnFailover.HIDE_ALL: admin_pb2.ON_FAILOVER_HIDE_ALL,
}


class AdminServicer:
    """The RPCs of AdminService, documented in proto/pantler/v1/admin.proto."""

    def __init__(
        self,
        namespaces: NamespaceEngine,
        cache: CacheEngine,
        health: HealthEngine,
        reloader: Reloader,
    ) -> None:
        self._namespaces = namespaces
        self._cache = cache
        self._health = health
        self._reloader = reloader

    async def ListNamespaces(
        self, request: admin_pb2.ListNamespacesRequest, call: Call
    ) -> admin_pb2.ListNamespacesResponse:
        listed = await self._namespaces.list(call.deadline)
        used = [one.name for one in listed if one.partitions]
        versions = await self._cache.invalidation.versions(used, call.deadline)
        version_of = dict(zip(used, versions, strict=True))
        return admin_pb2.ListNamespacesResponse(
            namespaces=[_namespace(one, version_of.get(one.name, 0)) for one in listed]
        )

    async def GetStats(
        self, request: admin_pb2.GetStatsRequest, call: Call
    ) -> admin_pb2.GetStatsResponse:
        name = validate.namespace(request.namespace)
        namespace = await self._namespaces.resolve(name, call.deadline)
        worker, deployment, size = await self._cache.statistics(namespace, call.deadline)
        return admin_pb2.GetStatsResponse(
            worker=_stats(worker),
            deployment=_stats(deployment),
            estimated_entries=None if size is None else size.entries,
            estimated_bytes=None if size is None else size.memory_bytes,
        )

    async def GetHealth(
        self, request: admin_pb2.GetHealthRequest, call: Call
    ) -> admin_pb2.GetHealthResponse:
        health = self._health.report()
        return admin_pb2.GetHealthResponse(
            ready=health.ready,
            server_version=server_version(),
            worker=health.worker,
            start_time=timestamp(health.started_ms * 1000),
            stores=map(_store, health.stores),
        )

    async def ReloadConfig(
        self, request: admin_pb2.ReloadConfigRequest, call: Call
    ) -> admin_pb2.ReloadConfigResponse:
        reloaded = await self._reloader.reload(call.deadline)
        return admin_pb2.ReloadConfigResponse(
            changed=reloaded.changed, restart_required=reloaded.restart_required
        )


def _duration(value: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(value)
    return message


def _namespace(listed: ListedNamespace, version: int) -> admin_pb2.Namespace:
    return admin_pb2.Namespace(
        name=listed.name,
        version=version,
        configured=listed.configured,
        partitions=listed.partitions,
        config=admin_pb2.NamespaceConfig(
            ttl=_duration(listed.config.ttl),
            max_ttl=_duration(listed.config.max_ttl),
            ttl_jitter_ratio=listed.config.ttl_jitter_ratio,
            max_value_bytes=listed.config.max_value_bytes,
            replica_reads=listed.config.replica_reads,
            sliding=listed.config.sliding,
            stale_while_revalidate=_duration(listed.config.stale_while_revalidate),
            stale_if_error=_duration(listed.config.stale_if_error),
            refresh_ratio=listed.config.refresh_ratio,
            tag_index=listed.config.tag_index,
            invalidation_replicas=listed.config.invalidation_replicas,
            on_failover=_ON_FAILOVER[listed.config.on_failover],
            reclaim_keys_per_second=listed.config.reclaim_keys_per_second,
            l1=_first_level(listed.config.l1),
            near_cache=listed.config.near_cache,
        ),
    )


def _first_level(config: FirstLevelConfig | None) -> admin_pb2.FirstLevelConfig | None:
    if config is None:
        return None
    return admin_pb2.FirstLevelConfig(
        max_bytes=config.max_bytes,
        ttl=_duration(config.ttl),
        max_staleness=_duration(config.max_staleness),
        negative=config.negative,
        audit_ratio=config.audit_ratio,
    )


def _stats(stats: NamespaceStats) -> admin_pb2.CacheStats:
    return admin_pb2.CacheStats(**dict(zip(FIELDS, stats.values(), strict=True)))


def _store(store: StoreHealth) -> admin_pb2.StoreHealth:
    latency = None if store.latency_s is None else _duration(timedelta(seconds=store.latency_s))
    return admin_pb2.StoreHealth(
        role=store.role,
        topology=store.topology,
        available=store.available,
        primaries=store.primaries,
        latency=latency,
        detail=store.detail,
    )
