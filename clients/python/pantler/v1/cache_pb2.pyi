import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from pantler.v1 import counter_pb2 as _counter_pb2
from pantler.v1 import rate_limit_pb2 as _rate_limit_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SetOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SET_OUTCOME_UNSPECIFIED: _ClassVar[SetOutcome]
    SET_OUTCOME_STORED: _ClassVar[SetOutcome]
    SET_OUTCOME_CONDITION_NOT_MET: _ClassVar[SetOutcome]
    SET_OUTCOME_FILL_LOST: _ClassVar[SetOutcome]

class MissReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MISS_REASON_UNSPECIFIED: _ClassVar[MissReason]
    MISS_REASON_UNKNOWN: _ClassVar[MissReason]
    MISS_REASON_EXPIRED: _ClassVar[MissReason]
    MISS_REASON_DELETED: _ClassVar[MissReason]
    MISS_REASON_HIDDEN_BY_KEY: _ClassVar[MissReason]
    MISS_REASON_HIDDEN_BY_TAG: _ClassVar[MissReason]
    MISS_REASON_HIDDEN_BY_NAMESPACE: _ClassVar[MissReason]
    MISS_REASON_HIDDEN_BY_DEPENDENCY: _ClassVar[MissReason]
    MISS_REASON_HIDDEN_BY_AGE: _ClassVar[MissReason]
    MISS_REASON_NO_RECORD: _ClassVar[MissReason]
SET_OUTCOME_UNSPECIFIED: SetOutcome
SET_OUTCOME_STORED: SetOutcome
SET_OUTCOME_CONDITION_NOT_MET: SetOutcome
SET_OUTCOME_FILL_LOST: SetOutcome
MISS_REASON_UNSPECIFIED: MissReason
MISS_REASON_UNKNOWN: MissReason
MISS_REASON_EXPIRED: MissReason
MISS_REASON_DELETED: MissReason
MISS_REASON_HIDDEN_BY_KEY: MissReason
MISS_REASON_HIDDEN_BY_TAG: MissReason
MISS_REASON_HIDDEN_BY_NAMESPACE: MissReason
MISS_REASON_HIDDEN_BY_DEPENDENCY: MissReason
MISS_REASON_HIDDEN_BY_AGE: MissReason
MISS_REASON_NO_RECORD: MissReason

