"""Records as canonical JSON: keys in order, no spaces, UTF-8, whole numbers without a point; the
same record is the same bytes."""

import json
from math import isfinite
from typing import Any

from pantler_server.core.record import Record

MAX_EXACT = 1 << 53  # whole numbers up to here are the same in every language

_encoder = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)


def encode(record: Record) -> bytes:
    """A record whose numbers are as `number` gives them."""
    return _encoder.encode(record).encode()


def decode(raw: bytes) -> Record:
    """Raises ValueError for what is no JSON object."""
    try:
        record: Record = json.loads(raw)
    except RecursionError:
        raise ValueError("nests too deeply") from None
    if record.__class__ is not dict:
        raise ValueError("is no object")
    return record


def number(value: float) -> int | float:
    """A finite number in its canonical form: whole ones as int. Raises ValueError for others."""
    if not isfinite(value):
        raise ValueError("must be finite")
    return int(value) if value.is_integer() and abs(value) < MAX_EXACT else value


def normal(value: Any) -> Any:
    """A value of JSON with all its numbers in their canonical form."""
    if value.__class__ is float:
        return number(value)
    if isinstance(value, dict):
        return {name: normal(one) for name, one in value.items()}
    if isinstance(value, list):
        return [normal(one) for one in value]
    return value
