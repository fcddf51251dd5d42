"""CacheService: entries under keys."""

from collections.abc import AsyncIterator, Mapping

from pantler.v1 import cache_pb2

from pantler_server.core.call import Call
from pantler_server.core.config import Settings
from pantler_server.core.errors import HasOrigin
from pantler_server.core.namespace import Namespace, Namespaces
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.record.engine import RecordEngine
from pantler_server.engines.cdn.invalidation import PurgedInvalidation
from pantler_server.servicers import convert, convert_record, validate
from pantler_server.servicers.exchange import Exchange, Handler


class CacheServicer:
    """The RPCs of CacheService, documented in proto/pantler/v1/cache.proto.

    The entries of a namespace with an origin are read through the record engine, which loads what
    is missing."""

    def __init__(
        self,
        engine: CacheEngine,
        deletion: PurgedInvalidation,
        records: RecordEngine,
        namespaces: Namespaces,
        others: Mapping[str, Handler],
        settings: Settings,
    ) -> None:
        """`others` are the RPCs of other services that Exchange has, by its names for them."""
        self._engine = engine
        self._deletion = deletion
        self._records = records
        self._namespaces = namespaces
        own: dict[str, Handler] = {
            "get": self.Get,
            "batch_get": self.BatchGet,
            "set": self.Set,
            "batch_set": self.BatchSet,
            "delete": self.Delete,
            "batch_delete": self.BatchDelete,
            "touch": self.Touch,
            "release_lease": self.ReleaseLease,
            "extend_lease": self.ExtendLease,
        }
        self.exchange = Exchange(engine, records, namespaces, {**own, **others}, settings)

    def Exchange(
        self, requests: AsyncIterator[cache_pb2.ExchangeRequest], call: Call
    ) -> AsyncIterator[bytes]:
        return self.exchange.serve(requests, call)

    async def Get(self, request: cache_pb2.GetRequest, call: Call) -> cache_pb2.GetResponse:
        name, key = validate.namespace(request.namespace), convert.key(request)
        ask = convert.lease_ask(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        if namespace.config.origin is not None:
            record = await self._records.get(namespace, key, call.deadline)
            return convert_record.get_response(record)
        found = await self._engine.get(
            namespace, key, call.deadline, ask, accept_stale=request.accept_stale
        )
        return convert.get_response(found)

    async def BatchGet(
        self, request: cache_pb2.BatchGetRequest, call: Call
    ) -> cache_pb2.BatchGetResponse:
        name, keys = validate.namespace(request.namespace), convert.keys_of(request)
        ask = convert.lease_ask(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        if namespace.config.origin is not None:
            records = await self._records.get_many(namespace, keys, call.deadline)
            return convert_record.batch_get_response(records)
        found = await self._engine.get_many(
            namespace, keys, call.deadline, ask, accept_stale=request.accept_stale
        )
        return convert.batch_get_response(found)

    async def ReleaseLease(
        self, request: cache_pb2.ReleaseLeaseRequest, call: Call
    ) -> cache_pb2.ReleaseLeaseResponse:
        name, key = validate.namespace(request.namespace), convert.key(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        token = convert.released_lease(request, namespace)
        released = await self._engine.release_lease(
            namespace, key, token, call.deadline, failed=request.failed
        )
        return cache_pb2.ReleaseLeaseResponse(released=released)

    async def ExtendLease(
        self, request: cache_pb2.ExtendLeaseRequest, call: Call
    ) -> cache_pb2.ExtendLeaseResponse:
        name, key, token, ttl_ms = convert.extended_lease(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        expires_us = await self._engine.extend_lease(namespace, key, token, ttl_ms, call.deadline)
        return cache_pb2.ExtendLeaseResponse(expire_time=convert.timestamp(expires_us))

    async def Set(self, request: cache_pb2.SetRequest, call: Call) -> cache_pb2.SetResponse:
        name = validate.namespace(request.namespace)
        namespace = await self._namespaces.resolve(name, call.deadline)
        _refuse_records(namespace)
        new = convert.new_entry(request, namespace)
        return convert.set_response(await self._engine.set(namespace, new, call.deadline))

    async def BatchSet(
        self, request: cache_pb2.BatchSetRequest, call: Call
    ) -> cache_pb2.BatchSetResponse:
        name = validate.namespace(request.namespace)
        namespace = await self._namespaces.resolve(name, call.deadline)
        _refuse_records(namespace)
        new = convert.new_entries(request, namespace)
        stored = await self._engine.set_many(namespace, new, call.deadline)
        return convert.batch_set_response(stored)

    async def Delete(
        self, request: cache_pb2.DeleteRequest, call: Call
    ) -> cache_pb2.DeleteResponse:
        name, key = validate.namespace(request.namespace), convert.key(request)
        if_version = convert.deleted_version(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        deleted = await self._deletion.delete(namespace, key, call.deadline, if_version)
        return cache_pb2.DeleteResponse(deleted=deleted)

    async def BatchDelete(
        self, request: cache_pb2.BatchDeleteRequest, call: Call
    ) -> cache_pb2.BatchDeleteResponse:
        name, keys = validate.namespace(request.namespace), convert.keys_of(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        deleted = await self._deletion.delete_many(namespace, keys, call.deadline)
        return convert.batch_delete_response(deleted)

    async def Touch(self, request: cache_pb2.TouchRequest, call: Call) -> cache_pb2.TouchResponse:
        name, key = validate.namespace(request.namespace), convert.key(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        ttl_ms = convert.touched_ttl_ms(request, namespace)
        expires_us = await self._engine.touch(namespace, key, ttl_ms, call.deadline)
        return cache_pb2.TouchResponse(
            found=expires_us is not None, expire_time=convert.timestamp(expires_us or 0)
        )

    async def Describe(
        self, request: cache_pb2.DescribeRequest, call: Call
    ) -> cache_pb2.DescribeResponse:
        name, key = validate.namespace(request.namespace), convert.key(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        described = await self._engine.describe(namespace, key, call.deadline)
        return convert.describe_response(described)


def _refuse_records(namespace: Namespace) -> None:
    """What is a copy of a record is not set: the next load would undo it."""
    if namespace.config.origin is not None:
        raise HasOrigin(namespace.name)
