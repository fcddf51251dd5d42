"""What records are written with, and what the calls about them answer."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

Operation = Literal["insert", "update", "upsert"]
Source = Literal["cache", "origin"]
Durability = Literal["written", "queued"]


@dataclass(frozen=True, slots=True)
class Record:
    """A record, as its system of record or a write that waits for that has it."""

    fields: dict[str, Any]
    """By name: None, bool, int, float, str, list and dict. Decimals, times, UUIDs, bytes (base64)
    and whole numbers beyond 2**53 are text."""
    stale: bool
    """Whether its time is over: the origin is away or slow, or it is being loaded just now."""
    source: Source
    """"cache", or "origin" if it was loaded for this call."""


@dataclass(frozen=True, slots=True)
class PutResult:
    """What a write came to."""

    durability: Durability
    """"written": the origin has it; "queued": Redis has it durably, and the origin gets it."""
    version: int
    """Grows with each write of the key."""


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """What a `delete_record` came to."""

    durability: Durability
    """As in PutResult."""
    version: int
    """As in PutResult."""
    deleted: bool | None
    """Whether there was a record; None if only the origin knows, which has yet to be told."""


@dataclass(frozen=True, slots=True)
class FlushResult:
    """What a `flush_writes` came to."""

    flushed: int
    """How many of the writes that waited when it began were brought to an end: written, folded into
    others, or dead."""
    remaining: int
    """How many of them still wait."""


@dataclass(frozen=True, slots=True)
class WriteBacklog:
    """What waits for the origin of a namespace."""

    pending: int
    """Writes that wait."""
    oldest_age: timedelta
    """How long the oldest of them has waited; 0 if there is none."""
    dead: int
    """Writes that the origin refused for good."""
    last_error: str
    """Why the last attempt to bring writes to the origin failed; empty when one has succeeded
    since. For operators."""


@dataclass(frozen=True, slots=True)
class DeadWrite:
    """A write that the origin refused for good."""

    id: str
    """Names it for `retry_dead_writes` and `discard_dead_writes`."""
    key: str
    operation: Operation | Literal["delete"]
    """What it was to do."""
    fields: dict[str, Any]
    """What it was to write, as in Record."""
    version: int
    refuse_time: datetime
    reason: str
    """For people."""
