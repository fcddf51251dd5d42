"""The entries of a near cache, and which of them still hold.

A watch (near_watch.py) tells of every change in the server. What must not happen is that a value
goes in after the word of its change has been heard:

    this client                             server
    opens a placeholder, sends Get
                                            answers with v1, on one connection
                                            Set v2, tells of it on the watch's connection
    hears of the Set: drops v1, if there,
    and takes the placeholder away
    gets the answer: v1                     … which would stay

So a read opens a placeholder first, the word of a change takes it away, and only a read whose
placeholder is still there keeps what it found. Where the word comes after the answer, it drops v1
from the store. Where a change concerns more than a key, nothing is looked for: each namespace
counts such changes, an entry has the count of the time when its read began, and a change makes all
lower counts invalid, or those of entries with a tag.

A write of this client is told of by its own return, as by an event:

    sends Set v2
    opens a placeholder, sends Get          answers with v1: the Set is still on its way
    gets the answer: v1, keeps it           does the Set
    gets the answer of the Set:
    drops v1, and what placeholders there are

A connection that tells of nothing any more shows in `good_until`, which each proof moves on: past
it nothing is given from here. What was kept before the connection was lost holds again when the
watch has gone on where it broke off, since that tells of all that happened in between; if it can't,
it says so (a gap), and the namespace is cleared.
"""

from asyncio import Future
from collections.abc import Iterable
from time import monotonic, time
from typing import Any

from pantler.model import Entry
from pantler.near_cache import NearCache, NearCacheStats

try:
    from moka_py import Moka
except ImportError as exc:
    raise ImportError('near_cache needs moka-py: pip install "pantler[near-cache]"') from exc

OVERHEAD_BYTES = 900  # what an entry takes beyond its texts and its value, in Python and in Moka
OVERHEAD_OF_A_TAG_BYTES = 60
MAX_CHANGES = 10_000  # keys or tags of a namespace that are remembered; past it all are meant

Place = tuple[str, str]
"""Namespace and key."""


class Space:
    """A namespace, and what happened to more than one key of it."""

    __slots__ = ("changes", "cleared_at", "is_told", "name", "recent", "tags", "ttl_s", "unsettled")

    def __init__(self, name: str, ttl_s: float) -> None:
        self.name = name
        self.ttl_s = ttl_s
        self.is_told = False
        """Whether the server tells of its writes."""
        self.changes = 0
        """How often something happened to more than a key."""
        self.cleared_at = 0
        """The number of the change that concerned everything."""
        self.tags: dict[str, int] = {}
        """The numbers of those that concerned a tag, the newest of each."""
        self.recent: dict[str, float] = {}
        """When keys changed, the latest last."""
        self.unsettled = 0.0
        """Until when no read is kept."""


class Placeholder:
    """A read under way, which began when this was made: before it was sent."""

    __slots__ = ("changes", "place", "space")

    def __init__(self, space: Space, place: Place) -> None:
        self.space = space
        self.place = place
        self.changes = space.changes


Kept = tuple[Entry, int, Space]
"""With the namespace's count of changes from before it was read."""


