"""Reading the history on from a sequence, so that whatever is missing becomes a gap.

Within an epoch sequences are consecutive, so one that is not there was trimmed, evicted or expired;
between two epochs lies the `gap` of the later. Counts are read before messages: what they have must
be among these.
"""

from collections.abc import Iterator, Sequence

from pantler_server.engines.pubsub.model import Gap, GapReason, Message
from pantler_server.engines.pubsub.scripts import Counts


class Reading:
    """Where a reader is. With `from_start` it takes whatever is kept, whichever that is."""

    def __init__(self, epoch: int, sequence: int, *, from_start: bool = False) -> None:
        self.epoch = epoch
        self.sequence = sequence
        """Up to which all was given."""
        self.done = False
        self._from_start = from_start

    def take(
        self, counts: Counts, messages: Sequence[Message], page_size: int
    ) -> Iterator[Message | Gap]:
        """What a page has; it is `done` once there is nothing more that the counts have."""
        self.done = False
        if self.sequence > counts.sequence:  # of an epoch of which nothing is known any more
            yield self._missing(counts.gap, counts)
            return
        for message in messages:
            if message.sequence > counts.sequence:
                break
            if message.sequence > self.sequence + 1 and not self._from_start:
                yield self._missing(message.sequence - 1, counts)
            self._from_start = False
            self.sequence = message.sequence
            if self.sequence > counts.gap:
                self.epoch = counts.gap
            message.epoch = self.epoch
            yield message
        else:
            if len(messages) == page_size and self.sequence < counts.sequence:
                return
        if self.sequence < counts.sequence and not self._from_start:
            yield self._missing(counts.sequence, counts)
        self.epoch, self.sequence = counts.gap, counts.sequence
        self.done = True

    def _missing(self, until: int, counts: Counts) -> Gap:
        other = self.sequence > counts.sequence or self.sequence < counts.gap <= until
        self.sequence = until
        if not other:
            return Gap(GapReason.HISTORY, until, self.epoch)
        self.epoch = counts.gap
        return Gap(GapReason.FAILOVER, until, self.epoch)
