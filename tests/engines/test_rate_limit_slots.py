"""Slots: held by one holder each, until they are released or their holder dies."""

import asyncio
from dataclasses import replace

import pytest
from pantler_server.core.errors import SlotNotHeld
from pantler_server.core.rate_limit import Algorithm, Rule
from pantler_server.engines.rate_limit.engine import RateLimitEngine
from pantler_server.engines.rate_limit.limit import Limit
from pantler_server.engines.rate_limit.model import Check
from pantler_server.store.request import read
from pantler_server.store.store import Store

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


async def test_slots_of_another_window_are_still_held(
    limits: RateLimitEngine, store: Store, deadline: Deadline
) -> None:
    """As after a reload of the rule."""
    rule = Rule(Algorithm.CONCURRENCY, 1, LONG_MS, name="reloaded")
    before = a_check(rule)
    held = await limits.acquire(before, "", deadline())
    now = Check(Limit(replace(rule, window_ms=1000)), before.subject, 1)
    assert not (await limits.acquire(now, "", deadline())).allowed
    await limits.renew_slot(now, held.slot, deadline())
    [left_ms] = await store.call(
        read(store.slot_of(now.place), "", ("PTTL", now.place)), deadline()
    )
    assert left_ms > LONG_MS - 60_000, "another slot may have been taken for as long"
    await limits.release_slot(now, held.slot, deadline())
    assert (await limits.acquire(now, "", deadline())).allowed


async def test_many_slots_that_expired_or_are_too_many_hold_nobody_up(
    limits: RateLimitEngine, store: Store, deadline: Deadline
) -> None:
    rule = Rule(Algorithm.CONCURRENCY, 20_000, 1500, name="lowered")
    check = a_check(rule)
    for _ in range(60):
        await asyncio.gather(*(limits.acquire(check, "", deadline()) for _ in range(100)))
    lowered = Check(Limit(replace(rule, limit=3)), check.subject, 1)
    denied = await limits.acquire(lowered, "", deadline())
    assert not denied.allowed
    assert denied.retry_us <= 1_500_000
    await asyncio.sleep(denied.retry_us / 1e6)
    tries = 0
    while not (await limits.acquire(lowered, "", deadline())).allowed:
        tries += 1
    assert tries <= 2, "5,000 are passed over in a call"
