"""Channels and patterns, followed on a connection of their own, which is opened again whenever it
is lost.

Names are added and dropped while it runs. Behind each SUBSCRIBE goes a command with a reply of its
own (`confirm`): what is published after that reply was made comes, and what came before it is
there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from itertools import islice
from typing import NamedTuple

import structlog

from pantler_server.core import background
from pantler_server.core.errors import ServiceError, StoreUnavailable, WrongKind
from pantler_server.store.connect import CONNECT_ERRORS
from pantler_server.store.link import Link, LinkLost, Reply, ReplyFailed
from pantler_server.store.node import Node
from pantler_server.store.request import pack
from pantler_server.store.store import NOT_NOW, REFUSED, Store

RETRY_S = 0.05  # waiters look for themselves meanwhile, and histories are read on
# While Redis answers with errors it is asked less and less often: down to this where another server
# or the same will do in a moment, and where an operator has to act.
NOT_NOW_RETRY_S = 0.5
REFUSED_RETRY_S = 5.0
PROBE_INTERVAL_S = 0.25  # how soon a dead connection, or one to a former primary, is left

PING = pack("PING")

_MOVING = frozenset({"ASK", "MOVED", "TRYAGAIN"})

log = structlog.get_logger(__name__)


class Name(NamedTuple):
    """What is followed: a channel, or all that match a glob of Redis."""

    text: str
    is_glob: bool = False


class Subscription:
    """Messages come at most once: those that are sent while there is no connection are lost.

    `on_push` gets what Redis sends: `message`, channel, payload, or `pmessage`, glob, channel,
    payload. `on_open` is awaited when a connection was made and all names are followed on it; it
    may ask on the link, and raise what that raises. `on_confirmed` gets each later reply of
    `confirm`. On a Cluster any primary will do, as a message goes to all; with a `slot` it is that
    slot's. `subject` is for error messages: what callers call it. Callbacks are called from the
    event loop and must not fail otherwise. `start` before use, `stop` after it.
    """

    def __init__(
        self,
        store: Store,
        on_push: Callable[[list[Reply]], None],
        on_open: Callable[[Link], Awaitable[None]],
        *,
        names: Iterable[Name] = (),
        slot: int | None = None,
        on_confirmed: Callable[[Reply], None] | None = None,
        subject: str = "",
    ) -> None:
        self.confirm = PING
        self.sure_at = float("-inf")
        """What its Redis knew of before this (time of the event loop) has come."""
        self._store = store
        self._on_push = on_push
        self._on_open = on_open
        self._on_confirmed = on_confirmed
        self._slot = slot
        self._subject = subject
        self._wanted = dict.fromkeys(names)
        self._followed: set[Name] = set()  # of those wanted: for certain, on the open link
        self._current: Link | None = None  # maybe not open yet
        self._link: Link | None = None  # open
        self._opened = asyncio.Event()
        self._failed: ReplyFailed | None = None  # why it can't be opened
        self._pause_s = RETRY_S
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = background.start(self._keep_following(), "subscription")

    async def stop(self) -> None:
        if self._task is not None:
            await background.stop((self._task,))

    @property
    def is_open(self) -> bool:
        """Whether `on_open` is done, and the connection not known to be lost."""
        return self._link is not None

    async def add(self, names: Collection[Name], deadline: float) -> None:
        """Follows these too, until they are dropped: what is published once it returns comes. No
        round trip if they are followed already. Raises WrongKind, StoreUnavailable."""
        self._wanted.update(dict.fromkeys(names))
        deadline = min(deadline, self._now() + self._store.timeout_s)
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._opened.wait()
                link = self._link
                assert link is not None  # as `_opened` is set
                if self._followed.issuperset(names):
                    return
                await self._ask(link, _subscribe(names), deadline)
            except (LinkLost, TimeoutError, ReplyFailed) as exc:
                if isinstance(exc, ReplyFailed) or self._now() >= deadline:
                    raise self._service_error(exc) from exc
                continue
            if link is self._link:
                self._followed.update(name for name in names if name in self._wanted)
                return

    def drop(self, names: Collection[Name]) -> None:
        """Follows these no more."""
        for name in names:
            self._wanted.pop(name, None)
        self._followed.difference_update(names)
        if self._link is not None:
            self._unsubscribe(self._link, names)

    def reopen(self) -> None:
        """Leaves the connection for another, also one that is just made."""
        if self._current is not None:
            self._current.close("to be opened again")

    async def _keep_following(self) -> None:
        while True:
            topology = self._store.topology
            if self._slot is None:
                node = next(iter(topology.primaries()), None)
            else:
                node = topology.primary(self._slot)
            if node is not None:
                try:
                    await self._follow(node)
                except (*CONNECT_ERRORS, LinkLost) as exc:
                    self._may_go_on()
                    log.debug("subscription lost", to=self._some(), detail=str(exc))
                except ReplyFailed as exc:
                    self._was_refused(exc)
                topology.suspect()
            await asyncio.sleep(self._pause_s)

    async def _follow(self, node: Node) -> None:
        """Ends, or fails, when the connection is lost or the node is no primary any more."""
        lost = asyncio.Event()

        def on_lost() -> None:
            self._closed()
            lost.set()

        link = self._current = await node.open_apart(on_lost, self._on_push)
        try:
            names = tuple(self._wanted)
            # SUBSCRIBE is answered by a push, unless it is refused, so the reply behind it says
            # that it is done; if it is refused, that reply is one too many and ends the link.
            sure_at = self._now()
            await self._submit(link, _subscribe(names) + PING)
            await self._on_open(link)
            if lost.is_set():
                return
            self._link, self.sure_at = link, sure_at
            self._followed = {name for name in names if name in self._wanted}
            self._unsubscribe(link, [name for name in names if name not in self._wanted])
            self._opened.set()
            self._may_go_on()
            while not lost.is_set() and self._is_primary(node):
                try:
                    async with asyncio.timeout(PROBE_INTERVAL_S):
                        await lost.wait()
                except TimeoutError:
                    await self._ask(link, b"", self._now() + self._store.timeout_s)
        finally:
            self._closed()
            link.close("subscription ended")

    def _may_go_on(self) -> None:
        self._failed, self._pause_s = None, RETRY_S

    def _was_refused(self, failed: ReplyFailed) -> None:
        codes = _codes(failed)
        if self._failed is None or _codes(self._failed) != codes:
            what = "not allowed to subscribe" if codes & REFUSED else "can't subscribe"
            log.warning(what, to=self._some(), error=str(failed))
            self._pause_s = RETRY_S
        self._failed = failed
        longest_s = NOT_NOW_RETRY_S if codes <= NOT_NOW | _MOVING else REFUSED_RETRY_S
        self._pause_s = min(2 * self._pause_s, longest_s)

    def _service_error(self, failure: Exception) -> ServiceError:
        """What who adds a name is told."""
        refused = failure if isinstance(failure, ReplyFailed) else self._failed
        if refused is not None and "WRONGTYPE" in _codes(refused):
            return WrongKind(self._subject)
        message = "channels can't be followed now; nothing was done"
        return StoreUnavailable(message, self._store.role)

    def _closed(self) -> None:
        self._current = self._link = None
        self._opened.clear()
        self.sure_at = float("-inf")

    def _is_primary(self, node: Node) -> bool:
        topology = self._store.topology
        if self._slot is None:
            return node in topology.primaries()
        return node is topology.primary(self._slot)

    def _some(self) -> list[str]:
        """For the log: what it follows, or the first of that."""
        return [name.text for name in islice(self._wanted, 3)]

    async def _ask(self, link: Link, commands: bytes, deadline: float) -> None:
        """Sends commands without replies, and `confirm`: messages come in their order, and the
        reply behind them."""
        began = self._now()
        [reply] = await link.submit((commands + self.confirm,), deadline)
        if link is self._link:
            self.sure_at = max(self.sure_at, began)
            if self._on_confirmed is not None:
                self._on_confirmed(reply)

    async def _submit(self, link: Link, command: bytes) -> None:
        await link.submit((command,), self._now() + self._store.timeout_s)

    def _unsubscribe(self, link: Link, names: Collection[Name]) -> None:
        if names:
            command = _commands("UNSUBSCRIBE", "PUNSUBSCRIBE", names) + PING
            done = link.submit((command,), self._now() + self._store.timeout_s)
            done.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def channel_subscription(
    store: Store,
    channel: str,
    on_message: Callable[[bytes], None],
    on_gap: Callable[[], None],
) -> Subscription:
    """Of one channel, at any primary. `on_message` gets each payload; `on_gap` is called when a
    connection was made, as messages may have been lost before it."""

    def on_push(push: list[Reply]) -> None:
        if push[0] == b"message":
            on_message(push[2])

    async def on_open(_: Link) -> None:
        on_gap()

    return Subscription(store, on_push, on_open, names=[Name(channel)])


def _codes(failed: ReplyFailed) -> set[str]:
    return {error.code for error in failed.args}


def _subscribe(names: Iterable[Name]) -> bytes:
    return _commands("SUBSCRIBE", "PSUBSCRIBE", names)


def _commands(of_channels: str, of_globs: str, names: Iterable[Name]) -> bytes:
    channels = [name.text for name in names if not name.is_glob]
    globs = [name.text for name in names if name.is_glob]
    packed = pack(of_channels, *channels) if channels else b""
    return packed + (pack(of_globs, *globs) if globs else b"")
