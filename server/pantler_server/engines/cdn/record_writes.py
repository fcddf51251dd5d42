"""Writes of records in namespaces with a CDN, which purge it too: as invalidations do
(invalidation.py), of the keys that were written."""

from collections.abc import Sequence
from typing import Any, Protocol

from pantler_server.core.errors import ServiceError
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cdn.engine import CdnEngine
from pantler_server.engines.cdn.invalidation import MAYBE_DONE, then_purge


class Put(Protocol):
    """A write."""

    @property
    def key(self) -> str: ...


class RecordWrites(Protocol):
    """The port to what writes records."""

    async def put(self, space: Namespace, put: Any, deadline: float) -> Any: ...

    async def put_many(
        self, space: Namespace, puts: Sequence[Any], deadline: float
    ) -> list[Any]: ...


class PurgedRecordWrites:
    """As the port has them. Both raise what the port raises, PurgeBacklogFull and the StoreErrors:
    then the caller repeats the call with its request id, also where all but the purge was done."""

    def __init__(self, writes: RecordWrites, cdn: CdnEngine) -> None:
        self._writes = writes
        self._cdn = cdn

    async def put(self, space: Namespace, put: Put, deadline: float) -> Any:
        written, _ = await then_purge(
            space,
            self._writes.put(space, put, deadline),
            lambda _: self._cdn.purge_keys(space, [put.key], deadline),
        )
        return written

    async def put_many(self, space: Namespace, puts: Sequence[Put], deadline: float) -> list[Any]:
        """Of keys that certainly were not written the CDN keeps what it has."""

        async def purge(outcomes: Sequence[Any] | None) -> str:
            changed = [
                put.key
                for put, outcome in zip(puts, outcomes or [None] * len(puts), strict=True)
                if not isinstance(outcome, ServiceError) or isinstance(outcome, MAYBE_DONE)
            ]
            return await self._cdn.purge_keys(space, changed, deadline) if changed else ""

        work = self._writes.put_many(space, puts, deadline)
        outcomes, _ = await then_purge(space, work, purge)
        return outcomes
