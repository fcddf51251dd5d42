"""The first level: entries in this worker's memory, for the namespaces that ask for it.

Redis tells of every write (store/tracking.py), and what it names is forgotten. What must not happen
is that a value goes in after the word of its change has been heard:

    this worker                             Redis
    sends GET, opens a ticket
                                            answers with v1, on one connection
                                            SET v2, tells of it on another
    hears of the write: drops v1, if there
    gets the answer: v1                     … which would stay

So a read opens a ticket first, the word of a write takes the ticket away, and only a read whose
ticket is still there keeps what it found. A connection that tells of nothing any more shows in
`Tracked.sure_at`: past the bound of the namespace nothing is answered from here. What a connection
vouched for ends with it.

Kept are fresh entries, each with the marks under which it was judged; it is answered while those
are what is known of its partition (known_marks.py).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import choice, random
from time import monotonic
from typing import Self

from moka_py import Moka

from pantler_server.core.config import FirstLevelConfig
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.cache import entry, kept, keys
from pantler_server.engines.cache.auditor import Auditor
from pantler_server.engines.cache.follow_up import SLIDE_RATIO
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.known_marks import DOUBT_S, KnownMarks, Looks
from pantler_server.engines.cache.model import Hit, Miss, MissReason
from pantler_server.engines.cache.reading import Place, Reader, Sight, place_of
from pantler_server.engines.cache.stats import CacheStats, NamespaceStats
from pantler_server.store.store import Store
from pantler_server.store.tracking import Listener, Tracked, Tracking

OVERHEAD_BYTES = 500  # what an entry takes beyond the two strings, in Python and in Moka
LONGEST_MISS_S = 10.0  # its fill token lives for 60 s from the read

_SIZE, _unpack = kept.KEPT.size, kept.KEPT.unpack_from


class Ticket:
    """A read under way, which began when this was made: before it was sent. `keep` or `close` ends
    it."""

    __slots__ = ("_distrusts", "_epoch", "_level", "_opened_at", "_part", "_place")

    def __init__(self, level: "Level", partition: Partition, place: bytes) -> None:
        self._level = level
        self._place = place
        self._part = level.parts[partition.tag]
        self._epoch, self._distrusts = self._part.epoch, self._part.distrusts
        self._opened_at = monotonic()
        level.tickets[place] = self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The read came to nothing that is kept."""
        tickets = self._level.tickets
        if tickets.get(self._place) is self:
            del tickets[self._place]

    def keep(self, sight: Sight, found: Hit | Miss) -> None:
        """The read came to this, without a lease; it is kept if it still holds and is fresh."""
        level, part, view = self._level, self._part, sight.view
        tracked = level.vouching(view.primary, self._opened_at)
        if tracked is not None:
            if part.epoch == self._epoch:
                part.know(view, tracked)
            elif part.distrusts == self._distrusts and not part.by and not part.looking:
                part.asked = True
                part.know(view, tracked, self._opened_at + DOUBT_S)
                level.looks.begin(part, level.vouching)
            if level.tickets.get(self._place) is self:
                level.put(self._place, tracked, self._epoch, sight, found)
        self.close()


class _NoTicket(Ticket):
    """Of a read whose end is not kept."""

    __slots__ = ()

    def __init__(self) -> None:
        pass

    def close(self) -> None:
        pass

    def keep(self, sight: Sight, found: Hit | Miss) -> None:
        pass


NO_TICKET = _NoTicket()


