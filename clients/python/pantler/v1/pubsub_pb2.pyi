import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GapReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GAP_REASON_UNSPECIFIED: _ClassVar[GapReason]
    GAP_REASON_SLOW: _ClassVar[GapReason]
    GAP_REASON_DISCONNECTED: _ClassVar[GapReason]
    GAP_REASON_HISTORY: _ClassVar[GapReason]
    GAP_REASON_FAILOVER: _ClassVar[GapReason]
GAP_REASON_UNSPECIFIED: GapReason
GAP_REASON_SLOW: GapReason
GAP_REASON_DISCONNECTED: GapReason
GAP_REASON_HISTORY: GapReason
GAP_REASON_FAILOVER: GapReason

class PublishRequest(_message.Message):
    __slots__ = ("namespace", "channel", "payload", "content_type", "request_id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    channel: str
    payload: bytes
    content_type: str
    request_id: str
    def __init__(self, namespace: _Optional[str] = ..., channel: _Optional[str] = ..., payload: _Optional[bytes] = ..., content_type: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class PublishResponse(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ("namespace", "channels", "patterns", "resume_after", "heartbeat_interval")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    PATTERNS_FIELD_NUMBER: _ClassVar[int]
    RESUME_AFTER_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    channels: _containers.RepeatedScalarFieldContainer[str]
    patterns: _containers.RepeatedScalarFieldContainer[str]
    resume_after: int
    heartbeat_interval: _duration_pb2.Duration
    def __init__(self, namespace: _Optional[str] = ..., channels: _Optional[_Iterable[str]] = ..., patterns: _Optional[_Iterable[str]] = ..., resume_after: _Optional[int] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ChannelMessage(_message.Message):
    __slots__ = ("channel", "payload", "content_type", "sequence")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    channel: str
    payload: bytes
    content_type: str
    sequence: int
    def __init__(self, channel: _Optional[str] = ..., payload: _Optional[bytes] = ..., content_type: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class ChannelGap(_message.Message):
    __slots__ = ("reason", "sequence")
    REASON_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    reason: GapReason
    sequence: int
    def __init__(self, reason: _Optional[_Union[GapReason, str]] = ..., sequence: _Optional[int] = ...) -> None: ...

class ChannelHeartbeat(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class SubscribeResponse(_message.Message):
    __slots__ = ("message", "gap", "heartbeat")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    message: ChannelMessage
    gap: ChannelGap
    heartbeat: ChannelHeartbeat
    def __init__(self, message: _Optional[_Union[ChannelMessage, _Mapping]] = ..., gap: _Optional[_Union[ChannelGap, _Mapping]] = ..., heartbeat: _Optional[_Union[ChannelHeartbeat, _Mapping]] = ...) -> None: ...
