"""What a worker remembers of denials: a flood of them costs Redis nothing, and is over in time."""

import asyncio
from dataclasses import replace

import pytest
from pantler_server.core.config import Settings
from pantler_server.core.rate_limit import Algorithm, Rule
from pantler_server.engines.rate_limit.engine import RateLimitEngine
from pantler_server.engines.rate_limit.limit import Limit
from pantler_server.engines.rate_limit.model import Check, Decision, Source
from pantler_server.store.request import pack
from pantler_server.store.store import Store

from tests.engines.conftest import Deadline
from tests.engines.rate_limiting import LONG, a_check, costing


async def commands(store: Store, deadline: float) -> int:
    """How many scripts Redis has run since its start."""
    answers = await store.ask_primaries((pack("INFO", "commandstats"),), deadline)
    calls = 0
    for _, [info] in answers:
        for line in info.decode().splitlines():
            if line.startswith(("cmdstat_evalsha:", "cmdstat_eval:")):
                calls += int(line.partition("calls=")[2].partition(",")[0])
    return calls


async def test_denied_again_without_redis(
    limits: RateLimitEngine, store: Store, deadline: Deadline
) -> None:
    for algorithm in Algorithm:
        check = a_check(LONG[algorithm], 10)
        await limits.acquire(check, "", deadline())
        await limits.acquire(costing(check, 2), "", deadline())
        before = await commands(store, deadline())
        found = [await limits.acquire(costing(check, n), "", deadline()) for n in (2, 3, 10)]
        if algorithm is Algorithm.CONCURRENCY:
            assert {one.source for one in found} == {Source.REDIS}
            continue
        assert {one.source for one in found} == {Source.MEMORY}
        assert not any(one.allowed for one in found)
        for cost, one in zip((2, 3, 10), found, strict=True):
            enough_us = (await limits.peek(costing(check, cost), deadline())).retry_us
            assert enough_us <= one.retry_us + 1_000_000, "an hour's part passes meanwhile"
            assert one.retry_us <= one.reset_us + 1
        # Workers say every second that they are there; nothing else runs a script.
        assert await commands(store, deadline()) - before <= 4
        less = await limits.acquire(costing(check, 1), "", deadline())
        assert less.source is Source.REDIS


async def test_over_at_its_time(limits: RateLimitEngine, deadline: Deadline) -> None:
    check = a_check(Rule(Algorithm.SLIDING_WINDOW_LOG, 1, 200))
    await limits.acquire(check, "", deadline())
    await limits.acquire(check, "", deadline())
    denied = await limits.acquire(check, "", deadline())
    assert denied.source is Source.MEMORY
    await asyncio.sleep(denied.retry_us / 1e6)
    assert (await limits.acquire(check, "", deadline())).allowed


@pytest.mark.parametrize("how", ["reset", "refund"])
async def test_forgotten_by_all_workers(
    how: str,
    limits: RateLimitEngine,
    other_limits: RateLimitEngine,
    deadline: Deadline,
) -> None:
    check = a_check(LONG[Algorithm.GCRA], 10)
    await limits.acquire(check, "", deadline())
    for worker in (limits, other_limits):
        await worker.acquire(check, "", deadline())
        assert (await worker.acquire(check, "", deadline())).source is Source.MEMORY
    if how == "reset":
        await limits.reset(check, deadline())
    else:
        await limits.refund(check, "", deadline())
    # Here at once; at another worker when it has heard of it.
    assert limits._denials.find(check) is None
    async with asyncio.timeout(1):
        while (await other_limits.acquire(check, "", deadline())).source is Source.MEMORY:
            await asyncio.sleep(0.001)


async def test_a_denial_that_was_under_way_at_a_reset_is_not_remembered(
    limits: RateLimitEngine, deadline: Deadline
) -> None:
    """The interleaving of denials.py."""
    check = a_check(LONG[Algorithm.GCRA], 10)
    denials = limits._denials
    asked_at, number = asyncio.get_running_loop().time(), denials.number(check.place)
    denials.forget(check.place)
    denials.keep(check, Decision(False, 0, 10**9, 10**9), number, asked_at)
    assert denials.find(check) is None
    denials.keep(check, Decision(False, 0, 10**9, 10**9), denials.number(check.place), asked_at)
    assert denials.find(check) is not None


async def test_a_reload_forgets_all(
    limits: RateLimitEngine, rate_limit_settings: Settings, deadline: Deadline
) -> None:
    check = a_check(LONG[Algorithm.GCRA], 10)
    await limits.acquire(check, "", deadline())
    await limits.acquire(check, "", deadline())
    assert limits._denials.find(check) is not None
    limits.apply(rate_limit_settings)
    assert limits._denials.find(check) is None


async def test_a_denial_of_a_rule_as_it_was_is_not_for_the_rule_as_it_is(
    limits: RateLimitEngine, deadline: Deadline
) -> None:
    """Also if it was on its way during the reload, or its call went by the former rule."""
    before = a_check(replace(LONG[Algorithm.SLIDING_WINDOW_LOG], name="reloaded"), 10)
    await limits.acquire(before, "", deadline())
    await limits.acquire(before, "", deadline())
    now = Check(Limit(replace(before.limit.rule, limit=30)), before.subject, 10)
    assert now.place == before.place
    assert (await limits.acquire(now, "", deadline())).allowed


@pytest.mark.parametrize("algorithm", sorted(set(Algorithm) - {Algorithm.CONCURRENCY}))
async def test_a_greater_cost_is_told_a_time_that_is_enough(
    algorithm: Algorithm, limits: RateLimitEngine, deadline: Deadline
) -> None:
    check = a_check(Rule(algorithm, 10, 600), 10)
    await limits.acquire(check, "", deadline())
    await limits.acquire(costing(check, 1), "", deadline())
    denied = await limits.acquire(costing(check, 8), "", deadline())
    assert denied.source is Source.MEMORY
    await asyncio.sleep(denied.retry_us / 1e6)
    assert (await limits.acquire(costing(check, 8), "", deadline())).allowed
