"""A server whose answers to batches of writes a test lays down: no real one fails as it is told."""

from collections.abc import Sequence
from typing import Any, Self

import grpc
import grpc.aio
from google.rpc import status_pb2
from pantler.v1 import record_pb2

Answer = Sequence[grpc.StatusCode] | grpc.StatusCode
"""The outcome of each write, or of the whole."""


class ScriptedBatches:
    """Answers BatchPutRecords alone, each call with the next answer."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self._server = grpc.aio.server()
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    async def __aenter__(self) -> Self:
        method = grpc.unary_unary_rpc_method_handler(
            self._put,
            request_deserializer=record_pb2.BatchPutRecordsRequest.FromString,
            response_serializer=record_pb2.BatchPutRecordsResponse.SerializeToString,
        )
        handler = grpc.method_handlers_generic_handler(
            "pantler.v1.RecordService", {"BatchPutRecords": method}
        )
        self._server.add_generic_rpc_handlers((handler,))
        await self._server.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._server.stop(None)

    async def _put(
        self, request: record_pb2.BatchPutRecordsRequest, context: Any
    ) -> record_pb2.BatchPutRecordsResponse:
        answer = self._answers.pop(0)
        if isinstance(answer, grpc.StatusCode):
            await context.abort(answer, answer.name)
            raise AssertionError
        assert len(answer) == len(request.writes)
        return record_pb2.BatchPutRecordsResponse(outcomes=map(_outcome, answer))


def _outcome(code: grpc.StatusCode) -> record_pb2.BatchPutRecordsOutcome:
    if code is grpc.StatusCode.OK:
        written = record_pb2.PutRecordResponse(durability=record_pb2.DURABILITY_WRITTEN, version=1)
        return record_pb2.BatchPutRecordsOutcome(put=written)
    error = status_pb2.Status(code=code.value[0], message=code.name)
    return record_pb2.BatchPutRecordsOutcome(error=error)
