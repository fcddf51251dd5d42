"""What an exception that ends a call or an operation is to its caller."""

import structlog
from google.protobuf.message import DecodeError

from pantler_server.core.errors import (
    DeadlinePassed,
    FieldViolation,
    InternalError,
    InvalidFields,
    ServiceError,
)

log = structlog.get_logger(__name__)


def service_error(exc: Exception, method: str, request_id: str) -> ServiceError:
    """The error of the tree that stands for it. What is a defect goes to the log."""
    match exc:
        case ServiceError():
            return exc
        case DecodeError():
            return InvalidFields([FieldViolation("", f"the bytes are no request of {method}")])
        case TimeoutError():
            return DeadlinePassed("the deadline passed before there was an answer")
    log.error("defect", method=method, request_id=request_id, exc_info=exc)
    return InternalError("a defect in Pantler; the log has it under the request id")
