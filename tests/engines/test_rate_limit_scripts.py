"""The scripts of rate limits on a clock that the test turns, against exact simulations: each answer
is the one that the algorithm's definition gives, to the microsecond."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pantler_server.core.calendar import Period
from pantler_server.core.clock import RedisClock
from pantler_server.core.rate_limit import (
    BUCKETS,
    LISTED,
    MAX_FILL_MS,
    MAX_LIMIT,
    MAX_LISTED,
    MAX_WINDOW_MS,
    Algorithm,
    Rule,
)
from pantler_server.engines.rate_limit import scripts
from pantler_server.engines.rate_limit.limit import Limit
from pantler_server.engines.rate_limit.model import Check
from pantler_server.store.request import Request, Script, pack
from redis import Connection

from tests.engines.rate_limit_oracle import ORACLES, Answer, Slots
from tests.engines.rate_limiting import a_check
from tests.servers.valkey import ValkeyServer

START_US = 1_790_000_000_000_000  # of the clock, and about where Redis's is
EXAMPLES = 100


class Redis:
    """A server whose scripts read `now` (Unix us) instead of the time."""

    def __init__(self, port: int) -> None:
        self._connection: Any = Connection(port=port, protocol=2)  # type: ignore[no-untyped-call]
        self.now = START_US

    def run(self, request: Request) -> Any:
        assert request.if_no_script is not None
        seconds, us = divmod(self.now, 1_000_000)
        self.execute("DEL", "clock")
        self.execute("RPUSH", "clock", seconds, us)
        self._connection.send_packed_command([request.if_no_script.command()])
        return self._connection.read_response()

    def answer(self, check: Check, action: str, slot: str = "") -> Answer:
        """What acquire.lua says."""
        reply = self.run(scripts.acquire(check, RedisClock(), action=action, slot=slot))
        return Answer(*scripts.decision(check, reply)[:4])

    def expires(self, check: Check) -> bool:
        """Whether what is kept for it goes by itself."""
        return bool(self.execute("PTTL", check.place) != -1)

    def execute(self, *command: str | bytes | int) -> Any:
        self._connection.send_packed_command([pack(*command)])
        return self._connection.read_response()


@pytest.fixture(scope="module")
def redis(valkey: ValkeyServer) -> Iterator[Redis]:
    def clocked(script: Script) -> Script:
        time, list_of_it = b"call('TIME')", b"call('LRANGE', 'clock', 0, 1)"
        assert script.source.count(time) == 1
        return replace(script, source=script.source.replace(time, list_of_it))

    with pytest.MonkeyPatch.context() as patch:
        for algorithm, script in scripts._ACQUIRE.items():
            patch.setitem(scripts._ACQUIRE, algorithm, clocked(script))
        patch.setattr(scripts, "_ACQUIRE_ALL", clocked(scripts._ACQUIRE_ALL))
        yield Redis(valkey.port)


def rules(algorithm: Algorithm) -> st.SearchStrategy[Rule]:
    """Windows are so long that no state expires while an example lasts: Redis's own clock does not
    stand still."""
    return st.builds(
        Rule,
        algorithm=st.just(algorithm),
        limit=st.integers(1, 20),
        window_ms=st.sampled_from([20_000, 60_000, 86_400_000, 33_333]),
        burst=st.integers(0, 30) if algorithm in BUCKETS else st.just(0),
    )


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "take", "take", "peek", "refund"]),
        st.floats(0, 1),  # the cost, as a share of what can be taken at once
        st.sampled_from(["at once", "a bit", "retry", "early", "half", "window", "two"]),
    ),
    max_size=40,
)


def pause_us(kind: str, window_us: int, last: Answer | None) -> int:
    """How far the clock goes on. `retry` is when the last answer said that it will be allowed."""
    retry_us = last.retry_us if last is not None else 0
    return {
        "at once": 0,
        "a bit": window_us // 17,
        "retry": retry_us,
        "early": max(0, retry_us - 1),
        "half": window_us // 2,
        "window": window_us,
        "two": 2 * window_us,
    }[kind]


@pytest.mark.parametrize("algorithm", ORACLES)
def test_each_answer_is_that_of_the_definition(algorithm: Algorithm, redis: Redis) -> None:
    @settings(max_examples=EXAMPLES, database=None)
    @given(rules(algorithm), STEPS, st.integers(0, 10**9))
    def run(rule: Rule, steps: list[tuple[str, float, str]], later_us: int) -> None:
        redis.now = START_US + later_us
        oracle = ORACLES[algorithm](rule)
        subject = a_check(rule).subject
        last: Answer | None = None
        for action, share, pause in steps:
            redis.now += pause_us(pause, oracle.window, last)
            # A refund may be of what the rule allowed before it was lowered.
            most = 3 * rule.capacity if action == "refund" else rule.capacity
            cost = max(1, round(share * most))
            check = Check(Limit(rule), subject, cost)
            last = redis.answer(check, action)
            expected = oracle.answer(action, cost, redis.now)
            if action == "refund":  # whether as much could be taken is of no interest
                last = last._replace(allowed=True, retry_us=0)
                expected = expected._replace(allowed=True, retry_us=0)
            assert last == expected
            assert redis.expires(check)

    run()


SLOT_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "take", "peek", "renew", "release"]),
        st.integers(1, 4),  # the cost; of those that name a slot, how many before the newest
        st.sampled_from(["at once", "a bit", "retry", "early", "half", "window"]),
    ),
    max_size=40,
)


def test_slots_are_held_as_long_as_the_definition_says(redis: Redis) -> None:
    @settings(max_examples=EXAMPLES, database=None)
    @given(st.integers(4, 9), SLOT_STEPS)
    def run(limit: int, steps: list[tuple[str, int, str]]) -> None:
        redis.now = START_US
        rule = Rule(Algorithm.CONCURRENCY, limit, 30_000)
        oracle, subject = Slots(rule), a_check(rule).subject
        slots: list[str] = ["never.1"]
        last: Answer | None = None
        for number, (action, size, pause) in enumerate(steps):
            redis.now += pause_us(pause, oracle.window, last)
            slot = slots[-min(size, len(slots))] if action in ("renew", "release") else ""
            if action == "take":
                slot = f"{number}.{size}"
                slots.append(slot)
            check = Check(Limit(rule), subject, size)
            last = redis.answer(check, action, slot)
            assert last == oracle.answer(action, size, redis.now, slot)
            assert redis.expires(check)

    run()


@pytest.mark.parametrize("algorithm", Algorithm)
def test_acquire_all_says_what_each_would_and_takes_all_or_none(
    algorithm: Algorithm, redis: Redis
) -> None:
    rule = Rule(algorithm, 5, 60_000)
    full, other = a_check(rule, 3), a_check(rule, 4)
    slots = [f"{number}.3" for number in range(10)] if algorithm is Algorithm.CONCURRENCY else [""]
    taken, *found = redis.run(
        scripts.acquire_all([full, other], [slots[0], slots[-1]], RedisClock())
    )
    assert taken == 1
    decisions = map(scripts.decision, [full, other], found)
    assert [one[:2] for one in decisions] == [(True, 2), (True, 1)]
    before = [redis.execute("DUMP", one.place) for one in (full, other)]
    small, large = (Check(one.limit, one.subject, cost) for one, cost in ((full, 1), (other, 2)))
    taken, *found = redis.run(
        scripts.acquire_all([small, large], [slots[0], slots[-1]], RedisClock())
    )
    assert taken == 0
    assert [one.allowed for one in map(scripts.decision, [small, large], found)] == [True, False]
    assert [redis.execute("DUMP", one.place) for one in (full, other)] == before


def test_windows_of_the_calendar_are_those_that_the_worker_names(redis: Redis) -> None:
    redis.now = START_US
    check = a_check(Rule(Algorithm.FIXED_WINDOW, 2, calendar=Period.DAY), 2)
    clock = RedisClock()
    assert redis.run(scripts.acquire(check, clock)) == [3, START_US]  # it guessed today
    clock.correct(redis.now)
    span = check.limit.span(redis.now)
    left_us = span.end_us - redis.now
    taken = scripts.decision(check, redis.run(scripts.acquire(check, clock)))
    assert taken[:4] == (True, 0, 0, left_us)
    denied = scripts.decision(check, redis.run(scripts.acquire(check, clock)))
    assert denied[:3] == (False, 0, left_us)
    redis.now = span.end_us
    clock.correct(redis.now)
    assert redis.run(scripts.acquire(check, clock))[0] == 1


@settings(max_examples=EXAMPLES, database=None)
@given(st.lists(st.tuples(st.integers(0, 30_000_000), st.integers(1, 5)), max_size=60))
def test_the_estimate_is_wrong_by_no_more_than_it_says(steps: list[tuple[int, int]]) -> None:
    """What it allows, by an exact simulation that the test above holds the script to."""
    rule = Rule(Algorithm.SLIDING_WINDOW_COUNTER, 10, 60_000)
    oracle, now = ORACLES[rule.algorithm](rule), 0
    taken: list[tuple[int, int]] = []
    for pause, cost in steps:
        now += pause
        if oracle.answer("take", cost, now).allowed:
            taken.append((now, cost))
    for first, _ in taken:
        in_bucket = [n for at, n in taken if at // oracle.window == first // oracle.window]
        in_window = [n for at, n in taken if first <= at < first + oracle.window]
        assert sum(in_bucket) <= rule.limit
        assert sum(in_window) < 2 * rule.limit


def test_the_estimate_is_right_to_two_permits_where_calls_come_evenly(redis: Redis) -> None:
    rule = Rule(Algorithm.SLIDING_WINDOW_COUNTER, 10, 60_000)
    check, log = a_check(rule), a_check(replace(rule, algorithm=Algorithm.SLIDING_WINDOW_LOG))
    redis.now = START_US
    for _ in range(50):
        estimated, exact = redis.answer(check, "take"), redis.answer(log, "take")
        assert estimated.allowed
        assert exact.allowed
        assert abs(exact.remaining - estimated.remaining) <= 2
        redis.now += check.limit.window_us // (rule.limit - 1)


@pytest.mark.parametrize("back_us", [1, 10_000_000, 59_999_999, 600_000_000])
@pytest.mark.parametrize("algorithm", ORACLES)
def test_a_clock_that_steps_back_gives_nothing_away(
    algorithm: Algorithm, back_us: int, redis: Redis
) -> None:
    check = a_check(Rule(algorithm, 5, 60_000), 5)
    redis.now = START_US
    assert redis.answer(check, "take").allowed
    one = Check(check.limit, check.subject, 1)
    for step in range(8):
        redis.now = START_US - back_us + back_us * step // 7
        assert not redis.answer(one, "take").allowed


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize(
    ("limit", "window_ms", "burst"),
    [
        (MAX_LIMIT, 1, 0),
        (MAX_LIMIT, MAX_WINDOW_MS, 0),
        (1, MAX_WINDOW_MS, 0),
        (1, MAX_WINDOW_MS, 100),
        (MAX_LIMIT, MAX_WINDOW_MS, MAX_LIMIT),
        (MAX_LIMIT // 100, MAX_WINDOW_MS, MAX_LIMIT),
        (MAX_LIMIT, MAX_WINDOW_MS, 1),
    ],
)
def test_the_largest_numbers_are_counted_too(
    algorithm: Algorithm, limit: int, window_ms: int, burst: int, redis: Redis
) -> None:
    limit = min(limit, MAX_LISTED) if algorithm in LISTED else limit
    rule = Rule(algorithm, limit, window_ms, burst if algorithm in BUCKETS else 0)
    assert not list(rule.problems())
    check = a_check(rule, rule.capacity)
    redis.now = START_US
    slot = f"slot.{check.cost}" if algorithm is Algorithm.CONCURRENCY else ""
    taken = redis.answer(check, "take", slot)
    assert taken.allowed
    assert taken.remaining == 0
    assert 0 < taken.reset_us <= (MAX_FILL_MS + MAX_WINDOW_MS) * 1000
    denied = redis.answer(check, "take", slot)
    assert not denied.allowed
    assert 0 < denied.retry_us <= denied.reset_us
    redis.now += denied.retry_us
    assert redis.answer(check, "peek").allowed
    assert redis.expires(check)