class Level:
    """One namespace's."""

    def __init__(
        self,
        space: Namespace,
        config: FirstLevelConfig,
        tracking: Tracking,
        looks: Looks,
        stats: NamespaceStats,
    ) -> None:
        self.space = space
        self.config = config
        self.tracking = tracking
        self.looks = looks
        self.stats = stats
        self.audit_ratio = config.audit_ratio
        self.tickets: dict[bytes, Ticket] = {}
        """Those of reads whose key was not written since, by its place; of each the newest."""
        self.parts = {one.tag: KnownMarks(one) for one in space.partitions}
        self.kept: Moka[bytes, bytes] = Moka(
            config.max_bytes, ttl=config.ttl.total_seconds(), weigher=_weight
        )
        self.bound_s = config.max_staleness.total_seconds()
        self._miss_s = min(LONGEST_MISS_S, config.ttl.total_seconds())
        self._prefix = keys.of_namespace(space.name)
        tracking.follow(self._prefix)

    def end(self) -> None:
        """It is not used any more: its writes need not be followed."""
        self.tracking.unfollow(self._prefix)

    def open(self, at: Place) -> Ticket:
        """Comes before a read is sent, which must be to the primary."""
        return Ticket(self, at.partition, at.entry)

    def find(self, at: Place, left_ratio: float, *, leased: bool) -> Hit | Miss | None:
        """What a read gave that was sent no longer ago than the bound, or would give now; None if
        one must be sent. `left_ratio` as in `plain_hit`; `leased`: a miss asks for the lease."""
        part = self.parts[at.partition.tag]
        tracked = part.tracked
        if not part.by or tracked is None:
            return None
        now = monotonic()
        if now - tracked.sure_at > self.bound_s or now > part.good_until:
            return None
        part.asked = True
        packed = self.kept.get(at.entry)
        if packed is None:
            return None
        by, label_mark, begin, version, created_us, expires_us, ttl_us = _unpack(packed)
        if by != part.by:
            return None
        if begin == kept.MISS:
            # A Delete of what is not there shows in the marks only, and ends the token of the miss.
            return None if leased or label_mark != part.epoch else kept.read_miss(packed)
        left_us = expires_us - int(now * 1e6) - tracked.ahead_us
        if left_us <= ttl_us * left_ratio:
            return None
        if begin == entry.PLAIN:
            # Past the constructor of the named tuple, which takes as long as all the rest.
            return tuple.__new__(
                Hit, (packed[_SIZE:], version, created_us, expires_us, "", (), False, "", None)
            )
        if label_mark >= 0 and label_mark != part.label_mark:
            return None
        if begin[1] & entry.SLIDING and left_us <= ttl_us * (1 - SLIDE_RATIO):
            return None  # it gets its ttl again, which takes a read
        return kept.read_hit(packed)

    def find_plain(self, wanted: Sequence[str], left_ratio: float) -> list[Hit | None]:
        """As `find` of many keys, in half its time for each: of plain hits, the most of all; where
        there is more to look at it finds nothing. Only in a namespace of one partition."""
        partition = self.space.partitions[0]
        part = self.parts[partition.tag]
        tracked, by, now = part.tracked, part.by, monotonic()
        if (
            len(self.parts) != 1
            or not by
            or tracked is None
            or now - tracked.sure_at > self.bound_s
            or now > part.good_until
        ):
            return [None] * len(wanted)
        part.asked = True
        now_us = int(now * 1e6) + tracked.ahead_us
        get, prefix = self.kept.get, partition.tag + keys.ENTRY
        found: list[Hit | None] = []
        for key in wanted:
            hit, packed = None, get(prefix + key.encode())
            if packed is not None:
                kept_by, _, begin, version, created_us, expires_us, ttl_us = _unpack(packed)
                left_us = expires_us - now_us
                if begin == entry.PLAIN and kept_by == by and left_us > ttl_us * left_ratio:
                    value = packed[_SIZE:]
                    fields = (value, version, created_us, expires_us, "", (), False, "", None)
                    hit = tuple.__new__(Hit, fields)  # past the constructor, as in `find`
            found.append(hit)
        return found

    def now_us(self, partition: Partition) -> int:
        """The time by Redis's clock (Unix us), a round trip too early at most. Of a partition that
        `find` found something in."""
        tracked = self.parts[partition.tag].tracked
        assert tracked is not None
        return int(monotonic() * 1e6) + tracked.ahead_us - tracked.round_us

    def vouching(self, primary: bytes, since: float) -> Tracked | None:
        """The primary with this run id, if all writes since then have been told of, or will be."""
        tracked = self.tracking.of(primary)
        if tracked is None:
            return None
        followed_since = tracked.covered_since(self._prefix)
        return tracked if followed_since is not None and followed_since < since else None

    def put(
        self, place: bytes, tracked: Tracked, epoch: int, sight: Sight, found: Hit | Miss
    ) -> None:
        raw, view, _ = sight
        by = kept.pack_by(tracked.number, view.newest_mark, view.generation)
        if isinstance(found, Miss):
            if self.config.negative and found.reason is MissReason.UNKNOWN:
                packed = kept.pack_miss(by, epoch, found.fill_token)
                self.kept.set(place, packed, self._miss_s)
        elif not found.stale:
            assert raw is not None
            self.kept.set(place, kept.pack_hit(by, view.whole.label, raw))

    def forget(self, place: bytes) -> None:
        """The key was written."""
        self.tickets.pop(place, None)
        self.kept.remove(place)

    def forget_all(self) -> None:
        self.tickets.clear()
        self.kept.clear()
        for part in self.parts.values():
            part.distrust()


Tickets = Mapping[bytes, Ticket]
"""Of reads that are sent together, by their places."""


@contextmanager
def closing_all(tickets: Tickets) -> Iterator[None]:
    """Closes them at the end."""
    try:
        yield
    finally:
        for ticket in tickets.values():
            ticket.close()


