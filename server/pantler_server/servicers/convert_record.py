"""Between the messages of RecordService and the record engine's models, checking on the way in; and
records as CacheService gives them.

What of a write depends on the origin (its columns, their types) the engine checks; here is checked
what is true of all records: names, numbers, depth, and the size as JSON.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from pantler.v1 import cache_pb2, record_pb2

from pantler_server import record_struct
from pantler_server.core import canonical_json
from pantler_server.core.errors import (
    MAX_VIOLATIONS,
    FieldViolation,
    InvalidFields,
    ServiceError,
)
from pantler_server.core.namespace import Namespace
from pantler_server.core.record import Operation, Record
from pantler_server.engines.cache.record.model import (
    DeadWrite,
    Durability,
    Flushed,
    Found,
    Put,
    Read,
    Source,
    WriteBacklog,
    Written,
)
from pantler_server.servicers import validate
from pantler_server.servicers.convert import timestamp
from pantler_server.servicers.status import status_of

CONTENT_TYPE = "application/json"
JSON_GROWTH = 6  # no Struct is longer as JSON than this times its bytes: \u0001 for one byte
_DEAD_ID = re.compile(r"[0-9]{1,5}-[0-9]{1,16}")

_OPERATIONS = {
    record_pb2.WRITE_OPERATION_INSERT: Operation.INSERT,
    record_pb2.WRITE_OPERATION_UPDATE: Operation.UPDATE,
    record_pb2.WRITE_OPERATION_UPSERT: Operation.UPSERT,
}
_OPERATION_MESSAGES = {
    **{operation: message for message, operation in _OPERATIONS.items()},
    Operation.DELETE: record_pb2.WRITE_OPERATION_DELETE,
}
_SOURCES = {Source.CACHE: record_pb2.SOURCE_CACHE, Source.ORIGIN: record_pb2.SOURCE_ORIGIN}
_DURABILITIES = {
    Durability.WRITTEN: record_pb2.DURABILITY_WRITTEN,
    Durability.QUEUED: record_pb2.DURABILITY_QUEUED,
}

_HasPut = record_pb2.PutRecordRequest | record_pb2.RecordWrite
_HasIds = record_pb2.RetryDeadWritesRequest | record_pb2.DiscardDeadWritesRequest


def put(request: record_pb2.PutRecordRequest, namespace: Namespace) -> Put:
    violations: validate.Violations = []
    wanted = _put(request, namespace, "", violations)
    validate.refuse(violations)
    return wanted


def puts(request: record_pb2.BatchPutRecordsRequest, namespace: Namespace) -> list[Put]:
    validate.batch(len(request.writes), "writes")
    violations: validate.Violations = []
    wanted: list[Put] = []
    for index, write in enumerate(request.writes):
        wanted.append(_put(write, namespace, f"writes[{index}].", violations))
        if len(violations) > MAX_VIOLATIONS:
            break
    validate.refuse(violations)
    return wanted


def delete(request: record_pb2.DeleteRecordRequest) -> Put:
    violations: validate.Violations = []
    validate.key(request.key, "key", violations)
    request_id = validate.request_id(request.request_id, violations)
    validate.refuse(violations)
    return Put(request.key, Operation.DELETE, {}, request_id)


def stopped_keys(request: record_pb2.StopRefreshRequest) -> Sequence[str] | None:
    """None for all."""
    violations: validate.Violations = []
    if _some_or_all(request.keys, "keys", violations, all_of_them=request.all):
        validate.batch_of_keys(request.keys, validate.MAX_BATCH_ITEMS, "keys", violations)
    validate.refuse(violations)
    return None if request.all else request.keys


def dead_ids(request: _HasIds) -> Sequence[str] | None:
    """None for all."""
    violations: validate.Violations = []
    named = _some_or_all(request.ids, "ids", violations, all_of_them=request.all)
    if named and validate.batch_size(len(request.ids), "ids", violations):
        violations += [
            FieldViolation(f"ids[{index}]", "must be the id of a dead write")
            for index, one in enumerate(request.ids)
            if not _DEAD_ID.fullmatch(one)
        ]
    validate.refuse(violations)
    return None if request.all else request.ids


def flush_timeout_s(request: record_pb2.FlushWritesRequest) -> float | None:
    """None: as long as the call may take."""
    if not request.HasField("timeout"):
        return None
    violations: validate.Violations = []
    wait_ms = validate.flush_ms(request.timeout, "timeout", violations)
    validate.refuse(violations)
    return wait_ms / 1000


def get_record_response(read: Read) -> record_pb2.GetRecordResponse:
    response = record_pb2.GetRecordResponse()
    _fill_read(response, read)
    return response


def batch_get_records_response(
    outcomes: Sequence[Read | ServiceError],
) -> record_pb2.BatchGetRecordsResponse:
    _refuse_if_all_failed_alike(outcomes, _key_of_batch)
    response = record_pb2.BatchGetRecordsResponse()
    for one in outcomes:
        outcome = response.outcomes.add()
        if isinstance(one, ServiceError):
            outcome.error.CopyFrom(status_of(one))
        else:
            _fill_read(outcome.found, one)
    return response


def put_record_response(written: Written) -> record_pb2.PutRecordResponse:
    return record_pb2.PutRecordResponse(
        durability=_DURABILITIES[written.durability], version=written.version
    )


def batch_put_records_response(
    outcomes: Sequence[Written | ServiceError],
) -> record_pb2.BatchPutRecordsResponse:
    _refuse_if_all_failed_alike(outcomes, lambda index, path: f"writes[{index}].{path}")
    response = record_pb2.BatchPutRecordsResponse()
    for one in outcomes:
        outcome = response.outcomes.add()
        if isinstance(one, ServiceError):
            outcome.error.CopyFrom(status_of(one))
        else:
            outcome.put.durability = _DURABILITIES[one.durability]
            outcome.put.version = one.version
    return response


def delete_record_response(written: Written) -> record_pb2.DeleteRecordResponse:
    return record_pb2.DeleteRecordResponse(
        durability=_DURABILITIES[written.durability],
        version=written.version,
        deleted=written.existed,
    )


def flush_response(flushed: Flushed) -> record_pb2.FlushWritesResponse:
    return record_pb2.FlushWritesResponse(flushed=flushed.flushed, remaining=flushed.remaining)


def backlog_response(backlog: WriteBacklog) -> record_pb2.GetWriteBacklogResponse:
    oldest = None
    if backlog.pending:
        oldest = Duration()
        oldest.FromMicroseconds(backlog.oldest_us)
    return record_pb2.GetWriteBacklogResponse(
        pending=backlog.pending,
        oldest_age=oldest,
        dead=backlog.dead,
        last_error=backlog.last_error,
    )


def dead_writes_response(
    writes: Sequence[DeadWrite], next_token: str
) -> record_pb2.ListDeadWritesResponse:
    response = record_pb2.ListDeadWritesResponse(next_page_token=next_token)
    for one in writes:
        message = response.writes.add(
            id=one.id,
            key=one.key,
            operation=_OPERATION_MESSAGES[one.operation],
            version=one.version,
            refuse_time=timestamp(one.refused_us),
            reason=one.reason,
        )
        record_struct.fill(message.fields, one.fields)
    return response


def get_response(found: Found) -> cache_pb2.GetResponse:
    """A record as CacheService gives it."""
    response = cache_pb2.GetResponse()
    _fill_entry(response, found)
    return response


def batch_get_response(outcomes: Sequence[Found | ServiceError]) -> cache_pb2.BatchGetResponse:
    """Records as CacheService gives them."""
    _refuse_if_all_failed_alike(outcomes, _key_of_batch)
    response = cache_pb2.BatchGetResponse()
    for one in outcomes:
        outcome = response.outcomes.add()
        if isinstance(one, ServiceError):
            outcome.error.CopyFrom(status_of(one))
        else:
            _fill_entry(outcome, one)
    return response


def _put(message: _HasPut, namespace: Namespace, path: str, violations: validate.Violations) -> Put:
    validate.key(message.key, f"{path}key", violations)
    operation = _OPERATIONS.get(message.operation)
    if operation is None:
        rule = "must be INSERT, UPDATE or UPSERT"
        violations.append(FieldViolation(f"{path}operation", rule))
    validate.text(message.request_id, validate.MAX_ID_BYTES, f"{path}request_id", violations)
    fields: Record = {}
    if message.HasField("fields"):
        fields = _record(message.fields, f"{path}fields", namespace, violations)
    else:
        violations.append(FieldViolation(f"{path}fields", "must be set"))
    return Put(message.key, operation or Operation.UPSERT, fields, message.request_id)


def _record(
    struct: Struct, path: str, namespace: Namespace, violations: validate.Violations
) -> Record:
    """The fields of a write, and whether they may be stored at all."""
    if not all(map(validate.is_key, struct.fields)):
        rule = f"must have names of 1 to {validate.MAX_KEY_BYTES} bytes without control characters"
        violations.append(FieldViolation(path, rule))
        return {}
    before = len(violations)
    record: Record = record_struct.read(struct, path, violations)
    max_bytes = namespace.config.max_value_bytes
    if len(violations) == before and struct.ByteSize() * JSON_GROWTH > max_bytes:
        size = len(canonical_json.encode(record))
        if size > max_bytes:
            rule = f"must be at most {max_bytes} bytes as JSON, not {size}"
            violations.append(FieldViolation(path, rule))
    return record


def _fill_read(response: record_pb2.GetRecordResponse, read: Read) -> None:
    if read.record is not None:
        record_struct.fill(response.record, read.record)
    response.source = _SOURCES[read.found.source]
    response.stale = read.found.stale


def _fill_entry(message: cache_pb2.GetResponse | cache_pb2.BatchGetOutcome, found: Found) -> None:
    if not found.value:
        message.miss.reason = cache_pb2.MISS_REASON_NO_RECORD
        return
    hit = message.hit
    entry = hit.entry
    entry.value = found.value
    entry.content_type = CONTENT_TYPE
    hit.stale = found.stale
    if found.version:
        entry.version = found.version
        entry.create_time.seconds, us = divmod(found.created_us, 1_000_000)
        entry.create_time.nanos = us * 1000
        entry.expire_time.seconds, us = divmod(found.expires_us, 1_000_000)
        entry.expire_time.nanos = us * 1000
    if found.tags:
        entry.tags.extend(found.tags)


def _some_or_all(
    some: Sequence[str], path: str, violations: validate.Violations, *, all_of_them: bool
) -> bool:
    """Checks that either some are named or all are meant; whether those named are to be looked
    at."""
    if all_of_them and some:
        violations.append(FieldViolation(path, "must be empty with all"))
    elif not all_of_them and not some:
        violations.append(FieldViolation(path, "must be given, or all"))
    else:
        return not all_of_them
    return False


def _key_of_batch(index: int, path: str) -> str:
    """`key`, which an origin has refused, as the request has it."""
    return f"keys[{index}]" if path == "key" else path


def _refuse_if_all_failed_alike(
    outcomes: Sequence[object], in_request: Callable[[int, str], str]
) -> None:
    """A batch whose items all failed for one reason fails as a whole. What is said of one record,
    that it is there already, say, stays with its item; but a request with nothing but wrong fields
    is refused, and names them all. `in_request` makes of the number of an item and a path in it a
    path in the request."""
    failed = [one for one in outcomes if isinstance(one, ServiceError)]
    if len(failed) < len(outcomes):
        return
    wrong = [one for one in failed if isinstance(one, InvalidFields)]
    if len(wrong) == len(failed):
        validate.refuse(list(_violations(wrong, in_request)))
    if len({(type(one), one.message) for one in failed}) == 1:
        raise failed[0]


def _violations(
    wrong: Sequence[InvalidFields], in_request: Callable[[int, str], str]
) -> Iterator[FieldViolation]:
    for index, one in enumerate(wrong):
        for violation in one.violations:
            path = in_request(index, violation.path)
            yield FieldViolation(path, violation.description)
