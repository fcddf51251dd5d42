"""Follows the writes of every primary: a memory of ours forgets what they change, a watch reads on.

Redis tells of each written key that begins with one of our prefixes (CLIENT TRACKING in BCAST
mode), on a connection of its own to each primary. It does so at the end of a turn of its loop,
behind the replies of that turn. So a connection asks twice in a row, at an interval: what was
written before the first question was sent is told of before the second is answered. That time is
`sure_at`; a connection that is stalled or half open shows in its standing still.

Redis compares every key that is written with every prefix of anybody, so they are kept few: where
many of a kind are wanted, what they have in common is followed instead. It drops none of them
before the connection ends, nor takes one that overlaps with another. So a connection that follows
too much, or too little to add to, is opened again, as after a loss.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from time import monotonic
from typing import NamedTuple

import structlog

from pantler_server.core import background
from pantler_server.store.connect import CONNECT_ERRORS
from pantler_server.store.link import Link, LinkLost, Reply, ReplyFailed
from pantler_server.store.node import Node
from pantler_server.store.request import pack
from pantler_server.store.store import Store

ASK_INTERVAL_S = 0.1
ANSWER_S = 1.0  # a connection that takes longer is opened again
RETRY_S = 0.05
REFUSED_RETRY_S = 5.0  # until an operator has given the right
MOST_PREFIXES = 24  # all of them cost each write of the Redis up to 1 µs
MOST_DEAD = 16  # that nobody wants any more

_TIME = pack("TIME")  # an answer like any other, and it tells Redis's clock

_numbers = count(1)

log = structlog.get_logger(__name__)


class Tracked:
    """A primary whose writes are followed, for as long as one connection holds."""

    __slots__ = ("ahead_us", "followed_since", "number", "round_us", "sure_at")

    def __init__(self) -> None:
        self.number = next(_numbers)
        """Of no other in this process."""
        self.sure_at = float("-inf")
        """All that was written before this time (of `monotonic`) has been told of."""
        self.ahead_us = 0
        """How far Redis's clock (Unix us) is ahead of `monotonic`; too much by up to `round_us`."""
        self.round_us = 0
        self.followed_since: dict[bytes, float] = {}
        """Since when (of `monotonic`) each prefix is, or whole kind."""

    def covered_since(self, prefix: bytes) -> float | None:
        """Since when the keys are followed that begin so; None if they are not."""
        since = self.followed_since.get(prefix)
        return self.followed_since.get(_kind(prefix)) if since is None else since


class Listener(NamedTuple):
    """Who is told of writes, all those that anyone follows. All are called from the event loop and
    must not fail."""

    on_write: Callable[[bytes | None], None]
    """Gets each written key, None for all of them."""
    on_lost: Callable[[Tracked], None]
    """Gets a primary that is not followed any more."""
    on_followed: Callable[[], None] = lambda: None
    """A primary is followed from now on, at least for some prefix."""


