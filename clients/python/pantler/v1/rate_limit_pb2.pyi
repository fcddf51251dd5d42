import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Algorithm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALGORITHM_UNSPECIFIED: _ClassVar[Algorithm]
    ALGORITHM_FIXED_WINDOW: _ClassVar[Algorithm]
    ALGORITHM_SLIDING_WINDOW_LOG: _ClassVar[Algorithm]
    ALGORITHM_SLIDING_WINDOW_COUNTER: _ClassVar[Algorithm]
    ALGORITHM_TOKEN_BUCKET: _ClassVar[Algorithm]
    ALGORITHM_GCRA: _ClassVar[Algorithm]
    ALGORITHM_CONCURRENCY: _ClassVar[Algorithm]

class CalendarPeriod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CALENDAR_PERIOD_UNSPECIFIED: _ClassVar[CalendarPeriod]
    CALENDAR_PERIOD_HOUR: _ClassVar[CalendarPeriod]
    CALENDAR_PERIOD_DAY: _ClassVar[CalendarPeriod]
    CALENDAR_PERIOD_WEEK: _ClassVar[CalendarPeriod]
    CALENDAR_PERIOD_MONTH: _ClassVar[CalendarPeriod]
    CALENDAR_PERIOD_YEAR: _ClassVar[CalendarPeriod]

