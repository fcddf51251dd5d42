"""The rate limit engine as workers have it, on every topology."""

import asyncio
import random

import pytest
from pantler_server.core.errors import InvalidFields, RateLimitRuleUnknown, WrongKind
from pantler_server.core.rate_limit import Algorithm, Rule
from pantler_server.engines.rate_limit import keys
from pantler_server.engines.rate_limit.engine import RateLimitEngine
from pantler_server.engines.rate_limit.limit import Limit
from pantler_server.engines.rate_limit.model import Check, Source
from pantler_server.store.request import Request, pack, read
from pantler_server.store.store import Store

from tests.engines.conftest import Deadline
from tests.engines.rate_limiting import LONG, LONG_MS, a_check, a_subject, costing


@pytest.mark.parametrize("algorithm", Algorithm)
async def test_as_much_as_the_limit_is_allowed_and_no_more(
    algorithm: Algorithm, limits: RateLimitEngine, deadline: Deadline
) -> None:
    check = a_check(LONG[algorithm], 3)
    for left in (7, 4, 1):
        decision = await limits.acquire(check, "", deadline())
        assert (decision.allowed, decision.remaining, decision.retry_us) == (True, left, 0)
    denied = await limits.acquire(check, "", deadline())
    assert not denied.allowed
    assert denied.remaining == 1
    assert 0 < denied.retry_us <= 2 * LONG_MS * 1000  # of a counter it may be in the next window
    assert denied.retry_us <= denied.reset_us
    assert (await limits.acquire(costing(check, 1), "", deadline())).allowed


@pytest.mark.parametrize("algorithm", Algorithm)
async def test_workers_together_allow_no_more_than_the_limit(
    algorithm: Algorithm, limits: RateLimitEngine, other_limits: RateLimitEngine, deadline: Deadline
) -> None:
    check = a_check(Rule(algorithm, 50, LONG_MS))
    taken = 0

    async def caller(worker: RateLimitEngine, seed: int) -> None:
        nonlocal taken
        draw = random.Random(seed)
        for _ in range(20):
            cost = draw.randint(1, 4)
            decision = await worker.acquire(costing(check, cost), "", deadline())
            taken += cost * decision.allowed

    await asyncio.gather(
        *(caller(one, seed) for seed in range(10) for one in (limits, other_limits))
    )
    assert taken <= 50
    while (await limits.acquire(check, "", deadline())).allowed:
        taken += 1
    assert taken == 50


@pytest.mark.parametrize("algorithm", Algorithm)
async def test_what_was_taken_expires_and_so_does_the_answer_to_a_request_id(
    algorithm: Algorithm, limits: RateLimitEngine, store: Store, deadline: Deadline
) -> None:
    check = a_check(LONG[algorithm])
    for action in ("acquire", "denied", "refund", "peek"):
        if action == "acquire":
            await limits.acquire(check, "id", deadline())
        elif action == "denied":
            await limits.acquire(costing(check, 10), "another", deadline())
        elif action == "refund" and algorithm is not Algorithm.CONCURRENCY:
            await limits.refund(check, "", deadline())
        elif action == "peek":
            await limits.peek(check, deadline())
        for place, longest_ms, since in (
            (check.place, 2 * LONG_MS + 1001, "acquire"),
            (keys.answer(check.place, check.limit.kind, "id"), 600_000, "acquire"),
            (keys.answer(check.place, check.limit.kind, "another"), 600_000, "denied"),
        ):
            if action == "acquire" != since:
                continue
            [left_ms] = await store.call(
                read(store.slot_of(place), "", ("PTTL", place)), deadline()
            )
            assert 0 < left_ms <= longest_ms


@pytest.mark.parametrize("algorithm", Algorithm)
async def test_peek_takes_nothing_and_says_what_acquire_would(
    algorithm: Algorithm, limits: RateLimitEngine, deadline: Deadline
) -> None:
    check = a_check(LONG[algorithm], 6)
    assert (await limits.peek(check, deadline()))[:3] == (True, 10, 0)
    await limits.acquire(check, "", deadline())
    peeked = await limits.peek(check, deadline())
    assert not peeked.allowed
    assert peeked.remaining == 4
    assert peeked.retry_us > 0
    assert (await limits.peek(costing(check, 4), deadline())).allowed
    assert (await limits.acquire(costing(check, 4), "", deadline())).allowed


@pytest.mark.parametrize("algorithm", ["fixed_window", "sliding_window_log", "gcra"])
@pytest.mark.parametrize("window_ms", [150, 700])
async def test_waiting_as_long_as_a_denial_says_is_enough(
    algorithm: str, window_ms: int, limits: RateLimitEngine, deadline: Deadline
) -> None:
    check = a_check(Rule(Algorithm(algorithm), 3, window_ms), 2)
    loop = asyncio.get_running_loop()
    for _ in range(3):
        while (decision := await limits.acquire(check, "", deadline())).allowed:
            pass
        until_ = loop.time() + decision.retry_us / 1e6
        again = await limits.peek(check, deadline())
        await asyncio.sleep(until_ - loop.time())
        while loop.time() < until_:  # a timer may be early by its resolution
            pass
        assert again.allowed or (await limits.acquire(check, "", deadline())).allowed


