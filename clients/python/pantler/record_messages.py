"""Between records in Python and the messages of RecordService."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any, Literal
from uuid import UUID

from google.protobuf.struct_pb2 import NULL_VALUE, Struct, Value

from pantler.batch import text
from pantler.errors import PantlerError, from_status
from pantler.record_model import (
    DeadWrite,
    DeleteResult,
    Durability,
    Operation,
    PutResult,
    Record,
    WriteBacklog,
)
from pantler.v1 import record_pb2

MAX_EXACT = 1 << 53  # whole numbers from there on are text, since a Struct's numbers are floats

_OPERATIONS: dict[Operation, record_pb2.WriteOperation] = {
    "insert": record_pb2.WRITE_OPERATION_INSERT,
    "update": record_pb2.WRITE_OPERATION_UPDATE,
    "upsert": record_pb2.WRITE_OPERATION_UPSERT,
}
_NAMES: dict[record_pb2.WriteOperation, Operation | Literal["delete"]] = {
    record_pb2.WRITE_OPERATION_DELETE: "delete",
    **{number: name for name, number in _OPERATIONS.items()},
}


def operation_number(operation: Operation) -> record_pb2.WriteOperation:
    if operation not in _OPERATIONS:
        raise ValueError(f"operation must be one of {', '.join(_OPERATIONS)}, not {operation!r}")
    return _OPERATIONS[operation]


def struct(fields: Mapping[str, Any]) -> Struct:
    """The fields of a record. Raises TypeError for what is of a type that has no form in a record,
    and ValueError for a number that is not finite and for what is not Unicode text, each with the
    field's name."""
    if not isinstance(fields, Mapping):
        raise TypeError(f"fields must be a mapping of names to values, not {fields!r}")
    message = Struct()
    _fill(message, fields, "")
    return message


def _fill(message: Struct, fields: Mapping[str, Any], path: str) -> None:
    message.SetInParent()  # it may be empty, and is there nonetheless
    for name, value in fields.items():
        if not isinstance(name, str):
            raise TypeError(f"the names of fields are text, not {name!r}")
        try:
            field = message.fields[name]
        except UnicodeEncodeError:
            text(name, "the name of field")
            raise
        _fill_value(field, value, f"{path}{name}")


def _fill_value(message: Value, value: Any, path: str) -> None:
    match value:
        case None:
            message.null_value = NULL_VALUE
        case str():
            try:
                message.string_value = value
            except UnicodeEncodeError:
                text(value, f"field {path!r}:")
                raise
        case bool():
            message.bool_value = value
        case int() if -MAX_EXACT < value < MAX_EXACT:
            message.number_value = value
        case float() if isfinite(value):
            message.number_value = value
        case Mapping():
            _fill(message.struct_value, value, f"{path}.")
        case list() | tuple():
            message.list_value.SetInParent()
            for index, item in enumerate(value):
                _fill_value(message.list_value.values.add(), item, f"{path}[{index}]")
        case _:
            message.string_value = _text(value, path)


def _text(value: object, path: str) -> str:
    """The form of what a record has as text."""
    match value:
        case int():
            return str(value)
        case Decimal() if value.is_finite():
            return f"{value:f}"
        case float() | Decimal():
            raise ValueError(f"field {path!r} is {value}, and numbers must be finite")
        case datetime():
            return _moment(value)
        case date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return b64encode(value).decode()
    raise TypeError(f"field {path!r} is a {type(value).__name__}, which a record has no form for")


def _moment(value: datetime) -> str:
    """RFC 3339 in UTC, which one without a zone is taken to be, as columns without a zone are."""
    if value.utcoffset() is not None:
        value = value.astimezone(UTC)
    return f"{value.replace(tzinfo=None).isoformat()}Z"


def fields_of(message: Struct) -> dict[str, Any]:
    """The fields of a record, in the order of their names."""
    return {name: _python(message.fields[name]) for name in sorted(message.fields)}


def _python(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            number = value.number_value
            whole = number.is_integer() and abs(number) < MAX_EXACT
            return int(number) if whole else number
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return fields_of(value.struct_value)
        case "list_value":
            return [_python(item) for item in value.list_value.values]
    return None


def record(message: record_pb2.GetRecordResponse) -> Record | None:
    if not message.HasField("record"):
        return None
    from_origin = message.source == record_pb2.SOURCE_ORIGIN
    return Record(
        fields=fields_of(message.record),
        stale=message.stale,
        source="origin" if from_origin else "cache",
    )


def found(outcome: record_pb2.BatchGetRecordsOutcome) -> Record | PantlerError | None:
    if outcome.HasField("error"):
        return from_status(outcome.error)
    return record(outcome.found)


def put_result(message: record_pb2.PutRecordResponse) -> PutResult:
    return PutResult(_durability(message.durability), message.version)


def put_outcome(outcome: record_pb2.BatchPutRecordsOutcome) -> PutResult | PantlerError:
    if outcome.HasField("error"):
        return from_status(outcome.error)
    return put_result(outcome.put)


def delete_result(message: record_pb2.DeleteRecordResponse) -> DeleteResult:
    deleted = message.deleted if message.HasField("deleted") else None
    return DeleteResult(_durability(message.durability), message.version, deleted)


def write_backlog(message: record_pb2.GetWriteBacklogResponse) -> WriteBacklog:
    waits = message.HasField("oldest_age")
    return WriteBacklog(
        pending=message.pending,
        oldest_age=message.oldest_age.ToTimedelta() if waits else timedelta(0),
        dead=message.dead,
        last_error=message.last_error,
    )


def dead_write(message: record_pb2.DeadWrite) -> DeadWrite:
    return DeadWrite(
        id=message.id,
        key=message.key,
        operation=_NAMES[message.operation],
        fields=fields_of(message.fields),
        version=message.version,
        refuse_time=message.refuse_time.ToDatetime(UTC),
        reason=message.reason,
    )


def _durability(number: record_pb2.Durability) -> Durability:
    return "written" if number == record_pb2.DURABILITY_WRITTEN else "queued"
