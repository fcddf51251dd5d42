"""What a near cache is asked for, and what it tells of itself."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from pantler.arguments import checked_ttl
from pantler.batch import listed

SURE = timedelta(seconds=2)  # a heartbeat vouches for all that was in force so long before it
MAX_NAMESPACES = 100  # of a watch, by the server's contract


@dataclass(frozen=True, slots=True)
class NearCache:
    """Has a client keep entries of some namespaces in its own memory, and answer from there.

        near_cache = NearCache(["users"], ttl=timedelta(minutes=1))
        near_cache = NearCache({"users": timedelta(minutes=1), "pages": timedelta(seconds=5)})
        async with pantler.AsyncClient(address, near_cache=near_cache) as client: ...

    It needs the extra `pantler[near-cache]`, and `near_cache: true` in the configuration of
    the namespace on the server, which tells of writes then. Of other namespaces nothing is kept,
    and the log says so once. `get`, `get_many`, `get_or_set`, `get_many_or_set`, `cached` and the
    views of `namespace` answer from it. Kept are fresh entries, neither stale ones nor that there
    is none.

    How old an answer may be: a value that was overwritten, deleted or invalidated, in force on the
    server, is not given any more `max_staleness` after that; as a rule some milliseconds after.
    The client watches the namespaces. An entry is given only while all that was in force
    less than `max_staleness` ago is known to have been told. The server vouches by heartbeats, each
    for what was in force 2 s before it was sent. They come every third of what `max_staleness` has
    beyond these 2 s (with 5 s every second), and count from the earliest time at which they
    can have been sent. When they stay away, or the connection is lost, reads go to the server
    when that time is over; when the watch goes on the entries are used again, less those of
    which it then tells. If it can't tell everything (a gap), all of the namespace goes.

    Writes of this client, also its invalidations, drop what they concern before they return, and
    what was being read meanwhile is not kept: a client reads what it wrote.

    An entry is kept for its `ttl` here, and for half of what is left of its ttl on the server, by
    this machine's clock: so sliding entries go on sliding, and those that are due soon are
    refreshed. An event for a key drops this key, one for a tag the entries with the tag, and any
    other event everything of its namespace: a cascade, a pattern, an age. What walks over a pattern
    removed before they failed is not told: it may be given until its `ttl` here is over.
    """

    namespaces: Iterable[str] | Mapping[str, timedelta]
    """Their names, up to 100; or the ttl of each by its name."""
    ttl: timedelta = timedelta(seconds=30)
    """Of the namespaces that have none of their own."""
    max_bytes: int = 64 << 20
    """How much memory the entries of all namespaces may take; what is used least goes."""
    max_staleness: timedelta = timedelta(seconds=5)
    """5 s to 3 min."""
    settle: timedelta = timedelta(seconds=1)
    """Reads that begin so soon after a change are not kept. Reads may be behind for so long in a
    namespace with `l1` (give its `max_staleness`) or `replica_reads` (what replicas are behind);
    in others zero will do."""

    def __post_init__(self) -> None:
        ttls = self.ttls()
        if not 1 <= len(ttls) <= MAX_NAMESPACES:
            raise ValueError(f"name 1 to {MAX_NAMESPACES} namespaces, not {len(ttls)}")
        for ttl in ttls.values():
            checked_ttl(ttl)
        if self.max_bytes < 1:
            raise ValueError("max_bytes must be above 0")
        if not timedelta(seconds=5) <= self.max_staleness <= timedelta(minutes=3):
            raise ValueError("max_staleness must be 5 s to 3 min")
        if self.settle < timedelta(0):
            raise ValueError("settle must not be below 0")
        object.__setattr__(self, "namespaces", ttls)  # an iterator would be used up

    def ttls(self) -> dict[str, timedelta]:
        """By namespace."""
        if isinstance(self.namespaces, Mapping):
            return dict(self.namespaces)
        return dict.fromkeys(listed(self.namespaces), self.ttl)

    @property
    def heartbeat_interval(self) -> timedelta:
        """Three of them and the time that one vouches for fit into the bound."""
        return (self.max_staleness - SURE) / 3


@dataclass(frozen=True, slots=True)
class NearCacheStats:
    """Since the client began. Without a near cache all are 0."""

    hits: int = 0
    """Entries that were given from the near cache."""
    misses: int = 0
    """Reads in its namespaces that went to the server."""
    entries: int = 0
    """How many are kept now, about; some may be outdated, and go when they are asked for."""
    bytes: int = 0
    """How much memory they take, about."""
    max_bytes: int = 0
    is_sure: bool = False
    """Whether it may answer now: the server has vouched for it within `max_staleness`."""
