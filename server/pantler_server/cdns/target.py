"""The port to a CDN or proxy that keeps responses, whichever vendor's."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Kind(Enum):
    """What a target is asked to forget by; a request is of one kind."""

    TAG = 1
    URL = 2
    EVERYTHING = 3

    __hash__ = object.__hash__  # Enum's is slow, and every value that waits is looked up by it


EVERY_KIND = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request to a target purges: values of one kind."""

    urls: Sequence[str] = ()
    tags: Sequence[str] = ()
    everything: bool = False
    soft: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What a target takes, from its vendor's documentation or the configuration."""

    tags_per_request: int
    urls_per_request: int
    tag_bytes_per_request: int
    """Of all tags of a request as they are sent, separators included."""
    requests_per_second: float
    burst: int
    """Requests that may go at once after a pause."""


class TargetRefused(Exception):
    """The target won't do this: a wrong token, a malformed request, what it can't do. Its answer is
    the message, as `403: Authentication error`. Never tried again."""

    def __init__(self, message: str, *, of_rights: bool = False) -> None:
        super().__init__(message)
        self.of_rights = of_rights
        """Whether it is who asks that it won't have (401, 403), whatever is asked."""


class TargetFailed(Exception):
    """The target could not be reached, took too long, failed (5xx) or asked for patience (429). It
    may have done it; what is asked of it is idempotent, and tried again."""

    def __init__(self, message: str, retry_after_s: float = 0.0, *, in_part: bool = False) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        """For how long it is to be left alone, as it said (Retry-After); 0: it did not say."""
        self.in_part = in_part
        """Whether others of its servers have done it: they are to hear of what is new at once."""


class Target(Protocol):
    """It times out by itself; deadlines are the caller's to add."""

    limits: Limits
    kinds: frozenset[Kind]
    """What it can forget by; it is sent no other."""
    can_soft: bool
    """Whether it knows soft purges; otherwise it is only sent hard ones."""
    fingerprint: bytes
    """Of its configuration: another one is to be tried at once."""

    async def purge(self, batch: Batch) -> None:
        """Returns once the target (each server of it) has purged. Raises TargetRefused,
        TargetFailed."""


@dataclass(frozen=True, slots=True)
class EdgeValue:
    """A value at the edge of a CDN."""

    value: bytes
    expires_s: int | None
    """Unix time; None: it stays."""
    metadata: dict[str, object] | None


class EdgeStore(Protocol):
    """The values that a target keeps at its edge. All raise TargetRefused and TargetFailed."""

    async def put(
        self, key: str, value: bytes, ttl_s: int | None, metadata: dict[str, object] | None
    ) -> None: ...

    async def get(self, key: str) -> EdgeValue | None: ...

    async def delete(self, key: str) -> None: ...
