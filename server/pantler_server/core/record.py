"""Records: what a system of record holds under a key, and what is done to it."""

from enum import Enum
from typing import Any

Record = dict[str, Any]
"""Fields by name, as JSON has them: None, bool, int, float, str, list and dict. What JSON has no
type for is text: decimals, timestamps (RFC 3339), bytes (base64), whole numbers beyond 2**53."""

MAX_DEPTH = 16  # how deeply records nest: each level takes 3 of the 100 that messages may


class Operation(Enum):
    """What a write does."""

    INSERT = 1
    """Makes the record, which must not be there. What is not given takes the origin's default."""
    UPDATE = 2
    """Sets the given fields of the record, which must be there."""
    UPSERT = 3
    """The record is what is given, whether or not there was one: what is not given takes the
    origin's default."""
    DELETE = 4
    """Removes the record, if it is there."""
