import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InvalidationMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INVALIDATION_MODE_UNSPECIFIED: _ClassVar[InvalidationMode]
    INVALIDATION_MODE_HARD: _ClassVar[InvalidationMode]
    INVALIDATION_MODE_SOFT: _ClassVar[InvalidationMode]
INVALIDATION_MODE_UNSPECIFIED: InvalidationMode
INVALIDATION_MODE_HARD: InvalidationMode
INVALIDATION_MODE_SOFT: InvalidationMode

class InvalidateKeysRequest(_message.Message):
    __slots__ = ("namespace", "keys", "mode", "cascade")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    CASCADE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    mode: InvalidationMode
    cascade: bool
    def __init__(self, namespace: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ..., mode: _Optional[_Union[InvalidationMode, str]] = ..., cascade: _Optional[bool] = ...) -> None: ...

class InvalidateKeysResponse(_message.Message):
    __slots__ = ("invalidated", "invalidated_count", "purge_id")
    INVALIDATED_FIELD_NUMBER: _ClassVar[int]
    INVALIDATED_COUNT_FIELD_NUMBER: _ClassVar[int]
    PURGE_ID_FIELD_NUMBER: _ClassVar[int]
    invalidated: _containers.RepeatedScalarFieldContainer[str]
    invalidated_count: int
    purge_id: str
    def __init__(self, invalidated: _Optional[_Iterable[str]] = ..., invalidated_count: _Optional[int] = ..., purge_id: _Optional[str] = ...) -> None: ...

class InvalidateTagsRequest(_message.Message):
    __slots__ = ("namespace", "tags", "mode")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    mode: InvalidationMode
    def __init__(self, namespace: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., mode: _Optional[_Union[InvalidationMode, str]] = ...) -> None: ...

class InvalidateTagsResponse(_message.Message):
    __slots__ = ("purge_id",)
    PURGE_ID_FIELD_NUMBER: _ClassVar[int]
    purge_id: str
    def __init__(self, purge_id: _Optional[str] = ...) -> None: ...

class InvalidatePatternRequest(_message.Message):
    __slots__ = ("namespace", "pattern", "dry_run")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    pattern: str
    dry_run: bool
    def __init__(self, namespace: _Optional[str] = ..., pattern: _Optional[str] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class InvalidatePatternResponse(_message.Message):
    __slots__ = ("scanned", "total", "invalidated", "examples", "done", "purge_id")
    SCANNED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    INVALIDATED_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    PURGE_ID_FIELD_NUMBER: _ClassVar[int]
    scanned: int
    total: int
    invalidated: int
    examples: _containers.RepeatedScalarFieldContainer[str]
    done: bool
    purge_id: str
    def __init__(self, scanned: _Optional[int] = ..., total: _Optional[int] = ..., invalidated: _Optional[int] = ..., examples: _Optional[_Iterable[str]] = ..., done: _Optional[bool] = ..., purge_id: _Optional[str] = ...) -> None: ...

class InvalidateNamespaceRequest(_message.Message):
    __slots__ = ("namespace", "mode")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    mode: InvalidationMode
    def __init__(self, namespace: _Optional[str] = ..., mode: _Optional[_Union[InvalidationMode, str]] = ...) -> None: ...

class InvalidateNamespaceResponse(_message.Message):
    __slots__ = ("version", "purge_id")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PURGE_ID_FIELD_NUMBER: _ClassVar[int]
    version: int
    purge_id: str
    def __init__(self, version: _Optional[int] = ..., purge_id: _Optional[str] = ...) -> None: ...

class InvalidateOlderThanRequest(_message.Message):
    __slots__ = ("namespace", "created_before", "mode")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    CREATED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    created_before: _timestamp_pb2.Timestamp
    mode: InvalidationMode
    def __init__(self, namespace: _Optional[str] = ..., created_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., mode: _Optional[_Union[InvalidationMode, str]] = ...) -> None: ...

class InvalidateOlderThanResponse(_message.Message):
    __slots__ = ("purge_id",)
    PURGE_ID_FIELD_NUMBER: _ClassVar[int]
    purge_id: str
    def __init__(self, purge_id: _Optional[str] = ...) -> None: ...

class DeclareDependenciesRequest(_message.Message):
    __slots__ = ("namespace", "key", "depends_on")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    DEPENDS_ON_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    key: str
    depends_on: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, namespace: _Optional[str] = ..., key: _Optional[str] = ..., depends_on: _Optional[_Iterable[str]] = ...) -> None: ...

class DeclareDependenciesResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListDependentsRequest(_message.Message):
    __slots__ = ("namespace", "key", "page_size", "page_token")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    key: str
    page_size: int
    page_token: str
    def __init__(self, namespace: _Optional[str] = ..., key: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class Dependent(_message.Message):
    __slots__ = ("key", "declared")
    KEY_FIELD_NUMBER: _ClassVar[int]
    DECLARED_FIELD_NUMBER: _ClassVar[int]
    key: str
    declared: bool
    def __init__(self, key: _Optional[str] = ..., declared: _Optional[bool] = ...) -> None: ...

class ListDependentsResponse(_message.Message):
    __slots__ = ("dependents", "next_page_token")
    DEPENDENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    dependents: _containers.RepeatedCompositeFieldContainer[Dependent]
    next_page_token: str
    def __init__(self, dependents: _Optional[_Iterable[_Union[Dependent, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class PublishEventRequest(_message.Message):
    __slots__ = ("type", "fields", "event_id")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    type: str
    fields: _struct_pb2.Struct
    event_id: str
    def __init__(self, type: _Optional[str] = ..., fields: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., event_id: _Optional[str] = ...) -> None: ...

class PublishEventResponse(_message.Message):
    __slots__ = ("outcomes", "duplicate")
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[RuleOutcome]
    duplicate: bool
    def __init__(self, outcomes: _Optional[_Iterable[_Union[RuleOutcome, _Mapping]]] = ..., duplicate: _Optional[bool] = ...) -> None: ...

class RuleOutcome(_message.Message):
    __slots__ = ("rule", "namespace", "mode", "keys", "cascaded", "tags", "all", "purge_ids")
    RULE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    CASCADED_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    PURGE_IDS_FIELD_NUMBER: _ClassVar[int]
    rule: str
    namespace: str
    mode: InvalidationMode
    keys: _containers.RepeatedScalarFieldContainer[str]
    cascaded: int
    tags: _containers.RepeatedScalarFieldContainer[str]
    all: bool
    purge_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, rule: _Optional[str] = ..., namespace: _Optional[str] = ..., mode: _Optional[_Union[InvalidationMode, str]] = ..., keys: _Optional[_Iterable[str]] = ..., cascaded: _Optional[int] = ..., tags: _Optional[_Iterable[str]] = ..., all: _Optional[bool] = ..., purge_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class WatchInvalidationsRequest(_message.Message):
    __slots__ = ("namespaces", "resume_token", "heartbeat_interval")
    NAMESPACES_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    namespaces: _containers.RepeatedScalarFieldContainer[str]
    resume_token: str
    heartbeat_interval: _duration_pb2.Duration
    def __init__(self, namespaces: _Optional[_Iterable[str]] = ..., resume_token: _Optional[str] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchInvalidationsResponse(_message.Message):
    __slots__ = ("events", "gaps", "resume_token", "with_writes")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WITH_WRITES_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[InvalidationEvent]
    gaps: _containers.RepeatedScalarFieldContainer[str]
    resume_token: str
    with_writes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, events: _Optional[_Iterable[_Union[InvalidationEvent, _Mapping]]] = ..., gaps: _Optional[_Iterable[str]] = ..., resume_token: _Optional[str] = ..., with_writes: _Optional[_Iterable[str]] = ...) -> None: ...

class InvalidationEvent(_message.Message):
    __slots__ = ("namespace", "mode", "key", "tag", "dependency", "all", "created_before", "pattern", "written_key")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCY_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    CREATED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_KEY_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    mode: InvalidationMode
    key: str
    tag: str
    dependency: str
    all: bool
    created_before: _timestamp_pb2.Timestamp
    pattern: str
    written_key: str
    def __init__(self, namespace: _Optional[str] = ..., mode: _Optional[_Union[InvalidationMode, str]] = ..., key: _Optional[str] = ..., tag: _Optional[str] = ..., dependency: _Optional[str] = ..., all: _Optional[bool] = ..., created_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., pattern: _Optional[str] = ..., written_key: _Optional[str] = ...) -> None: ...
