"""Whether a worker can take calls, and what it knows of its Redis and of the origins. Nothing here
waits for either."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pantler_server.origins.origin import OriginHealth
from pantler_server.store.store import Store


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """The Redis of one role, as this worker sees it."""

    role: str
    topology: str
    available: bool
    primaries: tuple[str, ...]
    latency_s: float | None
    """The slowest of the newest PINGs; None where a primary has not answered one yet."""
    detail: str


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """A worker, its stores, and the origins of its namespaces."""

    ready: bool
    worker: int
    started_ms: int
    stores: tuple[StoreHealth, ...]
    origins: tuple[OriginHealth, ...]
    """They do not count for `ready`: other namespaces work."""
    warming: tuple[str, ...]
    """The namespaces that are being warmed and that `ready` waits for."""


class HealthEngine:
    """The health of worker number `worker`. `origins` says how those are, and `warming` which
    namespaces are to be warmed before it is ready, without asking anybody."""

    def __init__(
        self,
        worker: int,
        stores: Sequence[Store],
        origins: Callable[[], Sequence[OriginHealth]],
        warming: Callable[[], tuple[str, ...]],
    ) -> None:
        self.draining = False
        """Set once, when the worker begins to stop."""
        self._worker = worker
        self._stores = stores
        self._origins = origins
        self._warming = warming
        self._started_ms = time.time_ns() // 1_000_000

    @property
    def ready(self) -> bool:
        """Whether new calls should come here."""
        return (
            not self.draining
            and all(store.available for store in self._stores)
            and not self._warming()
        )

    def report(self) -> WorkerHealth:
        """All of it, for people and dashboards."""
        return WorkerHealth(
            ready=self.ready,
            worker=self._worker,
            started_ms=self._started_ms,
            stores=tuple(map(_store_health, self._stores)),
            origins=tuple(self._origins()),
            warming=self._warming(),
        )


def _store_health(store: Store) -> StoreHealth:
    primaries = store.topology.primaries()
    probes = [node.probe_s for node in primaries if node.probe_s is not None]
    details = [f"{node.address}: {node.detail}" for node in primaries if node.detail]
    return StoreHealth(
        role=store.role,
        topology=store.topology.kind,
        available=store.available,
        primaries=tuple(str(node.address) for node in primaries),
        latency_s=max(probes) if len(probes) == len(primaries) and probes else None,
        detail="; ".join(details) if primaries else "no primary is known",
    )
