"""What goes to CdnService, and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """How a response may be kept. What is None or False is not said. Durations are sent in whole
    seconds."""

    visibility: Literal["public", "private"] = "public"
    """private: by the browser only."""
    max_age: timedelta | None = None
    """For how long it is fresh."""
    s_maxage: timedelta | None = None
    """The same for CDNs and proxies; not with private."""
    cdn_max_age: timedelta | None = None
    """The same for CDNs alone, in CDN-Cache-Control; not with private."""
    immutable: bool = False
    """It never changes while it is fresh."""
    must_revalidate: bool = False
    """Once it is stale it must be asked for again."""
    stale_while_revalidate: timedelta | None = None
    """For how long a stale one may be given while it is asked for again."""
    stale_if_error: timedelta | None = None
    """For how long a stale one may be given if asking fails."""
    no_store: bool = False
    """It must not be kept: only `visibility` and `vary` may be given beside it."""
    vary: Sequence[str] = ()
    """Request headers on which the response depends."""


PurgeState = Literal["pending", "done", "failed"]


@dataclass(frozen=True, slots=True)
class PurgeReceipt:
    """What became of a purge at one target."""

    target: str
    state: PurgeState
    """pending: it waits, or is tried again; done: the target has forgotten; failed: it refused, or
    did not take it for a day."""
    attempts: int
    """How often it was tried."""
    last_error: str
    """What the target last answered that was no success; empty if nothing failed."""
    finish_time: datetime | None
    """When it was done or failed."""


@dataclass(frozen=True, slots=True)
class PurgeStatus:
    """What became of a purge."""

    receipts: tuple[PurgeReceipt, ...]
    """Of each target, in the order of the server's configuration."""
    create_time: datetime
    """When it was asked for."""

    @property
    def pending(self) -> bool:
        """Whether some target has it still to do."""
        return any(one.state == "pending" for one in self.receipts)

    @property
    def done(self) -> bool:
        """Whether all targets have forgotten."""
        return all(one.state == "done" for one in self.receipts)

    @property
    def failed(self) -> tuple[PurgeReceipt, ...]:
        """Of the targets that won't."""
        return tuple(one for one in self.receipts if one.state == "failed")


@dataclass(frozen=True, slots=True)
class EdgeValue:
    """A value at the edge of a CDN."""

    value: bytes
    expire_time: datetime | None
    """None: it stays."""
    metadata: Mapping[str, Any] | None
    """What is kept beside it."""
