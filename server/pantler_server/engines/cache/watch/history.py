"""The history of a partition, and what a read of it shows.

Scripts write events into it as part of what they do (functions/tell.lua), so that an event is there
exactly when it is in force. In Redis an event is a letter for its kind (`Kind`), in lower case if
SOFT, and the key, tag, pattern or time. Events have numbers one after the other, and the marks have
that of the newest: an event that a reader does not find where it must be is lost, whoever took it.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines import cache
from pantler_server.engines.cache import keys
from pantler_server.engines.cache.watch.model import Change, Kind
from pantler_server.store.link import Reply
from pantler_server.store.request import Request, Script, read

KEEP_S = 660.0  # how long events are written: readers ask each minute, and 10 more are for resumes
AT_ONCE = 500  # events of one read

_FOLLOW = Script.load(cache.__name__, "watch/follow.lua")
_KINDS = {kind.value: kind for kind in Kind}


class Position(NamedTuple):
    """How far a partition was read."""

    primary: bytes
    """The run id of its primary: another may lack events, and number others like them."""
    generation: bytes
    """Of its marks."""
    number: int
    """Of the newest event that was read."""


class Lost(NamedTuple):
    """Events are missing, or may be."""

    cause: str
    """For the metrics."""


def follow(space: Namespace, partition: Partition) -> Request:
    """Lets a partition write its events for KEEP_S. The reply is its generation, and the number of
    its newest event."""
    places = (keys.marks(partition), keys.tombstones(partition))
    arguments = (random.randbytes(8), int(KEEP_S * 1e6), int(space.config.near_cache))
    return _FOLLOW.request(partition.slot, places, arguments, space.name, repeatable=True)


def read_after(space: Namespace, partition: Partition, number: int) -> Request:
    """The replies go to `found`. The number of the newest comes first: one that is told of after it
    may stand in the events already, and none that it counts may come later."""
    return read(
        partition.slot,
        space.name,
        ("HMGET", keys.marks(partition), "state", "events"),
        ("XRANGE", keys.history(partition), f"{number + 1}-0", "+", "COUNT", AT_ONCE),
    )


def found(
    position: Position, request: Request, replies: Sequence[Reply]
) -> list[tuple[int, bytes]] | Lost:
    """The events after a position with their numbers; if they are AT_ONCE there may be more."""
    [state, newest], entries = replies
    if request.primary != position.primary:
        return Lost("primary")
    if state is None or state[:8] != position.generation or newest is None:
        return Lost("marks")
    events = [(int(entry_id.partition(b"-")[0]), fields[1]) for entry_id, fields in entries]
    expected = position.number + 1
    for number, _ in events:
        if number != expected:
            return Lost("history")
        expected += 1
    if len(events) < AT_ONCE and expected <= int(newest):
        return Lost("history")
    return events


def changes(space: Namespace, events: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, Change]]:
    """What events say, with their numbers."""
    for number, event in events:
        letter, said = event[:1], event[1:].decode()
        kind = _KINDS.get(letter.upper())
        if kind is None:  # of a newer version: it may concern anything
            change = Change(space.name, Kind.NAMESPACE, False, "")
        elif kind is Kind.AGE:
            change = Change(space.name, kind, letter.islower(), "", int(said))
        else:
            change = Change(space.name, kind, letter.islower(), said)
        yield number, change
