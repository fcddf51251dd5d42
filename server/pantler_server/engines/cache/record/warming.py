"""Warming: loads records ahead of their use.

It takes its keys from a list (warm_keys.py), a batch at a time, and reads them as callers do: what
is cached stays as it is, what is not is loaded with one query for the batch, once for all workers.
A batch never begins before the time has passed that the one before it takes at the rate that is
allowed: so in any interval of T seconds at most `keys_per_second` * T keys and one batch are looked
at, whatever happened before.

An origin that fails is left alone for a while, longer each time; what has failed is counted, and
passed by. After GIVE_UP_AFTER failures in a row it ends, with a token from before these.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from random import uniform

import structlog
from prometheus_client import Counter

from pantler_server.core import background
from pantler_server.core.errors import (
    DeadlinePassed,
    OriginNotReady,
    OriginOutcomeUnknown,
    OriginUnavailable,
    ServiceError,
    ShuttingDown,
    StoreError,
)
from pantler_server.core.namespace import Namespace
from pantler_server.core.origin_config import WarmSource
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.record import warm_position
from pantler_server.engines.cache.record.engine import RecordEngine
from pantler_server.engines.cache.record.loading import MARGIN_S, load_s
from pantler_server.engines.cache.record.model import Loaded
from pantler_server.engines.cache.record.warm_keys import HotList, KeyList, KnownKeys, ListedKeys
from pantler_server.engines.cache.record.warm_model import Progress, Wanted
from pantler_server.engines.cache.record.warm_position import Position

PROGRESS_S = 0.5  # how often it is told
MAX_BATCH = 100  # keys of one query
BATCHES_PER_SECOND = 10  # at the most, while a batch need not be the largest
HOT_TIMEOUT_S = 5.0  # of the list of hot keys
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0  # after a failure, and twice as long after the next
GIVE_UP_AFTER = 8  # failures in a row: half a minute of pauses

_PASSING = (OriginUnavailable, OriginOutcomeUnknown, StoreError, DeadlinePassed)

_WARMED = Counter(
    "pantler_warmed",
    "Keys that warming looked at, by what came of it",
    ("namespace", "outcome"),
)

log = structlog.get_logger(__name__)


class Warmer:
    """Raises NoOrigin, OriginNotReady, OriginUnavailable and the StoreErrors. `first_pause_s`: how
    long an origin is left alone at its first failure."""

    def __init__(
        self, records: RecordEngine, hot: HotKeys, *, first_pause_s: float = FIRST_PAUSE_S
    ) -> None:
        self._records = records
        self._hot = hot
        self._first_pause_s = first_pause_s
        self._dismissed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def dismiss(self) -> None:
        """The worker stops: warmings under way end with ShuttingDown, and may go on elsewhere."""
        if not self._dismissed.done():
            self._dismissed.set_result(None)

    async def warm(
        self, space: Namespace, wanted: Wanted, resume_token: str = ""
    ) -> AsyncGenerator[Progress, None]:
        """Loads what is wanted, for as long as its progress is read: it is told every PROGRESS_S,
        once more at the end, and before an error. A token of an earlier progress goes on from
        there. Closing it ends it at once, but for a query that is under way.

        Raises InvalidFields for `resume_token`, and OriginNotReady too if the list has to come from
        an origin that has none.
        """
        digest = warm_position.of_list(space.name, wanted)
        position = warm_position.read(resume_token, digest)
        keys = self._list(space, wanted, position)
        run = _Run(self._records, space, wanted, keys, position, digest, self._first_pause_s)
        log.info("warming begins", namespace=space.name, source=wanted.source, seen=position.seen)
        told = run.progress()
        task = asyncio.create_task(run.run(), name=f"warm {space.name}")
        try:
            while not await self._ends(task):
                stops = self._dismissed.done()
                told = run.progress()
                yield told
                if stops:
                    raise ShuttingDown("the worker stops: another goes on from the resume token")
            last = run.progress(done=task.exception() is None)
            if last != told:
                yield last
            task.result()
        finally:
            await background.stop((task,))
            await keys.close()
            _log_end(space, run, task)

    async def _ends(self, task: asyncio.Task[None]) -> bool:
        """Waits until a task has ended, it is time to tell how far it is, or the worker stops;
        whether it has ended."""
        await asyncio.wait(
            (task, self._dismissed), timeout=PROGRESS_S, return_when=asyncio.FIRST_COMPLETED
        )
        return task.done()

    def _list(self, space: Namespace, wanted: Wanted, position: Position) -> KeyList:
        can_list = self._records.keys_can_be_listed(space)
        if wanted.source is WarmSource.KEYS:
            return KnownKeys(wanted.keys, position.index)
        if wanted.source is WarmSource.HOT:
            return HotList(self._hot, space, HOT_TIMEOUT_S, position.index)
        if not can_list:
            raise OriginNotReady(
                space.name, "a service does not list its keys: name them, or warm the hot ones"
            )
        return ListedKeys(
            lambda after: self._records.list_keys(space, wanted.query, after), position.after
        )


class _Run:
    """One warming."""

    def __init__(
        self,
        records: RecordEngine,
        space: Namespace,
        wanted: Wanted,
        keys: KeyList,
        position: Position,
        digest: bytes,
        first_pause_s: float,
    ) -> None:
        self._records = records
        self._space = space
        self._keys = keys
        self._rate = wanted.keys_per_second
        self._batch_size = min(MAX_BATCH, max(1, self._rate // BATCHES_PER_SECOND))
        self._digest = digest
        self._first_pause_s = first_pause_s
        self._loop = asyncio.get_running_loop()
        self._next_at = 0.0  # when the next batch may begin (loop time)
        self._failures = 0  # in a row
        self._at = position
        self._sure = position  # before these failures

    def progress(self, *, done: bool = False) -> Progress:
        at = self._at
        token = warm_position.write(self._sure, self._digest)
        return Progress(at.seen, at.loaded, at.failed, self._keys.total, token, done)

    async def run(self) -> None:
        """To the end of the list. Raises what keeps it from getting there."""
        while True:
            try:
                batch = await self._keys.take(self._batch_size)
            except _PASSING as error:
                await self._failed(error)
                continue
            if not batch:
                return
            await self._wait_for_turn(len(batch))
            loaded = await self._load(batch)
            self._count(len(batch), loaded)
            if loaded.error is not None and not loaded.loaded:
                await self._failed(loaded.error)
            else:
                self._failures = 0
                self._sure = self._at

    async def _wait_for_turn(self, count: int) -> None:
        await asyncio.sleep(self._next_at - self._loop.time())
        self._next_at = self._loop.time() + count / self._rate

    async def _load(self, batch: Sequence[str]) -> Loaded:
        deadline = self._loop.time() + load_s(self._space) + MARGIN_S
        try:
            return await self._records.load_ahead(self._space, batch, deadline)
        except _PASSING as error:
            return Loaded(0, len(batch), error)

    def _count(self, count: int, loaded: Loaded) -> None:
        at = self._at
        self._at = Position(
            at.seen + count,
            at.loaded + loaded.loaded,
            at.failed + loaded.failed,
            self._keys.index,
            self._keys.after,
        )
        outcomes = {
            "loaded": loaded.loaded,
            "cached": count - loaded.loaded - loaded.failed,
            "failed": loaded.failed,
        }
        for outcome, keys in outcomes.items():
            _WARMED.labels(self._space.name, outcome).inc(keys)

    async def _failed(self, error: ServiceError) -> None:
        """Waits, or gives up."""
        self._failures += 1
        if isinstance(error, OriginNotReady):
            raise error
        if self._failures == GIVE_UP_AFTER:
            if isinstance(error, StoreError):
                raise error
            raise OriginUnavailable(
                f"warming ends after {GIVE_UP_AFTER} failures in a row; its resume token goes on "
                f"from before them. The last: {error.message}",
                self._space.name,
            ) from error
        pause_s = min(self._first_pause_s * 2 ** (self._failures - 1), LONGEST_PAUSE_S)
        await asyncio.sleep(pause_s * uniform(0.75, 1))


def _log_end(space: Namespace, run: _Run, task: asyncio.Task[None]) -> None:
    """Without `done` it was ended by whoever read its progress, or by the `error`."""
    error = None if task.cancelled() else task.exception()
    progress = run.progress(done=not task.cancelled() and error is None)
    log.info(
        "warming ended",
        namespace=space.name,
        done=progress.done,
        seen=progress.seen,
        loaded=progress.loaded,
        failed=progress.failed,
        **({} if progress.done else {"resume_token": progress.resume_token}),
        **({} if error is None else {"error": str(error)}),
    )