async def test_a_request_id_takes_once(
    limits: RateLimitEngine, other_limits: RateLimitEngine, deadline: Deadline
) -> None:
    for algorithm in Algorithm:
        check = a_check(LONG[algorithm], 4)
        first = await limits.acquire(check, "id", deadline())
        assert await other_limits.acquire(check, "id", deadline()) == first
        assert (await limits.peek(check, deadline())).remaining == 6
        assert (first.slot != "") == (algorithm is Algorithm.CONCURRENCY)
        with pytest.raises(InvalidFields, match="request_id"):
            await limits.acquire(costing(check, 5), "id", deadline())
        assert (await limits.peek(check, deadline())).remaining == 6


async def test_a_request_id_that_was_denied_is_denied_again(
    limits: RateLimitEngine, deadline: Deadline
) -> None:
    check = a_check(LONG[Algorithm.GCRA], 10)
    assert (await limits.acquire(check, "first", deadline())).allowed
    denied = await limits.acquire(check, "second", deadline())
    assert not denied.allowed
    await limits.reset(check, deadline())
    assert await limits.acquire(check, "second", deadline()) == denied
    assert (await limits.acquire(check, "third", deadline())).allowed


async def test_a_request_id_that_was_allowed_is_so_beside_a_remembered_denial(
    limits: RateLimitEngine, deadline: Deadline
) -> None:
    check = a_check(LONG[Algorithm.GCRA], 10)
    first = await limits.acquire(check, "id", deadline())
    assert not (await limits.acquire(check, "", deadline())).allowed
    assert (await limits.acquire(check, "", deadline())).source is Source.MEMORY
    assert await limits.acquire(check, "id", deadline()) == first


async def test_braces_and_colons_in_a_subject_mix_nothing_up(
    limits: RateLimitEngine, deadline: Deadline
) -> None:
    rule = LONG[Algorithm.FIXED_WINDOW]
    subjects = ["a", "a}b", "a}b}", "{a}", "a:b", "a}fixed_window:3600000", "}", "}r:x"]
    number = a_subject()
    for subject in subjects:
        check = Check(Limit(rule), f"{subject}{number}", 10)
        assert (await limits.acquire(check, "", deadline())).allowed, subject
        assert not (await limits.acquire(check, "", deadline())).allowed
        assert not (await limits.acquire(check, "x}y", deadline())).allowed


async def test_rules_with_other_numbers_count_apart(
    limits: RateLimitEngine, deadline: Deadline
) -> None:
    subject = a_subject()
    for rule in (
        Rule(Algorithm.GCRA, 10, LONG_MS),
        Rule(Algorithm.GCRA, 10, LONG_MS, burst=5),
        Rule(Algorithm.GCRA, 11, LONG_MS),
        Rule(Algorithm.GCRA, 10, LONG_MS + 1),
        Rule(Algorithm.TOKEN_BUCKET, 10, LONG_MS),
        Rule(Algorithm.GCRA, 10, LONG_MS, name="gcra"),
    ):
        check = Check(Limit(rule), subject, rule.capacity)
        assert (await limits.acquire(check, "id", deadline())).allowed, rule


@pytest.mark.parametrize(
    "algorithm", [one for one in Algorithm if one is not Algorithm.CONCURRENCY]
)
async def test_refund_gives_back_once_and_not_beyond_the_limit(
    algorithm: Algorithm, limits: RateLimitEngine, deadline: Deadline
) -> None:
    check = a_check(LONG[algorithm], 10)
    await limits.acquire(check, "", deadline())
    assert not (await limits.acquire(check, "", deadline())).allowed
    for _ in range(2):
        back = await limits.refund(costing(check, 3), "back", deadline())
        assert back.remaining == 3
    assert (await limits.acquire(costing(check, 3), "", deadline())).allowed
    assert (await limits.refund(check, "", deadline())).remaining == 10
    assert (await limits.refund(check, "", deadline())).remaining == 10
    assert (await limits.acquire(check, "", deadline())).allowed


@pytest.mark.parametrize("algorithm", Algorithm)
async def test_reset_forgets_what_was_taken(
    algorithm: Algorithm, limits: RateLimitEngine, deadline: Deadline
) -> None:
    check = a_check(LONG[algorithm], 10)
    await limits.acquire(check, "", deadline())
    await limits.reset(check, deadline())
    await limits.reset(check, deadline())
    assert (await limits.acquire(check, "", deadline())).allowed


async def test_rules_are_known_by_name(limits: RateLimitEngine) -> None:
    assert limits.named("named").rule.limit == 2
    assert list(limits.rules) == ["named"]
    with pytest.raises(RateLimitRuleUnknown, match="nobody"):
        limits.named("nobody")


async def test_a_place_with_other_data_is_refused(
    limits: RateLimitEngine, store: Store, deadline: Deadline
) -> None:
    for algorithm in Algorithm:
        check = a_check(LONG[algorithm])
        foreign = pack("HSET", check.place, "field", "value")
        await store.call(
            Request(store.slot_of(check.place), (foreign,), "", repeatable=True), deadline()
        )
        with pytest.raises(WrongKind):
            await limits.acquire(check, "", deadline())
