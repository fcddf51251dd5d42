"""One who subscribes: which channels it takes, and what it is still to be given, within bounds."""

import asyncio
from collections.abc import Iterable, Sequence

from pantler_server.core.errors import ShuttingDown
from pantler_server.core.glob import Glob
from pantler_server.engines.pubsub import metrics
from pantler_server.engines.pubsub.backlog import MESSAGE_BYTES, Backlog
from pantler_server.engines.pubsub.model import Gap, GapReason, Message

# Of what a subscriber has not taken yet; backlog.py has the bound for all together.
MAX_MESSAGES = 10_000
MAX_BYTES = 4 << 20

_BREAKS = (GapReason.FAILOVER, GapReason.DISCONNECTED)  # sequences may begin anew behind these


class Subscriber:
    """What it can't take in time is dropped, and becomes a gap.

    `epoch` and `sequence` say how far it was given everything, once `begin` was called.
    """

    __slots__ = (
        "_backlog",
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

    def __init__(
        self, channels: Iterable[str], globs: Sequence[tuple[Glob, str]], backlog: Backlog
    ) -> None:
        self.channels = frozenset(channels)
        self.globs = tuple(globs)
        """Each with the glob of Redis by which what it matches comes."""
        self.begun = False
        self.epoch = self.sequence = 0
        # A deque takes 800 bytes more where nothing waits, as nearly always.
        self._queue: list[Message | Gap] = []
        self._backlog = backlog
        self._bytes = 0
        self._due = float("inf")
        self._waiting: asyncio.Future[None] | None = None
        self._dismissed = False

    def begin(self, epoch: int, sequence: int) -> None:
        """Up to here it has everything, or wants nothing."""
        self.begun = True
        self.epoch, self.sequence = epoch, sequence

    def caught_up(self, epoch: int, sequence: int) -> None:
        """It has read the history up to here: what waits of other epochs stands before this one."""
        waiting, self._queue = self._queue, []
        self._bytes = 0
        self.begin(epoch, sequence)
        for event in waiting:
            if isinstance(event, Message):
                self._backlog.remove(event)
            if not event.epoch or (event.epoch == epoch and event.sequence > sequence):
                self.put(event)

    def wants(self, channel: str) -> bool:
        return channel in self.channels or any(glob.matches(channel) for glob, _ in self.globs)

    def put(self, event: Message | Gap) -> None:
        queue = self._queue
        size = len(event.payload) if event.__class__ is Message else 0
        # One that is longer than the bound alone is given to who has taken all before it.
        if queue and (len(queue) >= MAX_MESSAGES or self._bytes + size > MAX_BYTES):
            self.overflow()
        queue.append(event)
        self._bytes += size
        if isinstance(event, Message):
            self._backlog.add(event)
        self._wake()

    @property
    def waiting(self) -> int:
        """About how many bytes are still to be taken."""
        return self._bytes + MESSAGE_BYTES * len(self._queue)

    def overflow(self) -> None:
        """All that waits becomes one gap. If there are some among it that sequences may begin anew
        behind, it is the last of these: else what comes next may seem old."""
        reason, epoch, sequence = GapReason.SLOW, 0, 0
        for event in self._queue:
            if isinstance(event, Gap) and event.reason in _BREAKS:
                reason = event.reason
                if not event.epoch:
                    self.epoch = self.sequence = epoch = sequence = 0
            if event.epoch:
                epoch, sequence = event.epoch, event.sequence
        self.leave()
        self._queue.append(Gap(reason, sequence, epoch))
        metrics.count_gaps(GapReason.SLOW, 1)

    def leave(self) -> None:
        """It takes nothing of what waits any more."""
        for event in self._queue:
            if isinstance(event, Message):
                self._backlog.remove(event)
        self._queue.clear()
        self._bytes = 0

    def take(self) -> Message | Gap | None:
        """The oldest that it was not given yet, None if there is none. Raises ShuttingDown once it
        was dismissed."""
        self.check()
        while self._queue:
            event = self._queue.pop(0)
            if isinstance(event, Message):
                self._bytes -= len(event.payload)
                self._backlog.remove(event)
            if self._is_new(event):
                # A history that was switched off may be switched on again where it was.
                if event.epoch or (isinstance(event, Gap) and event.reason in _BREAKS):
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
