"""Where events are remembered in Redis (role `state`)."""


def record(event_id: str) -> str:
    """`pantler:event:ID`, a string: what the event with the id came to (records.py). Expires after
    RECORD_MS."""
    return f"pantler:event:{event_id}"
