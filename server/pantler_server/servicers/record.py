"""RecordService: the records of a namespace's system of record."""

from pantler.v1 import record_pb2

from pantler_server.core.call import Call
from pantler_server.core.namespace import Namespaces
from pantler_server.engines.cache.record.engine import RecordEngine
from pantler_server.engines.cdn.record_writes import PurgedRecordWrites
from pantler_server.servicers import convert_record as convert
from pantler_server.servicers import validate
from pantler_server.servicers.convert import key, keys_of


class RecordServicer:
    """The RPCs of RecordService, documented in proto/pantler/v1/record.proto."""

    def __init__(
        self, engine: RecordEngine, writes: PurgedRecordWrites, namespaces: Namespaces
    ) -> None:
        self._engine = engine
        self._writes = writes
        self._namespaces = namespaces

    async def GetRecord(
        self, request: record_pb2.GetRecordRequest, call: Call
    ) -> record_pb2.GetRecordResponse:
        name, wanted = validate.namespace(request.namespace), key(request)
        space = await self._namespaces.resolve(name, call.deadline, for_records=True)
        read = await self._engine.get_record(
            space, wanted, call.deadline, force_refresh=request.force_refresh
        )
        return convert.get_record_response(read)

    async def BatchGetRecords(
        self, request: record_pb2.BatchGetRecordsRequest, call: Call
    ) -> record_pb2.BatchGetRecordsResponse:
        name, wanted = validate.namespace(request.namespace), keys_of(request)
        space = await self._namespaces.resolve(name, call.deadline, for_records=True)
        reads = await self._engine.get_records(
            space, wanted, call.deadline, force_refresh=request.force_refresh
        )
        return convert.batch_get_records_response(reads)

    async def PutRecord(
        self, request: record_pb2.PutRecordRequest, call: Call
    ) -> record_pb2.PutRecordResponse:
        name = validate.namespace(request.namespace)
        space = await self._namespaces.resolve(name, call.deadline, for_records=True)
        wanted = convert.put(request, space)
        return convert.put_record_response(await self._writes.put(space, wanted, call.deadline))

    async def BatchPutRecords(
        self, request: record_pb2.BatchPutRecordsRequest, call: Call
    ) -> record_pb2.BatchPutRecordsResponse:
        name = validate.namespace(request.namespace)
        space = await self._namespaces.resolve(name, call.deadline, for_records=True)
        wanted = convert.puts(request, space)
        written = await self._writes.put_many(space, wanted, call.deadline)
        return convert.batch_put_records_response(written)

    async def DeleteRecord(
        self, request: record_pb2.DeleteRecordRequest, call: Call
    ) -> record_pb2.DeleteRecordResponse:
        name, wanted = validate.namespace(request.namespace), convert.delete(request)
        space = await self._namespaces.resolve(name, call.deadline, for_records=True)
        return convert.delete_record_response(await self._writes.put(space, wanted, call.deadline))

    async def StopRefresh(
        self, request: record_pb2.StopRefreshRequest, call: Call
    ) -> record_pb2.StopRefreshResponse:
        name, keys = validate.namespace(request.namespace), convert.stopped_keys(request)
        space = await self._namespaces.resolve(name, call.deadline, for_records=True)
        await self._engine.stop_refresh(space, keys, call.deadline)
        return record_pb2.StopRefreshResponse()

    async def FlushWrites(
        self, request: record_pb2.FlushWritesRequest, call: Call
    ) -> record_pb2.FlushWritesResponse:
        name, timeout_s = validate.namespace(request.namespace), convert.flush_timeout_s(request)
        space = await self._namespaces.resolve(name, call.deadline, for_records=True)
        return convert.flush_response(await self._engine.flush(space, timeout_s, call.deadline))

    async def GetWriteBacklog(
        self, request: record_pb2.GetWriteBacklogRequest, call: Call
    ) -> record_pb2.GetWriteBacklogResponse:
        name = validate.namespace(request.namespace)
        space = await self._namespaces.resolve(name, call.deadline, for_records=True)
        return convert.backlog_response(await self._engine.backlog(space, call.deadline))

    async def ListDeadWrites(
        self, request: record_pb2.ListDeadWritesRequest, call: Call
    ) -> record_pb2.ListDeadWritesResponse:
        name, size = validate.namespace(request.namespace), validate.page_size(request.page_size)
        space = await self._namespaces.resolve(name, call.deadline, for_records=True)
        writes, token = await self._engine.list_dead(space, request.page_token, size, call.deadline)
        return convert.dead_writes_response(writes, token)

    async def RetryDeadWrites(
        self, request: record_pb2.RetryDeadWritesRequest, call: Call
    ) -> record_pb2.RetryDeadWritesResponse:
        name, ids = validate.namespace(request.namespace), convert.dead_ids(request)
        space = await self._namespaces.resolve(name, call.deadline, for_records=True)
        retried = await self._engine.retry_dead(space, ids, call.deadline)
        return record_pb2.RetryDeadWritesResponse(retried=retried)

    async def DiscardDeadWrites(
        self, request: record_pb2.DiscardDeadWritesRequest, call: Call
    ) -> record_pb2.DiscardDeadWritesResponse:
        name, ids = validate.namespace(request.namespace), convert.dead_ids(request)
        space = await self._namespaces.resolve(name, call.deadline, for_records=True)
        discarded = await self._engine.discard_dead(space, ids, call.deadline)
        return record_pb2.DiscardDeadWritesResponse(discarded=discarded)