class Entry(_message.Message):
    __slots__ = ("value", "version", "create_time", "expire_time", "tags", "content_type")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    value: bytes
    version: int
    create_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    tags: _containers.RepeatedScalarFieldContainer[str]
    content_type: str
    def __init__(self, value: _Optional[bytes] = ..., version: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tags: _Optional[_Iterable[str]] = ..., content_type: _Optional[str] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("token", "expire_time")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    token: str
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, token: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Hit(_message.Message):
    __slots__ = ("entry", "stale", "fill_token", "lease")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    FILL_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    entry: Entry
    stale: bool
    fill_token: str
    lease: Lease
    def __init__(self, entry: _Optional[_Union[Entry, _Mapping]] = ..., stale: _Optional[bool] = ..., fill_token: _Optional[str] = ..., lease: _Optional[_Union[Lease, _Mapping]] = ...) -> None: ...

class Miss(_message.Message):
    __slots__ = ("reason", "fill_token", "lease")
    REASON_FIELD_NUMBER: _ClassVar[int]
    FILL_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    reason: MissReason
    fill_token: str
    lease: Lease
    def __init__(self, reason: _Optional[_Union[MissReason, str]] = ..., fill_token: _Optional[str] = ..., lease: _Optional[_Union[Lease, _Mapping]] = ...) -> None: ...

class LeaseRequest(_message.Message):
    __slots__ = ("ttl", "wait", "holder_id")
    TTL_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    HOLDER_ID_FIELD_NUMBER: _ClassVar[int]
    ttl: _duration_pb2.Duration
    wait: _duration_pb2.Duration
    holder_id: str
    def __init__(self, ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., holder_id: _Optional[str] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("namespace", "key", "lease", "accept_stale")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_STALE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    key: str
    lease: LeaseRequest
    accept_stale: bool
    def __init__(self, namespace: _Optional[str] = ..., key: _Optional[str] = ..., lease: _Optional[_Union[LeaseRequest, _Mapping]] = ..., accept_stale: _Optional[bool] = ...) -> None: ...

class ReleaseLeaseRequest(_message.Message):
    __slots__ = ("namespace", "key", "token", "failed")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    key: str
    token: str
    failed: bool
    def __init__(self, namespace: _Optional[str] = ..., key: _Optional[str] = ..., token: _Optional[str] = ..., failed: _Optional[bool] = ...) -> None: ...

class ReleaseLeaseResponse(_message.Message):
    __slots__ = ("released",)
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    released: bool
    def __init__(self, released: _Optional[bool] = ...) -> None: ...

class ExtendLeaseRequest(_message.Message):
    __slots__ = ("namespace", "key", "token", "ttl")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    key: str
    token: str
    ttl: _duration_pb2.Duration
    def __init__(self, namespace: _Optional[str] = ..., key: _Optional[str] = ..., token: _Optional[str] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ExtendLeaseResponse(_message.Message):
    __slots__ = ("expire_time",)
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("hit", "miss")
    HIT_FIELD_NUMBER: _ClassVar[int]
    MISS_FIELD_NUMBER: _ClassVar[int]
    hit: Hit
    miss: Miss
    def __init__(self, hit: _Optional[_Union[Hit, _Mapping]] = ..., miss: _Optional[_Union[Miss, _Mapping]] = ...) -> None: ...

class BatchGetRequest(_message.Message):
    __slots__ = ("namespace", "keys", "lease", "accept_stale")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_STALE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    lease: LeaseRequest
    accept_stale: bool
    def __init__(self, namespace: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ..., lease: _Optional[_Union[LeaseRequest, _Mapping]] = ..., accept_stale: _Optional[bool] = ...) -> None: ...

class BatchGetOutcome(_message.Message):
    __slots__ = ("hit", "miss", "error")
    HIT_FIELD_NUMBER: _ClassVar[int]
    MISS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    hit: Hit
    miss: Miss
    error: _status_pb2.Status
    def __init__(self, hit: _Optional[_Union[Hit, _Mapping]] = ..., miss: _Optional[_Union[Miss, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class BatchGetResponse(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[BatchGetOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[BatchGetOutcome, _Mapping]]] = ...) -> None: ...

class SetRequest(_message.Message):
    __slots__ = ("namespace", "key", "value", "ttl", "sliding", "tags", "depends_on", "content_type", "if_absent", "if_present", "if_version", "fill_token", "request_id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    SLIDING_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    DEPENDS_ON_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    IF_ABSENT_FIELD_NUMBER: _ClassVar[int]
    IF_PRESENT_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    FILL_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    key: str
    value: bytes
    ttl: _duration_pb2.Duration
    sliding: bool
    tags: _containers.RepeatedScalarFieldContainer[str]
    depends_on: _containers.RepeatedScalarFieldContainer[str]
    content_type: str
    if_absent: bool
    if_present: bool
    if_version: int
    fill_token: str
    request_id: str
    def __init__(self, namespace: _Optional[str] = ..., key: _Optional[str] = ..., value: _Optional[bytes] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., sliding: _Optional[bool] = ..., tags: _Optional[_Iterable[str]] = ..., depends_on: _Optional[_Iterable[str]] = ..., content_type: _Optional[str] = ..., if_absent: _Optional[bool] = ..., if_present: _Optional[bool] = ..., if_version: _Optional[int] = ..., fill_token: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class SetResponse(_message.Message):
    __slots__ = ("outcome", "visible", "version", "expire_time")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    VISIBLE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    outcome: SetOutcome
    visible: bool
    version: int
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, outcome: _Optional[_Union[SetOutcome, str]] = ..., visible: _Optional[bool] = ..., version: _Optional[int] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class BatchSetEntry(_message.Message):
    __slots__ = ("key", "value", "ttl", "sliding", "tags", "depends_on", "content_type", "fill_token")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    SLIDING_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    DEPENDS_ON_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    FILL_TOKEN_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: bytes
    ttl: _duration_pb2.Duration
    sliding: bool
    tags: _containers.RepeatedScalarFieldContainer[str]
    depends_on: _containers.RepeatedScalarFieldContainer[str]
    content_type: str
    fill_token: str
    def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., sliding: _Optional[bool] = ..., tags: _Optional[_Iterable[str]] = ..., depends_on: _Optional[_Iterable[str]] = ..., content_type: _Optional[str] = ..., fill_token: _Optional[str] = ...) -> None: ...

class BatchSetRequest(_message.Message):
    __slots__ = ("namespace", "entries")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    entries: _containers.RepeatedCompositeFieldContainer[BatchSetEntry]
    def __init__(self, namespace: _Optional[str] = ..., entries: _Optional[_Iterable[_Union[BatchSetEntry, _Mapping]]] = ...) -> None: ...

class BatchSetOutcome(_message.Message):
    __slots__ = ("outcome", "visible", "version", "expire_time", "error")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    VISIBLE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    outcome: SetOutcome
    visible: bool
    version: int
    expire_time: _timestamp_pb2.Timestamp
    error: _status_pb2.Status
    def __init__(self, outcome: _Optional[_Union[SetOutcome, str]] = ..., visible: _Optional[bool] = ..., version: _Optional[int] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class BatchSetResponse(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[BatchSetOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[BatchSetOutcome, _Mapping]]] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("namespace", "key", "if_version")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    key: str
    if_version: int
    def __init__(self, namespace: _Optional[str] = ..., key: _Optional[str] = ..., if_version: _Optional[int] = ...) -> None: ...

class DeleteResponse(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: bool
    def __init__(self, deleted: _Optional[bool] = ...) -> None: ...

class BatchDeleteRequest(_message.Message):
    __slots__ = ("namespace", "keys")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, namespace: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ...) -> None: ...

class BatchDeleteOutcome(_message.Message):
    __slots__ = ("deleted", "error")
    DELETED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    deleted: bool
    error: _status_pb2.Status
    def __init__(self, deleted: _Optional[bool] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class BatchDeleteResponse(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[BatchDeleteOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[BatchDeleteOutcome, _Mapping]]] = ...) -> None: ...

class TouchRequest(_message.Message):
    __slots__ = ("namespace", "key", "ttl")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    key: str
    ttl: _duration_pb2.Duration
    def __init__(self, namespace: _Optional[str] = ..., key: _Optional[str] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class TouchResponse(_message.Message):
    __slots__ = ("found", "expire_time")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    found: bool
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, found: _Optional[bool] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ("namespace", "key")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    key: str
    def __init__(self, namespace: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("found", "stale", "miss_reason", "miss_time", "miss_cause", "version", "create_time", "expire_time", "drop_time", "ttl", "sliding", "value_bytes", "content_type", "tags", "depends_on", "lease_expire_time")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    MISS_REASON_FIELD_NUMBER: _ClassVar[int]
    MISS_TIME_FIELD_NUMBER: _ClassVar[int]
    MISS_CAUSE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    DROP_TIME_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    SLIDING_FIELD_NUMBER: _ClassVar[int]
    VALUE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    DEPENDS_ON_FIELD_NUMBER: _ClassVar[int]
    LEASE_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    found: bool
    stale: bool
    miss_reason: MissReason
    miss_time: _timestamp_pb2.Timestamp
    miss_cause: str
    version: int
    create_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    drop_time: _timestamp_pb2.Timestamp
    ttl: _duration_pb2.Duration
    sliding: bool
    value_bytes: int
    content_type: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    depends_on: _containers.RepeatedScalarFieldContainer[str]
    lease_expire_time: _timestamp_pb2.Timestamp
    def __init__(self, found: _Optional[bool] = ..., stale: _Optional[bool] = ..., miss_reason: _Optional[_Union[MissReason, str]] = ..., miss_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., miss_cause: _Optional[str] = ..., version: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., drop_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., sliding: _Optional[bool] = ..., value_bytes: _Optional[int] = ..., content_type: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., depends_on: _Optional[_Iterable[str]] = ..., lease_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ExchangeRequest(_message.Message):
    __slots__ = ("operations", "cancelled_ids")
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_IDS_FIELD_NUMBER: _ClassVar[int]
    operations: _containers.RepeatedCompositeFieldContainer[ExchangeOperation]
    cancelled_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, operations: _Optional[_Iterable[_Union[ExchangeOperation, _Mapping]]] = ..., cancelled_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class ExchangeOperation(_message.Message):
    __slots__ = ("id", "timeout_ms", "gets", "get", "batch_get", "set", "batch_set", "delete", "batch_delete", "touch", "release_lease", "extend_lease", "acquire", "increment")
    ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    GETS_FIELD_NUMBER: _ClassVar[int]
    GET_FIELD_NUMBER: _ClassVar[int]
    BATCH_GET_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    BATCH_SET_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    BATCH_DELETE_FIELD_NUMBER: _ClassVar[int]
    TOUCH_FIELD_NUMBER: _ClassVar[int]
    RELEASE_LEASE_FIELD_NUMBER: _ClassVar[int]
    EXTEND_LEASE_FIELD_NUMBER: _ClassVar[int]
    ACQUIRE_FIELD_NUMBER: _ClassVar[int]
    INCREMENT_FIELD_NUMBER: _ClassVar[int]
    id: int
    timeout_ms: int
    gets: ExchangeGets
    get: GetRequest
    batch_get: BatchGetRequest
    set: SetRequest
    batch_set: BatchSetRequest
    delete: DeleteRequest
    batch_delete: BatchDeleteRequest
    touch: TouchRequest
    release_lease: ReleaseLeaseRequest
    extend_lease: ExtendLeaseRequest
    acquire: _rate_limit_pb2.AcquireRequest
    increment: _counter_pb2.IncrementRequest
    def __init__(self, id: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., gets: _Optional[_Union[ExchangeGets, _Mapping]] = ..., get: _Optional[_Union[GetRequest, _Mapping]] = ..., batch_get: _Optional[_Union[BatchGetRequest, _Mapping]] = ..., set: _Optional[_Union[SetRequest, _Mapping]] = ..., batch_set: _Optional[_Union[BatchSetRequest, _Mapping]] = ..., delete: _Optional[_Union[DeleteRequest, _Mapping]] = ..., batch_delete: _Optional[_Union[BatchDeleteRequest, _Mapping]] = ..., touch: _Optional[_Union[TouchRequest, _Mapping]] = ..., release_lease: _Optional[_Union[ReleaseLeaseRequest, _Mapping]] = ..., extend_lease: _Optional[_Union[ExtendLeaseRequest, _Mapping]] = ..., acquire: _Optional[_Union[_rate_limit_pb2.AcquireRequest, _Mapping]] = ..., increment: _Optional[_Union[_counter_pb2.IncrementRequest, _Mapping]] = ...) -> None: ...

class ExchangeGets(_message.Message):
    __slots__ = ("namespace", "keys", "accept_stale")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_STALE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    accept_stale: bool
    def __init__(self, namespace: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ..., accept_stale: _Optional[bool] = ...) -> None: ...

class ExchangeHits(_message.Message):
    __slots__ = ("indexes", "values", "versions", "create_times_us", "expire_times_us")
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIMES_US_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIMES_US_FIELD_NUMBER: _ClassVar[int]
    indexes: _containers.RepeatedScalarFieldContainer[int]
    values: _containers.RepeatedScalarFieldContainer[bytes]
    versions: _containers.RepeatedScalarFieldContainer[int]
    create_times_us: _containers.RepeatedScalarFieldContainer[int]
    expire_times_us: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, indexes: _Optional[_Iterable[int]] = ..., values: _Optional[_Iterable[bytes]] = ..., versions: _Optional[_Iterable[int]] = ..., create_times_us: _Optional[_Iterable[int]] = ..., expire_times_us: _Optional[_Iterable[int]] = ...) -> None: ...

class ExchangeResponse(_message.Message):
    __slots__ = ("results", "closing")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ExchangeResult]
    closing: bool
    def __init__(self, results: _Optional[_Iterable[_Union[ExchangeResult, _Mapping]]] = ..., closing: _Optional[bool] = ...) -> None: ...

class ExchangeResult(_message.Message):
    __slots__ = ("id", "error", "hits", "get", "batch_get", "set", "batch_set", "delete", "batch_delete", "touch", "release_lease", "extend_lease", "acquire", "increment")
    ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    HITS_FIELD_NUMBER: _ClassVar[int]
    GET_FIELD_NUMBER: _ClassVar[int]
    BATCH_GET_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    BATCH_SET_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    BATCH_DELETE_FIELD_NUMBER: _ClassVar[int]
    TOUCH_FIELD_NUMBER: _ClassVar[int]
    RELEASE_LEASE_FIELD_NUMBER: _ClassVar[int]
    EXTEND_LEASE_FIELD_NUMBER: _ClassVar[int]
    ACQUIRE_FIELD_NUMBER: _ClassVar[int]
    INCREMENT_FIELD_NUMBER: _ClassVar[int]
    id: int
    error: _status_pb2.Status
    hits: ExchangeHits
    get: GetResponse
    batch_get: BatchGetResponse
    set: SetResponse
    batch_set: BatchSetResponse
    delete: DeleteResponse
    batch_delete: BatchDeleteResponse
    touch: TouchResponse
    release_lease: ReleaseLeaseResponse
    extend_lease: ExtendLeaseResponse
    acquire: _rate_limit_pb2.AcquireResponse
    increment: _counter_pb2.IncrementResponse
    def __init__(self, id: _Optional[int] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., hits: _Optional[_Union[ExchangeHits, _Mapping]] = ..., get: _Optional[_Union[GetResponse, _Mapping]] = ..., batch_get: _Optional[_Union[BatchGetResponse, _Mapping]] = ..., set: _Optional[_Union[SetResponse, _Mapping]] = ..., batch_set: _Optional[_Union[BatchSetResponse, _Mapping]] = ..., delete: _Optional[_Union[DeleteResponse, _Mapping]] = ..., batch_delete: _Optional[_Union[BatchDeleteResponse, _Mapping]] = ..., touch: _Optional[_Union[TouchResponse, _Mapping]] = ..., release_lease: _Optional[_Union[ReleaseLeaseResponse, _Mapping]] = ..., extend_lease: _Optional[_Union[ExtendLeaseResponse, _Mapping]] = ..., acquire: _Optional[_Union[_rate_limit_pb2.AcquireResponse, _Mapping]] = ..., increment: _Optional[_Union[_counter_pb2.IncrementResponse, _Mapping]] = ...) -> None: ...
