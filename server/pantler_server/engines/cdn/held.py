"""What waits for a target, in the memory of the worker that owns it: all that the queue has.

No look at it costs more than what it finds: what is not due yet, and what failed and is tried
later, lie in heaps by their times.
"""

import math
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from itertools import count

from pantler_server.engines.cdn.batching import ALL, Waiting

MOST_PLANNED = 10_000  # values of which requests are made at a time: some 5 ms of a worker


class Held:
    """`now` is loop time, `now_ms` that of Redis."""

    def __init__(self) -> None:
        self.queued: dict[bytes, Waiting] = {}
        """By id, as the queue has them."""
        self.adrift: dict[Waiting, None] = {}
        """Read of a primary that is none any more, and not of the one that is."""
        self._adrift_ids: dict[tuple[bytes, str], Waiting] = {}
        self._new: list[Waiting] = []
        # Each is in one of the next three. What is over is left in a heap until its time.
        self._later: list[tuple[int, int, Waiting]] = []  # by when they are due
        self._aside: list[tuple[float, int, Waiting]] = []  # by when they are tried again
        self._ready: dict[Waiting, None] = {}
        self._everything: dict[Waiting, None] = {}  # of those that are ready
        self._failed: dict[Waiting, None] = {}  # of all
        self._numbers = count()  # of two with one time the first comes first

    def add(self, found: Iterable[Waiting]) -> None:
        """What was read of the queue, in its order."""
        for one in found:
            if one.replaces:
                self._forget_replaced()
            twin = self._adrift_ids.get((one.entry_id, one.purge_id))
            if twin is not None:  # this Redis has it: else each failover would add to what is held
                twin.left.clear()
                self.drop(twin)
            self.queued[one.entry_id] = one
            self._new.append(one)
            heappush(self._later, (one.due_ms, next(self._numbers), one))

    def take_new(self) -> list[Waiting]:
        """What was added since this was asked for last."""
        new, self._new = self._new, []
        return new

    def all(self) -> list[Waiting]:
        """Those that are adrift first."""
        return [*self.adrift, *self.queued.values()]

    def set_adrift(self) -> None:
        """Another Redis has the queue, and may lack what was read of it: that is kept."""
        for one in self.queued.values():
            self.adrift[one] = None
            self._adrift_ids[one.entry_id, one.purge_id] = one
        self.queued.clear()

    def lose(self) -> None:
        """Forgets what the queue has, but what is adrift."""
        for one in self.queued.values():
            self._leave(one)
        self.queued.clear()
        self._new = [one for one in self._new if one in self.adrift]
        self._later = [entry for entry in self._later if entry[2] in self.adrift]
        self._aside = [entry for entry in self._aside if entry[2] in self.adrift]
        heapify(self._later)
        heapify(self._aside)

    def _forget_replaced(self) -> None:
        """The queue has none of it any more. Else there would be no end of it while a target is
        away."""
        for one in self.queued.values():
            one.left.clear()  # what is under way too: it neither fails nor is settled
        self.lose()

    def drop(self, one: Waiting) -> bool:
        """It is over; whether it was held."""
        if one in self.adrift:
            del self.adrift[one]
            self._adrift_ids.pop((one.entry_id, one.purge_id), None)
        elif self.queued.get(one.entry_id) is one:  # else it is under way, and read anew
            del self.queued[one.entry_id]
        else:
            return False
        self._leave(one)
        return True

    def come_due(self, now: float, now_ms: int) -> None:
        """Makes ready what may be sent by now."""
        while self._later and self._later[0][0] <= now_ms:
            self._make_ready(heappop(self._later)[2])
        while self._aside and self._aside[0][0] <= now:
            self._make_ready(heappop(self._aside)[2])

    def next_s(self, now: float, now_ms: int) -> float:
        """In how many seconds more comes due."""
        due_s = (self._later[0][0] + 1 - now_ms) / 1000 if self._later else math.inf
        again_s = self._aside[0][0] - now if self._aside else math.inf
        return min(due_s, again_s)

    def ready(self) -> list[Waiting]:
        """What may be sent, the first that was ready first and what failed last, and of that no
        more than is made into requests at a time; all, if a purge of everything is among it, which
        does the rest."""
        if self._everything:
            return list(self._ready)
        some: list[Waiting] = []
        values = 0
        for one in self._ready:
            if values >= MOST_PLANNED:
                break
            some.append(one)
            values += len(one.left)
        return some

    def failed(self, one: Waiting, values: int) -> None:
        """In a request for so many values, as `Waiting.failed_among` has it."""
        one.failed_among(values)
        self._failed[one] = None
        if one in self._ready:  # it goes behind the others: these must be among what is planned
            del self._ready[one]
            self._ready[one] = None

    def set_aside(self, one: Waiting, until: float) -> None:
        """It is tried again then."""
        one.not_before = until
        if one in self._ready:
            del self._ready[one]
            self._everything.pop(one, None)
            heappush(self._aside, (until, next(self._numbers), one))

    def forgive(self) -> None:
        """What failed only while the target served nothing: that was not its fault."""
        for one in [one for one in self._failed if not one.not_before]:
            one.forgive()
            del self._failed[one]

    def forgive_all(self) -> None:
        for one in self._failed:
            one.forgive()
        self._failed.clear()
        for _, _, one in sorted(self._aside):
            self._make_ready(one)
        self._aside.clear()

    def _make_ready(self, one: Waiting) -> None:
        if not one.left:
            return
        self._ready[one] = None
        if ALL in one.left:
            self._everything[one] = None

    def _leave(self, one: Waiting) -> None:
        self._ready.pop(one, None)
        self._everything.pop(one, None)
        self._failed.pop(one, None)
