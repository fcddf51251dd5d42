"""First answers to request ids: for 10 minutes a repeat of a call gets the first answer again, and
changes nothing.

A script looks the answer up before it does anything, and writes it down with what it did
(functions/answered.lua, functions/remember.lua), in the slot of what it changes.
"""

from hashlib import blake2b

from pantler_server.core.errors import FieldViolation, InvalidFields

REUSED = 2
"""What a script answers first if the id was that of another request."""


def digest(*said: str) -> bytes:
    """For the key of an answer: what is changed, and the request id. It has one length for all, so
    that nothing in them can make two keys the same."""
    return _hashed(said, 16)


def fingerprint(*said: str | bytes) -> bytes:
    """What tells two requests with one id apart."""
    return _hashed(said, 8)


def reused() -> InvalidFields:
    """The error for REUSED."""
    rule = "was that of another request within the last 10 minutes: use a new one"
    return InvalidFields([FieldViolation("request_id", rule)])


def _hashed(said: tuple[str | bytes, ...], size: int) -> bytes:
    hashed = blake2b(digest_size=size)
    for one in said:
        data = one if isinstance(one, bytes) else one.encode()
        hashed.update(len(data).to_bytes(8, "little"))
        hashed.update(data)
    return hashed.digest()
