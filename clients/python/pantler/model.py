"""What the client gives back."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Entry(NamedTuple):
    """A stored value. Times are by Redis's clock."""

    value: bytes
    version: int
    """Identifies this write of the key; it says nothing about order."""
    create_us: int
    """`create_time` as microseconds of Unix time."""
    expire_us: int
    """`expire_time` as microseconds of Unix time."""
    content_type: str = ""
    tags: tuple[str, ...] = ()
    stale: bool = False
    """Whether its ttl is over, and it is given for the namespace's grace."""

    @property
    def create_time(self) -> datetime:
        """How old the value is: when it was stored or, by `get_or_set`, when its fetch began."""
        return EPOCH + timedelta(microseconds=self.create_us)

    @property
    def expire_time(self) -> datetime:
        """When its ttl is over."""
        return EPOCH + timedelta(microseconds=self.expire_us)


@dataclass(frozen=True, slots=True)
class SetResult:
    """What a set came to."""

    stored: bool
    """False if its condition did not hold; then nothing was changed."""
    version: int
    """As in Entry; 0 if nothing was stored."""
    expire_time: datetime | None
    """None if nothing was stored."""
    visible: bool
    """Whether `get` gives what was stored: not if something that hides it was invalidated since
    its fill began."""


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of a key. What stands from `version` to `drop_time` tells of the stored entry,
    whether or not `get` gives it."""

    found: bool
    """Whether `get` gives the entry."""
    stale: bool
    """Whether it does with `accept_stale`, and not without."""
    miss_reason: str | None
    """Why it does not, as "EXPIRED" or "HIDDEN_BY_TAG": a name of `MissReason` in
    `pantler.v1.cache_pb2` without its prefix, or its number if the server knows more of them. None
    if it does."""
    miss_time: datetime | None
    """Since when it does not, if that is known."""
    miss_cause: str
    """The tag, or the key that it depends on, whose invalidation is why; empty if that is not it,
    or not known."""
    version: int
    """As in Entry; 0 if nothing is stored."""
    create_time: datetime | None
    expire_time: datetime | None
    drop_time: datetime | None
    """When Redis drops the entry: at the end of its grace."""
    ttl: timedelta | None
    """Its ttl when it was last set or touched."""
    sliding: bool
    """Whether reads let it live for its ttl again."""
    value_bytes: int
    content_type: str
    tags: tuple[str, ...]
    depends_on: tuple[str, ...]
    lease_expire_time: datetime | None
    """When the lease of the key ends by itself; None if nobody holds it."""


@dataclass(frozen=True, slots=True)
class AddTagsResult:
    """What an `add_tags` came to."""

    found: bool
    """Whether there was an entry, if only a stale one; if not, nothing was done."""
    visible: bool
    """Whether `get` gives it with its new tags."""


@dataclass(frozen=True, slots=True)
class TaggedKey:
    """A key whose entry has a tag."""

    key: str
    stale: bool
    """Whether the entry is given only to those who accept stale ones."""


@dataclass(frozen=True, slots=True)
class Dependent:
    """A key that depends on another."""

    key: str
    declared: bool
    """Whether that was declared; otherwise its entry says so."""


@dataclass(frozen=True, slots=True)
class InvalidatedKeys:
    """What an `invalidate_keys` invalidated."""

    keys: tuple[str, ...]
    """Those that were named, each once, and then those that a cascade reached, the nearest first:
    of the latter the first 1,000 for each 1,000 that were named."""
    count: int
    """How many there were in all."""
    purge_ids: tuple[str, ...] = ()
    """Of the purges of the namespace's CDN targets, for `get_purge`: one for each 1,000 keys that
    were named. None if it has no target."""


@dataclass(frozen=True, slots=True)
class HotKey:
    """One of the keys of a namespace that were read most."""

    key: str
    reads_per_second: float
    """About how many it had in the last 5 minutes, of all callers."""
    hot: bool
    """Whether that is enough for it to be treated as the namespace's `hot_keys` says."""


