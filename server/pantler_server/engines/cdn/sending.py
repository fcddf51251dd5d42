"""Sends requests to a target: no faster than it allows, and few where it refuses.

A request that is refused is sent again in halves until the value that the target won't have is
alone, some requests at a time: what is not found by then waits. That is not done where it is of no
use: a wrong token is refused whatever is asked with it, and if neither half is taken, nor any of a
few values alone, the values are not to blame.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import structlog

from pantler_server.cdns.target import Kind, Limits, Target, TargetFailed, TargetRefused
from pantler_server.engines.cdn import metrics
from pantler_server.engines.cdn.batching import Planned

AT_ONCE = 4  # requests under way: a vendor takes some 100 ms for one
MOST_PARTS = 72  # requests that a refused one may cost at a time: finds four bad values among 256
# Values that are asked for alone where neither half is taken. If all of them are refused the others
# are given up unasked: where half of them are good that befalls one request in 2**12.
PROBES = 12
ROUND_S = 1.0  # then no more requests are begun: who sends slowly has to look at what is new, too
LONGEST_S = 600.0  # of a request; targets time out long before that
MAX_ANSWER = 300  # characters of an answer that are kept

log = structlog.get_logger(__name__)

OnDone = Callable[[Planned], Awaitable[None]]


class Pace:
    """Token bucket: so many requests in a second, after a pause so many at once."""

    def __init__(self, limits: Limits) -> None:
        self._rate = limits.requests_per_second
        self._burst = max(1.0, limits.burst)
        self._loop = asyncio.get_running_loop()
        self._tokens = self._burst
        self._at = self._loop.time()

    async def take(self) -> None:
        """Waits for its turn."""
        now = self._loop.time()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1.0
        self._at = now
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self._rate)


@dataclass(slots=True)
class Sent:
    """What requests came to. Those that neither failed nor stand in `failed` were not sent, or are
    over."""

    served: bool = False
    """Whether the target, or a part of it, has done one."""
    failure: TargetFailed | None = None
    failed: list[Planned] = field(default_factory=list)
    barred: dict[Kind, str] = field(default_factory=dict)
    """What it refuses whatever is asked, and its answer."""
    unfound: list[Planned] = field(default_factory=list)
    """Those that have something refused in them, which is still to be found."""


class Sender:
    """One target's."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._target: Target | None = None
        self._pace: Pace | None = None

    async def send(self, target: Target, planned: Iterable[Planned], on_done: OnDone) -> Sent:
        """Some at a time, until one fails or ROUND_S are over. `on_done` comes when one is done or
        refused."""
        if target is not self._target or self._pace is None:
            self._target, self._pace = target, Pace(target.limits)
        sent, waiting = Sent(), deque(planned)
        loop = asyncio.get_running_loop()
        until = loop.time() + ROUND_S

        async def keep_sending() -> None:
            while waiting and sent.failure is None and loop.time() < until:
                one = waiting.popleft()
                await self._send_one(target, one, sent)
                await on_done(one)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(AT_ONCE, len(waiting))):
                tasks.create_task(keep_sending())
        return sent

    async def _send_one(self, target: Target, one: Planned, sent: Sent) -> None:
        why = sent.barred.get(one.kind)
        if why is not None:
            one.refused(why)
            return
        try:
            await self._request(target, one, sent)
        except TargetRefused as refused:
            why = told(refused)
            if refused.of_rights:
                sent.barred[one.kind] = why
                one.refused(why)
                return
            try:
                await self._search(target, one, why, sent)
            except TargetFailed as failure:
                _note(sent, one, failure)
        except TargetFailed as failure:
            _note(sent, one, failure)

    async def _search(self, target: Target, refused: Planned, why: str, sent: Sent) -> None:
        """Finds what the target won't have among the values of a request. Raises TargetFailed:
        what it has not found out then is left."""
        left = deque([(refused, why)])
        # What was searched before may have little left in it but what the target won't have.
        is_new = not any(one.failures for one in refused.entries)
        requests, taken = 0, False

        async def ask(part: Planned) -> str:
            """Why it is refused, empty if it is not."""
            nonlocal requests, taken
            requests += 1
            try:
                await self._request(target, part, sent)
            except TargetRefused as again:
                return told(again)
            taken = True
            return ""

        while left:
            part, answer = left.popleft()
            halves = part.halves()
            if not halves:
                part.refused(answer)
                continue
            if requests >= MOST_PARTS:
                sent.unfound.append(part)
                continue
            following = [(half, again) for half in halves if (again := await ask(half))]
            if part is refused and not taken and is_new and halves[0].size > 1:
                probes = part.some_alone(PROBES)
                refusals = 0
                for one in probes:
                    if again := await ask(one):
                        one.refused(again)
                        refusals += 1
                if refusals == len(probes):
                    part.refused(answer)
                    return
                if len(probes) == part.size:
                    return
            left.extend(following)

    async def _request(self, target: Target, one: Planned, sent: Sent) -> None:
        """Raises TargetRefused, TargetFailed."""
        assert self._pace is not None
        await self._pace.take()
        outcome = "failed"
        try:
            async with asyncio.timeout(LONGEST_S):
                await target.purge(one.batch)
            outcome = "ok"
        except TargetRefused:
            outcome = "refused"
            raise
        except TargetFailed:
            raise
        except TimeoutError as exc:
            raise TargetFailed("did not answer in time") from exc
        except Exception as exc:
            log.exception("defect in a request to a CDN target", target=self._name)
            raise TargetFailed("a defect; the log of the worker has more of it") from exc
        finally:
            metrics.REQUESTS.labels(self._name, outcome).inc()
        sent.served = True
        one.done()


def told(error: TargetRefused | TargetFailed) -> str:
    """An answer for people, of a bounded length."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(error))
    return (text.strip() or "no reason was given")[:MAX_ANSWER]


def _note(sent: Sent, one: Planned, failure: TargetFailed) -> None:
    if sent.failure is None or failure.retry_after_s > sent.failure.retry_after_s:
        sent.failure = failure
    sent.failed.append(one)
    sent.served = sent.served or failure.in_part
