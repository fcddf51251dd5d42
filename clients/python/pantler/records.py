"""The calls of RecordService."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any, Literal
from uuid import uuid4

from pantler import record_messages as messages
from pantler.attempts import Attempts
from pantler.batch import in_parts, listed, several, text
from pantler.connection import Connection
from pantler.errors import PantlerError, Unavailable, answer_to
from pantler.pages import PAGE_SIZE, pages
from pantler.record_model import (
    DeadWrite,
    DeleteResult,
    FlushResult,
    Operation,
    PutResult,
    Record,
    WriteBacklog,
)
from pantler.v1 import record_pb2, record_pb2_grpc


class RecordCalls(Connection):
    """How a client reads and writes the records of a namespace's system of record.

    Fields are given as Python has them: None, bool, int, float, str, and lists and dicts of these;
    Decimal, datetime (without a zone: in UTC), date, time, UUID and bytes are sent as the text that
    records have for them. Anything else is a TypeError that names the field.

    Writes are sent with a request id, made up unless it is given, and so again if the server or the
    origin is away or went away meanwhile: a few times within the client's timeout, and with the
    same id, by which they take effect once. With `request_id=""` a write is sent once.
    """

    async def get_record(
        self, namespace: str, key: str, *, force_refresh: bool = False
    ) -> Record | None:
        """A record; None if there is none. What is not cached is loaded, with `force_refresh` also
        what is."""
        request = record_pb2.GetRecordRequest(
            namespace=text(namespace, "namespace"),
            key=text(key, "key"),
            force_refresh=force_refresh,
        )
        answer = await answer_to(self._record_service.GetRecord, request, self._timeout_s)
        return messages.record(answer)

    async def get_records(
        self, namespace: str, keys: Iterable[str], *, force_refresh: bool = False
    ) -> dict[str, Record]:
        """The records that there are, by key. Of each 1,000 what is not cached is loaded with one
        query. Raises PartialFailure if some could not be read."""
        text(namespace, "namespace")
        places = several(listed(keys, "key"))

        async def read(part: Sequence[str]) -> list[Record | PantlerError | None]:
            request = record_pb2.BatchGetRecordsRequest(
                namespace=namespace, keys=part, force_refresh=force_refresh
            )
            answer = await answer_to(self._record_service.BatchGetRecords, request, self._timeout_s)
            return [messages.found(outcome) for outcome in answer.outcomes]

        return await in_parts(places, read)

    async def put_record(
        self,
        namespace: str,
        key: str,
        fields: Mapping[str, Any],
        *,
        operation: Operation = "upsert",
        request_id: str | None = None,
    ) -> PutResult:
        """Writes a record.

            await client.put_record("users", "42", {"name": "Ada", "balance": Decimal("12.50")})

        The `operation` says what becomes of a record that is there: "upsert" replaces it (what is
        not given takes the origin's default), "update" sets the given fields, keeps the others and
        raises RecordMissing if there is none, "insert" raises RecordExists if there is one.
        """
        request = record_pb2.PutRecordRequest(
            namespace=text(namespace, "namespace"),
            key=text(key, "key"),
            fields=messages.struct(fields),
            operation=messages.operation_number(operation),
            request_id=_request_id(request_id),
        )
        answer = await answer_to(self._record_service.PutRecord, request, self._timeout_s)
        return messages.put_result(answer)

    async def put_records(
        self,
        namespace: str,
        records: Mapping[str, Mapping[str, Any]],
        *,
        operation: Operation = "upsert",
    ) -> dict[str, PutResult]:
        """Writes records by key, each on its own: it is no transaction. Raises PartialFailure if
        some could not be written."""
        number = messages.operation_number(operation)
        text(namespace, "namespace")
        writes = {
            key: record_pb2.RecordWrite(
                key=text(key, "key"),
                fields=messages.struct(fields),
                operation=number,
                request_id=_request_id(None),
            )
            for key, fields in records.items()
        }

        async def write(part: Sequence[str]) -> list[PutResult | PantlerError]:
            return await self._put_part(namespace, [writes[key] for key in part])

        return await in_parts(several(records), write, lambda key: writes[key].ByteSize())

    async def delete_record(
        self, namespace: str, key: str, *, request_id: str | None = None
    ) -> DeleteResult:
        """Removes a record. Removing what is not there succeeds."""
        request = record_pb2.DeleteRecordRequest(
            namespace=text(namespace, "namespace"),
            key=text(key, "key"),
            request_id=_request_id(request_id),
        )
        answer = await answer_to(self._record_service.DeleteRecord, request, self._timeout_s)
        return messages.delete_result(answer)

    async def stop_refresh(self, namespace: str, keys: Iterable[str] | Literal["all"]) -> None:
        """Lets what is cached of these keys, or of all, expire instead of refreshing it ahead."""

        async def stop(part: Sequence[str], all_of_them: bool) -> int:
            request = record_pb2.StopRefreshRequest(namespace=namespace, keys=part, all=all_of_them)
            await answer_to(self._record_service.StopRefresh, request, self._timeout_s)
            return len(part)

        await _counted(keys, stop)

    async def flush_writes(
        self, namespace: str, *, timeout: timedelta | None = None
    ) -> FlushResult:
        """Waits until the origin has all writes that were acknowledged before; for `timeout` at the
        longest, up to an hour, or else the client's."""
        wait = timedelta(seconds=self._timeout_s) if timeout is None else timeout
        request = record_pb2.FlushWritesRequest(namespace=namespace, timeout=wait)
        timeout_s = wait.total_seconds() + self._timeout_s  # the answer says what still waits
        answer = await answer_to(self._record_service.FlushWrites, request, timeout_s)
        return FlushResult(flushed=answer.flushed, remaining=answer.remaining)

    async def write_backlog(self, namespace: str) -> WriteBacklog:
        """How much waits for the origin, and why."""
        request = record_pb2.GetWriteBacklogRequest(namespace=namespace)
        answer = await answer_to(self._record_service.GetWriteBacklog, request, self._timeout_s)
        return messages.write_backlog(answer)

    async def list_dead_writes(self, namespace: str) -> AsyncIterator[DeadWrite]:
        """The writes that the origin refused for good, oldest first."""

        async def ask(page_token: str) -> record_pb2.ListDeadWritesResponse:
            request = record_pb2.ListDeadWritesRequest(
                namespace=namespace, page_size=PAGE_SIZE, page_token=page_token
            )
            return await answer_to(self._record_service.ListDeadWrites, request, self._timeout_s)

        async for page in pages(ask):
            for one in page.writes:
                yield messages.dead_write(one)

    async def retry_dead_writes(self, namespace: str, ids: Iterable[str] | Literal["all"]) -> int:
        """Queues dead writes again, these or all, as the newest of their keys; how many."""

        async def retry(part: Sequence[str], all_of_them: bool) -> int:
            request = record_pb2.RetryDeadWritesRequest(
                namespace=namespace, ids=part, all=all_of_them
            )
            answer = await answer_to(self._record_service.RetryDeadWrites, request, self._timeout_s)
            return answer.retried

        return await _counted(ids, retry)

    async def discard_dead_writes(self, namespace: str, ids: Iterable[str] | Literal["all"]) -> int:
        """Forgets dead writes, these or all: they are lost then; how many."""

        async def discard(part: Sequence[str], all_of_them: bool) -> int:
            request = record_pb2.DiscardDeadWritesRequest(
                namespace=namespace, ids=part, all=all_of_them
            )
            answer = await answer_to(
                self._record_service.DiscardDeadWrites, request, self._timeout_s
            )
            return answer.discarded

        return await _counted(ids, discard)

    async def _put_part(
        self, namespace: str, writes: Sequence[record_pb2.RecordWrite]
    ) -> list[PutResult | PantlerError]:
        """What one call's writes came to. Those that fail since something is away are repeated."""
        outcomes: dict[int, PutResult | PantlerError] = {}
        waiting = list(range(len(writes)))
        attempts = Attempts(self._timeout_s)
        while waiting:
            request = record_pb2.BatchPutRecordsRequest(
                namespace=namespace, writes=[writes[index] for index in waiting]
            )
            method = self._record_service.BatchPutRecords
            try:
                answer = await answer_to(method, request, attempts.left_s)
            except PantlerError as exc:
                if isinstance(exc, Unavailable) and await attempts.another(exc):
                    continue
                if not outcomes:
                    raise  # no call was answered
                outcomes.update(dict.fromkeys(waiting, exc))
                break
            outcomes.update(zip(waiting, map(messages.put_outcome, answer.outcomes), strict=True))
            waiting = [index for index in waiting if isinstance(outcomes[index], Unavailable)]
            if waiting and not await attempts.another(outcomes[waiting[0]]):
                break
        return [outcomes[index] for index in range(len(writes))]

    @cached_property
    def _record_service(self) -> "record_pb2_grpc.RecordServiceAsyncStub":
        return self._near_stub(record_pb2_grpc.RecordServiceStub(self._channel))


def _request_id(given: str | None) -> str:
    return uuid4().hex if given is None else text(given, "request_id")


async def _counted(
    given: Iterable[str] | Literal["all"], send: Callable[[Sequence[str], bool], Awaitable[int]]
) -> int:
    """What `send` counts, which makes one call: for a part of what is given, or for all at once."""
    if given == "all":
        return await send((), True)
    count = 0

    async def send_part(part: Sequence[str]) -> list[bool]:
        nonlocal count
        count += await send(part, False)
        return [True] * len(part)

    await in_parts(several(given), send_part)
    return count
