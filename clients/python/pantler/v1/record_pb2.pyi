import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_UNSPECIFIED: _ClassVar[Source]
    SOURCE_CACHE: _ClassVar[Source]
    SOURCE_ORIGIN: _ClassVar[Source]

class WriteOperation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WRITE_OPERATION_UNSPECIFIED: _ClassVar[WriteOperation]
    WRITE_OPERATION_INSERT: _ClassVar[WriteOperation]
    WRITE_OPERATION_UPDATE: _ClassVar[WriteOperation]
    WRITE_OPERATION_UPSERT: _ClassVar[WriteOperation]
    WRITE_OPERATION_DELETE: _ClassVar[WriteOperation]

class Durability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DURABILITY_UNSPECIFIED: _ClassVar[Durability]
    DURABILITY_WRITTEN: _ClassVar[Durability]
    DURABILITY_QUEUED: _ClassVar[Durability]
SOURCE_UNSPECIFIED: Source
SOURCE_CACHE: Source
SOURCE_ORIGIN: Source
WRITE_OPERATION_UNSPECIFIED: WriteOperation
WRITE_OPERATION_INSERT: WriteOperation
WRITE_OPERATION_UPDATE: WriteOperation
WRITE_OPERATION_UPSERT: WriteOperation
WRITE_OPERATION_DELETE: WriteOperation
DURABILITY_UNSPECIFIED: Durability
DURABILITY_WRITTEN: Durability
DURABILITY_QUEUED: Durability

class GetRecordRequest(_message.Message):
    __slots__ = ("namespace", "key", "force_refresh")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    FORCE_REFRESH_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    key: str
    force_refresh: bool
    def __init__(self, namespace: _Optional[str] = ..., key: _Optional[str] = ..., force_refresh: _Optional[bool] = ...) -> None: ...

class GetRecordResponse(_message.Message):
    __slots__ = ("record", "source", "stale")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    record: _struct_pb2.Struct
    source: Source
    stale: bool
    def __init__(self, record: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., source: _Optional[_Union[Source, str]] = ..., stale: _Optional[bool] = ...) -> None: ...

class BatchGetRecordsRequest(_message.Message):
    __slots__ = ("namespace", "keys", "force_refresh")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    FORCE_REFRESH_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    force_refresh: bool
    def __init__(self, namespace: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ..., force_refresh: _Optional[bool] = ...) -> None: ...

class BatchGetRecordsResponse(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[BatchGetRecordsOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[BatchGetRecordsOutcome, _Mapping]]] = ...) -> None: ...