@dataclass(frozen=True, slots=True)
class WarmProgress:
    """How far a `warm` is. Counts go on from those of the resume token that it began with."""

    seen: int
    """How many keys were looked at."""
    loaded: int
    """Of these, those that were loaded, also as a record that there is none of; the others were
    cached."""
    failed: int
    """Of these, those whose load failed; they are loaded when they are first read."""
    total: int | None
    """How many there are in all; None where only the system of record could tell."""
    resume_token: str
    """With it another warming of the same keys goes on from here."""
    done: bool
    """Whether this was all."""


@dataclass(frozen=True, slots=True)
class PatternProgress:
    """How far an `invalidate_pattern` is."""

    scanned: int
    """How many keys of Redis were looked at, those of other namespaces included."""
    total: int
    """How many there are to look at, as of the beginning."""
    invalidated: int
    """How many entries were removed; in a dry run, how many match."""
    examples: tuple[str, ...]
    """The first keys that matched, up to 10."""
    done: bool
    """Whether it is over: all that matched when it began is gone."""
    purge_id: str = ""
    """When it is over, of the purge of the namespace's CDN targets, for `get_purge`; empty if it
    has none, or if nothing was removed."""


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What an event rule of the server's configuration invalidated."""

    rule: str
    namespace: str
    soft: bool
    """Whether entries became stale, and are not gone."""
    keys: tuple[str, ...]
    """Whether or not an entry was there."""
    cascaded: int
    """How many other keys a cascade from these reached."""
    tags: tuple[str, ...]
    all: bool
    """Whether all entries of the namespace were invalidated."""
    purge_ids: tuple[str, ...] = ()
    """Of the purges of the namespace's CDN targets, for `get_purge`."""


@dataclass(frozen=True, slots=True)
class PublishedEvent:
    """What a `publish_event` came to."""

    outcomes: tuple[RuleOutcome, ...]
    """Of each rule that the event matched, in the order of the configuration."""
    duplicate: bool
    """Whether the event had been published before: then the outcomes are of that time, and nothing
    was done now."""


@dataclass(frozen=True, slots=True)
class InvalidationEvent:
    """One thing that happened in a namespace. It is in force."""

    namespace: str
    kind: str
    """"key": it was deleted or invalidated. "tag": all entries with it were invalidated.
    "dependency": all that name this key in `depends_on` were. "all": all were. "created_before":
    all older ones were. "pattern": those whose keys match it were removed. "written_key": it was
    set or touched, or its tags changed; told only of namespaces with `near_cache`."""
    name: str
    """The key, the tag or the pattern; empty where there is none."""
    soft: bool
    """Whether entries became stale, and are not gone."""
    created_before: datetime | None = None
    """Of that kind: before when."""


@dataclass(frozen=True, slots=True)
class WatchMessage:
    """What a watch tells at once. One without events and gaps is a heartbeat: all that was in force
    two seconds before it has been told."""

    events: tuple[InvalidationEvent, ...]
    gaps: tuple[str, ...]
    """Namespaces of which events may be missing up to here: treat everything of them as
    changed."""
    with_writes: tuple[str, ...] = ()
    """In the first message and in heartbeats: the namespaces of which writes are told too. Only of
    these may values be kept for as long as nothing is told of them."""


@dataclass(frozen=True, slots=True)
class ChannelMessage:
    """What was published to a channel."""

    channel: str
    payload: bytes
    content_type: str
    sequence: int
    """With a history: more than that of all messages before it in the namespace; else 0."""


@dataclass(frozen=True, slots=True)
class ChannelGap:
    """Messages may be missing here."""

    reason: str
    """"SLOW": they were not taken in time. "DISCONNECTED": a connection was lost for a while, and
    there is no history. "HISTORY": it does not reach back so far. "FAILOVER": another Redis than
    before, or one that was started again, which may lack what the former had last."""
    sequence: int
    """With a history: whatever comes next has a higher one; else 0."""
