"""Reading the history of channels on: whatever is missing is in a gap."""

from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pantler_server.core.namespace import Namespace
from pantler_server.engines.pubsub.history import Reading
from pantler_server.engines.pubsub.model import Gap, GapReason, Message
from pantler_server.engines.pubsub.scripts import Counts, PageSize

PRIMARY = b"primary."
Told = list[tuple[str, int]]


def page(after: int, numbers: list[int], size: int) -> list[Message]:
    return [Message("c", b"", "", number, 0) for number in numbers if number > after][:size]


def read(reading: Reading, counts: Counts, numbers: list[int], size: int = 2) -> Told:
    """All that is told until it is done; M is a message."""
    told: Told = []
    while not reading.done:
        for event in reading.take(counts, page(reading.sequence, numbers, size), size):
            kind = event.reason.name if isinstance(event, Gap) else "M"
            told.append((kind, event.sequence))
    return told


def test_consecutive_messages_have_no_gap() -> None:
    counts = Counts(106, 100, PRIMARY)
    reading = Reading(100, 101)
    assert read(reading, counts, [*range(101, 107)]) == [
        ("M", number) for number in range(102, 107)
    ]
    assert (reading.epoch, reading.sequence) == (100, 106)


def test_what_the_counts_do_not_have_yet_is_left_for_later() -> None:
    assert read(Reading(100, 101), Counts(102, 100, PRIMARY), [101, 102, 103]) == [("M", 102)]


def test_between_two_epochs_is_a_gap_of_the_later() -> None:
    counts, numbers = Counts(203, 200, PRIMARY), [101, 102, 201, 202, 203]
    assert read(Reading(100, 101), counts, numbers) == [
        ("M", 102),
        ("FAILOVER", 200),
        ("M", 201),
        ("M", 202),
        ("M", 203),
    ]


def test_an_epoch_in_which_nothing_was_published_yet_is_told_of_too() -> None:
    assert read(Reading(100, 102), Counts(200, 200, PRIMARY), [101, 102]) == [("FAILOVER", 200)]


def test_an_epoch_whose_numbers_are_lower_is_read_from_its_beginning() -> None:
    """The clock was set back, and the counts were lost."""
    counts = Counts(52, 50, PRIMARY)
    reading = Reading(100, 102)
    assert read(reading, counts, [51, 52]) == [("FAILOVER", 50), ("M", 51), ("M", 52)]
    assert (reading.epoch, reading.sequence) == (50, 52)


def test_a_reader_that_is_done_reads_all_pages_of_what_came_since() -> None:
    reading = Reading(100, 101)
    assert not read(reading, Counts(101, 100, PRIMARY), [101])
    reading.done = False
    told = read(reading, Counts(205, 200, PRIMARY), [101, *range(201, 206)])
    assert told == [("FAILOVER", 200), *(("M", number) for number in range(201, 206))]


def test_from_the_start_takes_what_is_kept() -> None:
    counts = Counts(106, 100, PRIMARY)
    told = read(Reading(0, 0, from_start=True), counts, [104, 106])
    assert told == [("M", 104), ("HISTORY", 105), ("M", 106)]
    assert not read(Reading(0, 0, from_start=True), counts, [])


@given(
    kept=st.sets(st.integers(101, 140)),
    began=st.integers(100, 140),
    after=st.integers(100, 140),
    newest=st.integers(100, 140),
    size=st.integers(1, 5),
)
def test_each_number_is_given_or_in_a_gap(
    kept: set[int], began: int, after: int, newest: int, size: int
) -> None:
    newest, kept = max(newest, began), kept - {began}
    reading = Reading(100, min(after, newest))
    told = read(reading, Counts(newest, began, PRIMARY), sorted(kept), size)
    sequences = [sequence for _, sequence in told]
    assert sequences == sorted(set(sequences))
    covered, at = set(), min(after, newest)
    for kind, sequence in told:
        if kind == "M":
            assert sequence == at + 1
            assert sequence in kept
        if kind == GapReason.FAILOVER.name:
            assert at < began <= sequence
        covered |= set(range(at + 1, sequence + 1))
        at = sequence
    assert covered == set(range(min(after, newest) + 1, newest + 1))
    assert {number for number in kept if min(after, newest) < number <= newest} == {
        sequence for kind, sequence in told if kind == "M"
    }


@pytest.mark.parametrize(
    ("longest", "payload", "sizes"),
    [
        (64 << 10, 1, [4, 16, 64, 256, 500]),
        (64 << 10, 64 << 10, [4, 16, 16]),
        (4 << 20, 1, [1, 4, 16, 16]),
        (4 << 20, 2 << 20, [1, 1, 1]),
    ],
)
def test_a_page_grows_to_what_short_messages_allow(
    longest: int, payload: int, sizes: list[int]
) -> None:
    channels = SimpleNamespace(channels=SimpleNamespace(max_payload_bytes=longest))
    size = PageSize(cast(Namespace, SimpleNamespace(config=channels)))
    grown = []
    for _ in sizes:
        grown.append(size.now)
        size.learn([Message("c", bytes(payload), "", 1, 0)] * size.now)
    size.learn([])
    assert grown == sizes
    assert size.now == sizes[-1]
