"""What the client gives back."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored value. Times are by Redis's clock, in UTC."""

    value: bytes
    version: int
    """Identifies this write of the key; it says nothing about order."""
    create_time: datetime
    """How old the value is: when it was stored or, by `get_or_set`, when its fetch began."""
    expire_time: datetime
    content_type: str
    tags: tuple[str, ...] = ()
    stale: bool = False
    """Whether its ttl is over, and it is given for the namespace's grace."""


@dataclass(frozen=True, slots=True)
class SetResult:
    """What a set came to."""

    stored: bool
    """False if its condition did not hold; then nothing was changed."""
    version: int
    """As in Entry; 0 if nothing was stored."""
    expire_time: datetime | None
    """None if nothing was stored."""
