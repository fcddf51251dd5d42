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
    expire_time: datetime
    content_type: str


@dataclass(frozen=True, slots=True)
class SetResult:
    """What is known of an entry that was stored."""

    version: int
    """As in Entry."""
    expire_time: datetime
