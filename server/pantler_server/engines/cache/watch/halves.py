"""Changes that concern all partitions of a namespace, each of which tells of them for itself.

Once one partition has told of such a change, another may not have it yet: who reads at once may get
from there what was before, and keep it. So a change is held back until all have told of it. They
are counted: the second event of a partition belongs to the second of another. Where several of the
same kind and name run at once, their events may be taken for each other's; the newest of each are
still followed by a message.

Whoever invalidates may die halfway. Then what some partitions told of comes alone, after HOLD_S.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from time import monotonic

from pantler_server.engines.cache.watch.history import Position
from pantler_server.engines.cache.watch.model import Change, Kind

HOLD_S = 1.0  # then it is told nevertheless
_SINGLE = frozenset({Kind.KEY, Kind.WRITE})


class _Held:
    __slots__ = ("numbers", "since", "sure_at")

    def __init__(self, since: float, sure_at: float) -> None:
        self.numbers: dict[int, deque[int]] = {}
        """By partition, those of the events that others have not told of yet."""
        self.since = since
        self.sure_at = sure_at


class Halves:
    """What some partitions have told of and others have not. Times are those of `monotonic`."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._held: dict[Change, _Held] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def take(
        self, index: int, changes: Iterable[tuple[int, Change]], sure_at: float
    ) -> list[Change]:
        """Of the changes of a partition, with their numbers, those that are in force everywhere.
        `sure_at` is a time before which none of them was in force."""
        if self._partitions == 1:
            return [change for _, change in changes]
        told: list[Change] = []
        for number, change in changes:
            if change.kind in _SINGLE:
                told.append(change)
                continue
            held = self._held.get(change)
            if held is None:
                held = self._held[change] = _Held(monotonic(), sure_at)
            held.numbers.setdefault(index, deque()).append(number)
            if len(held.numbers) < self._partitions:
                continue
            told.append(change)
            for numbers in held.numbers.values():
                numbers.popleft()
            held.numbers = {index: left for index, left in held.numbers.items() if left}
            held.since, held.sure_at = monotonic(), sure_at
            if not held.numbers:
                del self._held[change]
        return told

    def overdue(self) -> list[Change]:
        """What has been held for long enough; it is not held any more."""
        until = monotonic() - HOLD_S
        told = [change for change, held in self._held.items() if held.since <= until]
        for change in told:
            del self._held[change]
        return told

    def all(self) -> list[Change]:
        """What is held."""
        return list(self._held)

    @property
    def due(self) -> float:
        """When something is `overdue`."""
        return min((held.since + HOLD_S for held in self._held.values()), default=float("inf"))

    @property
    def sure_at(self) -> float:
        """Nothing that is held was in force before."""
        return min((held.sure_at for held in self._held.values()), default=float("inf"))

    def clear(self) -> None:
        """A gap was told, which covers what is held."""
        self._held.clear()

    def before(self, positions: Sequence[Position]) -> Sequence[Position]:
        """The positions, but before all that is held: of these a token may tell."""
        if not self._held:
            return positions
        first = [position.number for position in positions]
        for held in self._held.values():
            for index, numbers in held.numbers.items():
                first[index] = min(first[index], numbers[0] - 1)
        return tuple(_at(positions, first))


def _at(positions: Sequence[Position], numbers: Sequence[int]) -> Iterator[Position]:
    for position, number in zip(positions, numbers, strict=True):
        yield position._replace(number=number)
