"""What waits in a worker for subscribers that have not taken it yet, within a bound for all."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pantler_server.engines.pubsub.model import Message

if TYPE_CHECKING:
    from pantler_server.engines.pubsub.subscriber import Subscriber

MAX_BYTES = 256 << 20
LEFT_BYTES = MAX_BYTES // 4 * 3  # when it was passed: so it is seldom that subscribers are compared
MESSAGE_BYTES = 400  # what a message takes beside its payload


class Backlog:
    """Each message counts once, however many subscribers it waits for."""

    def __init__(self, subscribers: Iterable["Subscriber"]) -> None:
        self.bytes = 0
        self._subscribers = subscribers

    def add(self, message: Message) -> None:
        """It waits for one subscriber more."""
        if not message.waits:
            self.bytes += _bytes_of(message)
        message.waits += 1
        if self.bytes > MAX_BYTES:
            self._relieve()

    def remove(self, message: Message) -> None:
        message.waits -= 1
        if not message.waits:
            self.bytes -= _bytes_of(message)

    def _relieve(self) -> None:
        """Those for whom most waits get a gap instead."""
        for subscriber in sorted(self._subscribers, key=lambda one: one.waiting, reverse=True):
            if self.bytes <= LEFT_BYTES:
                return
            subscriber.overflow()


def _bytes_of(message: Message) -> int:
    """Its payload is there twice: as it came, and in what is sent of it."""
    return MESSAGE_BYTES + 2 * len(message.payload)
