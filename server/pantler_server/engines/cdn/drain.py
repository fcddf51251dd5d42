"""What waits for a target on its way there, as the worker that owns the target takes it.

The owner claims the target again and again, which keeps it so, and reads what is new in the queue.
It holds all of it (held.py): nothing that waits hides what comes behind it. Of what is due it makes
requests (batching.py); each that is done or refused is settled: the entries that have nothing left
go from the queue, and the receipts say so, in one script. What may happen in between, step by step;
W is this owner, V another:

1. W dies after an append: its ownership expires, V claims the target and reads the queue from its
   beginning. If nobody owned it, the append tells its worker, which claims it.
2. W dies after it has read, before or while it sends: nothing has changed in Redis. V does it all.
3. W dies after the target has purged, before that is settled: V purges once more, which does no
   harm.
4. The reply to a settling is lost: it is settled again, and only what is still in the queue counts.
   While Redis is away W keeps what is to be settled, and does it first when it is back.
5. W stands still, V claims the target, W wakes: both send for a moment, at twice the rate. W's next
   claim tells it, and it forgets what it has read. Whatever either settles is done.
6. Something is appended while the same value is on its way to the target: it is read later, and is
   a request of its own. A request is made only of what was due before it was sent.
7. Redis fails over, or starts again without its data: the new primary may lack appends, and the
   newest settlings, which are done again, though not for a purge of another that has the id there
   (settle.lua). W reads its queue from the beginning. What it had read and does not find there it
   keeps beside that (`adrift`) and sends, also if V owns the target there: it may be nowhere else.
   It settles none of it: there an id may be another purge's. Lost is what nobody had read, and what
   is adrift when W ends.
8. Everything that waits is replaced by one purge of everything (append.lua): when W reads that, it
   forgets what it has read before. What is under way then is sent as well, and settles nothing.
"""

import asyncio
import math
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice

import structlog

from pantler_server.cdns.target import Target
from pantler_server.core import background
from pantler_server.core.errors import ServiceError
from pantler_server.engines.cdn import metrics, scripts
from pantler_server.engines.cdn.batching import Planned, Waiting, plan
from pantler_server.engines.cdn.held import Held
from pantler_server.engines.cdn.scripts import KEEP_MS, SETTLE_AT_ONCE, Claim
from pantler_server.engines.cdn.sending import Sender, Sent, told
from pantler_server.store.store import Store

LINGER_MS = 100  # for which a request that is not full waits for more, once its oldest is due
LOOK_S = 1.0  # how soon the owner notices what it was not told of
CLAIM_S = 2.0  # how soon others notice that there is no owner any more
GAP_S = 0.005  # between two looks: what is told in it is read at once
AWAY_S = 0.5  # until Redis is asked again
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 300.0
LONGEST_RETRY_AFTER_S = 3600.0  # a target that asks for more is asked again then
BARRED_S = 1.0  # between requests that are refused whatever they ask for
GIVE_UP_MS = KEEP_MS  # a purge that fails that long after it was asked for is tried no more
MOST_IN_ROUND = 64  # requests, before what has come meanwhile is looked at
TOLD = 10  # ids in a line of the log
START = b"0-0"

log = structlog.get_logger(__name__)

TargetOf = Callable[[str], Target]
"""Raises CdnTargetUnknown if the configuration has it no more."""


