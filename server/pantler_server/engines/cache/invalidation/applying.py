"""How an invalidation is done in all partitions of a namespace, and what is promised of it then.

It is acknowledged when every partition has it, and as many replicas as the namespace asks for. If
some partition has not, the caller learns it and repeats the whole: what is done twice does no harm.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pantler_server.core.errors import (
    NotReplicated,
    OutcomeUnknown,
    ServiceError,
    StoreUnavailable,
)
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.cache import keys
from pantler_server.engines.cache.failover import Event, Failover, OfKey
from pantler_server.engines.cache.first_level import FirstLevel
from pantler_server.store.link import Reply
from pantler_server.store.replication import Written
from pantler_server.store.request import Request
from pantler_server.store.store import Store


class Applier:
    """All raise the StoreErrors and NotReplicated."""

    def __init__(self, store: Store, failover: Failover, first_level: FirstLevel) -> None:
        self._store = store
        self._failover = failover
        self._first_level = first_level

    async def everywhere(
        self,
        space: Namespace,
        request_for: Callable[[Partition], Request],
        events: Sequence[Event],
        deadline: float,
    ) -> list[Reply]:
        """A reply of each partition. One round trip. `events` are what a failover may lose."""
        requests = [request_for(partition) for partition in space.partitions]
        return await self.all_of(space, requests, events, deadline)

    async def all_of(
        self,
        space: Namespace,
        requests: Sequence[Request],
        events: Sequence[Event],
        deadline: float,
        passed_over: type[ServiceError] | tuple[()] = (),
    ) -> list[Reply]:
        """A reply to each request, once all are done, but for those that fail so."""
        # Noted first: should the primary change between the two, the new one hears of it.
        self._failover.note(space, events)
        try:
            outcomes = await self._store.call_each(requests, deadline)
        finally:  # whatever came of it: what is forgotten is read again
            self._first_level.forget(space, [one.key for one in events if isinstance(one, OfKey)])
            self._first_level.forget_marked(space)
        failures = [
            outcome
            for outcome in outcomes
            if isinstance(outcome, ServiceError) and not isinstance(outcome, passed_over)
        ]
        if failures:
            with in_part(self._store.role, begun=len(failures) < len(outcomes)):
                raise _worst(failures)
        if space.config.invalidation_replicas:
            await self._replicate(space, requests, deadline)
        return [outcome[0] for outcome in outcomes if not isinstance(outcome, ServiceError)]

    async def _replicate(
        self, space: Namespace, requests: Sequence[Request], deadline: float
    ) -> None:
        wanted = space.config.invalidation_replicas
        done_by = {request.slot: request.primary for request in requests}
        written = [
            Written(partition.slot, done_by[partition.slot], keys.replicated(partition))
            for partition in space.partitions
            if partition.slot in done_by
        ]
        try:
            reached = await self._store.wait_for_replicas(written, wanted, deadline)
        except StoreUnavailable as exc:
            raise NotReplicated(wanted, 0) from exc
        if reached < wanted:
            raise NotReplicated(wanted, reached)


@contextmanager
def in_part(role: str, *, begun: bool = True) -> Iterator[None]:
    """What fails in here, when the whole has begun, may not say that nothing was done."""
    try:
        yield
    except StoreUnavailable as away:
        if not begun:
            raise
        raise OutcomeUnknown(
            "Redis went away before the whole was done: repeat the call", role
        ) from away


def _worst(failures: Sequence[ServiceError]) -> ServiceError:
    """The one that says least of what was done."""
    return next((one for one in failures if isinstance(one, OutcomeUnknown)), failures[0])
