"""Watches: streams of what is invalidated, and where wished for of what is written.

A worker reads the histories of a namespace once (feed.py) for all who watch it. A watch begins at
that moment, or where its token says: then it catches up with the history first, while what comes
anew waits for it (watcher.py).
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from time import monotonic

from prometheus_client import Gauge

from pantler_server.core import background
from pantler_server.core.config import Settings
from pantler_server.core.errors import FieldViolation, InvalidFields, ShuttingDown
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import keys
from pantler_server.engines.cache.watch import token
from pantler_server.engines.cache.watch.feed import Feed
from pantler_server.engines.cache.watch.history import Position
from pantler_server.engines.cache.watch.model import Told
from pantler_server.engines.cache.watch.token import Token
from pantler_server.engines.cache.watch.watcher import GAPS, Batch, Watcher
from pantler_server.store.store import Store
from pantler_server.store.tracking import Listener, Tracking

SURE_S = 2.0  # of a heartbeat: all that was in force so long before it has been sent
LOOK_AGAIN_S = 0.2  # while a heartbeat is due that can't be sent
END_INTERVAL_S = 1.0

Deployment = Callable[[float], Awaitable[bytes]]
"""Asks, until a deadline, for what tells the deployment that this worker is of from others. Raises
the StoreErrors."""

_WATCHERS = Gauge("pantler_watchers", "Watches under way", multiprocess_mode="livesum")


class WatchEngine:
    """`start` before use, `stop` after it. Deadlines are times of the event loop."""

    def __init__(self, store: Store, tracking: Tracking) -> None:
        self._store = store
        self._tracking = tracking
        self._feeds: dict[str, Feed] = {}
        self._parts: dict[bytes, tuple[Feed, int]] = {}
        self._watchers: set[Watcher] = set()
        self._deployment = b""
        self._asking = asyncio.Lock()
        self._dismissed = False
        self._task: asyncio.Task[None] | None = None
        tracking.listen(Listener(self._written, lambda _: self._read_all(), self._read_all))

    def start(self) -> None:
        self._task = background.start(self._keep_ending(), "watch")

    def dismiss(self) -> None:
        """Ends all watches, and takes no more."""
        self._dismissed = True
        for watcher in self._watchers:
            watcher.dismiss()

    async def stop(self) -> None:
        if self._task is not None:
            await background.stop((self._task,))
        for feed in tuple(self._feeds.values()):
            await feed.stop()

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration, also in watches under way."""
        for name, feed in self._feeds.items():
            feed.take_up(replace(feed.space, config=settings.namespace(name)))

    async def watch(
        self,
        spaces: Sequence[Namespace],
        deployment: Deployment,
        resume: Token | None,
        heartbeat_s: float,
        deadline: float,
    ) -> AsyncGenerator[Told, None]:
        """What happens in these namespaces, until it is stopped. The first message comes at once;
        from then on one without changes at the interval, as long as everything could be read.

        `deployment` is asked at the beginning, and where Redis may have lost everything. The
        deadline is that of the first message. Raises InvalidFields for `resume_token`,
        ShuttingDown, the StoreErrors.
        """
        self._deployment = await deployment(deadline)
        if self._dismissed:
            raise ShuttingDown("this worker is shutting down; nothing was done")
        _check(resume, spaces, self._deployment)
        watcher = Watcher()
        feeds = [self._use(space) for space in spaces]
        self._watchers.add(watcher)
        _WATCHERS.inc()
        try:
            for feed in feeds:
                await feed.begun(deadline)
            async for told in self._tell(watcher, feeds, deployment, resume, heartbeat_s):
                yield told
        finally:
            _WATCHERS.dec()
            self._watchers.discard(watcher)
            for feed in feeds:
                feed.detach(watcher)
                feed.users -= 1
                feed.idle_since = monotonic()

    async def _tell(
        self,
        watcher: Watcher,
        feeds: Sequence[Feed],
        deployment: Deployment,
        resume: Token | None,
        heartbeat_s: float,
    ) -> AsyncGenerator[Told, None]:
        parts: dict[str, bytes] = {}  # how far each namespace was told, for the next token
        behind: list[tuple[Feed, Sequence[int], Sequence[Position]]] = []
        gaps: list[str] = []
        for feed in feeds:
            name, positions = feed.space.name, feed.attach(watcher)
            parts[name] = feed.part
            if resume is None:
                continue
            was = resume.parts[name]
            if was.digest == token.digest(positions) and len(was.numbers) == len(positions):
                behind.append((feed, was.numbers, positions))
                parts[name] = token.pack(name, _at(was.numbers, positions))
            else:
                gaps.append(name)
                GAPS.labels("resume").inc()
        yield Told((), tuple(gaps), self._token(parts), _with_writes(feeds))
        for feed, numbers, positions in behind:
            async for batch in feed.catch_up(numbers, positions):
                watcher.check()
                await self._ask_anew(batch, deployment)
                yield self._told(batch, parts)
            parts[feed.space.name] = token.pack(feed.space.name, positions)
        due = monotonic() + heartbeat_s
        while True:
            taken = watcher.take()
            if taken is not None:
                await self._ask_anew(taken, deployment)
                yield self._told(taken, parts)
                continue
            now = monotonic()
            if now < due:
                await watcher.wait(due - now)
            elif all(now - feed.sure_at <= SURE_S for feed in feeds):
                parts |= {feed.space.name: feed.part for feed in feeds}
                due = now + heartbeat_s
                yield Told((), (), self._token(parts), _with_writes(feeds))
            else:
                await watcher.wait(LOOK_AGAIN_S)

    async def _ask_anew(self, batch: Batch, deployment: Deployment) -> None:
        """For the tokens from a batch on; once for all who are told it."""
        if not batch.anew:
            return
        async with self._asking:
            if batch.anew:
                deadline = asyncio.get_running_loop().time() + self._store.timeout_s
                self._deployment = await deployment(deadline)
                batch.anew = False

    def _told(self, batch: Batch, parts: dict[str, bytes]) -> Told:
        """The message of a batch; one for all, where the token is the same for all."""
        parts[batch.name] = batch.part
        if len(parts) == 1 and batch.told is not None:
            return batch.told
        gaps = (batch.name,) if batch.gap else ()
        told = Told(batch.changes, gaps, self._token(parts))
        if len(parts) == 1:
            batch.told = told
        return told

    def _token(self, parts: dict[str, bytes]) -> str:
        return token.write(self._deployment, parts.values())

    def _use(self, space: Namespace) -> Feed:
        """The namespace's feed, for a call that gives it back."""
        feed = self._feeds.get(space.name)
        if feed is None:
            feed = self._feeds[space.name] = Feed(self._store, space)
            self._tracking.follow(keys.histories(space.name))
            for index, partition in enumerate(space.partitions):
                self._parts[partition.tag] = feed, index
            feed.start()
        elif feed.space is not space:
            feed.take_up(space)
        feed.users += 1
        return feed

    async def _keep_ending(self) -> None:
        while True:
            await asyncio.sleep(END_INTERVAL_S)
            for name, feed in tuple(self._feeds.items()):
                if feed.is_over:
                    del self._feeds[name]
                    self._tracking.unfollow(keys.histories(name))
                    for partition in feed.space.partitions:
                        del self._parts[partition.tag]
                    await feed.stop()

    def _written(self, place: bytes | None) -> None:
        if place is None:
            self._read_all()
        elif place.startswith(keys.HISTORY):
            found = self._parts.get(place[len(keys.HISTORY) :])
            if found is not None:
                feed, index = found
                feed.written(index)

    def _read_all(self) -> None:
        """Something may have been written that was not told of."""
        for feed in self._feeds.values():
            feed.read_all()


def _at(numbers: Sequence[int], positions: Sequence[Position]) -> list[Position]:
    return [
        position._replace(number=number)
        for number, position in zip(numbers, positions, strict=True)
    ]


def _with_writes(feeds: Sequence[Feed]) -> tuple[str, ...]:
    return tuple(feed.space.name for feed in feeds if feed.space.config.near_cache)


def _check(resume: Token | None, spaces: Sequence[Namespace], deployment: bytes) -> None:
    if resume is None:
        return
    if resume.deployment != deployment:
        rule = (
            "was given by another deployment, or before this one lost its memory: begin without "
            "it, and treat everything as changed"
        )
        raise InvalidFields([FieldViolation("resume_token", rule)])
    if resume.parts.keys() != {space.name for space in spaces}:
        rule = "is the token of a watch over other namespaces"
        raise InvalidFields([FieldViolation("resume_token", rule)])
