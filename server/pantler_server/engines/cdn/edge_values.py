"""Values in the stores at the edge of CDNs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pantler_server.cdns.target import EdgeStore, EdgeValue, TargetFailed, TargetRefused
from pantler_server.core.errors import CdnRefused, CdnUnavailable
from pantler_server.engines.cdn.targets import Targets


class EdgeValueEngine:
    """Each call is one or two requests of the vendor's API, some 100 ms. All raise
    CdnTargetUnknown, NoEdgeStore, CdnRefused and CdnUnavailable."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets

    async def put(
        self,
        target: str,
        key: str,
        value: bytes,
        ttl_s: int | None,
        metadata: dict[str, object] | None,
        deadline: float,
    ) -> None:
        async with self._store(target, deadline) as store:
            await store.put(key, value, ttl_s, metadata)

    async def get(self, target: str, key: str, deadline: float) -> EdgeValue | None:
        async with self._store(target, deadline) as store:
            return await store.get(key)

    async def delete(self, target: str, key: str, deadline: float) -> None:
        async with self._store(target, deadline) as store:
            await store.delete(key)

    @asynccontextmanager
    async def _store(self, target: str, deadline: float) -> AsyncIterator[EdgeStore]:
        """Raises TimeoutError at the deadline."""
        store = self._targets.edge_store(target)
        try:
            async with asyncio.timeout_at(deadline):
                yield store
        except TargetRefused as exc:
            raise CdnRefused(target, str(exc)) from exc
        except TargetFailed as exc:
            raise CdnUnavailable(target, str(exc), exc.retry_after_s) from exc
