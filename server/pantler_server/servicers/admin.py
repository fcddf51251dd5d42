"""AdminService: what is configured, how it is doing, and a reload."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta

from pantler.v1 import admin_pb2

from pantler_server.core.call import Call
from pantler_server.core.reload import Reloader
from pantler_server.core.version import server_version
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.record.warming import Warmer
from pantler_server.engines.cache.stats import FIELDS, NamespaceStats
from pantler_server.engines.health.engine import HealthEngine, StoreHealth
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.origins.origin import OriginHealth
from pantler_server.servicers import convert_hot_keys, convert_warm, validate
from pantler_server.servicers.convert import timestamp
from pantler_server.servicers.convert_namespace import duration, namespace_message


class AdminServicer:
    """The RPCs of AdminService, documented in proto/pantler/v1/admin.proto."""

    def __init__(
        self,
        namespaces: NamespaceEngine,
        cache: CacheEngine,
        hot_keys: HotKeys,
        warmer: Warmer,
        health: HealthEngine,
        reloader: Reloader,
    ) -> None:
        self._namespaces = namespaces
        self._cache = cache
        self._hot_keys = hot_keys
        self._warmer = warmer
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
            namespaces=[namespace_message(one, version_of.get(one.name, 0)) for one in listed]
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
            origins=map(_origin, health.origins),
            warming=health.warming,
        )

    async def ListHotKeys(
        self, request: admin_pb2.ListHotKeysRequest, call: Call
    ) -> admin_pb2.ListHotKeysResponse:
        name = validate.namespace(request.namespace)
        limit = convert_hot_keys.limit(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        found = await self._hot_keys.top(namespace, limit, call.deadline)
        return convert_hot_keys.response(found)

    async def Warm(
        self, request: admin_pb2.WarmRequest, call: Call
    ) -> AsyncIterator[admin_pb2.WarmResponse]:
        name = validate.namespace(request.namespace)
        convert_warm.check(request)
        namespace = await self._namespaces.resolve(name, call.deadline, for_records=True)
        wanted = convert_warm.wanted(request, namespace.config.warm)
        async with aclosing(
            self._warmer.warm(namespace, wanted, request.resume_token)
        ) as progresses:
            async for progress in progresses:
                yield convert_warm.response(progress)

    async def ReloadConfig(
        self, request: admin_pb2.ReloadConfigRequest, call: Call
    ) -> admin_pb2.ReloadConfigResponse:
        reloaded = await self._reloader.reload(call.deadline)
        return admin_pb2.ReloadConfigResponse(
            changed=reloaded.changed, restart_required=reloaded.restart_required
        )


def _stats(stats: NamespaceStats) -> admin_pb2.CacheStats:
    return admin_pb2.CacheStats(**dict(zip(FIELDS, stats.values(), strict=True)))


def _store(store: StoreHealth) -> admin_pb2.StoreHealth:
    latency = None if store.latency_s is None else duration(timedelta(seconds=store.latency_s))
    return admin_pb2.StoreHealth(
        role=store.role,
        topology=store.topology,
        available=store.available,
        primaries=store.primaries,
        latency=latency,
        detail=store.detail,
    )


def _origin(origin: OriginHealth) -> admin_pb2.OriginHealth:
    return admin_pb2.OriginHealth(
        namespace=origin.namespace, available=origin.available, detail=origin.detail
    )
