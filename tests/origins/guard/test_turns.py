"""Calls of an origin take turns, and end in time."""

import asyncio
from random import Random

import grpc
import pytest
from pantler_server.core import background
from pantler_server.core.errors import (
    OriginOutcomeUnknown,
    OriginUnavailable,
)
from pantler_server.core.origin_config import BreakerConfig, OriginConfig
from pantler_server.origins.guard import GuardedOrigin

from tests.origins.guard.guarding import (
    FAILURES,
    INSERT,
    TURNS,
    Origin,
    entered,
    loads,
    soon,
)
from tests.servers.origin_service import OriginService


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
