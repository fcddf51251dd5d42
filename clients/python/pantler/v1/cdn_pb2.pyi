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

class CacheVisibility(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CACHE_VISIBILITY_UNSPECIFIED: _ClassVar[CacheVisibility]
    CACHE_VISIBILITY_PUBLIC: _ClassVar[CacheVisibility]
    CACHE_VISIBILITY_PRIVATE: _ClassVar[CacheVisibility]

class PurgeState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PURGE_STATE_UNSPECIFIED: _ClassVar[PurgeState]
    PURGE_STATE_PENDING: _ClassVar[PurgeState]
    PURGE_STATE_DONE: _ClassVar[PurgeState]
    PURGE_STATE_FAILED: _ClassVar[PurgeState]
CACHE_VISIBILITY_UNSPECIFIED: CacheVisibility
CACHE_VISIBILITY_PUBLIC: CacheVisibility
CACHE_VISIBILITY_PRIVATE: CacheVisibility
PURGE_STATE_UNSPECIFIED: PurgeState
PURGE_STATE_PENDING: PurgeState
PURGE_STATE_DONE: PurgeState
PURGE_STATE_FAILED: PurgeState

class CachePolicy(_message.Message):
    __slots__ = ("visibility", "max_age", "s_maxage", "cdn_max_age", "immutable", "must_revalidate", "stale_while_revalidate", "stale_if_error", "no_store", "vary")
    VISIBILITY_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_FIELD_NUMBER: _ClassVar[int]
    S_MAXAGE_FIELD_NUMBER: _ClassVar[int]
    CDN_MAX_AGE_FIELD_NUMBER: _ClassVar[int]
    IMMUTABLE_FIELD_NUMBER: _ClassVar[int]
    MUST_REVALIDATE_FIELD_NUMBER: _ClassVar[int]
    STALE_WHILE_REVALIDATE_FIELD_NUMBER: _ClassVar[int]
    STALE_IF_ERROR_FIELD_NUMBER: _ClassVar[int]
    NO_STORE_FIELD_NUMBER: _ClassVar[int]
    VARY_FIELD_NUMBER: _ClassVar[int]
    visibility: CacheVisibility
    max_age: _duration_pb2.Duration
    s_maxage: _duration_pb2.Duration
    cdn_max_age: _duration_pb2.Duration
    immutable: bool
    must_revalidate: bool
    stale_while_revalidate: _duration_pb2.Duration
    stale_if_error: _duration_pb2.Duration
    no_store: bool
    vary: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, visibility: _Optional[_Union[CacheVisibility, str]] = ..., max_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., s_maxage: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., cdn_max_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., immutable: _Optional[bool] = ..., must_revalidate: _Optional[bool] = ..., stale_while_revalidate: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., stale_if_error: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., no_store: _Optional[bool] = ..., vary: _Optional[_Iterable[str]] = ...) -> None: ...

class BuildHeadersRequest(_message.Message):
    __slots__ = ("policy", "namespace", "content", "etag", "weak", "last_modified", "tags")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    WEAK_FIELD_NUMBER: _ClassVar[int]
    LAST_MODIFIED_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    policy: CachePolicy
    namespace: str
    content: bytes
    etag: str
    weak: bool
    last_modified: _timestamp_pb2.Timestamp
    tags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, policy: _Optional[_Union[CachePolicy, _Mapping]] = ..., namespace: _Optional[str] = ..., content: _Optional[bytes] = ..., etag: _Optional[str] = ..., weak: _Optional[bool] = ..., last_modified: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tags: _Optional[_Iterable[str]] = ...) -> None: ...

class BuildHeadersResponse(_message.Message):
    __slots__ = ("headers",)
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    headers: _containers.ScalarMap[str, str]
    def __init__(self, headers: _Optional[_Mapping[str, str]] = ...) -> None: ...

