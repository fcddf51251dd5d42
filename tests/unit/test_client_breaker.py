"""When the client's breaker lets calls through, on a clock that the test moves."""

from datetime import timedelta

import pantler
import pytest
from pantler.breaker import FAILURES, FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker

AWAY = pantler.Unavailable("connection refused")


class Guarded:
    def __init__(self) -> None:
        self.now_s = 100.0
        self.changes = 0
        self.breaker = Breaker("a:1", self._changed, lambda: self.now_s)

    def _changed(self) -> None:
        self.changes += 1

    def open(self) -> None:
        for _ in range(FAILURES):
            self.breaker.end(self.breaker.begin(), AWAY)

    def pass_pause(self) -> float:
        left_s = self.breaker.left_s
        self.now_s += left_s + 0.001
        return left_s


@pytest.fixture
def guarded() -> Guarded:
    return Guarded()


def test_failures_in_a_row_open_it_and_say_until_when(guarded: Guarded) -> None:
    breaker = guarded.breaker
    for _ in range(FAILURES - 1):
        breaker.end(breaker.begin(), AWAY)
    breaker.answered()
    guarded.open()
    with pytest.raises(pantler.Unavailable, match=r"a:1 did not answer .* refused") as refused:
        breaker.begin()
    assert timedelta(0) < refused.value.retry_after <= timedelta(seconds=FIRST_PAUSE_S)
    assert guarded.changes == 1


@pytest.mark.parametrize(
    "error",
    [
        pantler.Unavailable("Redis", reason="ERROR_REASON_STORE_UNAVAILABLE"),
        pantler.DeadlineExceeded("late", reason="ERROR_REASON_DEADLINE_EXCEEDED"),
        pantler.InvalidArgument("key", reason="ERROR_REASON_INVALID_FIELD"),
        pantler.ResourceExhausted("full"),
        pantler.PantlerError("the client is closed"),
        pantler.OutcomeUnknown("the connection broke"),
    ],
)
def test_what_is_not_the_servers_absence_does_not_count(
    guarded: Guarded, error: pantler.PantlerError
) -> None:
    for _ in range(3 * FAILURES):
        guarded.breaker.end(guarded.breaker.begin(), error)
    assert guarded.breaker.is_closed


def test_one_trial_goes_through_at_a_time_and_pauses_double(guarded: Guarded) -> None:
    guarded.open()
    pauses = []
    for _ in range(9):
        pauses.append(guarded.pass_pause())
        trial = guarded.breaker.begin()
        with pytest.raises(pantler.Unavailable):
            guarded.breaker.begin()
        guarded.breaker.end(0, AWAY)  # of a call that began before: not the trial's end
        with pytest.raises(pantler.Unavailable):
            guarded.breaker.begin()
        guarded.breaker.end(trial, AWAY)
    for index, pause_s in enumerate(pauses):
        longest_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**index)
        assert longest_s / 2 <= pause_s <= longest_s
    guarded.pass_pause()
    guarded.breaker.begin()
    guarded.breaker.answered()
    assert (guarded.breaker.is_closed, guarded.changes) == (True, 2)
    guarded.open()
    assert guarded.breaker.left_s <= FIRST_PAUSE_S


def test_a_trial_that_told_nothing_leaves_the_next_call_to_try(guarded: Guarded) -> None:
    guarded.open()
    guarded.pass_pause()
    guarded.breaker.end(guarded.breaker.begin(), TimeoutError())
    assert guarded.breaker.begin()
