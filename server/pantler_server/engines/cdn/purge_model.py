"""What purges are, and what becomes of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Purge:
    """What targets are to forget."""

    target: str = ""
    """Its name; empty: all of the configuration."""
    urls: Sequence[str] = ()
    """As the wire has them (url.py)."""
    tags: Sequence[str] = ()
    """As the wire has them (tag.py)."""
    everything: bool = False
    soft: bool = False
    """Whether it only becomes stale, where the target can do that."""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Purged:
    """A purge that is in the outbox."""

    purge_id: str
    duplicate: bool
    """Whether it was there before, by its request id."""


class PurgeState(Enum):
    """How far a purge is at a target."""

    PENDING = 1
    DONE = 2
    FAILED = 3


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a purge at one target."""

    target: str
    state: PurgeState
    attempts: int
    """Those that failed, and the one that ended it."""
    last_error: str
    """What was answered last that was no success, to others if it waits for the target to serve
    again; empty if all was well."""
    finished_ms: int
    """Unix time; 0 while it is pending."""


@dataclass(frozen=True, slots=True)
class PurgeStatus:
    """What became of a purge."""

    created_ms: int
    """Unix time."""
    receipts: Sequence[Receipt]
