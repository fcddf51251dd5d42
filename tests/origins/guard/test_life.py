"""The start and the end of a guarded origin, and what it counts meanwhile."""

import asyncio

import grpc
import pytest
from pantler_server.core import background
from pantler_server.core.errors import (
    OriginOutcomeUnknown,
    OriginUnavailable,
    ServiceError,
)
from pantler_server.core.origin_config import OriginConfig
from pantler_server.core.record import Operation
from pantler_server.origins import guard
from pantler_server.origins.guard import GuardedOrigin
from prometheus_client import REGISTRY

from tests.origins.guard.guarding import (
    FAILURES,
    INSERT,
    TURNS,
    Origin,
    entered,
    fail,
    loads,
    soon,
)
from tests.servers.origin_service import OriginService


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
