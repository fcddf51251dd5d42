"""What a near cache has to do with the calls of its client: reads fill it, writes empty it."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from pantler.cache_messages import entry_of
from pantler.near_cache import NearCache
from pantler.near_store import NearStore
from pantler.near_watch import Follower
from pantler.v1 import invalidation_pb2_grpc

if TYPE_CHECKING:
    from pantler.connection import Connection

_WRITES = frozenset({"set", "batch_set", "delete", "batch_delete", "touch"})

# Methods of other services that change what Get gives, by their names; of the first kind those
# whose requests name keys, and no more than these is changed.
_OF_KEYS = frozenset(
    {"AddTags", "BatchPutRecords", "DeleteRecord", "InvalidateKeys", "PutRecord", "RemoveTags"}
)
_OF_MORE = frozenset(
    {
        "DiscardDeadWrites",
        "InvalidateNamespace",
        "InvalidateOlderThan",
        "InvalidateTags",
        "PublishEvent",
        "RetryDeadWrites",
    }
)


class NearCached(NearStore):
    """The near cache of a client: what is kept, and how its calls go beside that."""

    def __init__(self, config: NearCache) -> None:
        super().__init__(config)
        self._follower = Follower(self, config)
        self._is_begun = False

    async def beside(
        self, client: "Connection", name: str, request: Any, operation: Awaitable[Any]
    ) -> Any:
        """The response of an operation. What a read finds is kept; what is written is forgotten
        before this returns, also where it fails: it may have been done."""
        if not self._is_begun and not client._closed:
            self._is_begun = True
            service = invalidation_pb2_grpc.InvalidationServiceStub(client._channel)
            client._background(self._follower.run(service.WatchInvalidations), until_closed=True)
        if name in ("get", "batch_get"):
            return await _read(self, name, request, operation)
        try:
            return await operation
        finally:
            if name in _WRITES:
                self.forget(request.namespace, _keys(request))

    def stub(self, stub: Any) -> Any:
        """That of a service, whose writes it forgets."""
        return _NearStub(self, stub)


async def _read(store: NearStore, name: str, request: Any, reading: Awaitable[Any]) -> Any:
    keys = (request.key,) if name == "get" else request.keys
    opened = [store.open(request.namespace, key) for key in keys]
    try:
        answer = await reading
        outcomes = (answer,) if name == "get" else answer.outcomes
        for one, outcome in zip(opened, outcomes, strict=True):
            if one is not None and outcome.HasField("hit"):
                store.keep(one, entry_of(outcome.hit))
    finally:
        for one in opened:
            if one is not None:
                store.close(one)
    return answer


class _NearStub:
    """The stub of a service whose methods, as far as they are writes, have the store forget what
    they concern before they return."""

    def __init__(self, store: NearStore, stub: Any) -> None:
        self._store = store
        self._stub = stub

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._stub, name)
        if name not in _OF_KEYS and name not in _OF_MORE:
            return method

        async def call(request: Any, **options: Any) -> Any:
            answer = None
            try:
                answer = await method(request, **options)
            finally:
                self._wrote(name, request, answer)
            return answer

        return call

    def _wrote(self, name: str, request: Any, answer: Any) -> None:
        store = self._store
        if name in _OF_KEYS:
            store.forget(request.namespace, _keys(request))
            if name == "InvalidateKeys" and request.cascade:
                store.clear(request.namespace)
        elif name == "InvalidateTags":
            for tag in request.tags:
                store.forget_tag(request.namespace, tag)
        elif name == "PublishEvent":
            # Which namespaces the rules name, only the answer tells.
            names = store.spaces if answer is None else {one.namespace for one in answer.outcomes}
            for namespace in names:
                store.clear(namespace)
        else:
            store.clear(request.namespace)


def _keys(request: Any) -> list[str]:
    fields = request.DESCRIPTOR.fields_by_name
    if "key" in fields:
        return [request.key]
    if "keys" in fields:
        return list(request.keys)
    return [one.key for one in (request.entries if "entries" in fields else request.writes)]
