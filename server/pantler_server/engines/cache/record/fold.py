"""Folds the writes of a key that wait together into one, so that the origin has less to do.

What the origin holds afterwards is what it would hold had it got them one by one, in their order,
and had taken them all. So when it refuses any of a batch in which something was folded, the batch
is done again with nothing folded, and only what is refused by itself is dead. What folding does
away with is what stood in between: a name that another record had for a moment is not in the way.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pantler_server.core.record import Operation, Record
from pantler_server.engines.cache.record.log_scripts import CameTo, Logged, Settled
from pantler_server.origins.origin import Write

_INSERT, _UPDATE, _UPSERT, _DELETE = Operation


class _Rule(NamedTuple):
    """What two writes of a key make together."""

    operation: Operation
    merges: bool = False
    """Whether the fields of the first stay where the second gives no others."""


_RULES: Mapping[tuple[Operation, Operation], _Rule] = {
    (_INSERT, _UPDATE): _Rule(_INSERT, merges=True),
    (_UPDATE, _UPDATE): _Rule(_UPDATE, merges=True),
    (_UPSERT, _UPDATE): _Rule(_UPSERT, merges=True),
    (_DELETE, _INSERT): _Rule(_UPSERT),
    **{(first, _UPSERT): _Rule(_UPSERT) for first in Operation},
    **{(first, _DELETE): _Rule(_DELETE) for first in Operation},
}
"""The pairs that are not here do not fold: of these the origin refuses the second."""


class Folded(NamedTuple):
    """Writes that go to the origin together: a part of the log without gaps."""

    last: int
    """The version of the last one."""
    writes: list[Write]
    """One for each key, in the order of the first write of each, with the version of its last."""
    logged: Sequence[Logged]
    """What they were made of."""

    @property
    def is_folded(self) -> bool:
        """Whether any write was made of more than one."""
        return 0 < len(self.writes) < len(self.logged)


def fold(first: Write, second: Write) -> Write | None:
    """Two writes of a key as one; None if that can't be said in one."""
    rule = _RULES.get((first.operation, second.operation))
    if rule is None:
        return None
    fields: Record = {**first.fields, **second.fields} if rule.merges else second.fields
    return Write(second.key, rule.operation, fields, second.version)


def batches(logged: Sequence[Logged], *, apart: bool = False) -> Iterator[Folded]:
    """A part of the log as few batches; with `apart`, nothing is folded, and a batch ends before
    the second write of a key."""
    begin = 0
    by_key: dict[str, Write] = {}
    for index, one in enumerate(logged):
        write = Write(one.key, one.operation, one.fields, one.version)
        first = by_key.get(one.key)
        if first is not None:
            folded = None if apart else fold(first, write)
            if folded is None:
                yield _folded(by_key, logged[begin:index])
                begin, by_key = index, {}
            else:
                write = folded
        by_key[one.key] = write
    if by_key:
        yield _folded(by_key, logged[begin:])


def _folded(by_key: Mapping[str, Write], logged: Sequence[Logged]) -> Folded:
    return Folded(logged[-1].version, list(by_key.values()), logged)


def halves(logged: Sequence[Logged]) -> list[Folded]:
    half = len(logged) // 2
    return [*batches(logged[:half]), *batches(logged[half:])]


def settled_of(folded: Folded, reasons: dict[int, str], had: int = 0) -> list[Settled]:
    """What the writes of a batch came to that the origin has, and had had up to a version before.
    Of one whose record is known in part only, what is cached goes."""
    otherwise = {one.key for one in folded.logged if one.in_part}

    def came_to(write: Write) -> CameTo:
        if write.version <= had:
            return CameTo.SEEN_TO
        if write.version in reasons:
            return CameTo.DEAD
        return CameTo.WRITTEN_OTHERWISE if write.key in otherwise else CameTo.WRITTEN

    return [Settled(write.key, write.version, came_to(write)) for write in folded.writes]