class Tracking:
    """`start` before use, `stop` after it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: list[Listener] = []
        self._users: Counter[bytes] = Counter()
        """Of each prefix that is wanted."""
        self._chosen: set[bytes] = set()
        """What connections are to follow for that: prefixes and kinds."""
        self._tracked: dict[bytes, Tracked] = {}
        self._followers: dict[Node, asyncio.Task[None]] = {}
        self._wakes: set[asyncio.Event] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = background.start(self._keep_looking(), "tracking")

    async def stop(self) -> None:
        if self._task is not None:
            await background.stop((self._task, *self._followers.values()))

    def listen(self, listener: Listener) -> None:
        """Comes before `start`."""
        self._listeners.append(listener)

    def follow(self, prefix: bytes) -> None:
        """Follows the keys that begin so, from soon on, until `unfollow` was called as often. It
        goes at least as far as the brace of the hash tag, and is not the beginning of another."""
        self._users[prefix] += 1
        if self._users[prefix] == 1:
            self._choose()

    def unfollow(self, prefix: bytes) -> None:
        """Gives back what `follow` got."""
        self._users[prefix] -= 1
        if not self._users[prefix]:
            del self._users[prefix]
            self._choose()

    def _choose(self) -> None:
        """All that is wanted; of too many, the kinds with the most members instead of these."""
        was, self._chosen = self._chosen, set(self._users)
        kinds = Counter(map(_kind, self._users))
        for kind in sorted(kinds, key=lambda kind: (kind not in was, -kinds[kind])):
            # One that is followed stays so for a while, since each change costs a connection.
            bound = MOST_PREFIXES // 2 if kind in was else MOST_PREFIXES
            if len(self._chosen) > bound:
                self._chosen = {one for one in self._chosen if _kind(one) != kind} | {kind}
        for wake in self._wakes:
            wake.set()

    def of(self, run_id: bytes) -> Tracked | None:
        """The primary with this run id, if it is followed."""
        return self._tracked.get(run_id)

    async def _keep_looking(self) -> None:
        while True:
            primaries = set(self._store.topology.primaries()) if self._chosen else set()
            for node in primaries - self._followers.keys():
                work = self._keep_following(node)
                self._followers[node] = background.start(work, f"tracking {node.address}")
            for node in self._followers.keys() - primaries:
                await background.stop((self._followers.pop(node),))
            await asyncio.sleep(ASK_INTERVAL_S)

    async def _keep_following(self, node: Node) -> None:
        while True:
            try:
                await self._follow(node)
            except (*CONNECT_ERRORS, LinkLost) as exc:
                log.debug("tracking lost", address=str(node.address), detail=str(exc))
            except ReplyFailed as exc:
                log.warning("not allowed to track", address=str(node.address), error=str(exc))
                await asyncio.sleep(REFUSED_RETRY_S)
            await asyncio.sleep(RETRY_S)

    async def _follow(self, node: Node) -> None:
        """Ends when another connection must follow; fails when this one is lost."""
        wake = asyncio.Event()
        link = await node.open_apart(wake.set, self._pushed)
        tracked = Tracked()
        self._tracked[link.run_id] = tracked
        self._wakes.add(wake)
        try:
            while not self._is_outdated(tracked):
                wake.clear()
                await self._follow_new(link, tracked)
                await self._make_sure(link, tracked)
                with suppress(TimeoutError):
                    async with asyncio.timeout(ASK_INTERVAL_S):
                        await wake.wait()
        finally:
            self._wakes.discard(wake)
            link.close("tracking ended")
            if self._tracked.get(link.run_id) is tracked:
                del self._tracked[link.run_id]
            for listener in self._listeners:
                listener.on_lost(tracked)

    def _is_outdated(self, tracked: Tracked) -> bool:
        followed = tracked.followed_since.keys()
        dead, new = followed - self._chosen, self._chosen - followed
        return (
            len(dead) > MOST_DEAD
            or any(_kind(one) == one for one in dead)  # it hears of far too much
            or any(_kind(one) in new for one in followed)  # these overlap
        )

    async def _follow_new(self, link: Link, tracked: Tracked) -> None:
        new = self._chosen - tracked.followed_since.keys()
        if new:
            words = [word for prefix in new for word in (b"PREFIX", prefix)]
            await _ask(link, pack("CLIENT", "TRACKING", "ON", "BCAST", *words))
            tracked.followed_since |= dict.fromkeys(new, monotonic())
            for listener in self._listeners:
                listener.on_followed()

    async def _make_sure(self, link: Link, tracked: Tracked) -> None:
        first = monotonic()
        await _ask(link, _TIME)
        second = monotonic()
        seconds, microseconds = await _ask(link, _TIME)
        tracked.round_us = int((monotonic() - second) * 1e6)
        tracked.ahead_us = int(seconds) * 1_000_000 + int(microseconds) - int(second * 1e6)
        tracked.sure_at = first

    def _pushed(self, push: list[Reply]) -> None:
        if push[0] != b"invalidate":
            return
        written = (None,) if push[1] is None else push[1]  # None: FLUSHALL
        for listener in self._listeners:
            for key in written:
                listener.on_write(key)


def _kind(prefix: bytes) -> bytes:
    """What many prefixes begin with: up to and with the brace of the hash tag."""
    return prefix[: prefix.index(b"{") + 1]


async def _ask(link: Link, command: bytes) -> Reply:
    deadline = asyncio.get_running_loop().time() + ANSWER_S
    [reply] = await link.submit((command,), deadline)
    return reply
