"""What stands around every origin, so that one that is slow, away or broken costs its callers a
bounded time, and is not drowned by them: deadlines, a bound on calls under way, and a breaker.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import structlog
from prometheus_client import Gauge

from pantler_server.core import background
from pantler_server.core.errors import (
    InvalidFields,
    OriginNotReady,
    OriginOutcomeUnknown,
    OriginUnavailable,
    RecordExists,
    RecordMissing,
    WriteRefused,
)
from pantler_server.core.origin_config import OriginConfig
from pantler_server.core.record import Operation, Record
from pantler_server.origins.breaker import Breaker, Clock
from pantler_server.origins.metrics import CallMetrics, open_gauge
from pantler_server.origins.origin import (
    Batch,
    BeforeCommit,
    Origin,
    OriginHealth,
    OwnerSuperseded,
    RecordOutcome,
    Stored,
    Write,
)

INNER_SHARE = 0.95  # of a call's time is the origin's own: what it says of its end is more exact
PAGE_TIMEOUT_S = 90.0  # of a page of keys: an operator's query may take a minute
RETIRED_AFTER_S = 10.0  # without a call: one RPC may ask its origin several times, with breaks

_FAILURES = frozenset({"unavailable", "outcome_unknown", "timeout"})
_ANSWERS = frozenset({"ok", "refused", "not_ready"})

_Result = TypeVar("_Result")

log = structlog.get_logger(__name__)


class GuardedOrigin:
    """An Origin (origins/origin.py) that asks another one.

    - A call ends by its deadline, which is at most `timeout` away, whatever the other one does.
      What goes on then, or after its caller was cancelled, is cancelled too, and keeps its turn
      until it has really ended.
    - `max_concurrency` calls are under way at a time; others wait for their turn, first come, first
      served, and fail with OriginUnavailable if it does not come by their deadline.
    - After `breaker.failures` failures in a row it is left alone (breaker.py): calls fail at once
      with OriginUnavailable. Failures are OriginUnavailable, OriginOutcomeUnknown and time-outs;
      refusals are not: whoever refuses is well. Nor is it a failure that a caller had less time
      than `timeout`, and it was over.

    `check` is bounded by its deadline only: it seldom asks the origin, and writes that wait in
    Redis must be taken while that is away.

    A call costs a task, 40 us in all with its metrics.
    """

    def __init__(
        self, inner: Origin, namespace: str, config: OriginConfig, clock: Clock = time.monotonic
    ) -> None:
        self.config = config
        self._inner = inner
        self._namespace = namespace
        self._timeout_s = config.timeout.total_seconds()
        self._turns = asyncio.Semaphore(config.max_concurrency)
        pause_s = config.breaker.pause.total_seconds()
        self._breaker = Breaker(config.breaker.failures, pause_s, clock)
        self._newest_failure = ""
        self._open: Gauge | None = open_gauge(namespace)
        self._metrics = {
            call: CallMetrics(namespace, call)
            for call in ("load", "load_many", "store", "apply", "applied", "list_keys")
        }
        self._starting: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[Any]] = set()
        self._given_up: set[asyncio.Task[Any]] = set()  # of these, nobody waits for any more
        self._begun = 0
        self._stopped = False

    def begin(self) -> None:
        """As `start`, without waiting for it: calls do."""
        self._starting = background.start(self._inner.start(), "start of an origin")

    async def start(self) -> None:
        self.begin()
        await self._started()

    async def stop(self) -> None:
        """Calls under way are cancelled, and fail with OriginUnavailable."""
        self._stopped = True
        await background.stop(self._under_way)
        if self._starting is not None:
            await background.stop((self._starting,))
            await self._inner.stop()
        self._show_open(False)

    def retire(self) -> Coroutine[Any, Any, None]:
        """Another one has taken its place: stops it once it is not called any more. The breaker's
        gauge is the other one's from now on."""
        self._show_open(False)
        self._open = None
        return self._stop_when_idle()

    async def _stop_when_idle(self) -> None:
        begun = -1
        while begun != self._begun:
            begun = self._begun
            if self._under_way:
                await asyncio.wait(self._under_way)
            await asyncio.sleep(RETIRED_AFTER_S)
        await self.stop()

    @property
    def problem(self) -> str:
        return self._inner.problem

    @property
    def health(self) -> OriginHealth:
        """Asks nobody."""
        detail = self.problem
        if not detail and not self._breaker.is_closed:
            detail = f"it is left alone, since its newest calls failed: {self._newest_failure}"
        return OriginHealth(self._namespace, available=not detail, detail=detail)

    @property
    def keys_can_be_listed(self) -> bool:
        return self._inner.keys_can_be_listed

    def require(self) -> None:
        if self._breaker.refuses:
            raise self._left_alone()

    def check_key(self, key: str) -> None:
        self._inner.check_key(key)

    async def check(
        self, key: str, operation: Operation, fields: Record, deadline: float
    ) -> Record:
        deadline = min(deadline, asyncio.get_running_loop().time() + self._timeout_s)
        if not self._has_started:  # a timer costs more than most checks
            try:
                async with asyncio.timeout_at(deadline):
                    await self._started()
            except TimeoutError:
                raise self._unavailable("did not answer in time") from None
        return await self._inner.check(key, operation, fields, deadline)

    def whole_record(self, key: str, fields: Record, version: int) -> Record | None:
        return self._inner.whole_record(key, fields, version)

    def part_of_record(self, key: str, fields: Record, version: int) -> Record:
        return self._inner.part_of_record(key, fields, version)

    async def load(self, key: str, deadline: float) -> Record | None:
        return await self._call("load", deadline, lambda at: self._inner.load(key, at))

    async def load_many(self, keys: Sequence[str], deadline: float) -> Mapping[str, RecordOutcome]:
        return await self._call("load_many", deadline, lambda at: self._inner.load_many(keys, at))

    async def store(self, write: Write, deadline: float) -> Stored:
        return await self._call(
            "store", deadline, lambda at: self._inner.store(write, at), is_write=True
        )

    async def apply(self, batch: Batch, before_commit: BeforeCommit, deadline: float) -> int:
        return await self._call(
            "apply",
            deadline,
            lambda at: self._inner.apply(batch, before_commit, at),
            is_write=True,
        )

    async def applied(self, log: str, deadline: float) -> int:
        return await self._call("applied", deadline, lambda at: self._inner.applied(log, at))

    async def list_keys(
        self, query: str | None, after: str, page_size: int
    ) -> AsyncIterator[Sequence[str]]:
        """Each page is a call, of at most PAGE_TIMEOUT_S; an empty one is the end."""
        pages = aiter(self._inner.list_keys(query, after, page_size))

        async def next_page(_: float) -> Sequence[str]:
            try:
                return await anext(pages)
            except StopAsyncIteration:
                return ()

        while page := await self._call("list_keys", math.inf, next_page, timeout_s=PAGE_TIMEOUT_S):
            yield page

    async def _call(
        self,
        name: str,
        deadline: float,
        ask: Callable[[float], Coroutine[Any, Any, _Result]],
        *,
        timeout_s: float | None = None,
        is_write: bool = False,
    ) -> _Result:
        """`ask` gets the deadline of what it asks for."""
        metrics = self._metrics[name]
        loop = asyncio.get_running_loop()
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        patient_until = loop.time() + timeout_s
        is_impatient = deadline < patient_until
        deadline = min(deadline, patient_until)
        ticket = await self._turn(metrics, deadline)
        began = loop.time()
        inner_deadline = began + INNER_SHARE * (deadline - began)
        call = loop.create_task(ask(inner_deadline))
        self._begun += 1
        self._under_way.add(call)
        counts_until = inner_deadline if is_impatient else math.inf
        call.add_done_callback(partial(self._ended, metrics, ticket, began, counts_until))
        try:
            await asyncio.wait((call,), timeout=deadline - began)
        except asyncio.CancelledError:
            if not call.done():
                self._give_up(call)
                self._note(metrics, "cancelled", ticket)
            raise
        if not call.done():
            self._give_up(call)
            late = (
                OriginOutcomeUnknown(self._namespace)
                if is_write
                else self._unavailable("did not answer in time")
            )
            metrics.took(loop.time() - began)
            self._note(metrics, "impatient" if is_impatient else "timeout", ticket, late)
            raise late
        if call.cancelled():  # by `stop`
            raise OriginOutcomeUnknown(self._namespace) if is_write else self._not_used()
        return call.result()

    @property
    def _has_started(self) -> bool:
        return self._starting is not None and self._starting.done()

    async def _started(self) -> None:
        assert self._starting is not None
        if not self._has_started:
            await asyncio.shield(self._starting)

    async def _turn(self, metrics: CallMetrics, deadline: float) -> int:
        """Waits for the start and for a turn, and takes that. Gives the breaker's ticket."""
        if self._breaker.refuses:  # at once, and not after a wait
            metrics.count("left_alone")
            raise self._left_alone()
        try:
            async with asyncio.timeout_at(deadline):
                await self._started()
                await self._turns.acquire()
        except TimeoutError:
            raise self._busy(metrics) from None
        try:
            if self._stopped:
                raise self._not_used()
            if deadline <= asyncio.get_running_loop().time():
                raise self._busy(metrics)
            if (ticket := self._breaker.begin()) is None:  # it opened during the wait
                metrics.count("left_alone")
                raise self._left_alone()
        except OriginUnavailable:
            self._turns.release()
            raise
        return ticket

    def _give_up(self, call: asyncio.Task[Any]) -> None:
        self._given_up.add(call)
        call.cancel()

    def _ended(
        self,
        metrics: CallMetrics,
        ticket: int,
        began: float,
        counts_until: float,
        call: asyncio.Task[Any],
    ) -> None:
        """Runs before the turn goes to another, who must find the breaker as it is now. A failure
        after `counts_until` is that of a caller with too little time."""
        self._under_way.discard(call)
        error = None if call.cancelled() else call.exception()
        if call in self._given_up:
            self._given_up.remove(call)
        elif call.cancelled():
            self._note(metrics, "cancelled", ticket)
        else:
            now = asyncio.get_running_loop().time()
            metrics.took(now - began)
            outcome = _outcome(error)
            if outcome in _FAILURES and now >= counts_until:
                outcome = "impatient"
            self._note(metrics, outcome, ticket, error)
        self._turns.release()

    def _note(
        self,
        metrics: CallMetrics,
        outcome: str,
        ticket: int,
        error: BaseException | None = None,
    ) -> None:
        metrics.count(outcome)
        was_closed = self._breaker.is_closed
        if outcome in _FAILURES:
            self._newest_failure = str(error)
            self._breaker.failed(ticket)
        elif outcome in _ANSWERS:
            self._breaker.succeeded(ticket)
        else:
            self._breaker.told_nothing(ticket)
        if was_closed is not self._breaker.is_closed:
            self._show_open(was_closed)
            if was_closed:
                log.warning(
                    "origin is left alone", namespace=self._namespace, error=self._newest_failure
                )
            else:
                log.info("origin is called again", namespace=self._namespace)

    def _show_open(self, is_open: bool) -> None:
        if self._open is not None:
            self._open.set(is_open)

    def _not_used(self) -> OriginUnavailable:
        return self._unavailable("is not used any more")

    def _busy(self, metrics: CallMetrics) -> OriginUnavailable:
        metrics.count("busy")
        return self._unavailable("is busy: its turn did not come in time")

    def _left_alone(self) -> OriginUnavailable:
        return self._unavailable("failed again and again, and is left alone for a while")

    def _unavailable(self, what: str) -> OriginUnavailable:
        return OriginUnavailable(
            f"the origin of namespace {self._namespace!r} {what}", self._namespace
        )


def _outcome(error: BaseException | None) -> str:
    match error:
        case None:
            return "ok"
        case OriginUnavailable():
            return "unavailable"
        case OriginOutcomeUnknown():
            return "outcome_unknown"
        case OriginNotReady():
            return "not_ready"
        case (
            RecordExists() | RecordMissing() | WriteRefused() | InvalidFields() | OwnerSuperseded()
        ):
            return "refused"
        case _:  # of who is told of refusals, too: the origin has no part in it
            return "defect"
