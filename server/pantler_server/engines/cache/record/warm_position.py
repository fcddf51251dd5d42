"""Resume tokens of warmings: how far one was, in which list of keys.

A token is good for the same namespace and the same source: the same query, the same keys.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b

from pantler_server.core.errors import FieldViolation, InvalidFields
from pantler_server.core.keyspace import MAX_KEY_BYTES
from pantler_server.engines.cache.record.warm_model import Wanted

DIGEST_BYTES = 8
_MAX_NUMBER = 2**63  # counts are 64-bit on the wire
_MAX_CHARACTERS = 4 * (DIGEST_BYTES + 4 * 20 + MAX_KEY_BYTES) // 3 + 4


@dataclass(frozen=True, slots=True)
class Position:
    """How far a warming is."""

    seen: int = 0
    loaded: int = 0
    failed: int = 0
    index: int = 0
    """In a list that is known as a whole: of its next key."""
    after: str = ""
    """In a list that the origin gives: its last key; empty at the beginning."""


def of_list(name: str, wanted: Wanted) -> bytes:
    """What tells a list of keys from others: of another namespace, source or query, or of other
    keys. O(keys): 10,000 of 20 characters take 2 ms."""
    parts = (name, wanted.source.value, wanted.query or "", *wanted.keys)
    encoded = b"".join(b"%d:%b" % (len(one), one) for one in map(str.encode, parts))
    return blake2b(encoded, digest_size=DIGEST_BYTES).digest()


def write(position: Position, digest: bytes) -> str:
    """A token. `digest`: of the list."""
    text = (
        f"{position.seen} {position.loaded} {position.failed} {position.index} {position.after}"
    ).encode()
    return urlsafe_b64encode(_check(text, digest) + text).decode()


def read(token: str, digest: bytes) -> Position:
    """Where a token is in the list of this digest; the beginning for an empty one. Raises
    InvalidFields for what is no token, or one of another list."""
    if not token:
        return Position()
    try:
        text = urlsafe_b64decode(token[: _MAX_CHARACTERS + 1].encode())[DIGEST_BYTES:].decode()
        *numbers, after = text.split(" ", 4)
        seen, loaded, failed, index = map(int, numbers)
        position = Position(seen, loaded, failed, index, after)
    except ValueError:
        raise _refused() from None
    # Written anew it must be the same: there is one way to say it.
    if max(seen, loaded, failed, index) >= _MAX_NUMBER or write(position, digest) != token:
        raise _refused()
    return position


def _check(text: bytes, digest: bytes) -> bytes:
    return blake2b(text, digest_size=DIGEST_BYTES, key=digest).digest()


def _refused() -> InvalidFields:
    rule = "must be of a message of a warming of the same namespace, and of the same keys"
    return InvalidFields([FieldViolation("resume_token", rule)])
