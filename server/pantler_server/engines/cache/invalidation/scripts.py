"""The scripts of invalidation and of tags, each with its typed call. What they do stands at the top
of each file."""

import random
from collections.abc import Iterable, Sequence

from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines import cache
from pantler_server.engines.cache import entry, keys, marks
from pantler_server.engines.cache.scripts import label_indexes, longest_life_us
from pantler_server.store.request import Argument, Request, Script


def _load(name: str) -> Script:
    return Script.load(cache.__name__, f"invalidation/{name}")  # with the functions of the cache


_MARK_PARTITION = _load("mark_partition.lua")
_MARK_LABELS = _load("mark_labels.lua")
_CASCADE = _load("cascade.lua")
_DECLARE = _load("declare.lua")
_REMOVE_MATCHED = _load("remove_matched.lua")
_CLEAN_INDEX = _load("clean_index.lua")
_ADD_TAGS = _load("add_tags.lua")
_REMOVE_TAGS = _load("remove_tags.lua")
_SETTLE = _load("settle.lua")
_OWN = _load("own.lua")
_TELL_PATTERN = _load("tell_pattern.lua")
_RECLAIM = _load("reclaim.lua")


# What of a partition's marks is an event, and how it begins in the history (watch/history.py).
_EVENTS = {marks.HARD: b"N", marks.SOFT: b"n", marks.HARD_AGE: b"A", marks.SOFT_AGE: b"a"}


def mark_partition(space: Namespace, partition: Partition, at: int, before_us: int = 0) -> Request:
    """The reply is the mark's sequence, 0 if the age lies in the future. `at` says what is marked
    (marks.py)."""
    places = (keys.marks(partition), keys.tombstones(partition), keys.history(partition))
    event = _EVENTS.get(at, b"")
    if before_us:
        event += b"%d" % before_us
    arguments: tuple[Argument, ...] = (random.randbytes(8), at, before_us or b"", event)
    return _MARK_PARTITION.request(partition.slot, places, arguments, space.name, repeatable=True)


def mark_labels(space: Namespace, partition: Partition, members: Iterable[bytes]) -> Request:
    """The reply is how many marks of labels the partition has then. Members as `marks.tag_member`
    and `marks.dependency_member` give them."""
    places = (
        keys.marks(partition),
        keys.tombstones(partition),
        keys.label_marks(partition),
        keys.history(partition),
    )
    arguments: list[Argument] = [random.randbytes(8), longest_life_us(space), *members]
    return _MARK_LABELS.request(partition.slot, places, arguments, space.name, repeatable=True)


def cascade(
    space: Namespace,
    partition: Partition,
    invalidated: Sequence[str],
    members: Sequence[bytes],
    most: int,
) -> Request:
    """The reply is two lists of dependents, by their entries and declared, and of how many of the
    keys these are: the rest is to be asked for again."""
    places = [
        keys.marks(partition),
        keys.tombstones(partition),
        keys.label_marks(partition),
        keys.history(partition),
    ]
    for key in invalidated:
        places += (keys.dependents(partition, key), keys.declared_dependents(partition, key))
    arguments: list[Argument] = [random.randbytes(8), longest_life_us(space), most, *members]
    return _CASCADE.request(partition.slot, places, arguments, space.name, repeatable=True)


def declare(
    space: Namespace, key: str, before: Sequence[str], depends_on: Sequence[str]
) -> Request:
    """The reply is 1, 0 if the key depends on something else than `before` by now."""
    partition, _ = keys.place(space, key)
    both = (*before, *depends_on)
    places: list[Argument] = [keys.declared_dependencies(partition, key)]
    places += [keys.declared_dependents(partition, one) for one in both]
    arguments: list[Argument] = [key, len(before), *both]
    # Twice does no harm: the second time it is told 0, and the caller looks again.
    return _DECLARE.request(partition.slot, places, arguments, key, repeatable=True)


def remove_matched(partition: Partition, places: Sequence[bytes], floor: int) -> Request:
    """The reply is how many it removed."""
    return _REMOVE_MATCHED.request(partition.slot, places, (floor,), "keys", repeatable=True)


def tell_pattern(space: Namespace, partition: Partition, pattern: str) -> Request:
    """The reply is 1."""
    places = (keys.marks(partition), keys.history(partition))
    return _TELL_PATTERN.request(partition.slot, places, (pattern,), space.name, repeatable=True)


def clean_index(
    space: Namespace, partition: Partition, index: bytes, gone: Sequence[tuple[str, bytes]]
) -> Request:
    """The reply is how many it took out. `gone` are keys, and how their entries begin."""
    places: list[Argument] = [index, *(keys.place(space, key)[1] for key, _ in gone)]
    arguments: list[Argument] = [said for key, seen in gone for said in (key, seen)]
    return _CLEAN_INDEX.request(partition.slot, places, arguments, "index", repeatable=True)


def add_tags(space: Namespace, key: str, tags: Sequence[str]) -> Request:
    """The reply is 0 if there is no entry, 1 if it is stale then, 2 if it is fresh, 3 if these are
    too many."""
    arguments: list[Argument] = [key, entry.MAX_LABELS, space.grace_ms * 1000, *tags]
    return _ADD_TAGS.request(*_tagged(space, key, tags), arguments, key, repeatable=True)


def remove_tags(space: Namespace, key: str, tags: Sequence[str]) -> Request:
    """The reply is 1, 0 if there is no fresh entry."""
    return _REMOVE_TAGS.request(*_tagged(space, key, tags), (key, *tags), key, repeatable=True)


def _tagged(space: Namespace, key: str, tags: Sequence[str]) -> tuple[int, list[Argument]]:
    """The slot of an entry, and the places that its tags concern."""
    partition, place = keys.place(space, key)
    indexes = label_indexes(space, partition, tags, ())
    return partition.slot, [
        place,
        keys.marks(partition),
        keys.label_marks(partition),
        keys.history(partition),
        *indexes.places,
    ]


def settle(space: Namespace, partition: Partition) -> Request:
    """The reply is 1 if everything in the partition was hidden, else 0."""
    places = (keys.marks(partition), keys.tombstones(partition))
    return _SETTLE.request(
        partition.slot, places, (random.randbytes(8),), space.name, repeatable=True
    )


def own(partition: Partition, worker: str, for_ms: int) -> Request:
    """The reply is 1, 0 if another worker owns the partition."""
    places = (keys.owner(partition),)
    return _OWN.request(partition.slot, places, (worker, for_ms), "owner", repeatable=True)


def reclaim(partition: Partition, places: Sequence[bytes]) -> Request:
    """The reply is how many entries it removed."""
    names = [
        keys.tombstone(place.partition(b"}e:")[2].decode(errors="replace")) for place in places
    ]
    return _RECLAIM.request(
        partition.slot,
        (
            keys.marks(partition),
            keys.label_marks(partition),
            keys.tombstones(partition),
            *places,
        ),
        names,
        "entries",
        repeatable=True,
    )
