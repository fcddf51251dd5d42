"""The composition root: the only file that builds concretes. One `App` is one worker's service."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import structlog
from pantler.v1 import (
    admin_pb2,
    cache_pb2,
    cdn_pb2,
    counter_pb2,
    geo_pb2,
    invalidation_pb2,
    leaderboard_pb2,
    pubsub_pb2,
    rate_limit_pb2,
    record_pb2,
    tag_pb2,
)
from prometheus_client import Gauge

from pantler_server.cdns.open import Targets
from pantler_server.core import background
from pantler_server.core.config import Settings
from pantler_server.core.logs import configure_logs
from pantler_server.core.namespace import Namespace
from pantler_server.core.reload import Reloader
from pantler_server.edge.gateway import Gateway
from pantler_server.edge.http import HttpHost
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.record.engine import RecordEngine
from pantler_server.engines.cache.record.warm_start import WarmingAtStart
from pantler_server.engines.cache.record.warming import Warmer
from pantler_server.engines.cache.stats import CacheStats
from pantler_server.engines.cdn.edge_values import EdgeValueEngine
from pantler_server.engines.cdn.engine import CdnEngine
from pantler_server.engines.cdn.invalidation import PurgedInvalidation
from pantler_server.engines.cdn.policies import Policies
from pantler_server.engines.cdn.record_writes import PurgedRecordWrites
from pantler_server.engines.counter.engine import CounterEngine
from pantler_server.engines.events.engine import EventEngine
from pantler_server.engines.geo.engine import GeoEngine
from pantler_server.engines.health.engine import HealthEngine
from pantler_server.engines.leaderboard.engine import LeaderboardEngine
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.engines.pubsub.engine import PubSubEngine
from pantler_server.engines.rate_limit.engine import RateLimitEngine
from pantler_server.engines.rate_limit.envoy import EnvoyEngine
from pantler_server.generated import rls_pb2
from pantler_server.origins.open import Origins
from pantler_server.origins.origin import OriginHealth
from pantler_server.servicers.admin import AdminServicer
from pantler_server.servicers.cache import CacheServicer
from pantler_server.servicers.cdn import CdnServicer
from pantler_server.servicers.counter import CounterServicer
from pantler_server.servicers.envoy import EnvoyServicer
from pantler_server.servicers.exchange import Handler
from pantler_server.servicers.geo import GeoServicer
from pantler_server.servicers.invalidation import InvalidationServicer
from pantler_server.servicers.leaderboard import LeaderboardServicer
from pantler_server.servicers.pubsub import PubSubServicer
from pantler_server.servicers.rate_limit import RateLimitServicer
from pantler_server.servicers.record import RecordServicer
from pantler_server.servicers.tag import TagServicer
from pantler_server.store.open import open_store
from pantler_server.wire.host import GrpcHost

READY_CHECK_S = 0.1  # how soon health says that Redis is away, or back

_AVAILABLE = Gauge(
    "pantler_redis_available",
    "1 if every primary of the role answers, by the worker that sees it worst",
    ("role",),
    multiprocess_mode="livemin",
)

log = structlog.get_logger(__name__)


class App:
    """Everything that a worker runs. `start`, then `stop`; `apply` in between, on a reload."""

    def __init__(
        self, settings: Settings, worker: int, embedded_socket: Path | None, reloader: Reloader
    ) -> None:
        self._settings = settings
        self._worker = worker
        self._cache_store = open_store("cache", settings.redis, embedded_socket)
        self._state_store = (
            open_store("state", settings.state_redis, embedded_socket)
            if settings.state_redis is not None
            else self._cache_store
        )
        self._stores = tuple(dict.fromkeys((self._cache_store, self._state_store)))
        self._origins = Origins(settings)
        self._stats = CacheStats(self._state_store)
        self._hot_keys = HotKeys(self._state_store)
        self._cache = cache = CacheEngine(self._cache_store, self._stats, self._hot_keys)
        self._namespaces = NamespaceEngine(
            self._state_store, self._cache_store, settings, self._prepare
        )
        self._records = RecordEngine(
            self._cache_store,
            cache,
            self._origins.of,
            self._hot_keys,
            self._namespaces.deployment,
        )
        self._warmer = warmer = Warmer(self._records, self._hot_keys)
        self._warming = WarmingAtStart(self._cache_store, warmer, self._namespaces, settings)
        self._targets = Targets(settings)
        self._cdn = CdnEngine(self._state_store, self._targets)
        purged = PurgedInvalidation(cache.invalidation, cache, self._cdn)
        self._events = EventEngine(self._state_store, settings, self._namespaces, purged)
        self._rate_limits = RateLimitEngine(self._state_store, settings)
        self._envoy = EnvoyEngine(self._rate_limits, settings)
        self._pubsub = PubSubEngine(self._state_store)
        self._policies = Policies(settings)
        self._health = HealthEngine(
            worker, self._stores, self._origins_health, self._warming.awaited
        )
        self._grpc = GrpcHost(settings)
        limits = RateLimitServicer(self._rate_limits)
        counters = CounterServicer(CounterEngine(self._state_store), self._namespaces)
        others: Mapping[str, Handler] = {"acquire": limits.Acquire, "increment": counters.Increment}
        entries = CacheServicer(cache, purged, self._records, self._namespaces, others, settings)
        self._exchange = entries.exchange
        self._grpc.add(cache_pb2.DESCRIPTOR.services_by_name["CacheService"], entries)
        self._grpc.add(
            record_pb2.DESCRIPTOR.services_by_name["RecordService"],
            RecordServicer(
                self._records, PurgedRecordWrites(self._records, self._cdn), self._namespaces
            ),
        )
        self._grpc.add(
            tag_pb2.DESCRIPTOR.services_by_name["TagService"],
            TagServicer(cache.tags, self._namespaces),
        )
        self._grpc.add(
            invalidation_pb2.DESCRIPTOR.services_by_name["InvalidationService"],
            InvalidationServicer(
                cache.invalidation, purged, cache.watching, self._events, self._namespaces
            ),
        )
        self._grpc.add(
            geo_pb2.DESCRIPTOR.services_by_name["GeoService"],
            GeoServicer(GeoEngine(self._state_store), self._namespaces),
        )
        self._grpc.add(counter_pb2.DESCRIPTOR.services_by_name["CounterService"], counters)
        self._grpc.add(rate_limit_pb2.DESCRIPTOR.services_by_name["RateLimitService"], limits)
        self._grpc.add(
            pubsub_pb2.DESCRIPTOR.services_by_name["PubSubService"],
            PubSubServicer(self._pubsub, self._namespaces),
        )
        self._grpc.add(
            rls_pb2.DESCRIPTOR.services_by_name["RateLimitService"], EnvoyServicer(self._envoy)
        )
        self._grpc.add(
            leaderboard_pb2.DESCRIPTOR.services_by_name["LeaderboardService"],
            LeaderboardServicer(LeaderboardEngine(self._state_store), self._namespaces),
        )
        self._grpc.add(
            cdn_pb2.DESCRIPTOR.services_by_name["CdnService"],
            CdnServicer(self._policies, self._cdn, EdgeValueEngine(self._targets)),
        )
        self._grpc.add(
            admin_pb2.DESCRIPTOR.services_by_name["AdminService"],
            AdminServicer(self._namespaces, cache, self._hot_keys, warmer, self._health, reloader),
        )
        self._gateway = Gateway(cache, self._records, self._namespaces, settings)
        host, _, port = settings.http_listen.rpartition(":")
        self._http = HttpHost(host.strip("[]"), int(port), self._health, self._gateway)
        self._ready_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connects to Redis and the origins (which may be away) and opens the ports. Raises OSError
        if one is taken."""
        await asyncio.gather(*(store.start() for store in self._stores))
        await self._origins.start()
        self._stats.start()
        self._hot_keys.start()
        self._cache.start()
        self._records.start(self._namespaces.take_up)
        self._rate_limits.start()
        self._pubsub.start()
        self._cdn.start()
        self._warming.start()
        await self._grpc.set_ready(self._health.ready)
        await self._http.start()
        await self._grpc.start()
        self._ready_task = background.start(self._publish_readiness(), "readiness")

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration, as far as it needs no restart."""
        self._settings = settings
        self._origins.apply(settings)
        self._namespaces.apply(settings)
        self._cache.apply(settings)
        self._records.apply(settings)
        self._events.apply(settings)
        self._rate_limits.apply(settings)
        self._envoy.apply(settings)
        self._pubsub.apply(settings)
        self._exchange.apply(settings)
        self._grpc.apply(settings)
        self._policies.apply(settings)
        self._targets.apply(settings)
        self._cdn.apply()
        self._gateway.apply(settings)
        configure_logs(settings.log, worker=self._worker)

    async def stop(self) -> None:
        """Drains: readiness goes first, calls under way finish within the drain time-out."""
        self._health.draining = True
        if self._ready_task is not None:
            await background.stop((self._ready_task,))
        await self._grpc.set_ready(False)
        await self._warming.stop()
        self._warmer.dismiss()
        self._cache.dismiss()
        self._pubsub.dismiss()
        self._exchange.dismiss()
        until = asyncio.get_running_loop().time() + self._settings.drain_timeout.total_seconds()
        await self._grpc.drain(self._settings.drain_timeout.total_seconds())
        await self._http.stop()
        await self._pubsub.stop()
        await self._rate_limits.stop()
        await asyncio.gather(self._cdn.stop(until), self._records.stop(until))
        await self._cache.stop()
        await self._hot_keys.stop()
        await self._origins.stop()
        await self._targets.stop()
        await self._stats.stop()
        await asyncio.gather(*(store.stop() for store in self._stores))

    async def _prepare(self, space: Namespace, deadline: float) -> None:
        await self._cache.prepare(space, deadline)
        self._records.prepare(space)

    def _origins_health(self) -> list[OriginHealth]:
        return self._records.with_problems(self._origins.health())

    async def _publish_readiness(self) -> None:
        ready = None
        while True:
            if ready is not self._health.ready:
                ready = self._health.ready
                await self._grpc.set_ready(ready)
                log.info("ready" if ready else "not ready")
            for store in self._stores:
                _AVAILABLE.labels(store.role).set(store.available)
            self._origins.report()
            await asyncio.sleep(READY_CHECK_S)
