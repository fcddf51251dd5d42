"""What invalidation takes and gives."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an invalidation by pattern is."""

    scanned: int
    """Keys of Redis that were looked at, those of other namespaces included."""
    total: int
    """Keys of Redis when it began."""
    invalidated: int
    """Entries removed; in a dry run, entries that match."""
    examples: Sequence[str] = ()
    """The first keys that match, where the last progress did not have them."""
    done: bool = False


@dataclass(frozen=True, slots=True)
class TagsAdded:
    """What adding tags came to."""

    found: bool
    """Whether there was an entry that is given to some."""
    visible: bool
    """Whether those get it who accept no stale one."""


@dataclass(frozen=True, slots=True)
class TaggedKey:
    """A key whose entry has a tag."""

    key: str
    stale: bool


@dataclass(frozen=True, slots=True)
class Dependent:
    """A key that depends on another."""

    key: str
    declared: bool
    """Else its entry says so."""
