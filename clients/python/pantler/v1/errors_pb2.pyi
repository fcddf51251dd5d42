from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_FIELD: _ClassVar[ErrorReason]
    ERROR_REASON_NAMESPACE_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_WRONG_KIND: _ClassVar[ErrorReason]
    ERROR_REASON_STORE_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_OUTCOME_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_STORE_OUT_OF_MEMORY: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_NAMESPACES: _ClassVar[ErrorReason]
    ERROR_REASON_RESPONSE_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_CONFIG_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_DEADLINE_EXCEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_SHUTTING_DOWN: _ClassVar[ErrorReason]
    ERROR_REASON_LEASE_LOST: _ClassVar[ErrorReason]
    ERROR_REASON_NO_TAG_INDEX: _ClassVar[ErrorReason]
    ERROR_REASON_CASCADE_TOO_WIDE: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_REPLICATED: _ClassVar[ErrorReason]
    ERROR_REASON_RATE_LIMIT_RULE_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_SLOT_NOT_HELD: _ClassVar[ErrorReason]
    ERROR_REASON_BOARD_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_NO_HISTORY: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_INVALID_FIELD: ErrorReason
ERROR_REASON_NAMESPACE_UNKNOWN: ErrorReason
ERROR_REASON_WRONG_KIND: ErrorReason
ERROR_REASON_STORE_UNAVAILABLE: ErrorReason
ERROR_REASON_OUTCOME_UNKNOWN: ErrorReason
ERROR_REASON_STORE_OUT_OF_MEMORY: ErrorReason
ERROR_REASON_TOO_MANY_NAMESPACES: ErrorReason
ERROR_REASON_RESPONSE_TOO_LARGE: ErrorReason
ERROR_REASON_CONFIG_INVALID: ErrorReason
ERROR_REASON_DEADLINE_EXCEEDED: ErrorReason
ERROR_REASON_SHUTTING_DOWN: ErrorReason
ERROR_REASON_LEASE_LOST: ErrorReason
ERROR_REASON_NO_TAG_INDEX: ErrorReason
ERROR_REASON_CASCADE_TOO_WIDE: ErrorReason
ERROR_REASON_NOT_REPLICATED: ErrorReason
ERROR_REASON_RATE_LIMIT_RULE_UNKNOWN: ErrorReason
ERROR_REASON_SLOT_NOT_HELD: ErrorReason
ERROR_REASON_BOARD_UNKNOWN: ErrorReason
ERROR_REASON_NO_HISTORY: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason
