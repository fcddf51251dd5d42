"""Brings what waits in the logs of all namespaces to their origins.

Of all workers one owns a log at a time (log_drain.py). A worker starts a pass when its own writes
have waited for `interval`, or fill a batch; and when it is told so on its channel, by a worker that
found the log to be owned by this one. It also looks at all logs twice a second: so it notices what
others have left behind.
"""

import asyncio
import math
import random
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import structlog

from pantler_server.core import background
from pantler_server.core.config import Settings
from pantler_server.core.errors import OriginOutcomeUnknown, OutcomeUnknown, ServiceError
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.core.origin_config import WriteMode
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.record import keys, log_scripts, metrics
from pantler_server.engines.cache.record.durability import Safekeeping
from pantler_server.engines.cache.record.log_drain import Deployment, LogDrain, NotOwned
from pantler_server.origins.origin import Origin, OwnerSuperseded
from pantler_server.store.link import Reply
from pantler_server.store.request import Request, pack, read
from pantler_server.store.store import Store
from pantler_server.store.subscription import channel_subscription

LOOK_S = 0.5  # how soon a worker notices what others have left behind
RARE_LOOK_S = 10.0  # … where nobody should write behind any more
MAX_PASSES = 8  # logs of a worker that are on their way at once
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.05, 5.0

Origins = Callable[[Namespace], Origin | None]
"""The origin of a namespace; None if it has none any more."""

log = structlog.get_logger(__name__)


class _Log:
    """A log, and when it is to be drained next (loop time)."""

    __slots__ = ("drain", "due", "error", "failures", "superseded", "task", "waiting")

    def __init__(self, drain: LogDrain) -> None:
        self.drain = drain
        self.due = math.inf
        self.task: asyncio.Task[None] | None = None
        self.waiting = 0  # writes, when that was looked at last
        self.failures = 0  # passes in a row
        self.error = ""  # what the log of this worker was told of the last one
        self.superseded = False  # so ended the last one


class Drainer:
    """`start` before use, `stop` after it. Deadlines are times of the event loop."""

    def __init__(
        self,
        store: Store,
        cache: CacheEngine,
        durability: Safekeeping,
        origins: Origins,
        deployment: Deployment,
    ) -> None:
        self._store = store
        self._cache = cache
        self._durability = durability
        self._origins = origins
        self._deployment = deployment
        self._loop = asyncio.get_running_loop()
        self._channel = f"pantler:drain:{secrets.token_hex(8)}"
        self._subscription = channel_subscription(store, self._channel, self._hurry_one, self._wake)
        self._spaces: dict[str, Namespace] = {}
        self._logs: dict[bytes, _Log] = {}  # by the tag of the partition
        self._rarely_at = 0.0
        self._passes = asyncio.Semaphore(MAX_PASSES)
        self._wakes = asyncio.Event()
        self._planned = math.inf
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._subscription.start()
        self._task = background.start(self._keep_draining(), "drainer")

    async def stop(self, deadline: float = -math.inf) -> None:
        """Drains what waits, as far as the time allows, and gives all logs back."""
        if self._task is not None:
            await background.stop((self._task,))
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._look()
                await asyncio.gather(*(self._drain_out(one) for one in self._logs.values()))
        await background.stop([one.task for one in self._logs.values() if one.task is not None])
        owned = [one.drain.partition for one in self._logs.values() if one.drain.epoch]
        released = [log_scripts.release(partition, self._channel) for partition in owned]
        await self._store.call_each(released, self._soon())
        await self._subscription.stop()

    def prepare(self, space: Namespace) -> None:
        """Comes before the first use of a namespace, and of its changed configuration; at start for
        all that have an origin."""
        if space.config.origin is None:
            return
        self._spaces[space.name] = space
        for index, partition in enumerate(space.partitions):
            known = self._logs.get(partition.tag)
            if known is None:
                drain = LogDrain(
                    self._store,
                    self._cache,
                    self._durability,
                    self._channel,
                    space,
                    index,
                    self._deployment,
                )
                self._logs[partition.tag] = _Log(drain)
            else:
                known.drain.space = space
        self._rarely_at = 0.0
        self._wake()

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration, also where nobody calls. A namespace that has lost its
        origin keeps what waits."""
        for space in tuple(self._spaces.values()):
            config = settings.namespace(space.name)
            if config.origin is None:
                self._forget(space)
            else:
                self.prepare(replace(space, config=config))

    def appended(self, space: Namespace, partition: Partition, waiting: int) -> None:
        """This worker has noted a write in a log, in which so many wait now."""
        one = self._logs.get(partition.tag)
        if one is None:
            self.prepare(space)
            one = self._logs[partition.tag]
        config = space.config.write_behind
        wait_s = 0.0 if waiting >= config.batch_size else config.interval.total_seconds()
        self._set_due(one, wait_s)

    def hurry(self, partitions: Iterable[Partition]) -> None:
        """Has what waits in these drained now, here or by the owner."""
        for partition in partitions:
            self._hurry_one(partition.tag)

    def _hurry_one(self, tag: bytes) -> None:
        one = self._logs.get(tag)
        if one is not None:
            self._set_due(one, 0.0)

    def _set_due(self, one: _Log, wait_s: float) -> None:
        """Sooner than it was, but after a failure not before its pause is over."""
        if one.failures and one.due < math.inf:
            return
        due = self._loop.time() + wait_s
        if due < one.due:
            one.due = due
            if due < self._planned:
                self._wake()

    def _wake(self) -> None:
        self._wakes.set()

    def _forget(self, space: Namespace) -> None:
        self._spaces.pop(space.name, None)
        for partition in space.partitions:
            self._logs[partition.tag].due = math.inf

    async def _keep_draining(self) -> None:
        look_at = 0.0
        while True:
            now = self._loop.time()
            if now >= look_at:
                look_at = now + LOOK_S
                await self._look()
            self._start_due()
            due = min((one.due for one in self._logs.values() if one.task is None), default=look_at)
            self._planned = min(look_at, due)
            self._wakes.clear()
            try:
                async with asyncio.timeout_at(self._planned):
                    await self._wakes.wait()
            except TimeoutError:
                continue
            finally:
                self._planned = math.inf

    def _start_due(self) -> None:
        now = self._loop.time()
        for one in self._logs.values():
            if one.task is None and one.due <= now:
                one.task = self._begin(one)

    def _begin(self, one: _Log) -> asyncio.Task[None]:
        one.due = math.inf
        task = background.start(self._pass(one), f"drain {one.drain.name}")
        task.add_done_callback(partial(self._passed, one))
        return task

    def _passed(self, one: _Log, _: asyncio.Task[None]) -> None:
        one.task = None
        self._wake()

    async def _pass(self, one: _Log) -> None:
        origin = self._origins(one.drain.space)
        if origin is None:
            return
        async with self._passes:
            try:
                await one.drain.drain(origin)
            except NotOwned:
                one.failures, one.superseded = 0, False
            except OwnerSuperseded:
                await self._superseded(one)
            except ServiceError as error:
                await self._failed(one, _told(error))
            except Exception:  # it is in the log as such, and tried again like the others
                await self._failed(one, "a defect; the log of the worker has more of it")
                raise
            else:
                one.failures, one.error, one.superseded = 0, "", False

    async def _superseded(self, one: _Log) -> None:
        """Once is nothing: another owns the log now, as the next pass finds. Twice in a row the
        origin knows a later owner than Redis does."""
        if one.superseded:
            await self._failed(one, "the origin has had a later owner than Redis knows of")
        else:
            one.failures, one.due = 0, self._loop.time()
        one.superseded = True

    async def _failed(self, one: _Log, detail: str) -> None:
        """The batch waits: the longer, the more often it failed, and at random, so that the logs of
        all workers don't come back at once."""
        space = one.drain.space
        metrics.DRAIN_FAILURES.labels(space.name).inc()
        one.failures += 1
        longest_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(one.failures, 10))
        one.due = self._loop.time() + random.uniform(0.0, longest_s)
        if detail != one.error:
            one.error = detail
            log.warning(
                "writes wait: the origin did not take them", log=one.drain.name, detail=detail
            )
        # Each time: a batch that went before this one has taken it away (settle.lua).
        partition = one.drain.partition
        said = pack("HSET", keys.log_state(partition), "error", detail)
        request = Request(partition.slot, (said,), space.name, repeatable=True)
        await self._store.call_each([request], self._soon())

    async def _look(self) -> None:
        """Which logs have something to drain; keeps those that are being drained."""
        rarely = self._loop.time() >= self._rarely_at
        if rarely:
            self._rarely_at = self._loop.time() + RARE_LOOK_S
        looked = [one for one in self._logs.values() if rarely or _is_used(one)]
        found = await self._store.call_each([_look_at(one) for one in looked], self._soon())
        totals: dict[str, list[float]] = {}
        for one, reply in zip(looked, found, strict=True):
            if isinstance(reply, ServiceError):
                continue
            waiting, oldest, dead, time = reply
            name, config = one.drain.space.name, one.drain.space.config.write_behind
            one.waiting = waiting
            if waiting:
                full = waiting >= config.batch_size
                self._set_due(one, 0.0 if full else config.interval.total_seconds())
            sums = totals.setdefault(name, [0, 0, 0.0])
            sums[0] += waiting
            sums[1] += dead
            sums[2] = max(sums[2], age_us(oldest, time) / 1e6)
        for name, (waiting, dead, age_s) in totals.items():
            metrics.BACKLOG.labels(name).set(waiting)
            metrics.DEAD.labels(name).set(dead)
            metrics.BACKLOG_AGE.labels(name).set(age_s)
        await self._renew()

    async def _renew(self) -> None:
        """Of logs whose pass takes long: each of its own steps renews, too."""
        drains = [one.drain for one in self._logs.values() if one.task is not None]
        await asyncio.gather(*(self._renew_one(one) for one in drains if one.epoch))

    async def _renew_one(self, drain: LogDrain) -> None:
        with suppress(ServiceError, NotOwned):  # the pass itself finds that out, and says so
            await drain.renew()

    async def _drain_out(self, one: _Log) -> None:
        """Passes until nothing waits in the log, or another owns it."""
        if one.task is not None:
            await asyncio.wait((one.task,))
        while one.waiting:
            if one.failures:
                await asyncio.sleep(max(0.0, one.due - self._loop.time()))
            one.task = self._begin(one)
            await asyncio.wait((one.task,))
            if not one.failures:
                return

    def _soon(self) -> float:
        return self._loop.time() + self._store.timeout_s


def _told(error: ServiceError) -> str:
    """For operators: the words of some errors are for whoever wrote."""
    match error:
        case OriginOutcomeUnknown():
            return "the origin went away or took too long during a batch, which is sent again"
        case OutcomeUnknown():
            return "Redis went away during a batch, which is sent again"
    return error.message


def _is_used(one: _Log) -> bool:
    return one.drain.space.config.writes is WriteMode.BEHIND or one.waiting > 0


def _look_at(one: _Log) -> Request:
    partition = one.drain.partition
    return read(partition.slot, one.drain.space.name, *look(partition))


def look(partition: Partition) -> Sequence[tuple[str | bytes | int, ...]]:
    """The commands that tell how many writes wait, the oldest of them, how many are dead, and the
    time."""
    queue = keys.log(partition)
    return (
        ("XLEN", queue),
        ("XRANGE", queue, "-", "+", "COUNT", 1),
        ("HLEN", keys.dead(partition)),
        ("TIME",),
    )


def age_us(oldest: Reply, time: Reply) -> int:
    """For how long the oldest of a log has waited, as the replies tell; 0 if none does."""
    if not oldest:
        return 0
    now_us = int(time[0]) * 1_000_000 + int(time[1])
    appended_us = int(oldest[0][1][7])
    return max(0, now_us - appended_us)
