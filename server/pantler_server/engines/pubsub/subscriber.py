"""One who subscribes: which channels it takes, and what it is still to be given, within bounds."""

import asyncio
from collections.abc import Iterable, Sequence

from pantler_server.core.errors import ShuttingDown
from pantler_server.core.glob import Glob
from pantler_server.engines.pubsub import metrics
from pantler_server.engines.pubsub.model import Gap, GapReason, Message

# Of what a subscriber has not taken yet. Those who wait for the same messages share them, so that
# many slow ones keep little more than one.
MAX_MESSAGES = 10_000
MAX_BYTES = 4 << 20


class Subscriber:
    """What it can't take in time is dropped, and becomes a gap.

    `epoch` and `sequence` say how far it was given everything, once `begin` was called.
    """

    __slots__ = (
        "_bytes",
        "_dismissed",
        "_due",
        "_queue",
        "_waiting",
        "begun",
        "channels",
        "epoch",
        "globs",
        "sequence",
    )

    def __init__(self, channels: Iterable[str], globs: Sequence[tuple[Glob, str]]) -> None:
        self.channels = frozenset(channels)
        self.globs = globs
        """Each with the glob of Redis by which what it matches comes."""
        self.begun = False
        self.epoch = self.sequence = 0
        # A deque takes 800 bytes more where nothing waits, as nearly always.
        self._queue: list[Message | Gap] = []
        self._bytes = 0
        self._due = float("inf")
        self._waiting: asyncio.Future[None] | None = None
        self._dismissed = False

    def begin(self, epoch: int, sequence: int) -> None:
        """Up to here it has everything, or wants nothing."""
        self.begun = True
        self.epoch, self.sequence = epoch, sequence

    def way(self, channel: str) -> str | None:
        """The one glob of Redis by which it takes what comes from a channel; None if it takes none
        so: as it listens to the channel itself, or does not want it."""
        if channel not in self.channels:
            for glob, way in self.globs:
                if glob.matches(channel):
                    return way
        return None

    def wants(self, channel: str) -> bool:
        return channel in self.channels or self.way(channel) is not None

    def put(self, event: Message | Gap) -> None:
        queue = self._queue
        size = len(event.payload) if event.__class__ is Message else 0
        # One that is longer than the bound alone is given to who has taken all before it.
        if queue and (len(queue) >= MAX_MESSAGES or self._bytes + size > MAX_BYTES):
            last = queue[-1]
            queue.clear()
            queue.append(Gap(GapReason.SLOW, last.sequence, last.epoch))
            self._bytes = 0
            metrics.count_gaps(GapReason.SLOW, 1)
        queue.append(event)
        self._bytes += size
        self._wake()

    def take(self) -> Message | Gap | None:
        """The oldest that it was not given yet, None if there is none. Raises ShuttingDown once it
        was dismissed."""
        self.check()
        while self._queue:
            event = self._queue.pop(0)
            if event.__class__ is Message:
                self._bytes -= len(event.payload)
            if self._is_new(event):
                if event.epoch:
                    self.epoch, self.sequence = event.epoch, event.sequence
                return event
        return None

    def check(self) -> None:
        """Raises ShuttingDown once it was dismissed."""
        if self._dismissed:
            raise ShuttingDown("this worker is shutting down: subscribe again")

    def more(self, due: float) -> asyncio.Future[None]:
        """Done once there may be something to take, or at the first `tick` after a time."""
        self._due = due
        self._waiting = asyncio.get_running_loop().create_future()
        return self._waiting

    def tick(self, now: float) -> None:
        if now >= self._due:
            self._wake()

    def dismiss(self) -> None:
        self._dismissed = True
        self._wake()

    def _is_new(self, event: Message | Gap) -> bool:
        """Whether it is beyond what was given. A subscriber that has read the history itself may be
        ahead of what its worker is about to tell, by messages and by an epoch. A later epoch begins
        with a gap; its number is higher, unless a clock was set back."""
        if not event.epoch:
            return True
        if event.epoch == self.epoch:
            return event.sequence > self.sequence
        return isinstance(event, Gap) and (
            event.epoch > self.epoch or event.reason is GapReason.FAILOVER
        )

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