class BatchGetRecordsOutcome(_message.Message):
    __slots__ = ("found", "error")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    found: GetRecordResponse
    error: _status_pb2.Status
    def __init__(self, found: _Optional[_Union[GetRecordResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class PutRecordRequest(_message.Message):
    __slots__ = ("namespace", "key", "fields", "operation", "request_id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    key: str
    fields: _struct_pb2.Struct
    operation: WriteOperation
    request_id: str
    def __init__(self, namespace: _Optional[str] = ..., key: _Optional[str] = ..., fields: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., operation: _Optional[_Union[WriteOperation, str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class PutRecordResponse(_message.Message):
    __slots__ = ("durability", "version")
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    durability: Durability
    version: int
    def __init__(self, durability: _Optional[_Union[Durability, str]] = ..., version: _Optional[int] = ...) -> None: ...

class BatchPutRecordsRequest(_message.Message):
    __slots__ = ("namespace", "writes")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    WRITES_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    writes: _containers.RepeatedCompositeFieldContainer[RecordWrite]
    def __init__(self, namespace: _Optional[str] = ..., writes: _Optional[_Iterable[_Union[RecordWrite, _Mapping]]] = ...) -> None: ...

class RecordWrite(_message.Message):
    __slots__ = ("key", "fields", "operation", "request_id")
    KEY_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    key: str
    fields: _struct_pb2.Struct
    operation: WriteOperation
    request_id: str
    def __init__(self, key: _Optional[str] = ..., fields: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., operation: _Optional[_Union[WriteOperation, str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class BatchPutRecordsResponse(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[BatchPutRecordsOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[BatchPutRecordsOutcome, _Mapping]]] = ...) -> None: ...

class BatchPutRecordsOutcome(_message.Message):
    __slots__ = ("put", "error")
    PUT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    put: PutRecordResponse
    error: _status_pb2.Status
    def __init__(self, put: _Optional[_Union[PutRecordResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class DeleteRecordRequest(_message.Message):
    __slots__ = ("namespace", "key", "request_id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    key: str
    request_id: str
    def __init__(self, namespace: _Optional[str] = ..., key: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteRecordResponse(_message.Message):
    __slots__ = ("durability", "version", "deleted")
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    durability: Durability
    version: int
    deleted: bool
    def __init__(self, durability: _Optional[_Union[Durability, str]] = ..., version: _Optional[int] = ..., deleted: _Optional[bool] = ...) -> None: ...

class StopRefreshRequest(_message.Message):
    __slots__ = ("namespace", "keys", "all")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    all: bool
    def __init__(self, namespace: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ..., all: _Optional[bool] = ...) -> None: ...

class StopRefreshResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FlushWritesRequest(_message.Message):
    __slots__ = ("namespace", "timeout")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    timeout: _duration_pb2.Duration
    def __init__(self, namespace: _Optional[str] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class FlushWritesResponse(_message.Message):
    __slots__ = ("flushed", "remaining")
    FLUSHED_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    flushed: int
    remaining: int
    def __init__(self, flushed: _Optional[int] = ..., remaining: _Optional[int] = ...) -> None: ...

class GetWriteBacklogRequest(_message.Message):
    __slots__ = ("namespace",)
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    def __init__(self, namespace: _Optional[str] = ...) -> None: ...

class GetWriteBacklogResponse(_message.Message):
    __slots__ = ("pending", "oldest_age", "dead", "last_error")
    PENDING_FIELD_NUMBER: _ClassVar[int]
    OLDEST_AGE_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    pending: int
    oldest_age: _duration_pb2.Duration
    dead: int
    last_error: str
    def __init__(self, pending: _Optional[int] = ..., oldest_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., dead: _Optional[int] = ..., last_error: _Optional[str] = ...) -> None: ...

class ListDeadWritesRequest(_message.Message):
    __slots__ = ("namespace", "page_size", "page_token")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    page_size: int
    page_token: str
    def __init__(self, namespace: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDeadWritesResponse(_message.Message):
    __slots__ = ("writes", "next_page_token")
    WRITES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    writes: _containers.RepeatedCompositeFieldContainer[DeadWrite]
    next_page_token: str
    def __init__(self, writes: _Optional[_Iterable[_Union[DeadWrite, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeadWrite(_message.Message):
    __slots__ = ("id", "key", "operation", "fields", "version", "refuse_time", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REFUSE_TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    key: str
    operation: WriteOperation
    fields: _struct_pb2.Struct
    version: int
    refuse_time: _timestamp_pb2.Timestamp
    reason: str
    def __init__(self, id: _Optional[str] = ..., key: _Optional[str] = ..., operation: _Optional[_Union[WriteOperation, str]] = ..., fields: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., version: _Optional[int] = ..., refuse_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class RetryDeadWritesRequest(_message.Message):
    __slots__ = ("namespace", "ids", "all")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    all: bool
    def __init__(self, namespace: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., all: _Optional[bool] = ...) -> None: ...

class RetryDeadWritesResponse(_message.Message):
    __slots__ = ("retried",)
    RETRIED_FIELD_NUMBER: _ClassVar[int]
    retried: int
    def __init__(self, retried: _Optional[int] = ...) -> None: ...

class DiscardDeadWritesRequest(_message.Message):
    __slots__ = ("namespace", "ids", "all")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    all: bool
    def __init__(self, namespace: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., all: _Optional[bool] = ...) -> None: ...

class DiscardDeadWritesResponse(_message.Message):
    __slots__ = ("discarded",)
    DISCARDED_FIELD_NUMBER: _ClassVar[int]
    discarded: int
    def __init__(self, discarded: _Optional[int] = ...) -> None: ...
