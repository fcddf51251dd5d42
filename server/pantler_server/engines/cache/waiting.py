"""Waiting for another caller's fill.

Who waits does so in a room of this worker, one for each key, which asks for the lease on behalf of
its callers and registers this worker's channel in the lease. Whatever ends a lease publishes to the
channels that it finds there (functions/void_lease.lua). The message carries no value: a room that
is woken reads again, and so it does when the subscription was away, when the lease expires, and
every POLL_S. So a lost message costs at most POLL_S and a read.

A caller is answered only from a read that was sent after it entered. Otherwise

    1. the room sends its read, which sees value A
    2. A is deleted, and the delete acknowledged
    3. a caller reads, sees the miss, and enters
    4. the reply of 1 arrives

would give the caller what was gone before it asked.
"""

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import suppress

from prometheus_client import Gauge

from pantler_server.core import background
from pantler_server.core.errors import ServiceError
from pantler_server.engines.cache import keys
from pantler_server.engines.cache.leases import Grant, Leases
from pantler_server.engines.cache.model import Hit, Lease, LeaseAsk, Miss
from pantler_server.engines.cache.reading import Place, Reader, Sight, judge
from pantler_server.store.store import Store
from pantler_server.store.subscription import channel_subscription

POLL_S = 0.25  # bounds what a lost message costs; a room costs some 0.1 ms of processor each time
COMMAND_S = 1.0  # for a room's own commands, which no single caller's deadline bounds
EXPIRY_MARGIN_S = 0.002  # a lease that is said to end now may last for the rest of its millisecond

_WAITING = Gauge(
    "pantler_cache_waiting",
    "Callers that wait for another caller's fill",
    multiprocess_mode="livesum",
)


class WaitingRooms:
    """The rooms of a worker. `start` before use, `stop` after it."""

    def __init__(self, store: Store, reader: Reader, leases: Leases) -> None:
        self._reader = reader
        self._leases = leases
        self._channel = f"pantler:wake:{secrets.token_hex(8)}"
        self._rooms: dict[bytes, _Room] = {}  # by the place of the lease
        self._closed = False
        self._subscription = channel_subscription(store, self._channel, self._wake, self._wake_all)

    def start(self) -> None:
        self._subscription.start()

    async def stop(self) -> None:
        await self._subscription.stop()
        await background.stop([room.task for room in self._rooms.values()])

    def dismiss(self) -> None:
        """Lets nobody wait any more: all are answered that nothing came."""
        self._closed = True
        for room in self._rooms.values():
            for waiter in room.waiters:
                waiter.dismiss()

    async def wait(
        self,
        at: Place,
        sight: Sight,
        ask: LeaseAsk,
        until: float,
        *,
        accept_stale: bool,
        party: "list[Waiter] | None" = None,
    ) -> Hit | Miss | None:
        """For a caller whose read saw a miss: a fill, a stale entry once a fetch has failed, or the
        lease, whichever comes first; None if none came until `until` (loop time), or it was
        dismissed: `party` gets who waits. Raises StoreError."""
        if self._closed:
            return None
        waiter = Waiter(ask, accept_stale)
        if party is not None:
            party.append(waiter)
        lease = keys.lease(at.partition, at.entry)
        room = self._rooms.get(lease)
        if room is None:
            room = self._rooms[lease] = _Room(at, self._reader, self._leases, self._channel)
            room.task = background.start(self._run(lease, room, sight), "waiting room")
        room.enter(waiter)
        _WAITING.inc()
        try:
            async with asyncio.timeout_at(until):
                return await waiter.answer
        except TimeoutError:
            # An answer may have come in the same tick; it may be the lease.
            return waiter.answer.result() if waiter.answered else None
        except asyncio.CancelledError:
            if waiter.grant is not None:
                self._leases.give_back(at, waiter.grant)
            raise
        finally:
            _WAITING.dec()
            room.leave(waiter)

    async def _run(self, lease: bytes, room: "_Room", sight: Sight) -> None:
        try:
            await room.serve(sight)
        except ServiceError as error:
            room.fail(error)
        finally:
            del self._rooms[lease]

    def _wake(self, lease: bytes) -> None:
        room = self._rooms.get(lease)
        if room is not None:
            room.wake.set()

    def _wake_all(self) -> None:
        for room in self._rooms.values():
            room.wake.set()


