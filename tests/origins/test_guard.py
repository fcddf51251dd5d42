"""What stands around every origin: time, turns and the breaker."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from random import Random
from typing import Any

import grpc
import pytest
import pytest_asyncio
from pantler_server.core import background
from pantler_server.core.errors import (
    OriginOutcomeUnknown,
    OriginUnavailable,
    RecordExists,
    ServiceError,
)
from pantler_server.core.origin_config import BreakerConfig, OriginConfig
from pantler_server.core.record import Operation, Record
from pantler_server.origins import guard
from pantler_server.origins.grpc import Channels, GrpcOrigin
from pantler_server.origins.guard import GuardedOrigin
from pantler_server.origins.origin import OriginHealth, Write
from prometheus_client import REGISTRY

from tests.servers.origin_service import OriginService

FAILURES, PAUSE_S, TURNS = 3, 30.0, 4
INSERT = Write("ada", Operation.INSERT, {}, 1)

Guarded = Callable[..., Coroutine[Any, Any, GuardedOrigin]]


class Clock:
    """The breaker's, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Origin(GrpcOrigin):
    """With what no service can do: not to let itself be cancelled, to start slowly, to have keys to
    list."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.lets_go = asyncio.Event()
        self.started = asyncio.Event()
        self.started.set()

    async def start(self) -> None:
        await self.started.wait()
        await super().start()

    async def load(self, key: str, deadline: float) -> Record | None:
        if key != "stubborn":
            return await super().load(key, deadline)
        while not self.lets_go.is_set():
            try:
                await self.lets_go.wait()
            except asyncio.CancelledError:
                continue
        return {}

    async def list_keys(
        self, query: str | None, after: str, page_size: int
    ) -> AsyncIterator[Sequence[str]]:
        for page in (["a", "b"], ["c"]):
            await self.load(page[0], soon())
            yield page


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


@pytest_asyncio.fixture
async def service() -> AsyncIterator[OriginService]:
    async with OriginService() as running:
        running.put("ada", n=1)
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def inner(service: OriginService, config: OriginConfig) -> Origin:
    return Origin("users", config, Channels())


@pytest.fixture
def config(service: OriginService) -> OriginConfig:
    return OriginConfig.model_validate(
        {
            "grpc": {"target": service.target},
            "timeout": "1s",
            "max_concurrency": TURNS,
            "breaker": {"failures": FAILURES, "pause": f"{PAUSE_S}s"},
        }
    )


@pytest_asyncio.fixture
async def origin(inner: Origin, config: OriginConfig, clock: Clock) -> AsyncIterator[GuardedOrigin]:
    opened = GuardedOrigin(inner, "users", config, clock)
    opened.begin()
    yield opened
    inner.lets_go.set()
    await opened.stop()


async def loads(origin: GuardedOrigin, calls: int, deadline: float) -> list[Any]:
    """What each of them came to."""
    return await asyncio.gather(
        *(origin.load("ada", deadline) for _ in range(calls)), return_exceptions=True
    )


async def entered(service: OriginService, calls: int) -> None:
    """Waits until so many are under way."""
    async with asyncio.timeout(5):
        while service.under_way != calls:
            await asyncio.sleep(0.001)


async def fail(origin: GuardedOrigin, service: OriginService) -> None:
    """Until it is left alone."""
    service.fails = grpc.StatusCode.UNAVAILABLE
    for _ in range(FAILURES):
        with pytest.raises(OriginUnavailable, match="is not available"):
            await origin.load("ada", soon())
    service.fails = None
    assert not origin.health.available


# The breaker.


async def test_an_origin_that_fails_is_left_alone(
    origin: GuardedOrigin, service: OriginService
) -> None:
    assert origin.health == OriginHealth("users", available=True, detail="")
    await fail(origin, service)
    for error in await loads(origin, 100, soon()):
        assert isinstance(error, OriginUnavailable)
        assert "is left alone" in error.message
    assert service.calls.total() == FAILURES
    detail = (
        "it is left alone, since its newest calls failed: "
        "the origin of namespace 'users' is not available"
    )
    assert origin.health == OriginHealth("users", available=False, detail=detail)


async def test_of_a_hundred_callers_one_probes_and_the_others_are_refused_at_once(
    origin: GuardedOrigin, service: OriginService, clock: Clock
) -> None:
    await fail(origin, service)
    clock.now += PAUSE_S
    service.goes_on.clear()
    callers = [asyncio.create_task(origin.load("ada", soon())) for _ in range(100)]
    done, pending = await asyncio.wait(callers, timeout=0.5)
    assert (len(done), len(pending)) == (99, 1)
    assert all(isinstance(one.exception(), OriginUnavailable) for one in done)
    assert service.calls.total() == FAILURES + 1
    service.goes_on.set()
    assert await pending.pop() == {"n": 1}
    assert origin.health.available
    assert await loads(origin, 100, soon()) == [{"n": 1}] * 100


async def test_a_probe_that_fails_begins_another_pause(
    origin: GuardedOrigin, service: OriginService, clock: Clock
) -> None:
    await fail(origin, service)
    clock.now += PAUSE_S
    service.fails = grpc.StatusCode.INTERNAL
    with pytest.raises(OriginUnavailable, match="INTERNAL"):
        await origin.load("ada", soon())
    service.fails = None
    clock.now += PAUSE_S - 1
    with pytest.raises(OriginUnavailable, match="left alone"):
        await origin.load("ada", soon())
    clock.now += 1
    assert await origin.load("ada", soon()) == {"n": 1}


async def test_a_probe_whose_caller_is_gone_leaves_it_to_the_next(
    origin: GuardedOrigin, service: OriginService, clock: Clock
) -> None:
    await fail(origin, service)
    clock.now += PAUSE_S
    service.goes_on.clear()
    probe = asyncio.create_task(origin.load("ada", soon()))
    await entered(service, 1)
    await background.stop((probe,))
    service.goes_on.set()
    assert await origin.load("ada", soon()) == {"n": 1}
    assert origin.health.available


async def test_refusals_are_no_failures(origin: GuardedOrigin, service: OriginService) -> None:
    for _ in range(2 * FAILURES):
        with pytest.raises(RecordExists):
            await origin.store(INSERT, soon())
    assert origin.health.available


async def test_an_answer_ends_the_row_of_failures(
    origin: GuardedOrigin, service: OriginService
) -> None:
    for _ in range(3):
        service.fails = grpc.StatusCode.UNAVAILABLE
        for _ in range(FAILURES - 1):
            with pytest.raises(OriginUnavailable):
                await origin.load("ada", soon())
        service.fails = None
        assert await origin.load("ada", soon()) == {"n": 1}


async def test_calls_that_do_not_end_in_time_are_failures(
    origin: GuardedOrigin, service: OriginService
) -> None:
    service.goes_on.clear()
    calls = [origin.load("ada", soon()) for _ in range(FAILURES)]
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(end) for end in ends} == {OriginUnavailable}
    with pytest.raises(OriginUnavailable, match="left alone"):
        await origin.load("ada", soon())


async def test_that_callers_had_too_little_time_is_not_the_origins_fault(
    origin: GuardedOrigin, service: OriginService
) -> None:
    service.goes_on.clear()
    for _ in range(2 * FAILURES):
        with pytest.raises(OriginUnavailable, match="did not answer in time"):
            await origin.load("ada", soon(0.02))
    service.goes_on.set()
    assert await origin.load("ada", soon()) == {"n": 1}


async def test_who_waits_when_it_begins_to_be_left_alone_does_not_call_it(
    origin: GuardedOrigin, service: OriginService
) -> None:
    service.goes_on.clear()
    service.fails = grpc.StatusCode.UNAVAILABLE
    callers = asyncio.gather(
        *(origin.load("ada", soon()) for _ in range(10 * TURNS)), return_exceptions=True
    )
    await entered(service, TURNS)
    service.goes_on.set()
    assert all(isinstance(end, OriginUnavailable) for end in await callers)
    assert service.calls.total() < FAILURES + TURNS


async def test_fields_are_checked_while_it_is_left_alone(
    origin: GuardedOrigin, service: OriginService
) -> None:
    await fail(origin, service)
    assert await origin.check("ada", Operation.UPSERT, {"n": 1}, soon()) == {"n": 1}


# Turns.


async def test_no_more_calls_are_under_way_than_may_be(
    origin: GuardedOrigin, service: OriginService
) -> None:
    service.goes_on.clear()
    callers = asyncio.create_task(loads(origin, 50, soon()))
    await entered(service, TURNS)
    service.goes_on.set()
    assert await callers == [{"n": 1}] * 50
    assert service.most_under_way == TURNS


async def test_turns_come_in_the_order_in_which_they_were_asked_for(
    origin: GuardedOrigin, inner: Origin, service: OriginService
) -> None:
    service.goes_on.clear()
    order: list[int] = []

    async def call(number: int) -> None:
        await origin.load("ada", soon())
        order.append(number)

    callers = [asyncio.create_task(call(number)) for number in range(5 * TURNS)]
    await entered(service, TURNS)
    gone = callers.pop(TURNS + 1)
    await background.stop((gone,))
    service.goes_on.set()
    await asyncio.gather(*callers)
    rounds = [set(order[at : at + TURNS]) for at in range(0, len(order), TURNS)]
    assert rounds[0] == set(range(TURNS))
    assert order.index(TURNS) < order.index(5 * TURNS - 1)
    assert len(order) == 5 * TURNS - 1


async def test_no_turn_is_lost_whatever_ends_calls(
    inner: Origin, config: OriginConfig, service: OriginService
) -> None:
    never = config.model_copy(update={"breaker": BreakerConfig(failures=1000)})
    origin = GuardedOrigin(inner, "users", never)
    await origin.start()
    dice = Random(8)

    async def call() -> None:
        calling = asyncio.create_task(origin.load("ada", soon(dice.uniform(0.0, 0.05))))
        _, pending = await asyncio.wait((calling,), timeout=dice.choice((0.0, 0.01, 1.0)))
        for one in pending:
            one.cancel()
        await asyncio.gather(calling, return_exceptions=True)

    for _ in range(20):
        service.fails = dice.choice((None, grpc.StatusCode.UNAVAILABLE))
        await asyncio.gather(*(call() for _ in range(25)))
    service.fails = None
    service.goes_on.clear()
    calls = [asyncio.create_task(origin.load("ada", soon())) for _ in range(3 * TURNS)]
    await entered(service, TURNS)
    await asyncio.wait(calls, timeout=0.1)
    assert service.under_way == TURNS
    service.goes_on.set()
    assert await asyncio.gather(*calls) == [{"n": 1}] * len(calls)
    await origin.stop()


async def test_who_would_wait_past_its_deadline_is_told(
    origin: GuardedOrigin, service: OriginService
) -> None:
    service.goes_on.clear()
    callers = [asyncio.create_task(origin.load("ada", soon())) for _ in range(TURNS)]
    await entered(service, TURNS)
    for _ in range(2 * FAILURES):  # which are no failures of the origin
        with pytest.raises(OriginUnavailable, match="its turn did not come in time"):
            await origin.load("ada", soon(0.01))
    service.goes_on.set()
    assert await asyncio.gather(*callers) == [{"n": 1}] * TURNS
    assert await origin.load("ada", soon()) == {"n": 1}


async def test_a_deadline_that_has_passed_is_not_the_origins_fault(
    origin: GuardedOrigin, service: OriginService
) -> None:
    for _ in range(2 * FAILURES):
        with pytest.raises(OriginUnavailable):
            await origin.load("ada", soon(-1))
    assert await origin.load("ada", soon()) == {"n": 1}
    assert service.calls.total() == 1


# Time.


async def test_a_call_takes_no_longer_than_the_origin_may(
    origin: GuardedOrigin, service: OriginService
) -> None:
    service.goes_on.clear()
    began = soon(0)
    with pytest.raises(OriginUnavailable, match="did not answer in time"):
        await origin.load("ada", soon(60))
    assert 0.9 < soon(0) - began < 1.5


async def test_a_call_ends_even_if_the_origin_does_not_and_keeps_its_turn(
    origin: GuardedOrigin, inner: Origin
) -> None:
    calls = [origin.load("stubborn", soon(0.05)) for _ in range(TURNS)]
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, OriginUnavailable) for end in ends)
    assert origin._turns.locked()
    inner.lets_go.set()
    async with asyncio.timeout(5):
        while origin._turns.locked():
            await asyncio.sleep(0.001)
    assert not origin._under_way


async def test_a_write_without_an_answer_may_have_been_done(
    origin: GuardedOrigin, service: OriginService
) -> None:
    service.goes_on.clear()
    with pytest.raises(OriginOutcomeUnknown):
        await origin.store(INSERT, soon(0.05))


async def test_a_call_whose_caller_is_gone_ends(
    origin: GuardedOrigin, service: OriginService
) -> None:
    service.goes_on.clear()
    callers = [asyncio.create_task(origin.load("ada", soon())) for _ in range(2 * TURNS)]
    await entered(service, TURNS)
    await background.stop(callers)
    await entered(service, 0)
    service.goes_on.set()
    assert await loads(origin, TURNS, soon()) == [{"n": 1}] * TURNS


# Start and end.


async def test_calls_wait_for_the_start(
    inner: Origin, config: OriginConfig, service: OriginService
) -> None:
    inner.started.clear()
    origin = GuardedOrigin(inner, "users", config)
    origin.begin()
    calls = [
        asyncio.create_task(origin.load("ada", soon())),
        asyncio.create_task(origin.check("ada", Operation.UPSERT, {}, soon())),
    ]
    with pytest.raises(OriginUnavailable):
        await origin.check("ada", Operation.UPSERT, {}, soon(0.01))
    with pytest.raises(OriginUnavailable):  # and nothing was done
        await origin.store(INSERT, soon(0.01))
    assert not service.calls
    inner.started.set()
    assert await asyncio.gather(*calls) == [{"n": 1}, {}]
    await origin.stop()


async def test_a_stop_ends_what_is_under_way(
    inner: Origin, config: OriginConfig, service: OriginService
) -> None:
    origin = GuardedOrigin(inner, "users", config)
    await origin.start()
    service.goes_on.clear()
    callers = [asyncio.create_task(origin.load("ada", soon())) for _ in range(2 * TURNS)]
    await entered(service, TURNS)
    await origin.stop()
    ends = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(end, OriginUnavailable) for end in ends)
    with pytest.raises(OriginUnavailable, match="not used any more"):
        await origin.load("ada", soon())


async def test_a_write_that_a_stop_ends_may_have_been_done(
    inner: Origin, config: OriginConfig, service: OriginService
) -> None:
    origin = GuardedOrigin(inner, "users", config)
    await origin.start()
    service.goes_on.clear()
    writing = asyncio.create_task(origin.store(INSERT, soon()))
    await entered(service, 1)
    await origin.stop()
    with pytest.raises(OriginOutcomeUnknown):
        await writing


async def test_a_retired_origin_stops_when_it_has_nothing_left_to_do(
    inner: Origin, config: OriginConfig, service: OriginService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "RETIRED_AFTER_S", 0.05)
    origin = GuardedOrigin(inner, "users", config)
    await origin.start()
    service.goes_on.clear()
    calls = [asyncio.create_task(origin.load("ada", soon())) for _ in range(2 * TURNS)]
    await entered(service, TURNS)
    retiring = asyncio.create_task(origin.retire())
    await asyncio.wait((retiring,), timeout=0.2)
    service.goes_on.set()
    assert await asyncio.gather(*calls) == [{"n": 1}] * len(calls)
    assert await origin.load("ada", soon()) == {"n": 1}  # as part of what had begun before
    await retiring
    with pytest.raises(OriginUnavailable):
        await origin.load("ada", soon())


async def test_keys_are_listed_page_by_page(origin: GuardedOrigin, service: OriginService) -> None:
    assert [page async for page in origin.list_keys(None, "", 2)] == [["a", "b"], ["c"]]
    service.fails = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(ServiceError):
        _ = [page async for page in origin.list_keys(None, "", 2)]


# Metrics.


def counted(outcome: str, namespace: str) -> float:
    labels = {"namespace": namespace, "call": "load", "outcome": outcome}
    return REGISTRY.get_sample_value("pantler_origin_calls_total", labels) or 0.0


async def test_every_call_is_counted_by_what_it_came_to(
    inner: Origin, config: OriginConfig, service: OriginService
) -> None:
    origin = GuardedOrigin(inner, "measured", config)
    await origin.start()
    await origin.load("ada", soon())
    service.goes_on.clear()
    calls = [asyncio.create_task(origin.load("ada", soon())) for _ in range(TURNS)]
    await entered(service, TURNS)
    with pytest.raises(OriginUnavailable):
        await origin.load("ada", soon(0.01))
    await background.stop(calls)
    await entered(service, 0)
    service.goes_on.set()
    await fail(origin, service)
    await loads(origin, 2, soon())
    outcomes = {
        outcome: counted(outcome, "measured")
        for outcome in ("ok", "busy", "cancelled", "unavailable", "left_alone")
    }
    assert outcomes == {
        "ok": 1,
        "busy": 1,
        "cancelled": TURNS,
        "unavailable": FAILURES,
        "left_alone": 2,
    }
    took = {"namespace": "measured", "call": "load"}
    assert REGISTRY.get_sample_value("pantler_origin_seconds_count", took) == 1 + FAILURES
    is_open = {"namespace": "measured"}
    assert REGISTRY.get_sample_value("pantler_origin_open", is_open) == 1
    await origin.stop()
    assert REGISTRY.get_sample_value("pantler_origin_open", is_open) == 0
