"""Channels: messages to all who listen just then, and where wished for kept for a while.

A message goes through the primary of its namespace, to which each worker with subscribers listens
(feed.py). With a history a script gives it a sequence and keeps it (publish.lua); then a subscriber
can go on where it broke off (history.py), while what comes anew waits for it (subscriber.py).
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from pantler_server.core import background
from pantler_server.core.config import Settings
from pantler_server.core.errors import (
    FieldViolation,
    InvalidFields,
    NoHistory,
    PrimaryChanged,
    ShuttingDown,
)
from pantler_server.core.glob import Glob, redis_glob
from pantler_server.core.namespace import Namespace
from pantler_server.engines.pubsub import keys, metrics, scripts
from pantler_server.engines.pubsub.backlog import Backlog
from pantler_server.engines.pubsub.feed import Feed
from pantler_server.engines.pubsub.history import Reading
from pantler_server.engines.pubsub.model import Event, Gap, Heartbeat, Message
from pantler_server.engines.pubsub.scripts import Counts
from pantler_server.engines.pubsub.subscriber import Subscriber
from pantler_server.store import answers
from pantler_server.store.link import Reply
from pantler_server.store.request import read
from pantler_server.store.store import Store

PRIMARY_PAUSE_S = 0.02  # until a new primary is asked again
# For how long one may be a former primary that has not heard of a sequence, and until it is asked
# again.
FORMER_S = 1.0
FORMER_PAUSE_S = 0.1


class PubSubEngine:
    """`start` before use, `stop` after it. Deadlines are times of the event loop."""

    def __init__(self, state: Store) -> None:
        self._store = state
        self._loop = asyncio.get_running_loop()
        self._feeds: dict[str, Feed] = {}
        self._subscribers: set[Subscriber] = set()
        self._backlog = Backlog(self._subscribers)
        self._dismissed = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = background.start(self._keep_tidy(), "channels")

    def dismiss(self) -> None:
        """Ends all subscriptions, and takes no more."""
        self._dismissed = True
        for subscriber in self._subscribers:
            subscriber.dismiss()

    async def stop(self) -> None:
        if self._task is not None:
            await background.stop((self._task,))
        for feed in tuple(self._feeds.values()):
            await feed.stop()
        metrics.flush()

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration, also in subscriptions under way."""
        for name, feed in self._feeds.items():
            feed.take_up(replace(feed.space, config=settings.namespace(name)))

    async def publish(
        self, space: Namespace, message: Message, request_id: str, deadline: float
    ) -> int:
        """Sends a message; its sequence, 0 without a history. One round trip.

        The same request id sends it once. Raises InvalidFields if that was of another message, and
        the StoreErrors.
        """
        keeps = space.config.channels.history is not None
        if keeps:
            reply = await self._publish_kept(space, message, request_id, deadline)
        else:
            [reply] = await self._store.call(scripts.send(space, message, request_id), deadline)
        if reply == [answers.REUSED]:
            raise answers.reused()
        metrics.count_published()
        return int(reply) if keeps else 0

    async def subscribe(
        self,
        space: Namespace,
        channels: Sequence[str],
        globs: Sequence[Glob],
        resume_after: int | None,
        heartbeat_s: float,
        deadline: float,
    ) -> AsyncGenerator[Event, None]:
        """What is published to these channels, and to those that the globs match, until it is
        stopped. It begins with a heartbeat or a gap; further heartbeats come when nothing else came
        for the interval, as long as the connection is sure.

        The deadline is that of the first message. Raises NoHistory, InvalidFields for
        `resume_after`, WrongKind, ShuttingDown, the StoreErrors.
        """
        if self._dismissed:
            raise ShuttingDown("this worker is shutting down; nothing was done")
        if resume_after is not None and space.config.channels.history is None:
            raise NoHistory(space.name)
        feed = self._feed(space)
        ways = [(glob, redis_glob(keys.channel(space, glob.prefix))) for glob in globs]
        subscriber = Subscriber(channels, ways, self._backlog)
        self._subscribers.add(subscriber)
        metrics.SUBSCRIBERS.inc()
        try:
            await feed.attach(subscriber, deadline)
            if resume_after is None:
                yield Heartbeat(subscriber.sequence)
            else:
                async for event in self._catch_up(feed, subscriber, resume_after, heartbeat_s):
                    yield event
            due = self._loop.time() + heartbeat_s
            while True:
                taken, now = subscriber.take(), self._loop.time()
                if taken is None and (now < due or not feed.is_sure):
                    await subscriber.more(due)
                else:
                    due = now + heartbeat_s
                    yield taken or Heartbeat(feed.vouch(subscriber))
        finally:
            metrics.SUBSCRIBERS.dec()
            self._subscribers.discard(subscriber)
            feed.detach(subscriber)
            subscriber.leave()

    async def _catch_up(
        self, feed: Feed, subscriber: Subscriber, resume_after: int, heartbeat_s: float
    ) -> AsyncGenerator[Event, None]:
        """What came after a sequence until now; all that comes from now on waits already. If much
        of it is not for the subscriber, heartbeats say how far it is."""
        reading = Reading(0, resume_after, from_start=resume_after == 0)
        space, begun = feed.space, False
        page_size = scripts.PageSize(space)
        patient_until = self._loop.time() + FORMER_S
        due = self._loop.time() + heartbeat_s
        # While the feed is ahead by an epoch, this reads from the former primary.
        while not reading.done or reading.epoch < feed.epoch:
            counts, messages = await self._page(space, reading.sequence, page_size.now)
            if not begun and resume_after > counts.sequence:
                if counts.gap < feed.epoch or self._loop.time() < patient_until:
                    subscriber.check()
                    self._store.topology.suspect()
                    await asyncio.sleep(FORMER_PAUSE_S)
                    continue
                rule = (
                    f"is more than any sequence so far, {counts.sequence}: it is of another Redis, "
                    "or of one that lost its memory"
                )
                raise InvalidFields([FieldViolation("resume_after", rule)])
            for event in reading.take(counts, messages, page_size.now):
                subscriber.check()
                if isinstance(event, Gap):
                    metrics.count_gaps(event.reason, 1)
                elif not begun:
                    yield Heartbeat(resume_after)
                begun = True
                if isinstance(event, Gap) or subscriber.wants(event.channel):
                    yield event
                    due = self._loop.time() + heartbeat_s
            page_size.learn(messages)
            subscriber.check()
            if begun and self._loop.time() >= due:
                yield Heartbeat(reading.sequence)
                due = self._loop.time() + heartbeat_s
            if reading.done and reading.epoch < feed.epoch:
                await asyncio.sleep(PRIMARY_PAUSE_S)
        subscriber.caught_up(reading.epoch, reading.sequence)
        if not begun:
            yield Heartbeat(reading.sequence)

    async def _page(
        self, space: Namespace, sequence: int, size: int
    ) -> tuple[Counts, list[Message]]:
        """The messages after a sequence, at the primary, and its counts. Raises WrongKind, the
        StoreErrors."""
        deadline = self._soon()
        while True:
            request = scripts.read_after(space, sequence, size)
            reply, entries = await self._store.call(request, deadline)
            counts = scripts.counts(reply)
            if counts is not None and counts.primary == request.primary:
                return counts, scripts.messages(entries)
            try:
                await self._store.call(scripts.begin(space, request.primary), deadline)
            except PrimaryChanged:
                if self._loop.time() + PRIMARY_PAUSE_S >= deadline:
                    raise
                await asyncio.sleep(PRIMARY_PAUSE_S)

    async def _publish_kept(
        self, space: Namespace, message: Message, request_id: str, deadline: float
    ) -> Reply:
        while True:
            primary = await self._primary(space, deadline)
            request = scripts.publish(space, message, request_id, primary)
            try:
                [reply] = await self._store.call(request, deadline)
            except PrimaryChanged:  # nothing was done: what may have been is an OutcomeUnknown
                if self._loop.time() + PRIMARY_PAUSE_S >= deadline:
                    raise
                await asyncio.sleep(PRIMARY_PAUSE_S)
            else:
                return reply

    async def _primary(self, space: Namespace, deadline: float) -> bytes:
        """The run id of the namespace's primary. Raises StoreUnavailable."""
        slot = keys.partition(space).slot
        known = self._store.primary_run_id(slot)
        if known:
            return known
        request = read(slot, space.name, ("PING",))
        await self._store.call(request, deadline)
        return request.primary

    def _soon(self) -> float:
        return self._loop.time() + self._store.timeout_s

    def _feed(self, space: Namespace) -> Feed:
        feed = self._feeds.get(space.name)
        if feed is None:
            feed = self._feeds[space.name] = Feed(self._store, space)
            feed.start()
        return feed

    async def _keep_tidy(self) -> None:
        """Hands on what was counted, and ends what nobody needs."""
        while True:
            await asyncio.sleep(metrics.FLUSH_INTERVAL_S)
            metrics.flush()
            for name, feed in tuple(self._feeds.items()):
                if feed.is_over:
                    del self._feeds[name]
                    await feed.stop()
