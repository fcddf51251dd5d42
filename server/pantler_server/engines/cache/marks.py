"""Marks: what of a partition was invalidated, and whether that covers an entry.

An invalidation takes the next sequence of the partition and writes it down as the mark of what it
names. An entry is covered by a mark that is later than its `began`. What covers everything (the
namespace, an age) stands in the state, which every read sees; tags and dependencies have marks of
their own, which are asked for only if the entry has labels and any such mark is later than it.

The state, a field of the hash `marks`, packed little endian:

    offset  bytes  field
    0       8      generation
    8       8      sequence of the newest event
    16      8      until when a lease may last, Unix us; the rest is there from the first mark on
    24      8      HARD, 32 SOFT: sequence of the newest invalidation of the namespace
    40      16     HARD, 56 SOFT, of ages: sequence of the newest, and before when (Unix us) fills
                   began that any of them covers
    72      8      floor for fills: those that began before are refused
    80      8      sequence of the newest mark of a label; the rest is there once it was watched
    88      8      until when events are written into the history, Unix us, 96 writes too

Here and in functions/cover.lua is the same rule, for reads and for scripts.
"""

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from pantler_server.engines.cache import entry
from pantler_server.engines.cache.model import MissReason

# Offsets into the state, for invalidation/mark_partition.lua.
HARD, SOFT, HARD_AGE, SOFT_AGE, FILL_FLOOR = 24, 32, 40, 56, 72

_WHOLE = Struct("<8Q")
_NO_LABEL = b""  # names the floor of the labels' marks


class Whole(NamedTuple):
    """The marks that stand in the state."""

    hard: int
    soft: int
    hard_age: int
    hard_before_us: int
    soft_age: int
    soft_before_us: int
    fill_floor: int
    label: int
    """Of the newest mark of a label."""

    @property
    def newest(self) -> int:
        """An entry that began at it or later is covered by none of these."""
        return max(self.hard, self.soft, self.hard_age, self.soft_age)


NONE = Whole(0, 0, 0, 0, 0, 0, 0, 0)


class Cover(NamedTuple):
    """The mark that hides an entry."""

    is_hard: bool
    """Else those who accept stale entries get it."""
    reason: MissReason
    seq: int
    """Of the mark, which is its time, Unix us, unless the clock stepped back. 0 if unknown."""
    cause: str = ""
    """The tag or the dependency."""


@lru_cache(maxsize=4096)
def whole(state: bytes) -> tuple[Whole, int]:
    """What a state from offset 24 on tells, and the newest of it."""
    if not state:
        return NONE, 0
    marks = Whole(*_WHOLE.unpack_from(state))
    return marks, marks.newest


def needs_labels(raw: bytes, marks: Whole) -> bool:
    """Whether it takes the marks of its labels to judge an entry: it has some, and any label was
    invalidated since it was known that none of its own was."""
    return entry.has_labels(raw) and entry.read_checked(raw) < marks.label


def label_members(raw: bytes) -> list[bytes]:
    """What the marks of an entry's labels are called (functions/mark_labels.lua)."""
    labels = entry.read_labels(raw)
    members = [_NO_LABEL]
    for hard, soft, names in ((b"T", b"t", labels.tags), (b"D", b"d", labels.depends_on)):
        for name in names:
            encoded = name.encode()
            members += (hard + encoded, soft + encoded)
    return members


def tag_member(tag: str, *, soft: bool) -> bytes:
    return (b"t" if soft else b"T") + tag.encode()


def dependency_member(key: str, *, soft: bool) -> bytes:
    return (b"d" if soft else b"D") + key.encode()


def cover_of(
    raw: bytes, header: entry.Header, marks: Whole, labels: Mapping[bytes, int]
) -> Cover | None:
    """What hides an entry of the present generation, the hardest first. `labels` are the marks of
    its labels that there are, if they were needed."""
    began, created_us = header.began, header.created_us
    soft: Cover | None = None
    if began < marks.hard:
        return Cover(True, MissReason.HIDDEN_BY_NAMESPACE, marks.hard)
    if began < marks.hard_age and created_us < marks.hard_before_us:
        return Cover(True, MissReason.HIDDEN_BY_AGE, marks.hard_age)
    if needs_labels(raw, marks):
        by_label = _label_cover(raw, began, labels)
        if by_label is not None and by_label.is_hard:
            return by_label
        soft = by_label
    if began < marks.soft:
        soft = Cover(False, MissReason.HIDDEN_BY_NAMESPACE, marks.soft)
    elif began < marks.soft_age and created_us < marks.soft_before_us:
        soft = Cover(False, MissReason.HIDDEN_BY_AGE, marks.soft_age)
    elif header.flags & entry.SOFT_BY_KEY:
        soft = Cover(False, MissReason.HIDDEN_BY_KEY, 0)
    elif header.flags & entry.SOFT_BY_CASCADE:
        soft = Cover(False, MissReason.HIDDEN_BY_DEPENDENCY, 0)
    return soft


def _label_cover(raw: bytes, began: int, labels: Mapping[bytes, int]) -> Cover | None:
    members = label_members(raw)
    floor = labels.get(_NO_LABEL)
    if floor is None or entry.read_checked(raw) < floor:
        return Cover(True, MissReason.HIDDEN_BY_TAG, floor or 0)
    soft: Cover | None = None
    for member in members[1:]:
        seq = labels.get(member, 0)
        if seq > began:
            is_hard = member[:1].isupper()
            by_tag = member[:1] in b"Tt"
            reason = MissReason.HIDDEN_BY_TAG if by_tag else MissReason.HIDDEN_BY_DEPENDENCY
            cover = Cover(is_hard, reason, seq, member[1:].decode())
            if is_hard:
                return cover
            soft = soft or cover
    return soft
