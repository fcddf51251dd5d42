"""The breaker, against a plain model of it."""

from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from pantler_server.origins.breaker import Breaker

FAILURES = 3
PAUSE_S = 10


@dataclass
class Model:
    """What is known of an origin, as a story: which calls are of interest, and what these came
    to since it was last well, or last left alone."""

    left_alone_at: int | None = None
    probe: object | None = None
    of_interest: set[int] = field(default_factory=set)
    failures: int = 0

    def begin(self, call: int, now: int) -> bool:
        if self.left_alone_at is not None:
            if self.probe is not None or now - self.left_alone_at < PAUSE_S:
                return False
            self.probe = call
        self.of_interest.add(call)
        return True

    def end(self, call: int, outcome: str, now: int) -> None:
        if call not in self.of_interest:
            return
        self.of_interest.remove(call)
        if call == self.probe:
            self.probe = None
            if outcome == "succeeded":
                self.left_alone_at = None
            elif outcome == "failed":
                self.left_alone_at = now
        elif outcome == "succeeded":
            self.failures = 0
        elif outcome == "failed":
            self.failures += 1
            if self.failures == FAILURES:
                self.failures = 0
                self.left_alone_at = now
                self.of_interest.clear()


class Machine(RuleBasedStateMachine):
    calls: Bundle[tuple[int, int]] = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.begun = 0
        self.model = Model()
        self.breaker = Breaker(FAILURES, PAUSE_S, lambda: self.now)

    @rule(seconds=st.integers(1, PAUSE_S))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(target=calls)
    def begin(self) -> tuple[int, int]:
        self.begun += 1
        refuses = self.breaker.refuses
        ticket = self.breaker.begin()
        assert (ticket is not None) is self.model.begin(self.begun, self.now) is not refuses
        return self.begun, -1 if ticket is None else ticket

    @rule(call=consumes(calls), outcome=st.sampled_from(["succeeded", "failed", "told_nothing"]))
    def end(self, call: tuple[int, int], outcome: str) -> None:
        number, ticket = call
        if ticket != -1:
            getattr(self.breaker, outcome)(ticket)
            self.model.end(number, outcome, self.now)

    @invariant()
    def says_whether_it_is_closed(self) -> None:
        assert self.breaker.is_closed is (self.model.left_alone_at is None)


TestBreaker = Machine.TestCase
TestBreaker.settings = settings(max_examples=200, stateful_step_count=60)