class Waiter:
    """A caller that waits. `grant` is the lease that it was answered with, if that was one."""

    __slots__ = ("accept_stale", "answer", "ask", "grant")

    def __init__(self, ask: LeaseAsk, accept_stale: bool) -> None:
        self.ask = ask
        self.accept_stale = accept_stale
        self.answer: asyncio.Future[Hit | Miss | None] = asyncio.get_running_loop().create_future()
        self.grant: Grant | None = None

    def dismiss(self) -> None:
        """Answers that nothing came."""
        if not self.answer.done():
            self.answer.set_result(None)

    @property
    def answered(self) -> bool:
        return self.answer.done() and not self.answer.cancelled()


class _Room:
    """The callers of this worker that wait for one key."""

    task: asyncio.Task[None]

    def __init__(self, at: Place, reader: Reader, leases: Leases, channel: str) -> None:
        self.waiters: dict[Waiter, None] = {}  # in the order in which they came
        self.wake = asyncio.Event()
        self._at = at
        self._reader = reader
        self._leases = leases
        self._channel = channel
        self._holder = ""  # who has the lease, as far as is known

    def enter(self, waiter: Waiter) -> None:
        self.waiters[waiter] = None
        if waiter.ask.holder == self._holder:
            self.wake.set()  # it holds the lease and asks again: the same lease is its answer

    def leave(self, waiter: Waiter) -> None:
        self.waiters.pop(waiter, None)
        if not self.waiters:
            self.wake.set()  # nobody is left to serve

    async def serve(self, sight: Sight) -> None:
        """Answers the waiters until none is left. `sight` is what the first of them read."""
        while self.waiters:
            pause_s = await self._take_lease(sight)
            if self.waiters:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self.wake.wait()
            if self.waiters:
                sight = await self._read_until_missing()

    async def _read_until_missing(self) -> Sight:
        """Reads and answers; again at once if an entry was there and callers came meanwhile."""
        while True:
            self.wake.clear()  # before the read is sent: what wakes from now on reads again
            present = tuple(self.waiters)
            sight = await self._reader.get(self._at, _command_deadline())
            found = self._answer(present, sight, failed=False)
            if not self.waiters or not isinstance(found, Hit):
                return sight

    def fail(self, error: ServiceError) -> None:
        """Answers all with an error: they learn in time that Redis is away."""
        for waiter in self.waiters:
            if not waiter.answer.done():
                waiter.answer.set_exception(error)

    async def _take_lease(self, sight: Sight) -> float:
        """Asks for the lease on behalf of a waiter; how long to wait then (seconds)."""
        present = tuple(self.waiters)
        asker = next((one for one in present if one.ask.holder == self._holder), present[0])
        grant = await self._leases.ask(
            self._at,
            sight,
            asker.ask,
            _command_deadline(),
            accept_stale=asker.accept_stale,
            channel=self._channel,
        )
        if grant is None:
            return 0  # another entry is there by now
        self._holder = grant.holder
        if grant.lease is not None:
            self._hand_over(sight, grant, grant.lease)
        if grant.failed:
            self._answer(present, sight, failed=True)
        left_us = grant.expires_us - sight.view.now_us
        return min(POLL_S, max(0, left_us) / 1e6 + EXPIRY_MARGIN_S)

    def _hand_over(self, sight: Sight, grant: Grant, lease: Lease) -> None:
        """Gives the lease to each call of its holder."""
        callers = [
            one for one in self.waiters if one.ask.holder == grant.holder and not one.answer.done()
        ]
        if not callers:  # all gave up meanwhile: the lease is for the next
            self._leases.give_back(self._at, grant)
        for caller in callers:
            found = judge(sight, self._at, accept_stale=caller.accept_stale, failed=grant.failed)
            caller.grant = grant
            self._settle(caller, found._replace(fill_token=lease.token, lease=lease))

    def _answer(self, present: Sequence[Waiter], sight: Sight, *, failed: bool) -> Hit | Miss:
        """Answers those who are content with what was read; what it is to those who accept no stale
        entry."""
        fresh = stale = judge(sight, self._at, accept_stale=False)
        if isinstance(fresh, Miss):
            stale = judge(sight, self._at, accept_stale=True, failed=failed)
        for waiter in present:
            found = stale if waiter.accept_stale else fresh
            if isinstance(found, Hit) and waiter in self.waiters:
                self._settle(waiter, found)
        return fresh

    def _settle(self, waiter: Waiter, found: Hit | Miss) -> None:
        del self.waiters[waiter]
        if not waiter.answer.done():
            waiter.answer.set_result(found)


def _command_deadline() -> float:
    return asyncio.get_running_loop().time() + COMMAND_S
