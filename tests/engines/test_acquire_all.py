"""AcquireAll: from all or from none."""

import asyncio
import random

import pytest
from pantler_server.core.errors import InvalidFields
from pantler_server.core.rate_limit import Algorithm, Rule
from pantler_server.engines.rate_limit.engine import RateLimitEngine
from pantler_server.engines.rate_limit.model import Source
from pantler_server.store.store import Store

from tests.engines.conftest import Deadline
from tests.engines.rate_limiting import LONG, LONG_MS, a_check, costing


async def test_takes_from_all_or_none(limits: RateLimitEngine, deadline: Deadline) -> None:
    checks = [a_check(LONG[algorithm], 6) for algorithm in Algorithm]
    decisions = await limits.acquire_all(checks, "", deadline())
    assert [one.allowed for one in decisions] == [True] * len(checks)
    assert [one.remaining for one in decisions] == [4] * len(checks)
    small = [costing(check, 2) for check in checks]
    small[3] = costing(checks[3], 5)
    decisions = await limits.acquire_all(small, "", deadline())
    assert not decisions[3].allowed
    left = [(await limits.peek(check, deadline())).remaining for check in checks]
    assert left == [4] * len(checks)


async def test_a_remembered_denial_denies_all_without_redis(
    limits: RateLimitEngine, store: Store, deadline: Deadline
) -> None:
    full, other = a_check(LONG[Algorithm.GCRA], 10), a_check(LONG[Algorithm.GCRA])
    await limits.acquire(full, "", deadline())
    await limits.acquire(full, "", deadline())
    decisions = await limits.acquire_all([other, full], "", deadline())
    assert [one.source for one in decisions] == [Source.SKIPPED, Source.MEMORY]
    assert (await limits.peek(other, deadline())).remaining == 10


async def test_a_request_id_takes_once_and_gives_back_once(
    limits: RateLimitEngine, other_limits: RateLimitEngine, deadline: Deadline
) -> None:
    checks = [a_check(LONG[algorithm], 6) for algorithm in Algorithm]
    first = await limits.acquire_all(checks, "id", deadline())
    assert await other_limits.acquire_all(checks, "id", deadline()) == first
    left = [(await limits.peek(check, deadline())).remaining for check in checks]
    assert left == [4] * len(checks)
    for worker in (limits, other_limits):
        denied = await worker.acquire_all(
            [*(costing(check, 4) for check in checks[:-1]), checks[-1]], "denied", deadline()
        )
        assert not denied[-1].allowed
        left = [(await limits.peek(check, deadline())).remaining for check in checks]
        assert left == [4] * len(checks)
    with pytest.raises(InvalidFields):
        await limits.acquire_all([costing(checks[0], 1), *checks[1:]], "id", deadline())


async def test_a_shadow_denies_nothing_and_takes_nothing_it_has_not(
    limits: RateLimitEngine, deadline: Deadline
) -> None:
    shadow = a_check(Rule(Algorithm.GCRA, 10, LONG_MS, shadow=True), 10)
    other = a_check(LONG[Algorithm.GCRA])
    await limits.acquire(shadow, "", deadline())
    for left in (9, 8):
        seen, found = await limits.acquire_all([shadow, other], "", deadline())
        assert not seen.allowed
        assert (found.allowed, found.remaining) == (True, left)


async def test_never_too_much_where_many_want_several(
    limits: RateLimitEngine, other_limits: RateLimitEngine, deadline: Deadline
) -> None:
    """On a Cluster what is taken and given back may deny others meanwhile, but at the end all
    that was not allowed is there again."""
    pool = [a_check(Rule(Algorithm.TOKEN_BUCKET, 20, LONG_MS)) for _ in range(4)]
    taken = dict.fromkeys(pool, 0)

    async def caller(worker: RateLimitEngine, seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(10):
            chosen = draw.sample(pool, 3)
            wanted = [costing(check, draw.randint(1, 5)) for check in chosen]
            decisions = await worker.acquire_all(wanted, "", deadline())
            if all(one.allowed for one in decisions):
                for check, one in zip(chosen, wanted, strict=True):
                    taken[check] += one.cost

    await asyncio.gather(
        *(caller(one, seed) for seed in range(8) for one in (limits, other_limits))
    )
    for check, count_ in taken.items():
        assert count_ <= 20
        assert (await limits.peek(check, deadline())).remaining == 20 - count_
