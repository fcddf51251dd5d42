"""What one worker allows by its own count."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pantler_server.core.calendar import Period
from pantler_server.core.rate_limit import BUCKETS, Algorithm, Rule
from pantler_server.engines.rate_limit import local
from pantler_server.engines.rate_limit.limit import Limit
from pantler_server.engines.rate_limit.local import LocalCounts
from pantler_server.engines.rate_limit.model import Check

WINDOW_MS = 60_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time (us); tests turn it."""
    now = [10**12]
    monkeypatch.setattr(local, "_now_us", lambda: now[0])
    return now


def a_check(algorithm: Algorithm, cost: int = 1, burst: int = 0) -> Check:
    return Check(Limit(Rule(algorithm, 20, WINDOW_MS, burst)), "user", cost)


STEPS = st.lists(st.tuples(st.integers(0, 20_000_000), st.integers(1, 6)), max_size=50)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_worker_allows_its_share_in_any_window(algorithm: Algorithm) -> None:
    @settings(max_examples=50)
    @given(STEPS, st.integers(1, 5))
    def run(steps: list[tuple[int, int]], workers: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            now = [10**12]
            patch.setattr(local, "_now_us", lambda: now[0])
            counts = LocalCounts()
            taken: list[tuple[int, int]] = []
            for pause_us, cost in steps:
                now[0] += pause_us
                slot = f"{len(taken)}.{cost}" if algorithm is Algorithm.CONCURRENCY else ""
                if counts.decide(a_check(algorithm, cost), workers, slot, take=True).allowed:
                    taken.append((now[0], cost))
        share = 20 // workers
        most = 2 * share if algorithm in BUCKETS else share  # a bucket also fills in a window
        for first, _ in taken:
            within = [n for at, n in taken if first <= at < first + WINDOW_MS * 1000]
            assert sum(within) <= most

    run()


@pytest.mark.parametrize("algorithm", Algorithm)
def test_waiting_as_long_as_a_denial_says_is_enough(algorithm: Algorithm, clock: list[int]) -> None:
    counts = LocalCounts()
    check = a_check(algorithm, 3)
    for _ in range(20):
        decision = counts.decide(check, 2, take=True)
        if not decision.allowed:
            assert decision.retry_us > 0
            clock[0] += decision.retry_us
            assert counts.decide(check, 2, take=True).allowed
        clock[0] += 1_000_000


def test_a_share_of_nothing_allows_nothing(clock: list[int]) -> None:
    for algorithm in Algorithm:
        denied = LocalCounts().decide(a_check(algorithm), 21, take=True)
        assert not denied.allowed
        assert denied.retry_us > 0


def test_a_rule_of_the_calendar_counts_for_as_long_as_its_period(clock: list[int]) -> None:
    counts = LocalCounts()
    rule = Rule(Algorithm.FIXED_WINDOW, 2, calendar=Period.HOUR)
    check = Check(Limit(rule), "user", 2)
    assert counts.decide(check, 1, take=True).allowed
    clock[0] += 3_599_000_000
    assert not counts.decide(check, 1, take=True).allowed
    clock[0] += 600_000_000
    assert counts.decide(check, 1, take=True).allowed


@pytest.mark.parametrize("algorithm", sorted(set(Algorithm) - {Algorithm.CONCURRENCY}))
def test_what_is_given_back_can_be_taken_again(algorithm: Algorithm, clock: list[int]) -> None:
    counts = LocalCounts()
    whole, part = a_check(algorithm, 20), a_check(algorithm, 7)
    assert counts.decide(whole, 1, take=True).allowed
    assert counts.give_back(part, "")
    assert counts.decide(part, 1, take=False).remaining == 7
    assert counts.decide(part, 1, take=True).allowed
    assert not counts.decide(a_check(algorithm), 1, take=True).allowed


def test_only_so_many_subjects_are_counted(
    clock: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "MAX_SUBJECTS", 3)
    counts = LocalCounts()
    limit = Limit(Rule(Algorithm.GCRA, 1, WINDOW_MS))
    for number in range(4):
        assert counts.decide(Check(limit, str(number), 1), 1, take=True).allowed
    assert not counts.decide(Check(limit, "3", 1), 1, take=True).allowed
    assert counts.decide(Check(limit, "0", 1), 1, take=True).allowed, "it was used least lately"


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_rule_that_is_reloaded_counts_on(algorithm: Algorithm, clock: list[int]) -> None:
    counts = LocalCounts()
    rule = Rule(algorithm, 20, WINDOW_MS, name="api")
    for limit, left in ((20, 15), (6, 1), (10, 5)):
        check = Check(Limit(replace(rule, limit=limit)), "user", 5 if limit == 20 else 1)
        decision = counts.decide(check, 1, f"{limit}.5", take=limit == 20)
        # A bucket that was full is as full as it can be; that is no more than the rule allows.
        assert decision.remaining == left or (algorithm in BUCKETS and decision.remaining <= limit)


def test_a_worker_that_comes_takes_its_share_from_the_others(clock: list[int]) -> None:
    for algorithm in set(Algorithm) - BUCKETS:
        counts = LocalCounts()
        assert counts.decide(a_check(algorithm, 8), 2, "a.8", take=True).remaining == 2
        assert counts.decide(a_check(algorithm, 1), 4, "b.1", take=True).remaining == 0


def test_each_worker_allows_one_at_once_of_an_even_pace(clock: list[int]) -> None:
    counts = LocalCounts()
    check = a_check(Algorithm.GCRA, burst=1)
    assert counts.decide(check, 4, take=True).allowed
    denied = counts.decide(check, 4, take=True)
    assert not denied.allowed
    assert denied.retry_us == WINDOW_MS * 1000 // 5
