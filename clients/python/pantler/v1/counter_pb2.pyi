import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class IncrementRequest(_message.Message):
    __slots__ = ("namespace", "counter", "delta", "ceiling", "floor", "ttl", "request_id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    COUNTER_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    CEILING_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    counter: str
    delta: int
    ceiling: int
    floor: int
    ttl: _duration_pb2.Duration
    request_id: str
    def __init__(self, namespace: _Optional[str] = ..., counter: _Optional[str] = ..., delta: _Optional[int] = ..., ceiling: _Optional[int] = ..., floor: _Optional[int] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class IncrementResponse(_message.Message):
    __slots__ = ("value", "applied", "expire_time")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    value: int
    applied: bool
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, value: _Optional[int] = ..., applied: _Optional[bool] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetCountersRequest(_message.Message):
    __slots__ = ("namespace", "counters")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    counters: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, namespace: _Optional[str] = ..., counters: _Optional[_Iterable[str]] = ...) -> None: ...

class CounterValue(_message.Message):
    __slots__ = ("counter", "value", "found")
    COUNTER_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    counter: str
    value: int
    found: bool
    def __init__(self, counter: _Optional[str] = ..., value: _Optional[int] = ..., found: _Optional[bool] = ...) -> None: ...

class GetCountersResponse(_message.Message):
    __slots__ = ("counters",)
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    counters: _containers.RepeatedCompositeFieldContainer[CounterValue]
    def __init__(self, counters: _Optional[_Iterable[_Union[CounterValue, _Mapping]]] = ...) -> None: ...

class ResetCountersRequest(_message.Message):
    __slots__ = ("namespace", "counters")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    counters: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, namespace: _Optional[str] = ..., counters: _Optional[_Iterable[str]] = ...) -> None: ...

class ResetCountersResponse(_message.Message):
    __slots__ = ("counters",)
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    counters: _containers.RepeatedCompositeFieldContainer[CounterValue]
    def __init__(self, counters: _Optional[_Iterable[_Union[CounterValue, _Mapping]]] = ...) -> None: ...

class AddUniqueRequest(_message.Message):
    __slots__ = ("namespace", "set", "members", "ttl")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    set: str
    members: _containers.RepeatedScalarFieldContainer[str]
    ttl: _duration_pb2.Duration
    def __init__(self, namespace: _Optional[str] = ..., set: _Optional[str] = ..., members: _Optional[_Iterable[str]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class AddUniqueResponse(_message.Message):
    __slots__ = ("changed",)
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    def __init__(self, changed: _Optional[bool] = ...) -> None: ...

class CountUniqueRequest(_message.Message):
    __slots__ = ("namespace", "sets")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SETS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    sets: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, namespace: _Optional[str] = ..., sets: _Optional[_Iterable[str]] = ...) -> None: ...

class CountUniqueResponse(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class MergeUniqueRequest(_message.Message):
    __slots__ = ("namespace", "into", "ttl")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    INTO_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    into: str
    ttl: _duration_pb2.Duration
    def __init__(self, namespace: _Optional[str] = ..., into: _Optional[str] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., **kwargs) -> None: ...

class MergeUniqueResponse(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class DeleteUniqueRequest(_message.Message):
    __slots__ = ("namespace", "sets")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SETS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    sets: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, namespace: _Optional[str] = ..., sets: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteUniqueResponse(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, deleted: _Optional[_Iterable[bool]] = ...) -> None: ...
