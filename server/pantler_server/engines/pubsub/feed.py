"""Hears the channels of one namespace, once for all who subscribe to them in this worker.

It has a connection of its own to the primary of the namespace: what that server is told to publish
reaches its own clients in order, while between the servers of a Cluster messages may be lost. When
the connection is lost, so may be messages. With a history they are read from there, on the new
connection, so that what was read and what comes by itself have one order:

    this worker                             Redis
    had everything up to 7, was cut off
                                            8 is published
    subscribes                              9 is published, and sent
    reads on after 7: 8 and 9
    gives 8 and 9, and drops the 9 that was sent

Without a history there is nothing to read, and everybody is told of a gap.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from time import monotonic

import structlog

from pantler_server.core.namespace import Namespace
from pantler_server.engines.pubsub import keys, metrics, scripts
from pantler_server.engines.pubsub.history import Reading
from pantler_server.engines.pubsub.model import Gap, GapReason, Message
from pantler_server.engines.pubsub.routes import Routes
from pantler_server.engines.pubsub.subscriber import Subscriber
from pantler_server.store.link import Link, LinkLost, Reply
from pantler_server.store.store import Store
from pantler_server.store.subscription import PING, Subscription

MAX_HELD_BYTES = 4 << 20  # what comes while the history is read; more of it is read from there
LINGER_S = 5.0  # without subscribers: one that comes back at once finds everything going
SURE_S = 1.0  # how old the newest sign of the connection may be for a heartbeat: some probes

log = structlog.get_logger(__name__)


class Feed:
    """`start` before use, `stop` after it."""

    def __init__(self, store: Store, space: Namespace) -> None:
        self.space = space
        self.idle_since = monotonic()
        self.epoch = 0
        self.sequence = 0
        """Up to which everything was put to the subscribers; 0 without a history."""
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._routes = Routes(space)
        self._subscribers: set[Subscriber] = set()
        self._heard = False  # whether it was open before: there is something to miss
        self._held: deque[list[Reply]] = deque()  # what came while it was not open yet
        self._held_bytes = 0
        self._let_go = False  # something of that, which has to be read from the history
        self._read_to = 0  # of the epoch: what was read from the history, and may come by itself
        self._subscription = Subscription(
            store,
            self._pushed,
            self._opened,
            slot=keys.partition(space).slot,
            on_confirmed=self._confirmed,
            subject=space.name,
        )

    def start(self) -> None:
        self._subscription.start()

    async def stop(self) -> None:
        await self._subscription.stop()

    @property
    def is_over(self) -> bool:
        return not self._subscribers and monotonic() - self.idle_since > LINGER_S

    @property
    def is_sure(self) -> bool:
        """Whether what Redis was told a moment ago has been put to the subscribers."""
        return self._loop.time() - self._subscription.sure_at <= SURE_S

    async def attach(self, subscriber: Subscriber, deadline: float) -> None:
        """From when this returns on it is put everything. Raises WrongKind, StoreUnavailable.
        Whatever it comes to, `detach` follows."""
        self._subscribers.add(subscriber)
        self._routes.add(subscriber)
        await self._subscription.add(self._routes.names(subscriber), deadline)
        subscriber.begin(self.epoch, self.sequence)

    def detach(self, subscriber: Subscriber) -> None:
        self._subscribers.discard(subscriber)
        self._subscription.drop(self._routes.remove(subscriber))
        self.idle_since = monotonic()

    def vouch(self, subscriber: Subscriber) -> int:
        """The sequence of a heartbeat to one that has taken all that was put to it."""
        if subscriber.epoch == self.epoch:
            subscriber.sequence = max(subscriber.sequence, self.sequence)
        return subscriber.sequence if self.epoch else 0

    def take_up(self, space: Namespace) -> None:
        """The namespace has another configuration."""
        kept, self.space = self._keeps, space
        if self._keeps is not kept:
            self._subscription.reopen()

    @property
    def _keeps(self) -> bool:
        return self.space.config.channels.history is not None

    def _pushed(self, push: list[Reply]) -> None:
        if push[0] not in (b"message", b"pmessage"):
            return
        if self._subscription.is_open:
            self._route(push)
        else:
            self._held.append(push)
            self._held_bytes += len(push[-1])
            if self._held_bytes > MAX_HELD_BYTES:
                self._held.clear()
                self._held_bytes, self._let_go = 0, True

    def _route(self, push: list[Reply]) -> None:
        if push[0] == b"message":
            channel = self._routes.channel_of(push[1])
            self._give(channel, push[2], self._routes.by_channel(channel))
        else:
            channel = self._routes.channel_of(push[2])
            self._give(channel, push[3], self._routes.by_glob(push[1].decode(), channel))

    def _give(self, channel: str, packed: bytes, takers: Iterable[Subscriber]) -> None:
        message = scripts.unpack_message(channel, packed)
        if message is None:
            return
        if not self.epoch or not message.epoch:
            # There is no history, or one of this worker and who publishes was told of it sooner.
            message.epoch = message.sequence = 0
        elif message.epoch > self.epoch:
            # Of a new primary, it may be, by way of the former, and not the first: all of them
            # stand in the history.
            self._subscription.reopen()
            return
        elif message.epoch < self.epoch or message.sequence <= self._read_to:
            return
        else:
            self.sequence = message.sequence
        self._put(message, takers)

    def _put(self, message: Message, takers: Iterable[Subscriber]) -> None:
        given = 0
        for subscriber in takers:
            subscriber.put(message)
            given += 1
        metrics.count_given(given)

    def _tell(self, gap: Gap) -> None:
        """Those that have not begun have nothing to miss."""
        told = [subscriber for subscriber in self._subscribers if subscriber.begun]
        for subscriber in told:
            subscriber.put(gap)
        metrics.count_gaps(gap.reason, len(told))
        log.info("gap in channels", namespace=self.space.name, reason=gap.reason.value)

    def _confirmed(self, reply: Reply) -> None:
        """All that the counts have has come before them, and whose time it is gets a heartbeat."""
        if self.epoch:
            counts = scripts.counts(reply)
            if counts is None or counts.gap != self.epoch:  # lost, or begun anew
                self._subscription.reopen()
                return
            self.sequence = max(self.sequence, counts.sequence)
        now = self._loop.time()
        for subscriber in self._subscribers:
            subscriber.tick(now)

    async def _opened(self, link: Link) -> None:
        """Goes on where it was, as far as it can."""
        if self._keeps:
            self._subscription.confirm = scripts.count(self.space)
            await self._read_on(link)
        else:
            self._subscription.confirm = PING
            self.epoch = self.sequence = 0
            if self._heard:
                self._tell(Gap(GapReason.DISCONNECTED))
        self._heard = True
        while self._held:
            self._route(self._held.popleft())
        self._held_bytes = 0

    async def _read_on(self, link: Link) -> None:
        space = self.space
        [[sequence, gap]] = await self._ask(link, scripts.begin(space, link.run_id).whole())
        if not self.epoch:
            if self._heard:  # without a history, until now
                self._tell(Gap(GapReason.DISCONNECTED, sequence, gap))
            self.epoch, self.sequence = gap, sequence
        reading = Reading(self.epoch, self.sequence)
        page_size = scripts.PageSize(space)
        while not reading.done or self._let_go:
            self._let_go = False
            page = scripts.read_after(space, reading.sequence, page_size.now)
            reply, entries = await self._ask(link, page.commands)
            counts = scripts.counts(reply)
            if counts is None or counts.primary != link.run_id:
                raise LinkLost("the counts were lost meanwhile", sent=False)
            messages = scripts.messages(entries)
            for event in reading.take(counts, messages, page_size.now):
                if isinstance(event, Gap):
                    self._tell(event)
                else:
                    self._put(event, self._routes.takers(event.channel))
            self.epoch, self.sequence = reading.epoch, reading.sequence
            page_size.learn(messages)
            held, self._held = self._held, deque()  # many may come while much is read
            self._held.extend(
                push for push in held if not 0 < scripts.sequence_of(push[-1]) <= self.sequence
            )
            self._held_bytes = sum(len(push[-1]) for push in self._held)
        self._read_to = self.sequence

    async def _ask(self, link: Link, commands: Sequence[bytes]) -> list[Reply]:
        return await link.submit(commands, self._loop.time() + self._store.timeout_s)
