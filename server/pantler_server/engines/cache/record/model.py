"""What the record engine takes and gives. Times are Unix microseconds by Redis's clock."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from pantler_server.core.errors import ServiceError
from pantler_server.core.record import Operation, Record

HELD_BACK = (
    "an earlier write of the key in this batch may still take effect, so this one was not done: "
    "repeat both, in their order"
)
"""What is said of writes after one of unknown outcome."""


class Source(Enum):
    """Where an answer comes from."""

    CACHE = auto()
    ORIGIN = auto()


@dataclass(frozen=True, slots=True)
class Found:
    """What a read gives."""

    value: bytes
    """The record as canonical JSON; empty if there is none."""
    source: Source
    stale: bool = False
    version: int = 0
    """Of the cached entry; 0, as the times, if it could not be cached."""
    created_us: int = 0
    expires_us: int = 0
    tags: tuple[str, ...] = ()


class Read(NamedTuple):
    """What a read gives, with the record itself."""

    found: Found
    record: Record | None
    """None if there is none."""


@dataclass(frozen=True, slots=True)
class Put:
    """A write that a caller asks for."""

    key: str
    operation: Operation
    fields: Record
    """As the caller gave them; empty for a DELETE."""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load ahead came to; the other keys were cached."""

    loaded: int
    """How many were loaded, also as a record that there is none of."""
    failed: int
    """How many could not be."""
    error: ServiceError | None = None
    """Why, for the first that failed as the origin or Redis did not answer; None if none did."""


class Durability(Enum):
    """Where an acknowledged write is."""

    WRITTEN = auto()
    QUEUED = auto()


@dataclass(frozen=True, slots=True)
class Written:
    """What a write came to."""

    durability: Durability
    version: int
    existed: bool | None = None
    """For a DELETE: whether there was a record; None if only the origin knows."""


@dataclass(frozen=True, slots=True)
class Flushed:
    """What a flush came to."""

    flushed: int
    remaining: int


@dataclass(frozen=True, slots=True)
class WriteBacklog:
    """What waits for an origin."""

    pending: int
    oldest_us: int
    """For how long the oldest has waited (us); 0 if nothing waits."""
    dead: int
    last_error: str


@dataclass(frozen=True, slots=True)
class DeadWrite:
    """A write that the origin refused for good."""

    id: str
    """`PARTITION-VERSION`."""
    key: str
    operation: Operation
    fields: Record
    version: int
    refused_us: int
    reason: str
