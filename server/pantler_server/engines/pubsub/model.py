"""What a subscription gives. An epoch is told by the number with which it began; without a history
it is 0, as are all sequences."""

from dataclasses import dataclass
from enum import Enum


class GapReason(Enum):
    """Why messages may be missing."""

    SLOW = "slow"
    """The subscriber did not take them in time."""
    DISCONNECTED = "disconnected"
    """The connection to Redis was lost for a while, and there was no history."""
    HISTORY = "history"
    """The history does not reach back so far."""
    FAILOVER = "failover"
    """A new epoch began: Redis may lack what it had last."""


@dataclass(slots=True, eq=False)
class Message:
    """Made once for all who get it."""

    channel: str
    payload: bytes
    content_type: str
    sequence: int
    epoch: int
    response: object = None
    """What a servicer has made of it, for the next one that needs it."""
    waits: int = 0
    """For how many subscribers it waits (backlog.py)."""


@dataclass(frozen=True, slots=True, eq=False)
class Gap:
    """Messages may be missing here. Whatever comes after it has a higher sequence."""

    reason: GapReason
    sequence: int = 0
    epoch: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Heartbeat:
    """All messages up to this sequence were given."""

    sequence: int


Event = Message | Gap | Heartbeat
