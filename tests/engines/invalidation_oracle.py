"""What a namespace should be like after invalidations: the oracle of test_invalidation_model.

Calls are numbered in their order, and it remembers everything. Its one rule: an entry is covered by
what was invalidated after its fill began, if that names it.

Where the engine may hide what nothing covers, or refuse a fill though nothing happened to its key,
the oracle says so: `forgotten`, `invalidate_older_than`, `no_fill_before` and `reclaim`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from pantler_server.engines.cache.model import Condition, Hit, Miss, MissReason

NO_VERSION = 1  # of 2**63 versions, one that no entry will have


@dataclass(frozen=True)
class Entry:
    """What is stored under a key, whether or not anybody is given it."""

    value: bytes
    version: int
    began: int
    """The number of the call with which its fill began."""
    created_us: int
    """The time of that."""
    expires_us: int
    tags: tuple[str, ...]
    depends_on: tuple[str, ...]
    checked: int
    """The number of the last call that saw all its labels and that nothing covers them."""


@dataclass(frozen=True)
class Mark:
    """One invalidation of what began before it."""

    number: int
    hard: bool
    reason: MissReason
    cause: str
    names: Callable[[Entry], bool]


@dataclass(frozen=True)
class Read:
    """A read that gave a token."""

    number: int
    token: str
    changes: int
    """How often the key had been changed."""
    lease_id: bytes | None


@dataclass
class Key:
    """What became of a key."""

    entry: Entry | None = None
    changes: int = 0
    """How often it was set, deleted or invalidated by itself: fills that began before are lost."""
    lease: tuple[bytes, str] | None = None
    """Which holds, and its holder. None ends by itself here."""
    leased: dict[bytes, int] = field(default_factory=dict)
    """The number of the call that gave each lease."""
    gone: frozenset[MissReason] = frozenset({MissReason.UNKNOWN})
    """Why there is nothing, as far as that is remembered."""
    versions: list[int] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)

    def version(self, age: int) -> int:
        """The version of the last Set for 1, of the one before it for 2."""
        return self.versions[-age] if age <= len(self.versions) else NO_VERSION

    def read(self, age: int, *, leased: bool = False) -> Read | None:
        """The last read that gave a token for 1, the one before it for 2; `leased`: of those that
        gave a lease."""
        reads = [read for read in self.reads if read.lease_id is not None or not leased]
        return reads[-age] if age <= len(reads) else None

    def change(self, entry: Entry | None) -> None:
        """It was set, deleted or invalidated by itself."""
        self.entry, self.lease = entry, None
        self.changes += 1


class Oracle:
    """One namespace. `now` is the number of the call that is being judged."""

    def __init__(self, names: Collection[str]) -> None:
        self.now = 0
        self.keys = {name: Key() for name in names}
        self.marks: list[Mark] = []
        self.edges: set[tuple[str, str]] = set()
        """A key, and one that some entry of it named: what was made of an entry outlives it."""
        self.declared: dict[str, tuple[str, ...]] = {}
        self.newest_label = 0
        """The number of the last invalidation of a tag or a dependency."""
        self.forgotten = 0
        """Of the newest that Redis remembers no more. What has labels and was not `checked` since
        is hidden: that errs, as nobody knows what was forgotten."""
        self.no_fill_before = 0
        """Of the last pattern. Fills that began before are refused, whatever their key: that errs,
        as nobody knows where they will land."""
        self.walked = 0
        """Of the last walk that freed what is hidden."""
        self.ages: dict[bool, int] = {True: 0, False: 0}

    def covers(self, entry: Entry) -> list[Mark]:
        """What hides an entry: if anything is HARD, only that."""
        found = [one for one in self.marks if entry.began < one.number and one.names(entry)]
        if (entry.tags or entry.depends_on) and entry.checked < self.forgotten:
            found.append(self._mark(True, MissReason.HIDDEN_BY_TAG, lambda _: True))
        return [one for one in found if one.hard] or found

    def fresh(self, name: str) -> bool:
        """Whether those get an entry who accept no stale one."""
        entry = self.keys[name].entry
        return entry is not None and not self.covers(entry)

    def stale(self, name: str) -> bool:
        """Whether only those get it who do."""
        entry = self.keys[name].entry
        return entry is not None and {one.hard for one in self.covers(entry)} == {False}

    def met(self, name: str, condition: Condition | int | None) -> bool:
        match condition:
            case None:
                return True
            case Condition.PRESENT:
                return self.fresh(name)
            case Condition.ABSENT:
                return not self.fresh(name)
            case version:
                entry = self.keys[name].entry
                return self.fresh(name) and entry is not None and entry.version == version

    def lost(self, name: str, read: Read | None) -> bool:
        """Whether a fill that began with the read is refused."""
        if read is None:
            return False
        if read.number < self.no_fill_before:
            return True
        known = self.keys[name]
        if read.lease_id is not None:
            return known.lease is None or known.lease[0] != read.lease_id
        return read.changes != known.changes

    def holder(self, name: str) -> str | None:
        """Who holds the lease of a key."""
        lease = self.keys[name].lease
        if lease is None or self.keys[name].leased[lease[0]] < self.no_fill_before:
            return None
        return lease[1]

    def judge_read(self, name: str, found: Hit | Miss, accept_stale: bool) -> None:
        """What a Get gives, but for the lease."""
        entry = self.keys[name].entry
        fresh, stale = self.fresh(name), accept_stale and self.stale(name)
        if entry is None or not (fresh or stale):
            assert isinstance(found, Miss), f"{name}: gives {found}"
            covers = [] if entry is None else self.covers(entry)
            assert found.reason in ({one.reason for one in covers} or {MissReason.UNKNOWN})
        else:
            assert isinstance(found, Hit), f"{name}: {found.reason} hides {entry}"
            assert (found.value, found.version) == (entry.value, entry.version)
            assert (found.created_us, found.expires_us) == (entry.created_us, entry.expires_us)
            assert found.tags == entry.tags
            assert found.stale == stale
        assert bool(found.fill_token) == (not fresh or found.lease is not None)

    def store(self, name: str, entry: Entry) -> None:
        known = self.keys[name]
        known.change(entry)
        known.versions.append(entry.version)
        known.gone |= {MissReason.UNKNOWN}  # it may be removed without a trace
        self.edges |= {(name, one) for one in entry.depends_on}

    def delete(self, name: str) -> None:
        self.keys[name].change(None)
        self.keys[name].gone = frozenset({MissReason.DELETED})

    def add_tags(self, name: str, tags: Collection[str]) -> None:
        entry = self.keys[name].entry
        assert entry is not None
        new = tuple(tag for tag in tags if tag not in entry.tags)
        self.keys[name].entry = replace(entry, tags=entry.tags + new, checked=entry.began)

    def invalidate_tags(self, tags: Collection[str], hard: bool) -> None:
        for tag in tags:
            self.marks.append(self._mark(hard, MissReason.HIDDEN_BY_TAG, _with_tag(tag), tag))
        self.newest_label = self.now

    def invalidate_namespace(self, hard: bool) -> None:
        self.marks.append(self._mark(hard, MissReason.HIDDEN_BY_NAMESPACE, lambda _: True))

    def invalidate_older_than(self, before_us: int, hard: bool) -> None:
        """All ages of one mode are one mark with the latest of their times. It errs only where that
        was in the future: entries between that and the next mark."""
        self.ages[hard] = latest_us = max(self.ages[hard], before_us)
        reason = MissReason.HIDDEN_BY_AGE
        self.marks.append(self._mark(hard, reason, lambda it: it.created_us < latest_us))

    def invalidate_keys(self, named: Collection[str], hard: bool, cascade: bool) -> set[str]:
        """All that were invalidated."""
        for name in named:
            self._invalidate_key(name, MissReason.HIDDEN_BY_KEY, hard)
        if not cascade:
            return set(named)
        reached, frontier = set[str](), set(named)
        while frontier:
            reached |= frontier
            frontier = self._dependents(frontier) - reached
        for name in reached:
            reason = MissReason.HIDDEN_BY_DEPENDENCY
            self.marks.append(self._mark(hard, reason, _made_from(name), name))
        for name, depends_on in self.declared.items():
            if reached & set(depends_on) and name not in named:
                self._invalidate_key(name, MissReason.HIDDEN_BY_DEPENDENCY, hard)
        self.newest_label = self.now
        return reached

    def _invalidate_key(self, name: str, reason: MissReason, hard: bool) -> None:
        if name not in self.keys:
            return
        known = self.keys[name]
        entry = known.entry
        if entry is not None and not hard:
            version = entry.version  # of what will be stored later nothing is said
            self.marks.append(self._mark(False, reason, lambda it: it.version == version))
        known.change(None if hard else entry)
        known.gone = frozenset({reason})

    def _dependents(self, names: Collection[str]) -> set[str]:
        declared = {(name, one) for name, several in self.declared.items() for one in several}
        return {name for name, one in self.edges | declared if one in names}

    def invalidate_pattern(self, matching: Collection[str]) -> None:
        for name in matching:
            self.keys[name].entry = None
        self.no_fill_before = self.now

    def forget(self) -> None:
        self.forgotten = self.newest_label

    def reclaim(self) -> int:
        """How many entries a walk frees. There is one only if there are new marks."""
        labels = {MissReason.HIDDEN_BY_TAG, MissReason.HIDDEN_BY_DEPENDENCY}
        newest = max(
            (one.number for one in self.marks if one.hard or one.reason in labels), default=0
        )
        if newest <= self.walked:
            return 0
        self.walked = self.now
        freed = 0
        for known in self.keys.values():
            if known.entry is not None and {one.hard for one in self.covers(known.entry)} == {True}:
                # The entry's version tells older fills of its Set no more: so all are refused that
                # have no lease, also those that began after that.
                known.entry = None
                known.changes += 1
                known.gone |= {MissReason.UNKNOWN}
                freed += 1
        return freed

    def causes(self, name: str) -> set[str]:
        """What Describe may name as the cause of a cascade's invalidation of a key."""
        return {"", *self.declared.get(name, ())}

    def tagged(self, tag: str) -> dict[str, bool]:
        """The keys that ListTaggedKeys names, and whether each is stale."""
        return {
            name: self.stale(name)
            for name, known in self.keys.items()
            if known.entry is not None
            and tag in known.entry.tags
            and (self.fresh(name) or self.stale(name))
        }

    def _mark(
        self, hard: bool, reason: MissReason, names: Callable[[Entry], bool], cause: str = ""
    ) -> Mark:
        return Mark(self.now, hard, reason, cause, names)


def _with_tag(tag: str) -> Callable[[Entry], bool]:
    return lambda entry: tag in entry.tags


def _made_from(name: str) -> Callable[[Entry], bool]:
    return lambda entry: name in entry.depends_on
