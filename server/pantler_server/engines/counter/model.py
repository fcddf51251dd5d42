"""What the counter engine takes and returns."""

from dataclasses import dataclass

MAX_VALUE = 2**53 - 1  # up to here the numbers of Lua are exact


@dataclass(frozen=True, slots=True)
class Increment:
    """What to add to a counter, unless it would be outside its bounds then."""

    delta: int
    floor: int
    ceiling: int
    ttl_ms: int
    """From now on; 0: as it was, of a new counter the namespace's."""
    request_id: str


@dataclass(frozen=True, slots=True)
class Incremented:
    """What a counter came to."""

    value: int
    applied: bool
    expires_ms: int
    """Unix time in ms; 0: never."""
