"""CounterService: numbers, and how many different members there were."""

from pantler.v1 import counter_pb2

from pantler_server.core.call import Call
from pantler_server.core.namespace import Namespaces
from pantler_server.engines.counter.engine import CounterEngine
from pantler_server.servicers import convert_counter as convert
from pantler_server.servicers import validate


class CounterServicer:
    """The RPCs of CounterService, documented in proto/pantler/v1/counter.proto."""

    def __init__(self, engine: CounterEngine, namespaces: Namespaces) -> None:
        self._engine = engine
        self._namespaces = namespaces

    async def Increment(
        self, request: counter_pb2.IncrementRequest, call: Call
    ) -> counter_pb2.IncrementResponse:
        name = validate.namespace(request.namespace)
        namespace = await self._namespaces.resolve(name, call.deadline)
        wanted = convert.increment(request, namespace)
        result = await self._engine.increment(namespace, request.counter, wanted, call.deadline)
        return convert.increment_response(result)

    async def GetCounters(
        self, request: counter_pb2.GetCountersRequest, call: Call
    ) -> counter_pb2.GetCountersResponse:
        name, counters = validate.namespace(request.namespace), convert.counters(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        values = await self._engine.get(namespace, counters, call.deadline)
        return counter_pb2.GetCountersResponse(counters=convert.values(counters, values))

    async def ResetCounters(
        self, request: counter_pb2.ResetCountersRequest, call: Call
    ) -> counter_pb2.ResetCountersResponse:
        name, counters = validate.namespace(request.namespace), convert.counters(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        values = await self._engine.reset(namespace, counters, call.deadline)
        return counter_pb2.ResetCountersResponse(counters=convert.values(counters, values))

    async def AddUnique(
        self, request: counter_pb2.AddUniqueRequest, call: Call
    ) -> counter_pb2.AddUniqueResponse:
        name = validate.namespace(request.namespace)
        namespace = await self._namespaces.resolve(name, call.deadline)
        ttl_ms = convert.added_unique(request, namespace)
        changed = await self._engine.add_unique(
            namespace, request.set, request.members, ttl_ms, call.deadline
        )
        return counter_pb2.AddUniqueResponse(changed=changed)

    async def CountUnique(
        self, request: counter_pb2.CountUniqueRequest, call: Call
    ) -> counter_pb2.CountUniqueResponse:
        name, sets = validate.namespace(request.namespace), convert.counted_unique(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        count = await self._engine.count_unique(namespace, sets, call.deadline)
        return counter_pb2.CountUniqueResponse(count=count)

    async def MergeUnique(
        self, request: counter_pb2.MergeUniqueRequest, call: Call
    ) -> counter_pb2.MergeUniqueResponse:
        name = validate.namespace(request.namespace)
        namespace = await self._namespaces.resolve(name, call.deadline)
        others, ttl_ms = convert.merged_unique(request, namespace)
        count = await self._engine.merge_unique(
            namespace, request.into, others, ttl_ms, call.deadline
        )
        return counter_pb2.MergeUniqueResponse(count=count)

    async def DeleteUnique(
        self, request: counter_pb2.DeleteUniqueRequest, call: Call
    ) -> counter_pb2.DeleteUniqueResponse:
        name, sets = validate.namespace(request.namespace), convert.deleted_unique(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        deleted = await self._engine.delete_unique(namespace, sets, call.deadline)
        return counter_pb2.DeleteUniqueResponse(deleted=deleted)
