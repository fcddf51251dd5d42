"""Whether a worker can take calls, and what it knows of its Redis. Nothing here waits for Redis."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

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
    """A worker and its stores."""

    ready: bool
    worker: int
    started_ms: int
    stores: tuple[StoreHealth, ...]


class HealthEngine:
    """The health of worker number `worker`."""

    def __init__(self, worker: int, stores: Sequence[Store]) -> None:
        self.draining = False
        """Set once, when the worker begins to stop."""
        self._worker = worker
        self._stores = stores
        self._started_ms = time.time_ns() // 1_000_000

    @property
    def ready(self) -> bool:
        """Whether new calls should come here."""
        return not self.draining and all(store.available for store in self._stores)

    def report(self) -> WorkerHealth:
        """All of it, for people and dashboards."""
        return WorkerHealth(
            ready=self.ready,
            worker=self._worker,
            started_ms=self._started_ms,
            stores=tuple(map(_store_health, self._stores)),
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