class CheckFreshnessRequest(_message.Message):
    __slots__ = ("if_none_match", "if_modified_since", "etag", "last_modified")
    IF_NONE_MATCH_FIELD_NUMBER: _ClassVar[int]
    IF_MODIFIED_SINCE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    LAST_MODIFIED_FIELD_NUMBER: _ClassVar[int]
    if_none_match: str
    if_modified_since: str
    etag: str
    last_modified: _timestamp_pb2.Timestamp
    def __init__(self, if_none_match: _Optional[str] = ..., if_modified_since: _Optional[str] = ..., etag: _Optional[str] = ..., last_modified: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CheckFreshnessResponse(_message.Message):
    __slots__ = ("not_modified",)
    NOT_MODIFIED_FIELD_NUMBER: _ClassVar[int]
    not_modified: bool
    def __init__(self, not_modified: _Optional[bool] = ...) -> None: ...

class PurgeRequest(_message.Message):
    __slots__ = ("target", "urls", "tags", "all", "soft", "request_id")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    URLS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    SOFT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    target: str
    urls: UrlList
    tags: TagList
    all: bool
    soft: bool
    request_id: str
    def __init__(self, target: _Optional[str] = ..., urls: _Optional[_Union[UrlList, _Mapping]] = ..., tags: _Optional[_Union[TagList, _Mapping]] = ..., all: _Optional[bool] = ..., soft: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class UrlList(_message.Message):
    __slots__ = ("urls",)
    URLS_FIELD_NUMBER: _ClassVar[int]
    urls: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, urls: _Optional[_Iterable[str]] = ...) -> None: ...

class TagList(_message.Message):
    __slots__ = ("tags",)
    TAGS_FIELD_NUMBER: _ClassVar[int]
    tags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, tags: _Optional[_Iterable[str]] = ...) -> None: ...

class PurgeResponse(_message.Message):
    __slots__ = ("purge_id", "duplicate")
    PURGE_ID_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    purge_id: str
    duplicate: bool
    def __init__(self, purge_id: _Optional[str] = ..., duplicate: _Optional[bool] = ...) -> None: ...

class GetPurgeRequest(_message.Message):
    __slots__ = ("purge_id",)
    PURGE_ID_FIELD_NUMBER: _ClassVar[int]
    purge_id: str
    def __init__(self, purge_id: _Optional[str] = ...) -> None: ...

class GetPurgeResponse(_message.Message):
    __slots__ = ("receipts", "create_time")
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    receipts: _containers.RepeatedCompositeFieldContainer[PurgeReceipt]
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, receipts: _Optional[_Iterable[_Union[PurgeReceipt, _Mapping]]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PurgeReceipt(_message.Message):
    __slots__ = ("target", "state", "attempts", "last_error", "finish_time")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    FINISH_TIME_FIELD_NUMBER: _ClassVar[int]
    target: str
    state: PurgeState
    attempts: int
    last_error: str
    finish_time: _timestamp_pb2.Timestamp
    def __init__(self, target: _Optional[str] = ..., state: _Optional[_Union[PurgeState, str]] = ..., attempts: _Optional[int] = ..., last_error: _Optional[str] = ..., finish_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PutEdgeValueRequest(_message.Message):
    __slots__ = ("target", "key", "value", "ttl", "metadata")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    target: str
    key: str
    value: bytes
    ttl: _duration_pb2.Duration
    metadata: _struct_pb2.Struct
    def __init__(self, target: _Optional[str] = ..., key: _Optional[str] = ..., value: _Optional[bytes] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class PutEdgeValueResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetEdgeValueRequest(_message.Message):
    __slots__ = ("target", "key")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    target: str
    key: str
    def __init__(self, target: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class GetEdgeValueResponse(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: EdgeValue
    def __init__(self, value: _Optional[_Union[EdgeValue, _Mapping]] = ...) -> None: ...

class EdgeValue(_message.Message):
    __slots__ = ("value", "expire_time", "metadata")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    value: bytes
    expire_time: _timestamp_pb2.Timestamp
    metadata: _struct_pb2.Struct
    def __init__(self, value: _Optional[bytes] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class DeleteEdgeValueRequest(_message.Message):
    __slots__ = ("target", "key")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    target: str
    key: str
    def __init__(self, target: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class DeleteEdgeValueResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
