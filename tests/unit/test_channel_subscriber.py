"""What a subscriber of channels is given of what is put to it."""

from pantler_server.engines.pubsub.backlog import Backlog
from pantler_server.engines.pubsub.model import Gap, GapReason, Message
from pantler_server.engines.pubsub.subscriber import MAX_MESSAGES, Subscriber

Event = Message | Gap


def message(sequence: int, epoch: int = 100) -> Message:
    return Message("c", b"", "", sequence, epoch)


def gap(sequence: int, epoch: int, reason: GapReason = GapReason.FAILOVER) -> Gap:
    return Gap(reason, sequence, epoch)


def given(epoch: int, sequence: int, *events: Event) -> list[Event]:
    """To one that has everything up to a sequence."""
    subscriber = Subscriber(["c"], (), Backlog(()))
    for event in events:
        subscriber.put(event)
    subscriber.begin(epoch, sequence)
    return list(iter(subscriber.take, None))


def given_late(epoch: int, sequence: int, *events: Event) -> list[Event]:
    """To one that had everything up to a sequence before the rest came."""
    subscriber = Subscriber(["c"], (), Backlog(()))
    subscriber.begin(epoch, sequence)
    for event in events:
        subscriber.put(event)
    return list(iter(subscriber.take, None))


def test_what_it_has_already_is_not_given_again() -> None:
    new: list[Event] = [message(103), gap(105, 100, GapReason.HISTORY), message(106)]
    assert given(100, 102, message(101), gap(102, 100, GapReason.SLOW), *new) == new


def test_one_that_has_read_the_next_epoch_itself_hears_no_more_of_this_one() -> None:
    old: list[Event] = [message(103), gap(104, 100, GapReason.HISTORY), message(105)]
    known: list[Event] = [gap(200, 200), message(201, 200)]
    assert given(200, 201, *old, *known, last := message(202, 200)) == [last]


def test_a_later_epoch_begins_with_a_gap() -> None:
    events: list[Event] = [message(103), gap(200, 200), message(201, 200)]
    assert given(100, 102, *events) == events


def test_an_epoch_whose_numbers_are_lower_is_given_too() -> None:
    events: list[Event] = [message(103), gap(50, 50), message(51, 50)]
    assert given(100, 102, *events, message(51, 50)) == events


def test_a_history_that_is_switched_off_and_on_again_is_two_gaps() -> None:
    on_again = gap(102, 100, GapReason.DISCONNECTED)
    events: list[Event] = [Gap(GapReason.DISCONNECTED), message(0, 0), on_again, message(103)]
    assert given(100, 102, *events) == events


def test_one_that_has_read_two_epochs_itself_hears_of_neither_again() -> None:
    subscriber = Subscriber(["c"], (), waiting := Backlog(()))
    known: list[Event] = [gap(200, 200), message(201, 200), gap(300, 300), message(301, 300)]
    for event in [*known, last := message(302, 300)]:
        subscriber.put(event)
    subscriber.caught_up(300, 301)
    assert list(iter(subscriber.take, None)) == [last]
    assert waiting.bytes == 0


def test_a_slow_one_hears_of_an_epoch_whose_numbers_are_lower() -> None:
    flood = [message(sequence, 50) for sequence in range(51, 51 + MAX_MESSAGES)]
    first, *rest = given_late(100, 102, gap(50, 50), *flood)
    assert isinstance(first, Gap)
    assert (first.reason, first.epoch, first.sequence) == (
        GapReason.FAILOVER,
        50,
        rest[0].sequence - 1,
    )
    assert rest == flood[-len(rest) :]


def test_a_slow_one_hears_of_a_history_that_was_switched_off_and_on_again() -> None:
    flood = [message(0, 0)] * (MAX_MESSAGES - 2)
    on_again = gap(102, 100, GapReason.DISCONNECTED)
    events: list[Event] = [Gap(GapReason.DISCONNECTED), *flood, on_again, last := message(103)]
    first, *rest = given_late(100, 102, *events)
    assert isinstance(first, Gap)
    assert (first.reason, first.epoch, first.sequence) == (GapReason.DISCONNECTED, 100, 102)
    assert rest == [last]


def test_a_slow_one_knows_how_far_its_gap_goes_past_what_has_no_sequence() -> None:
    flood = [message(0, 0)] * (MAX_MESSAGES - 1)
    first, last = given_late(100, 102, message(103), *flood, message(104))
    assert (first.epoch, first.sequence, last.sequence) == (100, 103, 104)


def test_what_has_no_sequence_is_always_given() -> None:
    events: list[Event] = [message(0, 0), message(103), message(0, 0), Gap(GapReason.DISCONNECTED)]
    assert given(100, 102, *events) == events