class FirstLevel:
    """Those of all namespaces. `stop` after use."""

    def __init__(
        self,
        store: Store,
        tracking: Tracking,
        stats: CacheStats,
        reader: Reader,
        hot_keys: HotKeys,
    ) -> None:
        self._tracking = tracking
        self._hot_keys = hot_keys
        tracking.listen(Listener(self._written, self._lost))
        self._auditor = Auditor(store, reader)
        self._stats = stats
        self._looks = Looks(store, reader)
        self._levels: dict[str, Level] = {}
        self._parts: dict[bytes, tuple[Level, KnownMarks]] = {}

    async def stop(self) -> None:
        await self._auditor.stop()
        await self._looks.stop()

    def of(self, space: Namespace) -> Level | None:
        """None for a namespace that asks for none."""
        level = self._levels.get(space.name)
        if level is not None and level.space is space:
            return level
        config = space.config.l1
        if level is not None:
            tags = {partition.tag for partition in space.partitions}
            if level.config == config and level.parts.keys() == tags:
                level.space = space
                return level
            self._drop(level)
        if config is None:
            return None
        stats = self._stats.of(space.name)
        level = self._levels[space.name] = Level(space, config, self._tracking, self._looks, stats)
        self._parts |= {tag: (level, part) for tag, part in level.parts.items()}
        return level

    def _drop(self, level: Level) -> None:
        del self._levels[level.space.name]
        for tag in level.parts:
            del self._parts[tag]
        level.end()

    def begin(self, at: Place, left_ratio: float, *, leased: bool) -> Hit | Miss | Ticket:
        """For a read that begins: what a first level has, as `Level.find`; else the ticket for the
        read that must be sent."""
        level = self._levels.get(at.space.name)
        if level is None or level.space is not at.space:
            level = self.of(at.space)
            if level is None:
                return NO_TICKET
        return self._find(level, at, left_ratio, leased=leased) or self._open(level, at)

    def find_plain(
        self, level: Level, wanted: Sequence[str], left_ratio: float
    ) -> list[Hit | None]:
        """As `Level.find_plain`; counted, and one of them audited now and then."""
        found = level.find_plain(wanted, left_ratio)
        count = len(found) - found.count(None)
        level.stats.l1_hits += count
        level.stats.hits += count
        if count and random() < level.audit_ratio * count:
            index, hit = choice([one for one in enumerate(found) if one[1] is not None])
            at = place_of(level.space, wanted[index])
            assert hit is not None
            self._auditor.audit(at, hit, level.now_us(at.partition))
        return found

    def begin_many(
        self, level: Level, places: Sequence[Place], left_ratios: Sequence[float], *, leased: bool
    ) -> tuple[list[Hit | Miss | None], Tickets]:
        """As `begin` for each: what there is, and the tickets of the others. Who calls it closes
        them."""
        near = [
            self._find(level, at, left_ratio, leased=leased)
            for at, left_ratio in zip(places, left_ratios, strict=True)
        ]
        tickets = {
            at.entry: self._open(level, at)
            for at, found in zip(places, near, strict=True)
            if found is None
        }
        return near, tickets

    def _find(
        self, level: Level, at: Place, left_ratio: float, *, leased: bool
    ) -> Hit | Miss | None:
        """As `Level.find`; counted, and audited now and then."""
        found = level.find(at, left_ratio, leased=leased)
        if found is not None:
            stats = level.stats
            stats.l1_hits += 1
            if found.__class__ is Hit:
                stats.hits += 1  # kept are neither stale ones nor leases
            else:
                stats.misses_unknown += 1
            if random() < level.audit_ratio:
                self._auditor.audit(at, found, level.now_us(at.partition))
        return found

    def _open(self, level: Level, at: Place) -> Ticket:
        """As `Level.open`, if what is found is to be kept."""
        space = at.space
        if space.config.hot_keys.l1_only and not self._hot_keys.is_hot(space, at.key):
            return NO_TICKET
        return level.open(at)

    def forget(self, space: Namespace, written: Iterable[str]) -> None:
        """This worker wrote keys: who asks it next sees that, before Redis tells of it. The write
        may have begun before the namespace had a first level."""
        if space.name in self._levels:
            self.forget_places(space, (keys.place(space, key)[1] for key in written))

    def forget_places(self, space: Namespace, places: Iterable[bytes]) -> None:
        """As `forget`."""
        if (level := self._levels.get(space.name)) is not None:
            for place in places:
                level.forget(place)

    def forget_marked(self, space: Namespace) -> None:
        """This worker invalidated something: as `forget`."""
        if (level := self._levels.get(space.name)) is not None:
            for part in level.parts.values():
                part.distrust()

    def _written(self, place: bytes | None) -> None:
        if place is None:
            for level in self._levels.values():
                level.forget_all()
            return
        end = place.find(b"}") + 1
        found = self._parts.get(place[:end])
        if found is None:
            return
        level, part = found
        if place.startswith(keys.ENTRY, end):
            level.forget(place)
        elif place[end:] == keys.MARKS and part.doubt(level.bound_s):
            self._looks.begin(part, level.vouching)

    def _lost(self, tracked: Tracked) -> None:
        for _, part in self._parts.values():
            if part.tracked is tracked:
                part.distrust()


def _weight(place: bytes, packed: bytes) -> int:
    return OVERHEAD_BYTES + len(place) + len(packed)
