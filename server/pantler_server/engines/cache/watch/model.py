"""What a watch gives."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """What was invalidated, or written. The value is how the event begins in the history, of a SOFT
    one in lower case."""

    KEY = b"K"
    """A key was deleted or invalidated."""
    TAG = b"T"
    DEPENDENCY = b"D"
    """A key was invalidated on which others depend: what names it in `depends_on`."""
    NAMESPACE = b"N"
    AGE = b"A"
    PATTERN = b"P"
    WRITE = b"W"
    """A key was set or touched, or its tags were changed."""


class Change(NamedTuple):
    """One event of a namespace."""

    namespace: str
    kind: Kind
    soft: bool
    name: str
    """The key, the tag or the pattern; empty where there is none."""
    before_us: int = 0
    """Of an AGE: entries whose fill began before (Unix us)."""


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """A message of a watch. One with neither changes nor gaps says that there was nothing else
    until now, or, at the beginning, from where on it tells."""

    changes: tuple[Change, ...]
    gaps: tuple[str, ...]
    """Namespaces of which changes may be missing up to here."""
    token: str
    """With it another watch goes on after this message."""
    with_writes: tuple[str, ...] = ()
    """Namespaces of which writes are told; said in messages without changes."""
