"""One log on its way to the origin, as a worker takes it there while it owns it.

A pass claims the log, takes batches of it, has the origin apply each in one transaction, and
settles what that came to. What may happen in between, step by step; W is this owner, V another:

1. W dies, or stands still, after its claim. Its ownership expires, and V claims the log, in a later
   epoch. Whatever W sends to the origin afterwards is of an epoch that is over once V has sent
   something, and OwnerSuperseded; its scripts compare the epoch and do nothing.
2. W stops after it took a batch and before its commit. V asks the origin how far it is (`applied`),
   and sends the same batch: its end stands in Redis, with those of the others that were begun. So V
   folds as W did, and what W may still commit until V's first commit is the very same: the origin
   does it once, since it compares the position. Should it have a part of the batch (W has unfolded
   it, or Redis has lost the ends), it refuses what does not go twice, and V unfolds.
3. W stops after the commit and before it has settled. V finds writes in the log that the origin
   has had, sends nothing, and settles them. What they came to it does not know: so their entries
   go, and those that W wrote down as dead stay so. It is the same if V asked before that commit was
   seen, and sends what W has brought: the origin says up to where it did nothing (`Origin.apply`).
4. W loses the answer to a commit (OriginOutcomeUnknown): it asks how far the origin is. If that
   does not have the batch, the transaction may still be under way: W sends the same batch again, as
   in 2. If it has it, that was W's newest attempt, or one before it that ended late, or V's: what
   the writes came to is not known either, as in 3.
5. W wrote down a write as dead and could not commit. If the origin says that nothing was done, W
   strikes that out again: the row of the log was locked, so no earlier attempt is under way. If W
   can't, or does not know, whoever does the batch next writes down the same, or strikes it out as
   it settles. Should that one stop before it has settled, too, a write may be called dead that is
   done, never the other way round. No dead write is retried or discarded while it is in the log.
6. Redis fails over. What W takes, writes down as dead and settles is for the Redis that it took the
   batch from, and is refused by another; it claims the log anew there. A replica that lacks the
   newest settling has again what was done: as 3. One that lacks the newest epoch gives a later one,
   by the clock. One that lacks the newest writes gives their numbers to no others
   (functions/next_version.lua): so those are not taken for done. And the origin has not had them,
   or their repeats would be done a second time: W sends nothing before it is as safe in Redis as
   its namespace asks for. Writes that are dead, which only the former knew of, are lost like
   others that only it had: `replicas` is for both.
7. A batch takes the origin too long, and comes in parts. If W stops in between, V sends the whole:
   the origin leaves out what it has had, and refuses an INSERT of which it has a part, as in 2. A
   transaction that was given up may still hold the row of the log: the first part waits for it, and
   then finds that the origin has had the whole, or nothing.
8. Settling is repeated, or is late: the log is cut up to a version, a pending record goes only by
   the version that is done. An entry may go without need, and is read again.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import structlog

from pantler_server.core import background
from pantler_server.core.errors import (
    OriginNotReady,
    OriginOutcomeUnknown,
    OriginUnavailable,
    StoreUnavailable,
    WriteRefused,
)
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.record import log_scripts, metrics
from pantler_server.engines.cache.record.dead_notes import DeadNotes
from pantler_server.engines.cache.record.durability import Safekeeping
from pantler_server.engines.cache.record.fold import Folded, batches, halves, settled_of
from pantler_server.engines.cache.record.log_scripts import CameTo, Logged, Settled
from pantler_server.origins.origin import Batch, Origin, OwnerSuperseded, Refusal
from pantler_server.store.store import Store

SETTLE_AT_ONCE = 500  # writes in one script, about a millisecond of Redis
FIRST_PAGE = 64  # writes that are read of a log before it is known how large they are
PAGE_BYTES = 8 << 20  # of fields that are read at once, about, as far as the ones before tell
LATE_SHARE = 0.9  # of a call's time: what failed after that took too long

_SLOW = OriginUnavailable | OriginOutcomeUnknown  # what an origin raises that was too slow

Deployment = Callable[[float], Awaitable[bytes]]
"""Asks, until a deadline, for what tells this deployment from others. Raises the StoreErrors."""

log = structlog.get_logger(__name__)


class NotOwned(Exception):
    """Another worker owns the log."""


class _ToUnfold(Exception):
    """The origin refuses some of a batch in which something was folded: nothing is committed."""


class _ToConfirm(Exception):
    """The origin refuses some of a batch, and that is not safe in Redis yet: nothing is
    committed."""


class _TooLarge(Exception):
    """A batch of several writes took the origin too long."""


class _Prepared(NamedTuple):
    """A batch as it was taken, and as it goes to the origin."""

    logged: list[Logged]
    had: list[Logged]
    """Those that the origin has had."""
    folded: list[Folded]
    """The others."""
    is_full: bool
    """Whether the log may have had more."""
    taken_us: int
    """When it was taken."""


class _Step(NamedTuple):
    """A batch that the origin has had."""

    last: int
    writes: list[Settled]


class LogDrain:
    """The log of one partition. One pass at a time."""

    def __init__(
        self,
        store: Store,
        cache: CacheEngine,
        durability: Safekeeping,
        channel: str,
        space: Namespace,
        index: int,
        deployment: Deployment,
    ) -> None:
        self.space = space
        self.partition: Partition = space.partitions[index]
        self.name = f"{space.name}:{index}"
        """Of the log, for people."""
        self.epoch = 0
        """In which this worker owned it last; 0 before that, and where it needs a later one."""
        self._store = store
        self._cache = cache
        self._durability = durability
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._applied: int | None = None  # how far the origin is; None: it has to be asked
        self._begun: list[int] = []  # where the batches end that are not settled
        self._primary = b""
        self._safe = 0  # up to which version what waits is as safe in that as it has to be
        self._deployment = deployment
        self._deployed = b""  # what it gave
        self._origins_name = ""  # of the log, for the origin: others may have a log like it
        self._dead = DeadNotes(store, durability, self.partition, self.name)
        self._page = FIRST_PAGE  # writes that are read at once, if `batch_size` allows
        self._most = math.inf  # writes that the origin was found to do in time

    async def drain(self, origin: Origin) -> int:
        """A pass: until the log has less than a batch left; how many writes it brought. Raises
        NotOwned, OwnerSuperseded, and the ServiceErrors of Redis and of the origin: then what is
        not done waits for the next pass."""
        begun = await self._claim()
        if self._applied is None:
            self._applied = await origin.applied(self._origins_name, self._timeout())
        again = frozenset(end for end in begun if end > self._applied)
        ends = sorted(again)
        self._begun = []
        settled: _Step | None = None
        count = 0
        batch = await self._take(0, ends)
        while batch is not None:
            last = batch.logged[-1].version
            # While the origin works, the next batch is made ready, and the one before is settled.
            step, following, _ = await background.together(
                self._write(origin, batch),
                self._take(last, ends) if batch.is_full or last in again else _nothing(),
                self._settle(settled),
            )
            if settled is not None:
                self._begun = [end for end in self._begun if end > settled.last]
            settled = step
            count += len(batch.logged)
            batch = following
        await self._settle(settled)
        return count

    async def renew(self) -> None:
        """Keeps the ownership for OWN_MS more, for a pass that takes long; if it is lost, that
        notices. Raises the StoreErrors."""
        await self._begin(())

    async def _claim(self) -> Sequence[int]:
        if not self._deployed:
            self._deployed = await self._deployment(self._soon())
        deployed = self._deployed.hex()
        request = log_scripts.claim(self.partition, self._channel, self.epoch, deployed)
        [reply] = await self._store.call(request, self._soon())
        claim = log_scripts.claimed(reply)
        if claim is None:
            self._applied = None
            raise NotOwned
        if claim.epoch != self.epoch or request.primary != self._primary:
            self._applied = None
            self._dead.forget_safe()
        if request.primary != self._primary:
            self._safe = 0
        self.epoch, self._primary = claim.epoch, request.primary
        self._origins_name = f"{claim.deployment}/{self.name}"
        return claim.begun

    async def _take(self, after: int, ends: list[int]) -> _Prepared | None:
        """The next batch after a version: up to the first of `ends`, which it takes from there.
        None if there is no more."""
        end = ends.pop(0) if ends else None
        most = min(self._page, self.space.config.write_behind.batch_size)
        request = log_scripts.read_batch(self.partition, after, end, most)
        try:
            [reply] = await self._store.call(request, self._soon())
        except StoreUnavailable:
            self._page = max(1, self._page // 8)  # it may have been too much at once
            raise
        logged = log_scripts.logged(reply)
        if not logged:  # at an end that was known: it is settled by now
            return None if end is None else await self._take(after, ends)
        each = log_scripts.bytes_of(reply) // len(logged)
        self._page = max(1, min(PAGE_BYTES // (each + 1), 8 * self._page))
        had = [one for one in logged if one.version <= (self._applied or 0)]
        folded = [*batches(logged[len(had) :])]
        self._begun.append(logged[-1].version)
        taken_us, newest = await self._begin((*self._begun, *ends))
        if logged[-1].version > self._safe:
            await self._make_safe(newest)
        return _Prepared(logged, had, folded, len(logged) >= most, taken_us)

    async def _begin(self, ends: Sequence[int]) -> tuple[int, int]:
        """Has it written down that the origin may have the batches with these ends; when that was
        (Unix us), and the newest version then. Raises NotOwned, the StoreErrors."""
        request = log_scripts.begin_batch(
            self.partition, self._channel, self.epoch, ends, self._primary
        )
        [reply] = await self._store.call(request, self._soon())
        if not reply:
            raise NotOwned
        taken_us, newest = map(int, reply)
        return taken_us, newest

    async def _make_safe(self, newest: int) -> None:
        """Waits until Redis can't lose the log up to a version: the origin is to have nothing that
        it may. One wait for all that is there. Raises the StoreErrors."""
        deadline = self._timeout()
        if not await self._durability.is_safe(self.space, self.partition, self._primary, deadline):
            raise StoreUnavailable(
                "writes are not as safe in Redis as their namespace asks for", self._store.role
            )
        self._safe = newest

    async def _write(self, origin: Origin, batch: _Prepared) -> _Step:
        """Has the origin apply a batch; what its writes came to."""
        began = self._loop.time()
        done = [Settled(one.key, one.version, CameTo.SEEN_TO) for one in batch.had]
        for folded in batch.folded:
            done += await self._bring(origin, folded)
        if batch.folded:
            metrics.DRAINED.labels(self.space.name).inc(len(batch.logged) - len(batch.had))
            waited_us = batch.taken_us - batch.logged[len(batch.had)].appended_us
            metrics.DRAIN_LAG.observe(max(0.0, waited_us / 1e6 + self._loop.time() - began))
        return _Step(batch.logged[-1].version, done)

    async def _bring(self, origin: Origin, folded: Folded) -> list[Settled]:
        """All of a batch, in as many transactions as it takes."""
        logged = folded.logged
        if len(folded.writes) > self._most:
            parts = halves(logged)
        else:
            try:
                return await self._apply(origin, folded)
            except _ToUnfold:
                parts = [*batches(logged, apart=True)]
            except _TooLarge:
                # A quarter: so it is down to one before the breaker opens, after five failures.
                self._most = max(1, len(folded.writes) // 4)
                parts = halves(logged)
            except WriteRefused as refused:  # as a whole: it broke a rule at the commit, say
                if len(logged) == 1:
                    return await self._bury(origin, folded, refused.message)
                parts = halves(logged)
        return [settled for part in parts for settled in await self._bring(origin, part)]

    async def _bury(self, origin: Origin, folded: Folded, reason: str) -> list[Settled]:
        """One write, which the origin has refused without a word before its commit."""
        reasons = {folded.last: reason}
        await self._note_dead(folded, reasons)
        await self._dead.make_safe(self.space, reasons, self._primary)
        await self._apply(origin, folded._replace(writes=[]))
        return settled_of(folded, reasons)

    async def _apply(self, origin: Origin, folded: Folded) -> list[Settled]:
        """One transaction. Raises _ToUnfold, _TooLarge, and WriteRefused if the origin takes
        nothing."""
        while True:  # it ends: each time something is confirmed that was not
            reasons: dict[int, str] = {}
            try:
                return await self._transact(origin, folded, reasons)
            except _ToConfirm:
                # Now, since nobody's rows are locked meanwhile, and the origin's time does not run.
                await self._dead.make_safe(self.space, reasons, self._primary)

    async def _transact(
        self, origin: Origin, folded: Folded, reasons: dict[int, str]
    ) -> list[Settled]:
        """Puts why writes are refused into `reasons`. Raises as `_apply`, and _ToConfirm."""
        broken_off: Exception | None = None

        async def before_commit(refused: Sequence[Refusal]) -> None:
            nonlocal broken_off
            reasons.update((one.version, one.reason) for one in refused)
            if reasons and folded.is_folded:
                broken_off = _ToUnfold()
            elif not self._dead.are_safe(reasons):
                await self._note_dead(folded, reasons)
                if self._durability.must_wait(self.space, self._primary):
                    broken_off = _ToConfirm()
            if broken_off is not None:
                raise broken_off

        batch = Batch(self._origins_name, self.epoch, folded.last, folded.writes)
        began = self._loop.time()
        deadline = self._timeout()
        late = began + LATE_SHARE * (deadline - began)
        try:
            had = await origin.apply(batch, before_commit, deadline)
        except OwnerSuperseded:
            # The Redis of now may lack the newest epoch. As who never owned it this worker gets one
            # of its own, or hears of the other owner.
            self._applied, self.epoch = None, 0
            raise
        except Exception as error:
            if broken_off is not None:  # whatever the origin made of it
                raise broken_off from None
            is_late = self._loop.time() >= late
            had = await self._failed(origin, folded, reasons, error)
            if had < folded.last:
                if is_late and len(folded.writes) > 1 and isinstance(error, _SLOW):
                    raise _TooLarge from error
                raise
        else:
            was_quick = self._loop.time() < began + (deadline - began) / 4
            if was_quick and 2 * len(folded.writes) > self._most:
                self._most *= 2
        self._applied = max(folded.last, had)
        self._dead.settled(reasons)
        return settled_of(folded, reasons, had)

    async def _failed(
        self, origin: Origin, folded: Folded, reasons: dict[int, str], error: Exception
    ) -> int:
        """How far the origin is after a failure, as far as that is in doubt; else 0."""
        if isinstance(error, OriginOutcomeUnknown):
            self._applied = None  # should it not answer, the next pass asks
            self._applied = await origin.applied(self._origins_name, self._timeout())
            return self._applied
        says_so = isinstance(error, OriginUnavailable | OriginNotReady | WriteRefused)
        if reasons and says_so:  # that nothing was done
            await self._dead.strike_out(reasons, self.epoch, self._primary)
        return 0

    async def _note_dead(self, folded: Folded, reasons: Mapping[int, str]) -> None:
        """Raises NotOwned and the StoreErrors: then nothing may be committed."""
        if not await self._dead.note(folded.writes, reasons, self.epoch, self._primary):
            raise NotOwned

    async def _settle(self, step: _Step | None) -> None:
        """Forgets what the origin has had. The log is cut last: what comes in between only has
        this done again."""
        if step is None:
            return
        dropped = [one.key for one in step.writes if one.came_to is not CameTo.WRITTEN]
        for key in dropped:
            self._cache.note_change(self.space, key)
        try:
            for begin in range(0, len(step.writes), SETTLE_AT_ONCE):
                part = step.writes[begin : begin + SETTLE_AT_ONCE]
                is_last = begin + SETTLE_AT_ONCE >= len(step.writes)
                last = step.last if is_last else None
                request = log_scripts.settle(self.space, self.partition, last, part, self._primary)
                await self._store.call(request, self._soon())
        finally:
            self._cache.forget(self.space, dropped)

    def _timeout(self) -> float:
        """The deadline of a call of the origin."""
        config = self.space.config.origin
        timeout_s = self._store.timeout_s if config is None else config.timeout.total_seconds()
        return self._loop.time() + timeout_s

    def _soon(self) -> float:
        return self._loop.time() + self._store.timeout_s


async def _nothing() -> None:
    """Where there is nothing to do beside the rest."""
