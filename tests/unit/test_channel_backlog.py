"""What waits for all subscribers of a worker keeps within a bound."""

from collections.abc import Sequence

import pytest
from pantler_server.engines.pubsub import backlog
from pantler_server.engines.pubsub.backlog import MESSAGE_BYTES, Backlog
from pantler_server.engines.pubsub.model import Gap, GapReason, Message
from pantler_server.engines.pubsub.subscriber import Subscriber

SIZE = 1000
BYTES = MESSAGE_BYTES + 2 * SIZE  # of a message


@pytest.fixture(autouse=True)
def small_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 messages; some 75 are left when it was passed."""
    monkeypatch.setattr(backlog, "MAX_BYTES", 100 * BYTES)
    monkeypatch.setattr(backlog, "LEFT_BYTES", 75 * BYTES)


def message(sequence: int) -> Message:
    return Message("c", b"x" * SIZE, "", sequence, 100)


def subscribers(count: int) -> tuple[Backlog, list[Subscriber]]:
    made: list[Subscriber] = []
    waiting = Backlog(made)
    made.extend(Subscriber(["c"], (), waiting) for _ in range(count))
    for one in made:
        one.begin(100, 0)
    return waiting, made


def held(subscriber: Subscriber) -> Sequence[Message | Gap]:
    return list(iter(subscriber.take, None))


def test_many_that_are_stalled_keep_within_the_bound() -> None:
    waiting, many = subscribers(50)
    for sequence in range(1, 101):
        for one in many:
            one.put(message(sequence))
            assert waiting.bytes <= backlog.MAX_BYTES
    for one in many:
        given = held(one)
        assert {type(event) for event in given[1:]} <= {Message}
        assert given[0].sequence == given[-1].sequence - len(given) + 1
        assert given[-1].sequence == 100
    assert waiting.bytes == 0


def test_those_for_whom_little_waits_are_spared() -> None:
    waiting, (fast, slow) = subscribers(2)
    fast.put(message(1))
    for sequence in range(1, 101):
        slow.put(message(sequence))
    assert waiting.bytes <= backlog.MAX_BYTES
    assert [type(event) for event in held(fast)] == [Message]
    first = held(slow)[0]
    assert isinstance(first, Gap)
    assert (first.reason, first.sequence) == (GapReason.SLOW, 100)


def test_what_waits_for_many_counts_once() -> None:
    waiting, many = subscribers(50)
    for sequence in range(1, 100):
        shared = message(sequence)
        for one in many:
            one.put(shared)
    assert waiting.bytes == 99 * BYTES
    for one in many:
        assert len(held(one)) == 99


def test_one_that_leaves_takes_what_waits_along() -> None:
    waiting, (one,) = subscribers(1)
    one.put(message(1))
    one.leave()
    assert waiting.bytes == 0
