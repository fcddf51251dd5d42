"""What the first level knows of the marks of a partition.

Deletes and short Sets number themselves in the hash that has the marks, so Redis tells of it far
more often than a mark changes. Where a partition is asked for all the time, such a word is a reason
to look, by one HGET: what was known goes on for a few ms, until the look has answered. A look sees
every change whose word came before it was sent; a word after that begins a doubt of its own.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

from pantler_server.core import background
from pantler_server.core.errors import ServiceError
from pantler_server.core.namespace import Partition
from pantler_server.engines.cache import kept
from pantler_server.engines.cache.reading import Reader, View
from pantler_server.store.store import Store
from pantler_server.store.tracking import Tracked

DOUBT_S = 0.01  # for how long what is known goes on after the word of a change
PAUSE_S = 0.005  # between two looks at one partition

_NEVER = float("inf")
Vouching = Callable[[bytes, float], Tracked | None]
"""The primary with this run id, if all writes since then have been told of, or will be."""


class KnownMarks:
    """Of one partition."""

    __slots__ = (
        "asked",
        "by",
        "distrusts",
        "epoch",
        "good_until",
        "label_mark",
        "looking",
        "next_until",
        "partition",
        "tracked",
    )

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.epoch = 0
        """Grows with every word of them."""
        self.distrusts = 0
        self.by = b""
        """What is kept must hold by this (kept.py); empty while nothing is known."""
        self.label_mark = 0
        """The newest mark of a label."""
        self.tracked: Tracked | None = None
        """Who told of changes to these."""
        self.good_until = _NEVER
        """In doubt they go on until then (of `monotonic`)."""
        self.next_until = _NEVER
        """The same, by the words since the look under way was sent."""
        self.looking = False
        self.asked = False
        """Since the last look; else there is no use in another."""

    def know(self, view: View, tracked: Tracked, good_until: float = _NEVER) -> None:
        """Takes what was read, a change of which may have been told of since then if it is good
        for so long only."""
        self.by = kept.pack_by(tracked.number, view.newest_mark, view.generation)
        self.label_mark, self.tracked = view.whole.label, tracked
        self.good_until = good_until

    def forget(self) -> None:
        """Nothing is known, until it is read again."""
        self.by = b""
        self.good_until = _NEVER

    def distrust(self) -> None:
        """As `forget`, and what reads under way find does not count."""
        self.epoch += 1
        self.distrusts += 1
        self.forget()

    def doubt(self, bound_s: float) -> bool:
        """The word came that they may have changed; whether a look must begin. The change was after
        `sure_at`, so this keeps the bound too."""
        self.epoch += 1
        until = monotonic() + DOUBT_S
        if self.tracked is not None:
            until = min(until, self.tracked.sure_at + bound_s)
        self.next_until = min(self.next_until, until)
        if not self.by or not self.asked:
            self.forget()
            return False
        self.good_until = min(self.good_until, until)
        return not self.looking


class Looks:
    """Those that are under way. `stop` after use."""

    def __init__(self, store: Store, reader: Reader) -> None:
        self._store = store
        self._reader = reader
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        await background.stop(tuple(self._tasks))

    def begin(self, known: KnownMarks, vouching: Vouching) -> None:
        """Looks until nothing is in doubt, or nobody asks."""
        known.looking = True
        task = background.start(self._look(known, vouching), "look at marks")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self, known: KnownMarks, vouching: Vouching) -> None:
        try:
            while known.good_until < _NEVER:
                if not known.asked:
                    known.forget()
                    return
                await self._look_once(known, vouching)
                if known.good_until < _NEVER:
                    await asyncio.sleep(PAUSE_S)
        finally:
            known.looking = False

    async def _look_once(self, known: KnownMarks, vouching: Vouching) -> None:
        known.asked, known.next_until = False, _NEVER
        distrusts, sent_at = known.distrusts, monotonic()
        deadline = asyncio.get_running_loop().time() + self._store.timeout_s
        try:
            view = await self._reader.look(known.partition, deadline)
        except ServiceError:
            known.forget()
            return
        if known.distrusts == distrusts:
            tracked = vouching(view.primary, sent_at)
            if tracked is None:
                known.forget()
            else:
                known.know(view, tracked, known.next_until)
