"""Checks of request fields that are the same for every service.

A check adds to a list what is wrong, with the field's path; `refuse` raises all of it at once.
"""

import re
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Literal, Protocol

from google.protobuf.duration_pb2 import Duration

from pantler_server.core.duration import format_duration
from pantler_server.core.errors import FieldViolation, InvalidFields
from pantler_server.core.keyspace import CONTROL, NAMESPACE
from pantler_server.core.keyspace import MAX_KEY_BYTES as MAX_KEY_BYTES
from pantler_server.core.keyspace import MAX_TAG_BYTES as MAX_TAG_BYTES
from pantler_server.engines.cache import entry

MAX_BATCH_ITEMS = (
    1000  # bounds what one call holds in memory, and its pipeline to a few ms of Redis
)
DEFAULT_PAGE_SIZE = 100  # as tag.proto and invalidation.proto say
MAX_CONTENT_TYPE_BYTES = 255  # its length is one byte of the entry's header
MAX_LABELS = entry.MAX_LABELS
MAX_ID_BYTES = 128  # of what callers make up: holders, request ids
MAX_LEASE_MS = 600_000  # so that the lease of a caller that died is over some day
MAX_WAIT_MS = 60_000
MAX_FLUSH_MS = 3_600_000  # the call's own deadline bounds it too
DEFAULT_HEARTBEAT_S = 5  # as invalidation.proto and pubsub.proto say
MIN_HEARTBEAT_S, MAX_HEARTBEAT_S = 1, 60

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


def namespaces(names: Sequence[str], most: int) -> tuple[str, ...]:
    """Names of namespaces: at least one, each once. Refused at once."""
    if not 1 <= len(names) <= most:
        raise InvalidFields([FieldViolation("namespaces", f"must have 1 to {most} items")])
    refuse(
        [
            FieldViolation(f"namespaces[{index}]", f"must match {NAMESPACE.pattern}")
            for index, name in enumerate(names)
            if not _is_namespace(name)
        ]
    )
    return tuple(dict.fromkeys(names))


