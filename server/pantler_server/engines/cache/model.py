"""What the cache engine takes and gives. Times are Unix microseconds by Redis's clock."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from pantler_server.engines.cache.fill_token import FillToken


class MissReason(Enum):
    """Why a read found nothing that it may give."""

    UNKNOWN = auto()
    """There is no record of the key."""
    EXPIRED = auto()
    """Its time is over. The entry may still be there, for those who accept stale ones."""
    DELETED = auto()
    """It was deleted. Known to `describe` only, for about a minute."""
    HIDDEN_BY_KEY = auto()
    """Its key was invalidated. After a HARD one known to `describe` only, as for DELETED."""
    HIDDEN_BY_TAG = auto()
    HIDDEN_BY_NAMESPACE = auto()
    """The namespace was invalidated, or the entry is of an earlier generation of its partition."""
    HIDDEN_BY_DEPENDENCY = auto()
    HIDDEN_BY_AGE = auto()
    NO_RECORD = auto()
    """The origin has no record of the key."""


class Lease(NamedTuple):
    """The right to fetch a value; `token` goes with its fill."""

    token: str
    expires_us: int


class Hit(NamedTuple):
    """A value that was found. A tuple, since one is made for each key read, in half a data class's
    time."""

    value: bytes
    version: int
    """Identifies this write of the key: 1 to 2**63 - 1, random, so that it does not repeat."""
    created_us: int
    """When its fill began, or when it was set without one."""
    expires_us: int
    content_type: str = ""
    tags: tuple[str, ...] = ()
    stale: bool = False
    """Whether its time is over, or an invalidation made it stale."""
    fill_token: str = ""
    """Of a stale or leased hit: goes with a fill that began at this read."""
    lease: Lease | None = None


class Miss(NamedTuple):
    """A read that found nothing that it may give."""

    reason: MissReason
    fill_token: str
    """Goes with a fill that began at this read."""
    lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class LeaseAsk:
    """A caller's wish for the lease of what it does not find."""

    ttl_ms: int
    """How long the lease is to last."""
    wait_ms: int
    """How long the caller waits for another's fill; 0 not at all."""
    holder: str
    """Who asks; not empty. The same holder gets the same lease again."""


class Condition(Enum):
    """What must hold for a Set, where it is not a version. An entry counts as there if a read would
    give it as fresh."""

    ABSENT = auto()
    PRESENT = auto()


def contradicts(condition: Condition | int | None, token: FillToken) -> bool:
    """Whether what the token's read saw, which a fill needs unchanged, rules the condition out."""
    match condition:
        case None:
            return False
        case Condition.ABSENT:
            return token.was_fresh
        case Condition.PRESENT:
            return not token.was_fresh
        case version:
            return not token.was_fresh or token.version != version


@dataclass(frozen=True, slots=True)
class NewEntry:
    """What to store."""

    key: str
    value: bytes
    ttl_ms: int | None = None
    """None: the namespace's default."""
    content_type: str = ""
    tags: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    sliding: bool | None = None
    """Whether each read lets it live for its ttl again. None: as the namespace says."""
    condition: Condition | int | None = None
    """An int is the version that must be there."""
    token: FillToken | None = None
    """Of the read at which the fill began; None: it begins now."""
    request_id: str = ""
    """The same id within 10 minutes stores nothing and gets the first answer; empty: no such
    promise."""


class SetOutcome(Enum):
    """What a Set came to."""

    STORED = auto()
    CONDITION_NOT_MET = auto()
    FILL_LOST = auto()
    """Something happened to the key since the fill began, or that can't be known any more."""


@dataclass(frozen=True, slots=True)
class SetResult:
    """What a Set came to. Version and expiry are 0 if nothing was stored."""

    outcome: SetOutcome
    version: int = 0
    expires_us: int = 0
    visible: bool = False
    """Whether a read that accepts no stale entry gives it."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """Everything about a stored entry but its value."""

    version: int
    created_us: int
    expires_us: int
    dropped_us: int
    """When Redis drops it: the end of its grace."""
    ttl_us: int
    sliding: bool
    value_bytes: int
    content_type: str
    tags: tuple[str, ...]
    depends_on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """Everything but the value that is known of a key."""

    found: bool
    """Whether a read that accepts no stale entry would give it."""
    stale: bool
    """Whether one that accepts stale entries would give it, as stale."""
    miss_reason: MissReason | None
    """None if it was found."""
    missed_us: int
    """Since when it is not; 0 if unknown."""
    cause: str
    """The tag or the dependency that hides it; empty if there is none, or it is unknown."""
    entry: StoredEntry | None
    """What is stored, readable or not."""
    lease_expires_us: int
    """0 if nobody holds its lease."""


@dataclass(frozen=True, slots=True)
class Size:
    """An estimate of a namespace's entries in Redis."""

    entries: int
    memory_bytes: int
    """Keys and Redis's overhead included."""
