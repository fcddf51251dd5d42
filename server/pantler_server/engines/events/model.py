"""What the event engine takes and gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Fields = Mapping[str, Any]
"""As JSON has them: text, numbers, true, false, None, lists, and mappings of the same."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    type: str
    fields: Fields
    event_id: str = ""
    """Empty: it may be published twice, and is something else each time."""


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What a rule invalidated."""

    rule: str
    namespace: str
    soft: bool
    keys: Sequence[str]
    cascaded: int
    """How many other keys a cascade reached."""
    tags: Sequence[str]
    all: bool
    """Whether the whole namespace was."""
    purge_ids: Sequence[str] = ()
    """Of the purges of the namespace's CDN; none if it has none, and in records of before they were
    noted."""


@dataclass(frozen=True, slots=True)
class Published:
    """What an event came to."""

    outcomes: Sequence[RuleOutcome]
    duplicate: bool
    """Whether that was at an earlier time, and nothing was done now."""
