"""Slots: held by one holder each, until they are released or their holder dies."""

import asyncio

import pytest
from pantler_server.core.errors import SlotNotHeld
from pantler_server.core.rate_limit import Algorithm, Rule
from pantler_server.engines.rate_limit.engine import RateLimitEngine

from tests.engines.conftest import Deadline
from tests.engines.rate_limiting import LONG_MS, a_check, costing


async def test_held_until_released(limits: RateLimitEngine, deadline: Deadline) -> None:
    check = a_check(Rule(Algorithm.CONCURRENCY, 2, LONG_MS))
    first = await limits.acquire(check, "", deadline())
    second = await limits.acquire(check, "", deadline())
    assert first.slot != second.slot
    assert not (await limits.acquire(check, "", deadline())).allowed
    await limits.release_slot(check, first.slot, deadline())
    assert (await limits.acquire(check, "", deadline())).allowed
    for call in (limits.release_slot, limits.renew_slot):
        with pytest.raises(SlotNotHeld):
            await call(check, first.slot, deadline())


async def test_free_when_its_holder_dies(limits: RateLimitEngine, deadline: Deadline) -> None:
    check = a_check(Rule(Algorithm.CONCURRENCY, 1, 300))
    held = await limits.acquire(check, "", deadline())
    denied = await limits.acquire(check, "", deadline())
    assert 0 < denied.retry_us <= 300_000
    await limits.renew_slot(check, held.slot, deadline())
    again = await limits.acquire(check, "", deadline())
    assert again.retry_us > denied.retry_us - 100_000
    await asyncio.sleep(again.retry_us / 1e6)
    assert (await limits.acquire(check, "", deadline())).allowed
    with pytest.raises(SlotNotHeld):
        await limits.renew_slot(check, held.slot, deadline())


async def test_a_slot_of_several_permits_gives_them_all_back(
    limits: RateLimitEngine, deadline: Deadline
) -> None:
    check = a_check(Rule(Algorithm.CONCURRENCY, 5, LONG_MS), 3)
    held = await limits.acquire(check, "", deadline())
    assert not (await limits.acquire(check, "", deadline())).allowed
    await limits.release_slot(costing(check, 1), held.slot, deadline())
    assert (await limits.peek(check, deadline())).remaining == 5


@pytest.mark.parametrize("slot", ["", "x", ".", "1", "local.x.1"])
async def test_what_is_no_slot_is_not_held(
    slot: str, limits: RateLimitEngine, deadline: Deadline
) -> None:
    check = a_check(Rule(Algorithm.CONCURRENCY, 5, LONG_MS), 3)
    await limits.acquire(check, "", deadline())
    with pytest.raises(SlotNotHeld):
        await limits.release_slot(check, slot, deadline())
    assert (await limits.peek(check, deadline())).remaining == 2
