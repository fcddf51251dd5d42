"""An origin that fails is left alone, and no other is."""

import asyncio

import grpc
import pytest
from pantler_server.core import background
from pantler_server.core.errors import (
    OriginUnavailable,
    RecordExists,
)
from pantler_server.core.record import Operation
from pantler_server.origins.guard import GuardedOrigin
from pantler_server.origins.origin import OriginHealth

from tests.origins.guard.guarding import (
    FAILURES,
    INSERT,
    PAUSE_S,
    TURNS,
    Clock,
    entered,
    fail,
    loads,
    soon,
)
from tests.servers.origin_service import OriginService


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
