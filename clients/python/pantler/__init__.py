"""The Python client of Pantler, a cache that services call over gRPC.

    async with pantler.AsyncClient("127.0.0.1:50051") as client:
        await client.set("users", "42", b"Ada", ttl=timedelta(minutes=5))
        entry = await client.get("users", "42")

Nothing is imported before it is used, so that `pantler.v1` (the generated code) can be had alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pantler.client import AsyncClient
    from pantler.errors import (
        DeadlineExceeded,
        FailedPrecondition,
        FieldViolation,
        InternalError,
        InvalidArgument,
        LeaseLost,
        NotFound,
        OutcomeUnknown,
        PantlerError,
        PartialFailure,
        ResourceExhausted,
        Unavailable,
        WrongKind,
    )
    from pantler.model import Entry, SetResult

__all__ = [
    "AsyncClient",
    "DeadlineExceeded",
    "Entry",
    "FailedPrecondition",
    "FieldViolation",
    "InternalError",
    "InvalidArgument",
    "LeaseLost",
    "NotFound",
    "OutcomeUnknown",
    "PantlerError",
    "PartialFailure",
    "ResourceExhausted",
    "SetResult",
    "Unavailable",
    "WrongKind",
]

_MODULES = {"AsyncClient": "client", "Entry": "model", "SetResult": "model"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'pantler' has no attribute {name!r}")
    value: object = getattr(import_module(f"pantler.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
