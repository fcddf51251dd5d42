"""One connection to one Redis server, shared by every call: the auto-pipelining hot path.

Calls issued in one tick of the event loop leave as one write, and replies are matched in order.
redis-py opens the connection (address, TLS, AUTH, RESP3, SELECT); from then on the bytes are packed
and read by hiredis here, because redis-py's own path costs several times as much for each command
(docs/adr/0002-resp-over-hiredis.md has the figures). Nothing is ever sent twice from here.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import hiredis

Reply = Any  # what RESP can carry: bytes, int, None, float, bool, list, dict, or an error


class ReplyError(Exception):
    """An error that Redis answered with; its text starts with the code, as in `WRONGTYPE …`."""

    @property
    def code(self) -> str:
        return str(self).partition(" ")[0]


class ReplyFailed(Exception):
    """At least one reply of a call is a `ReplyError`; `replies` has them all."""

    def __init__(self, replies: list[Reply]) -> None:
        super().__init__(*(r for r in replies if isinstance(r, ReplyError)))
        self.replies = replies


class LinkLost(Exception):
    """The call got no answer. `sent`: it may have reached Redis; otherwise it certainly did not."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class LinkTimeout(LinkLost):
    """The call's deadline passed first. The connection may be well."""


class _Call:
    __slots__ = ("awaited", "deadline", "future", "joined", "replies")

    def __init__(self, future: asyncio.Future[list[Reply]], awaited: int, deadline: float) -> None:
        self.future = future
        self.awaited = awaited  # replies still to come
        self.deadline = deadline  # loop time
        self.replies: list[Reply] = []
        self.joined: list[_Call] | None = None  # others that get the same replies


class Link(asyncio.Protocol):
    """A connection that many calls share. Made by `store/connect.py`, owned by a `Node`.

    `run_id` is the beginning of the server's run id (8 bytes): another at each of its starts.
    `heard` grows whenever the server sends something. `on_push` is called with what it sends
    unasked, as messages of a subscribed channel.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        run_id: bytes,
        on_lost: Callable[[], None],
        on_push: Callable[[list[Reply]], None] | None = None,
    ) -> None:
        self.run_id = run_id
        self.heard = 0
        self._loop = loop
        self._on_lost = on_lost
        self._on_push = on_push
        self._reader = hiredis.Reader(replyError=ReplyError)
        self._transport: asyncio.WriteTransport | None = None
        self._unsent: list[bytes] = []
        self._unsent_calls: list[_Call] = []
        self._unsent_reads: dict[bytes, _Call] = {}
        self._pending: deque[_Call] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    @property
    def load(self) -> int:
        """Calls that wait for an answer."""
        return len(self._pending) + len(self._unsent_calls)

    def take_over(self, stream: asyncio.StreamWriter) -> None:
        """Becomes the protocol of an open, authenticated connection with no reply outstanding."""
        self._stream = stream  # kept alive: its finalizer would close the transport
        self._transport = transport = stream.transport
        transport.set_protocol(self)

    def submit(self, commands: Sequence[bytes], deadline: float) -> asyncio.Future[list[Reply]]:
        """Sends packed commands with everything else of this tick; the future has a reply for each.

        It fails with ReplyFailed if any reply is an error, with LinkLost if the connection went
        away and with LinkTimeout if `deadline` (loop time) passed first.
        """
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        if self._transport is None:
            future.set_exception(LinkLost("not connected", sent=False))
            return future
        call = _Call(future, len(commands), deadline)
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.extend(commands)
        self._unsent_calls.append(call)
        if deadline < self._timer_at:
            self._set_timer(deadline)
        return future

    def submit_read(
        self, commands: Sequence[bytes], deadline: float
    ) -> asyncio.Future[list[Reply]]:
        """As `submit`, of commands that the first of them tells from all others and that change
        nothing. Joins the same ones while they have not been sent: a reader must not be answered by
        a read that was under way before it asked."""
        first = self._unsent_reads.get(commands[0])
        if first is None:
            future = self.submit(commands, deadline)
            if self._unsent_calls:
                self._unsent_reads[commands[0]] = self._unsent_calls[-1]
            return future
        future = self._loop.create_future()
        joined = _Call(future, 0, deadline)
        if first.joined is None:
            first.joined = [joined]
        else:
            first.joined.append(joined)
        if deadline < self._timer_at:
            self._set_timer(deadline)
        return future

    def close(self, reason: str) -> None:
        """Drops the connection; every call that waits fails with LinkLost."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        transport.abort()
        if self._timer is not None:
            self._timer.cancel()
        sent, self._pending = self._pending, deque()
        unsent, self._unsent_calls = self._unsent_calls, []
        self._unsent = []
        self._unsent_reads = {}
        for call in _each(sent):
            if not call.future.done():
                call.future.set_exception(LinkLost(reason, sent=True))
        for call in _each(unsent):
            if not call.future.done():
                call.future.set_exception(LinkLost(reason, sent=False))
        self._on_lost()

    def _flush(self) -> None:
        if self._transport is None:
            return
        commands, self._unsent = self._unsent, []
        self._pending.extend(self._unsent_calls)
        self._unsent_calls = []
        if self._unsent_reads:
            self._unsent_reads = {}
        self._transport.write(b"".join(commands))

    def data_received(self, data: bytes) -> None:
        self.heard += 1
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:  # False: no whole reply is left
                if reply.__class__ is not hiredis.PushNotification:
                    self._deliver(reply)
                elif self._on_push is not None:
                    self._on_push(reply)
        except hiredis.ProtocolError as exc:
            self.close(f"unreadable reply: {exc}")

    def _deliver(self, reply: Reply) -> None:
        if not self._pending:
            self.close("a reply that nobody asked for")
            return
        call = self._pending[0]
        call.replies.append(reply)
        call.awaited -= 1
        if call.awaited:
            return
        self._pending.popleft()
        _answer(call.future, call.replies)
        if call.joined is not None:
            for other in call.joined:
                _answer(other.future, call.replies)

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(f"connection lost: {exc}" if exc else "connection closed by Redis")

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._expire)

    def _expire(self) -> None:
        """Fails the calls whose deadline passed.

        Their replies are still consumed when they come. The connection stays: a short deadline of
        one caller says nothing about it, and its node's probe drops it if it is dead.
        """
        now = self._loop.time()
        next_at = float("inf")
        # Those that are not sent will be in a moment.
        for call in chain(_each(self._pending), _each(self._unsent_calls)):
            if call.future.done():
                continue
            if call.deadline <= now:
                call.future.set_exception(LinkTimeout("no answer in time", sent=True))
            elif call.deadline < next_at:
                next_at = call.deadline
        self._timer = None
        self._timer_at = float("inf")
        if next_at < float("inf"):
            self._set_timer(next_at)


def _each(calls: Iterable[_Call]) -> Iterator[_Call]:
    """Calls, and those that have joined them."""
    for call in calls:
        yield call
        yield from call.joined or ()


def _answer(future: asyncio.Future[list[Reply]], replies: list[Reply]) -> None:
    if future.done():  # cancelled, or its deadline passed
        return
    for reply in replies:
        if reply.__class__ is ReplyError:
            future.set_exception(ReplyFailed(replies))
            return
    future.set_result(replies)