def is_key(value: str) -> bool:
    """Whether a key is well formed; the first line decides for nearly every key."""
    return (len(value) <= _SHORT and value.isprintable() and value != "") or (
        0 < len(value.encode()) <= MAX_KEY_BYTES and CONTROL.search(value) is None
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
    if CONTROL.search(value):
        return FieldViolation(path, "must not contain control characters")
    return FieldViolation(path, f"must be at most {MAX_KEY_BYTES} bytes of UTF-8")


def key(value: str, path: str, violations: Violations) -> None:
    """A key, or another name of the caller's choice."""
    if not is_key(value):
        violations.append(key_violation(value, path))


def batch_size(count: int, path: str, violations: Violations, most: int = MAX_BATCH_ITEMS) -> bool:
    """The number of items of a batch; whether they are to be looked at: not of too many."""
    if 1 <= count <= most:
        return True
    violations.append(FieldViolation(path, f"must have 1 to {most} items"))
    return False


def batch_of_keys(values: Sequence[str], most: int, path: str, violations: Violations) -> None:
    """The keys of a batch. Of none or too many none is looked at."""
    if batch_size(len(values), path, violations, most) and not are_keys(values):
        for index, one in enumerate(values):
            key(one, f"{path}[{index}]", violations)


def text(value: str, max_bytes: int, path: str, violations: Violations) -> None:
    """A name or an id that may be empty."""
    if len(value.encode()) > max_bytes or CONTROL.search(value):
        violations.append(
            FieldViolation(path, f"must be at most {max_bytes} bytes without control characters")
        )


def labels(
    texts: Sequence[str], max_bytes: int, path: str, violations: Violations
) -> tuple[str, ...]:
    """Tags or dependencies, each once. Of too many none is looked at."""
    if len(texts) > MAX_LABELS:
        violations.append(FieldViolation(path, f"must be at most {MAX_LABELS}"))
        return ()
    for index, one in enumerate(texts):
        if not one:
            violations.append(FieldViolation(f"{path}[{index}]", "must not be empty"))
        text(one, max_bytes, f"{path}[{index}]", violations)
    return tuple(dict.fromkeys(texts))


def some_labels(
    texts: Sequence[str], most: int, path: str, *, indexed: bool = True
) -> tuple[str, ...]:
    """Tags that a call is about: at least one, each once. Refused at once."""
    if not 1 <= len(texts) <= most:
        raise InvalidFields([FieldViolation(path, f"must have 1 to {most} items")])
    violations: Violations = []
    for index, one in enumerate(texts):
        where = f"{path}[{index}]" if indexed else path
        if not one:
            violations.append(FieldViolation(where, "must not be empty"))
        text(one, MAX_TAG_BYTES, where, violations)
    refuse(violations)
    return tuple(dict.fromkeys(texts))


def page_size(size: int) -> int:
    if size > MAX_BATCH_ITEMS:
        raise InvalidFields([FieldViolation("page_size", f"must be at most {MAX_BATCH_ITEMS}")])
    return size or DEFAULT_PAGE_SIZE


def batch(count: int, path: str) -> None:
    """As `batch_size`. Refused at once: the items are not looked at."""
    violations: Violations = []
    batch_size(count, path, violations)
    refuse(violations)


def limit(count: int, violations: Violations) -> None:
    """How many to give at the most."""
    if not 1 <= count <= MAX_BATCH_ITEMS:
        violations.append(FieldViolation("limit", f"must be 1 to {MAX_BATCH_ITEMS}"))


def request_id(said: str, violations: Violations) -> str:
    """What callers make up, so that a call may be repeated; may be empty."""
    if said:
        text(said, MAX_ID_BYTES, "request_id", violations)
    return said


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
    return _milliseconds(ttl, 1, max_ms, "the namespace's max_ttl", path, violations)


def lease_ttl_ms(ttl: Duration, path: str, violations: Violations) -> int:
    """As `ttl_ms`, of a lease."""
    return _milliseconds(ttl, 1, MAX_LEASE_MS, "the longest lease", path, violations)


def wait_ms(wait: Duration, path: str, violations: Violations) -> int:
    """As `ttl_ms`, of a wait, which may be zero."""
    return _milliseconds(wait, 0, MAX_WAIT_MS, "the longest wait", path, violations)


def flush_ms(wait: Duration, path: str, violations: Violations) -> int:
    """As `wait_ms`, of a wait for writes."""
    return _milliseconds(wait, 0, MAX_FLUSH_MS, "the longest wait", path, violations)


class _HasHeartbeat(Protocol):
    @property
    def heartbeat_interval(self) -> Duration: ...
    def HasField(self, field_name: Literal["heartbeat_interval"], /) -> bool: ...


def heartbeat_s(request: _HasHeartbeat, violations: Violations) -> float:
    """How often a stream is to say that nothing is missing."""
    if not request.HasField("heartbeat_interval"):
        return DEFAULT_HEARTBEAT_S
    interval = request.heartbeat_interval
    interval_s = interval.seconds + interval.nanos / 1e9
    if not MIN_HEARTBEAT_S <= interval_s <= MAX_HEARTBEAT_S:
        rule = f"must be {MIN_HEARTBEAT_S} s to {MAX_HEARTBEAT_S} s"
        violations.append(FieldViolation("heartbeat_interval", rule))
    return interval_s


def _milliseconds(
    value: Duration, min_ms: int, max_ms: int, bound: str, path: str, violations: Violations
) -> int:
    milliseconds = value.seconds * 1_000 + -(-value.nanos // 1_000_000)
    if value.seconds < 0 or value.nanos < 0 or milliseconds < min_ms:
        rule = "must be more than zero" if min_ms else "must not be negative"
        violations.append(FieldViolation(path, rule))
    elif milliseconds > max_ms:
        longest = format_duration(timedelta(milliseconds=max_ms))
        violations.append(FieldViolation(path, f"must be at most {bound}, {longest}"))
    return milliseconds
