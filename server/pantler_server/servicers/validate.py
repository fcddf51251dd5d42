"""Checks of request fields that are the same for every service.

A check adds to a list what is wrong, with the field's path; `refuse` raises all of it at once.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from google.protobuf.duration_pb2 import Duration

from pantler_server.core.errors import FieldViolation, InvalidFields
from pantler_server.core.keyspace import NAMESPACE

MAX_KEY_BYTES = 512
MAX_BATCH_ITEMS = (
    1000  # bounds what one call holds in memory, and its pipeline to a few ms of Redis
)
MAX_CONTENT_TYPE_BYTES = 255  # its length is one byte of the entry's header

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PRINTABLE_ASCII = re.compile(r"[\x20-\x7e]*")
_SHORT = (
    MAX_KEY_BYTES // 4
)  # characters that fit whatever they are: UTF-8 takes at most 4 bytes each

Violations = list[FieldViolation]


def refuse(violations: Violations) -> None:
    """Raises InvalidFields if anything is wrong."""
    if violations:
        raise InvalidFields(violations)


def namespace(name: str) -> str:
    """The name of a namespace; it alone is checked first, since its limits decide on the rest."""
    if not _is_namespace(name):
        raise InvalidFields([FieldViolation("namespace", f"must match {NAMESPACE.pattern}")])
    return name


@lru_cache(maxsize=4096)
def _is_namespace(name: str) -> bool:
    return NAMESPACE.fullmatch(name) is not None


def is_key(value: str) -> bool:
    """Whether a key is well formed; the first line decides for nearly every key."""
    return (len(value) <= _SHORT and value.isprintable() and value != "") or (
        0 < len(value.encode()) <= MAX_KEY_BYTES and _CONTROL.search(value) is None
    )


def are_keys(values: Sequence[str]) -> bool:
    """Whether all keys are well formed; a batch of short, printable ones is checked as a whole."""
    lengths = list(map(len, values))
    if min(lengths) > 0 and max(lengths) <= _SHORT and "".join(values).isprintable():
        return True
    return all(map(is_key, values))


def key_violation(value: str, path: str) -> FieldViolation:
    """What is wrong with a key that `is_key` refuses."""
    if not value:
        return FieldViolation(path, "must not be empty")
    if _CONTROL.search(value):
        return FieldViolation(path, "must not contain control characters")
    return FieldViolation(path, f"must be at most {MAX_KEY_BYTES} bytes of UTF-8")


def batch(count: int, path: str) -> None:
    """The number of items of a batch. Refused at once: the items are not looked at."""
    if not 1 <= count <= MAX_BATCH_ITEMS:
        raise InvalidFields([FieldViolation(path, f"must have 1 to {MAX_BATCH_ITEMS} items")])


def value(data: bytes, max_bytes: int, path: str, violations: Violations) -> None:
    if len(data) > max_bytes:
        violations.append(
            FieldViolation(path, f"must be at most {max_bytes} bytes, not {len(data)}")
        )


def content_type(text: str, path: str, violations: Violations) -> None:
    if text and (len(text) > MAX_CONTENT_TYPE_BYTES or not _PRINTABLE_ASCII.fullmatch(text)):
        violations.append(
            FieldViolation(
                path, f"must be at most {MAX_CONTENT_TYPE_BYTES} bytes of printable ASCII"
            )
        )


def ttl_ms(ttl: Duration, max_ms: int, path: str, violations: Violations) -> int:
    """A ttl in milliseconds, part of one counting as a whole."""
    milliseconds = ttl.seconds * 1_000 + -(-ttl.nanos // 1_000_000)
    if milliseconds < 1:
        violations.append(FieldViolation(path, "must be more than zero"))
    elif milliseconds > max_ms:
        violations.append(
            FieldViolation(path, f"must be at most the namespace's max_ttl, {max_ms} ms")
        )
    return milliseconds
