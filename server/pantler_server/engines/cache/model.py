"""What the cache engine takes and gives. Times are Unix milliseconds by Redis's clock."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple


class MissReason(Enum):
    """Why a read found nothing."""

    UNKNOWN = auto()
    """There is no record of the key."""
    HIDDEN_BY_NAMESPACE = auto()
    """The entry is of an earlier generation of its partition."""


class Entry(NamedTuple):
    """A stored value. A tuple, since one is made for each key read, in half a data class's time."""

    value: bytes
    version: int
    """Identifies this write of the key: 1 to 2**63 - 1, random, so that it does not repeat."""
    created_ms: int
    expires_ms: int
    content_type: str


@dataclass(frozen=True, slots=True)
class NewEntry:
    """What to store."""

    key: str
    value: bytes
    ttl_ms: int | None
    """None: the namespace's default."""
    content_type: str


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry that was stored."""

    version: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Size:
    """An estimate of a namespace's entries in Redis."""

    entries: int
    memory_bytes: int
    """Keys and Redis's overhead included."""