class OnUnavailable(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_UNAVAILABLE_UNSPECIFIED: _ClassVar[OnUnavailable]
    ON_UNAVAILABLE_OPEN: _ClassVar[OnUnavailable]
    ON_UNAVAILABLE_CLOSED: _ClassVar[OnUnavailable]
    ON_UNAVAILABLE_LOCAL: _ClassVar[OnUnavailable]

class DecisionSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_SOURCE_UNSPECIFIED: _ClassVar[DecisionSource]
    DECISION_SOURCE_REDIS: _ClassVar[DecisionSource]
    DECISION_SOURCE_MEMORY: _ClassVar[DecisionSource]
    DECISION_SOURCE_FALLBACK: _ClassVar[DecisionSource]
    DECISION_SOURCE_SKIPPED: _ClassVar[DecisionSource]
ALGORITHM_UNSPECIFIED: Algorithm
ALGORITHM_FIXED_WINDOW: Algorithm
ALGORITHM_SLIDING_WINDOW_LOG: Algorithm
ALGORITHM_SLIDING_WINDOW_COUNTER: Algorithm
ALGORITHM_TOKEN_BUCKET: Algorithm
ALGORITHM_GCRA: Algorithm
ALGORITHM_CONCURRENCY: Algorithm
CALENDAR_PERIOD_UNSPECIFIED: CalendarPeriod
CALENDAR_PERIOD_HOUR: CalendarPeriod
CALENDAR_PERIOD_DAY: CalendarPeriod
CALENDAR_PERIOD_WEEK: CalendarPeriod
CALENDAR_PERIOD_MONTH: CalendarPeriod
CALENDAR_PERIOD_YEAR: CalendarPeriod
ON_UNAVAILABLE_UNSPECIFIED: OnUnavailable
ON_UNAVAILABLE_OPEN: OnUnavailable
ON_UNAVAILABLE_CLOSED: OnUnavailable
ON_UNAVAILABLE_LOCAL: OnUnavailable
DECISION_SOURCE_UNSPECIFIED: DecisionSource
DECISION_SOURCE_REDIS: DecisionSource
DECISION_SOURCE_MEMORY: DecisionSource
DECISION_SOURCE_FALLBACK: DecisionSource
DECISION_SOURCE_SKIPPED: DecisionSource

class RateLimitRule(_message.Message):
    __slots__ = ("algorithm", "limit", "window", "burst", "calendar", "time_zone", "shadow", "on_unavailable")
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    BURST_FIELD_NUMBER: _ClassVar[int]
    CALENDAR_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    ON_UNAVAILABLE_FIELD_NUMBER: _ClassVar[int]
    algorithm: Algorithm
    limit: int
    window: _duration_pb2.Duration
    burst: int
    calendar: CalendarPeriod
    time_zone: str
    shadow: bool
    on_unavailable: OnUnavailable
    def __init__(self, algorithm: _Optional[_Union[Algorithm, str]] = ..., limit: _Optional[int] = ..., window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., burst: _Optional[int] = ..., calendar: _Optional[_Union[CalendarPeriod, str]] = ..., time_zone: _Optional[str] = ..., shadow: _Optional[bool] = ..., on_unavailable: _Optional[_Union[OnUnavailable, str]] = ...) -> None: ...

class AcquireRequest(_message.Message):
    __slots__ = ("subject", "rule_name", "rule", "cost", "request_id")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    RULE_NAME_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    subject: str
    rule_name: str
    rule: RateLimitRule
    cost: int
    request_id: str
    def __init__(self, subject: _Optional[str] = ..., rule_name: _Optional[str] = ..., rule: _Optional[_Union[RateLimitRule, _Mapping]] = ..., cost: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class AcquireResponse(_message.Message):
    __slots__ = ("allowed", "limit", "remaining", "retry_after", "reset_after", "shadow", "slot_id", "slot_expires_after", "source")
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    RESET_AFTER_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    SLOT_ID_FIELD_NUMBER: _ClassVar[int]
    SLOT_EXPIRES_AFTER_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    allowed: bool
    limit: int
    remaining: int
    retry_after: _duration_pb2.Duration
    reset_after: _duration_pb2.Duration
    shadow: bool
    slot_id: str
    slot_expires_after: _duration_pb2.Duration
    source: DecisionSource
    def __init__(self, allowed: _Optional[bool] = ..., limit: _Optional[int] = ..., remaining: _Optional[int] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reset_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., shadow: _Optional[bool] = ..., slot_id: _Optional[str] = ..., slot_expires_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., source: _Optional[_Union[DecisionSource, str]] = ...) -> None: ...

class RateLimitCheck(_message.Message):
    __slots__ = ("subject", "rule_name", "rule", "cost")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    RULE_NAME_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    subject: str
    rule_name: str
    rule: RateLimitRule
    cost: int
    def __init__(self, subject: _Optional[str] = ..., rule_name: _Optional[str] = ..., rule: _Optional[_Union[RateLimitRule, _Mapping]] = ..., cost: _Optional[int] = ...) -> None: ...

class AcquireAllRequest(_message.Message):
    __slots__ = ("checks", "request_id")
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    checks: _containers.RepeatedCompositeFieldContainer[RateLimitCheck]
    request_id: str
    def __init__(self, checks: _Optional[_Iterable[_Union[RateLimitCheck, _Mapping]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class AcquireAllResponse(_message.Message):
    __slots__ = ("allowed", "decisions")
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    allowed: bool
    decisions: _containers.RepeatedCompositeFieldContainer[RateLimitDecision]
    def __init__(self, allowed: _Optional[bool] = ..., decisions: _Optional[_Iterable[_Union[RateLimitDecision, _Mapping]]] = ...) -> None: ...

class RateLimitDecision(_message.Message):
    __slots__ = ("allowed", "limit", "remaining", "retry_after", "reset_after", "shadow", "slot_id", "slot_expires_after", "source")
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    RESET_AFTER_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    SLOT_ID_FIELD_NUMBER: _ClassVar[int]
    SLOT_EXPIRES_AFTER_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    allowed: bool
    limit: int
    remaining: int
    retry_after: _duration_pb2.Duration
    reset_after: _duration_pb2.Duration
    shadow: bool
    slot_id: str
    slot_expires_after: _duration_pb2.Duration
    source: DecisionSource
    def __init__(self, allowed: _Optional[bool] = ..., limit: _Optional[int] = ..., remaining: _Optional[int] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reset_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., shadow: _Optional[bool] = ..., slot_id: _Optional[str] = ..., slot_expires_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., source: _Optional[_Union[DecisionSource, str]] = ...) -> None: ...

class PeekRequest(_message.Message):
    __slots__ = ("subject", "rule_name", "rule", "cost")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    RULE_NAME_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    subject: str
    rule_name: str
    rule: RateLimitRule
    cost: int
    def __init__(self, subject: _Optional[str] = ..., rule_name: _Optional[str] = ..., rule: _Optional[_Union[RateLimitRule, _Mapping]] = ..., cost: _Optional[int] = ...) -> None: ...

class PeekResponse(_message.Message):
    __slots__ = ("allowed", "limit", "remaining", "retry_after", "reset_after", "shadow", "source")
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    RESET_AFTER_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    allowed: bool
    limit: int
    remaining: int
    retry_after: _duration_pb2.Duration
    reset_after: _duration_pb2.Duration
    shadow: bool
    source: DecisionSource
    def __init__(self, allowed: _Optional[bool] = ..., limit: _Optional[int] = ..., remaining: _Optional[int] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reset_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., shadow: _Optional[bool] = ..., source: _Optional[_Union[DecisionSource, str]] = ...) -> None: ...

class ResetRequest(_message.Message):
    __slots__ = ("subject", "rule_name", "rule")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    RULE_NAME_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    subject: str
    rule_name: str
    rule: RateLimitRule
    def __init__(self, subject: _Optional[str] = ..., rule_name: _Optional[str] = ..., rule: _Optional[_Union[RateLimitRule, _Mapping]] = ...) -> None: ...

class ResetResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RefundRequest(_message.Message):
    __slots__ = ("subject", "rule_name", "rule", "cost", "request_id")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    RULE_NAME_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    subject: str
    rule_name: str
    rule: RateLimitRule
    cost: int
    request_id: str
    def __init__(self, subject: _Optional[str] = ..., rule_name: _Optional[str] = ..., rule: _Optional[_Union[RateLimitRule, _Mapping]] = ..., cost: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class RefundResponse(_message.Message):
    __slots__ = ("limit", "remaining", "reset_after")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    RESET_AFTER_FIELD_NUMBER: _ClassVar[int]
    limit: int
    remaining: int
    reset_after: _duration_pb2.Duration
    def __init__(self, limit: _Optional[int] = ..., remaining: _Optional[int] = ..., reset_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class RenewSlotRequest(_message.Message):
    __slots__ = ("subject", "rule_name", "rule", "slot_id")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    RULE_NAME_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    SLOT_ID_FIELD_NUMBER: _ClassVar[int]
    subject: str
    rule_name: str
    rule: RateLimitRule
    slot_id: str
    def __init__(self, subject: _Optional[str] = ..., rule_name: _Optional[str] = ..., rule: _Optional[_Union[RateLimitRule, _Mapping]] = ..., slot_id: _Optional[str] = ...) -> None: ...

class RenewSlotResponse(_message.Message):
    __slots__ = ("slot_expires_after",)
    SLOT_EXPIRES_AFTER_FIELD_NUMBER: _ClassVar[int]
    slot_expires_after: _duration_pb2.Duration
    def __init__(self, slot_expires_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ReleaseSlotRequest(_message.Message):
    __slots__ = ("subject", "rule_name", "rule", "slot_id")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    RULE_NAME_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    SLOT_ID_FIELD_NUMBER: _ClassVar[int]
    subject: str
    rule_name: str
    rule: RateLimitRule
    slot_id: str
    def __init__(self, subject: _Optional[str] = ..., rule_name: _Optional[str] = ..., rule: _Optional[_Union[RateLimitRule, _Mapping]] = ..., slot_id: _Optional[str] = ...) -> None: ...

class ReleaseSlotResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRulesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRulesResponse(_message.Message):
    __slots__ = ("rules",)
    RULES_FIELD_NUMBER: _ClassVar[int]
    rules: _containers.RepeatedCompositeFieldContainer[NamedRateLimitRule]
    def __init__(self, rules: _Optional[_Iterable[_Union[NamedRateLimitRule, _Mapping]]] = ...) -> None: ...

class NamedRateLimitRule(_message.Message):
    __slots__ = ("name", "rule")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    name: str
    rule: RateLimitRule
    def __init__(self, name: _Optional[str] = ..., rule: _Optional[_Union[RateLimitRule, _Mapping]] = ...) -> None: ...