class NearStore:
    """What is kept, of all namespaces."""

    def __init__(self, config: NearCache) -> None:
        self.spaces = {
            name: Space(name, ttl.total_seconds()) for name, ttl in config.ttls().items()
        }
        self.good_until = 0.0
        """A time of `monotonic`: until then what is kept holds, as far as it has not been told
        otherwise."""
        self._settle_s = config.settle.total_seconds()
        self._max_bytes = config.max_bytes
        self._placeholders: dict[Place, Placeholder] = {}
        """Of reads whose key did not change since; of each the newest."""
        self._kept: Moka[Place, Kept] = Moka(config.max_bytes, weigher=_weight)
        self._get = self._kept.get
        self._hits = 0
        self._misses = 0

    def find(self, namespace: str, key: str) -> Entry | None:
        """What may be given from here."""
        kept = self._get((namespace, key))
        if kept is None or monotonic() >= self.good_until:
            return None
        entry, changes, space = kept
        if changes < space.cleared_at or (entry[5] and _is_hidden(entry[5], changes, space)):
            self._kept.remove((namespace, key))
            return None
        self._hits += 1
        return entry

    def find_many(self, namespace: str, keys: Iterable[str]) -> dict[str, Entry]:
        """As `find`, by key."""
        if namespace not in self.spaces:
            return {}
        found = ((key, self.find(namespace, key)) for key in keys)
        return {key: entry for key, entry in found if entry is not None}

    def open(self, namespace: str, key: str) -> Placeholder | None:
        """Comes before a read is sent; `keep` or `close` ends it. None if nothing is kept."""
        space = self.spaces.get(namespace)
        if space is None:
            return None
        self._misses += 1
        now = monotonic()
        changed = space.recent.get(key)
        if (
            not space.is_told
            or now < space.unsettled
            or (changed is not None and now < changed + self._settle_s)
        ):
            return None
        place = namespace, key
        opened = self._placeholders[place] = Placeholder(space, place)
        return opened

    def close(self, opened: Placeholder) -> None:
        """The read came to nothing that is kept."""
        if self._placeholders.get(opened.place) is opened:
            del self._placeholders[opened.place]

    def keep(self, opened: Placeholder, entry: Entry) -> None:
        """The read came to this; it is kept if it still holds and is fresh."""
        space = opened.space
        if self._placeholders.get(opened.place) is not opened:
            return
        del self._placeholders[opened.place]
        left_s = min(space.ttl_s, (entry.expire_us / 1e6 - time()) / 2)
        if opened.changes >= space.cleared_at and left_s > 0 and not entry.stale:
            self._kept.set(opened.place, (entry, opened.changes, space), left_s)

    def keep_when_done(self, namespace: str, key: str, reading: "Future[Entry | None]") -> None:
        """As `open` for a read that is about to be sent, and `keep` when it has come to something,
        before who waits for it goes on."""
        opened = self.open(namespace, key)
        if opened is None:
            return

        def done(reading: "Future[Entry | None]") -> None:
            entry = None
            if not reading.cancelled() and reading.exception() is None:
                entry = reading.result()
            if entry is None:
                self.close(opened)
            else:
                self.keep(opened, entry)

        reading.add_done_callback(done)

    def forget(self, namespace: str, keys: Iterable[str]) -> None:
        """Something happened to these keys."""
        space = self.spaces.get(namespace)
        if space is None:
            return
        now, recent = monotonic(), space.recent
        for key in keys:
            place = namespace, key
            self._placeholders.pop(place, None)
            self._kept.remove(place)
            recent.pop(key, None)
            recent[key] = now
        while recent and next(iter(recent.values())) + self._settle_s <= now:
            del recent[next(iter(recent))]
        if len(recent) > MAX_CHANGES:
            recent.clear()
            space.unsettled = now + self._settle_s

    def forget_tag(self, namespace: str, tag: str) -> None:
        """Something happened to all entries with this tag."""
        space = self.spaces.get(namespace)
        if space is None:
            return
        if len(space.tags) >= MAX_CHANGES and tag not in space.tags:
            self.clear(namespace)
            return
        space.changes += 1
        space.tags[tag] = space.changes
        space.unsettled = monotonic() + self._settle_s

    def clear(self, namespace: str) -> None:
        """Something happened to any entry of the namespace."""
        space = self.spaces.get(namespace)
        if space is not None:
            space.changes += 1
            space.cleared_at = space.changes
            space.tags.clear()
            space.unsettled = monotonic() + self._settle_s

    def end(self) -> None:
        """Nothing is given or kept any more."""
        self.good_until = 0.0
        for space in self.spaces.values():
            space.is_told = False
        self._placeholders.clear()
        self._kept.clear()

    def stats(self) -> NearCacheStats:
        self._kept.run_pending_tasks()
        return NearCacheStats(
            hits=self._hits,
            misses=self._misses,
            entries=self._kept.count(),
            bytes=self._kept.weighted_size(),
            max_bytes=self._max_bytes,
            is_sure=monotonic() < self.good_until,
        )


def _is_hidden(tags: tuple[str, ...], changes: int, space: Space) -> bool:
    return any(space.tags.get(tag, 0) > changes for tag in tags)


def _weight(place: Place, kept: Any) -> int:
    entry, tags = kept[0], kept[0].tags
    return (
        OVERHEAD_BYTES
        + len(place[0])
        + len(place[1])
        + len(entry.value)
        + sum(map(len, tags))
        + OVERHEAD_OF_A_TAG_BYTES * len(tags)
    )