class TargetDrain:
    """`start`, then `stop`. Deadlines are times of the event loop."""

    def __init__(self, store: Store, channel: str, name: str, target_of: TargetOf) -> None:
        self._store = store
        self._channel = channel
        self._name = name
        self._target_of = target_of
        self._loop = asyncio.get_running_loop()
        self._sender = Sender(name)
        self._target: Target | None = None  # as it was configured last
        self._config = b""  # its fingerprint
        self._owns = False
        self._primary = b""  # that the rest is of
        self._after = START  # up to which id the queue was read
        self._held = Held()
        self._over: dict[bytes, Waiting] = {}  # to be settled
        self._ahead_s = 0.0  # of Redis's clock, before the loop's
        self._failures = 0  # of the target in a row
        self._alone_until = 0.0  # loop time
        self._is_failing = False  # as the log has it
        self._round: asyncio.Task[None] | None = None
        self._wakes = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = background.start(self._keep_looking(), f"purges of {self._name}")

    async def stop(self, deadline: float = -math.inf) -> None:
        """Lets requests under way end, if the time allows, and gives the target back."""
        if self._task is not None:
            await background.stop((self._task,))
        if self._round is not None:
            await asyncio.wait((self._round,), timeout=max(0.0, deadline - self._loop.time()))
        if self._round is not None:
            await background.stop((self._round,))
        await self._lose()
        with suppress(ServiceError):
            await self._settle_over()
        request = scripts.release(self._name, self._channel)
        await self._store.call_each([request], self._soon())

    def wake(self) -> None:
        """There is something new in the queue."""
        self._wakes.set()

    async def _keep_looking(self) -> None:
        while True:
            self._wakes.clear()
            try:
                pause_s = await self._look()
            except ServiceError:
                pause_s = AWAY_S
            except Exception:  # it is tried again like the others
                log.exception("defect in the purges of a target", target=self._name)
                pause_s = LOOK_S
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, pause_s - GAP_S)):
                    await self._wakes.wait()
            await asyncio.sleep(GAP_S)

    async def _look(self) -> float:
        """Claims the target, reads what is new, and sends what is due; for how long there is
        nothing to do then. Raises the StoreErrors."""
        await self._settle_over()
        request = scripts.claim(self._name, self._channel, self._after)
        [reply] = await self._store.call(request, self._soon())
        now = self._loop.time()
        claim = scripts.claimed(reply)
        moved = self._owns and request.primary != self._primary
        if moved:
            self._set_adrift(request.primary)
        if isinstance(claim, int):
            await self._lose()
            next_s = await self._start_round() if self._held.adrift else CLAIM_S
            return min(claim / 1000, CLAIM_S, next_s)
        if moved:
            return 0.0
        if not self._owns:
            await self._take_over(claim, request.primary, now)
        self._ahead_s = claim.now_ms / 1000 - now
        metrics.WAITING.labels(self._name).set(claim.waiting)
        age_ms = claim.now_ms - claim.oldest_ms if claim.oldest_ms else 0
        metrics.AGE.labels(self._name).set(max(0, age_ms) / 1000)
        self._held.add(one for one in claim.found if one.entry_id not in self._over)
        if claim.found:
            self._after = claim.found[-1].entry_id
        elif claim.waiting and not (self._held.queued or self._over):
            self._after = START  # a queue that was lost and begun anew has lower ids
        next_s = await self._start_round(more=claim.more)
        return 0.0 if claim.more else next_s

    async def _take_over(self, claim: Claim, primary: bytes, now: float) -> None:
        """With the pause in which the target is, unless it has been configured anew since."""
        self._config = self._target_of(self._name).fingerprint
        self._owns, self._primary = True, primary
        self._failures, self._alone_until = claim.failures, now + claim.alone_ms / 1000
        if claim.config not in (b"", self._config):
            await self._start_afresh()

    async def _start_afresh(self) -> None:
        """Whatever the target did before was in another configuration."""
        self._failures, self._alone_until = 0, 0.0
        self._held.forgive_all()
        await self._note((), 0, "")

    def _set_adrift(self, primary: bytes) -> None:
        self._held.set_adrift()
        self._primary, self._after = primary, START
        log.warning(
            "another Redis has the purges, and may lack some",
            target=self._name,
            kept=len(self._held.adrift),
        )

    async def _lose(self) -> None:
        """Another has the target: forgets what was read of the queue."""
        if self._owns and self._round is not None:
            await background.stop((self._round,))
        self._owns, self._after = False, START
        self._held.lose()
        metrics.WAITING.labels(self._name).set(0)
        metrics.AGE.labels(self._name).set(0)

    async def _start_round(self, *, more: bool = False) -> float:
        """Sends what is due, unless something is under way; for how long there is nothing to do
        then. With `more` to be read only full requests go."""
        self._held.come_due(*self._now())
        if self._round is not None:
            return LOOK_S
        target = self._target_of(self._name)
        await self._meet(target)
        now, now_ms = self._now()
        if now < self._alone_until:
            return min(LOOK_S, self._alone_until - now)
        chosen, linger_s = self._choose(target, -math.inf if more else now_ms - LINGER_MS)
        if chosen:
            self._round = background.start(self._send(target, chosen), f"purge {self._name}")
            self._round.add_done_callback(self._ended)
            return LOOK_S
        return min(LOOK_S, self._held.next_s(now, now_ms), linger_s)

    async def _meet(self, target: Target) -> None:
        """One that is configured anew is tried at once, whatever it did before. Of what waits it
        gets only what it can forget by."""
        before, self._target, self._config = self._target, target, target.fingerprint
        others = self._held.take_new()
        if before is not None and before is not target:
            others = self._held.all()
            await self._start_afresh()
        others = [one for one in others if not one.kinds <= target.kinds]
        for one in others:
            one.keep_to(target.kinds)
        await self._settle_entries(others)

    def _choose(self, target: Target, before_ms: float) -> tuple[list[Planned], float]:
        """The requests of a round: the full ones, and those due by then; and if there are none, how
        soon there is one."""
        chosen: list[Planned] = []
        linger_ms = math.inf
        waiting = self._held.ready()
        if self._failures > 1:
            # What fails by itself may be all that is oldest: then nothing else would be tried.
            random.shuffle(waiting)
        for one in plan(waiting, target.limits, can_soft=target.can_soft):
            if len(chosen) == MOST_IN_ROUND:
                break
            if one.is_full or one.due_ms <= before_ms:
                chosen.append(one)
            else:
                linger_ms = min(linger_ms, one.due_ms + 1 - before_ms)
        return chosen, linger_ms / 1000

    def _now(self) -> tuple[float, int]:
        """By the loop, and by Redis's clock."""
        now = self._loop.time()
        return now, int((now + self._ahead_s) * 1000)

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._round = None
        self.wake()

    async def _send(self, target: Target, planned: Sequence[Planned]) -> None:
        sent = await self._sender.send(target, planned, self._settle_of)
        if sent.failure is not None:
            await self._failed(sent)
            return
        self._postpone(sent.unfound)
        if sent.barred:
            self._alone_until = self._loop.time() + BARRED_S
        if self._is_failing and sent.served:
            self._is_failing = False
            log.info("CDN target serves again", target=self._name)
        self._held.forgive()
        if self._failures:
            self._failures = 0
            await self._note((), 0, "")

    def _postpone(self, planned: Iterable[Planned]) -> None:
        """They go apart from the others, the later, the more often."""
        now = self._loop.time()
        for one, values in _largest(planned).items():
            if not one.left:  # it was replaced meanwhile
                continue
            self._held.failed(one, values)
            self._held.set_aside(one, now + _backoff_s(one.failures))

    async def _failed(self, sent: Sent) -> None:
        """What failed waits: the longer, the more often. If the target served others meanwhile
        that may be the fault of what was asked, and holds up nothing else."""
        assert sent.failure is not None
        answer = told(sent.failure)
        now = self._loop.time()
        self._failures = 1 if sent.served else self._failures + 1
        retry_after_s = min(sent.failure.retry_after_s, LONGEST_RETRY_AFTER_S)
        pause_s = max(retry_after_s, _backoff_s(self._failures))
        self._alone_until = now + pause_s
        if not self._is_failing:
            self._is_failing = True
            log.warning("purges wait: the CDN target fails", target=self._name, answer=answer)
        too_late_ms = self._now()[1] - GIVE_UP_MS
        tried = {one: values for one, values in _largest(sent.failed).items() if one.left}
        for one, values in tried.items():
            if one.asked_ms <= too_late_ms:
                one.left.clear()
                one.refusal = f"given up after a day: {answer}"
            else:
                # That a server is away is no fault of what was asked.
                self._held.failed(one, 0 if sent.failure.in_part else values)
                if sent.served and not retry_after_s:
                    self._held.set_aside(one, now + _backoff_s(one.failures))
        await self._note([one.purge_id for one in tried if one.left], pause_s, answer)
        await self._settle_entries(tried)

    async def _note(self, purge_ids: Iterable[str], pause_s: float, answer: str) -> None:
        """Into the state of the target, for the next owner too, and into receipts."""
        ids = list(dict.fromkeys(purge_ids))
        for first in range(0, max(1, len(ids)), SETTLE_AT_ONCE):
            part = ids[first : first + SETTLE_AT_ONCE]
            pause_ms = math.ceil(pause_s * 1000)
            request = scripts.note_attempt(
                self._name, part, self._failures, pause_ms, answer, self._config
            )
            await self._store.call_each([request], self._soon())  # if it can't be, it is not noted

    async def _settle_of(self, planned: Planned) -> None:
        await self._settle_entries(planned.entries)

    async def _settle_entries(self, entries: Iterable[Waiting]) -> None:
        for one in entries:
            if one.left:
                continue
            is_adrift = one in self._held.adrift
            if not self._held.drop(one):
                continue
            if is_adrift:
                self._tell_failed([one] if one.refusal else [])
            else:
                self._over[one.entry_id] = one
        with suppress(ServiceError):  # they stay, and come first at the next look
            await self._settle_over()

    async def _settle_over(self) -> None:
        """Raises the StoreErrors."""
        while self._over:
            part = [self._over.pop(one) for one in list(islice(self._over, SETTLE_AT_ONCE))]
            try:
                [reply] = await self._store.call(scripts.settle(self._name, part), self._soon())
            except BaseException:
                self._over.update((one.entry_id, one) for one in part)
                raise
            self._tell_failed(scripts.failed_of(reply, part))

    def _tell_failed(self, failed: Sequence[Waiting]) -> None:
        if failed:
            metrics.FAILED.labels(self._name).inc(len(failed))
            log.error(
                "purges failed",
                target=self._name,
                count=len(failed),
                purges=[one.purge_id for one in failed[:TOLD]],
                answer=failed[-1].refusal,
            )

    def _soon(self) -> float:
        return self._loop.time() + self._store.timeout_s


def _largest(planned: Iterable[Planned]) -> dict[Waiting, int]:
    """Who asked for these, and how many values the largest of its requests has."""
    sizes: dict[Waiting, int] = {}
    for request in planned:
        for one in request.asked_by:
            sizes[one] = max(sizes.get(one, 0), request.size)
    return sizes


def _backoff_s(failures: int) -> float:
    """Between half of it and the whole, at random: workers of several deployments don't come back
    at once."""
    longest_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 20))
    return random.uniform(longest_s / 2, longest_s)
