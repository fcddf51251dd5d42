"""What the writes of a key that wait together make."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pantler_server.core.record import Operation, Record
from pantler_server.engines.cache.record.fold import Folded, batches, fold
from pantler_server.engines.cache.record.log_scripts import Logged
from pantler_server.origins.origin import Write

INSERT, UPDATE, UPSERT, DELETE = Operation
A, B = {"a": 1, "b": 1}, {"b": 2, "c": 2}
MERGED = {"a": 1, "b": 2, "c": 2}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (INSERT, INSERT, None),
        (INSERT, UPDATE, (INSERT, MERGED)),
        (INSERT, UPSERT, (UPSERT, B)),
        (INSERT, DELETE, (DELETE, {})),
        (UPDATE, INSERT, None),
        (UPDATE, UPDATE, (UPDATE, MERGED)),
        (UPDATE, UPSERT, (UPSERT, B)),
        (UPDATE, DELETE, (DELETE, {})),
        (UPSERT, INSERT, None),
        (UPSERT, UPDATE, (UPSERT, MERGED)),
        (UPSERT, UPSERT, (UPSERT, B)),
        (UPSERT, DELETE, (DELETE, {})),
        (DELETE, INSERT, (UPSERT, B)),
        (DELETE, UPDATE, None),
        (DELETE, UPSERT, (UPSERT, B)),
        (DELETE, DELETE, (DELETE, {})),
    ],
)
def test_two_writes_of_a_key_are_one(
    first: Operation, second: Operation, expected: tuple[Operation, Record] | None
) -> None:
    def write(operation: Operation, fields: Record, version: int) -> Write:
        return Write("k", operation, {} if operation is DELETE else fields, version)

    folded = fold(write(first, A, 1), write(second, B, 2))
    if expected is None:
        assert folded is None
    else:
        assert folded == Write("k", *expected, version=2)


def logged(version: int, key: str, operation: Operation, **fields: Any) -> Logged:
    return Logged(version, key, operation, fields, 0, in_part=False)


def test_a_write_stands_where_the_first_of_its_key_stood() -> None:
    [batch] = batches(
        [logged(1, "k", INSERT, a=1), logged(2, "l", UPSERT), logged(3, "k", UPDATE, a=2)]
    )
    assert batch.last == 3
    assert batch.is_folded
    assert batch.writes == [Write("k", INSERT, {"a": 2}, 3), Write("l", UPSERT, {}, 2)]


def test_what_does_not_fold_begins_another_batch() -> None:
    first, second = batches(
        [
            logged(1, "k", UPSERT),
            logged(2, "l", UPSERT),
            logged(3, "k", INSERT),
            logged(4, "l", DELETE),
        ]
    )
    assert (first.last, second.last) == (2, 4)
    assert [one.version for one in second.writes] == [3, 4]


def test_apart_nothing_is_folded() -> None:
    log = [logged(1, "k", UPSERT), logged(2, "k", UPSERT), logged(3, "l", UPSERT)]
    found = [*batches(log, apart=True)]
    assert [[one.version for one in batch.writes] for batch in found] == [[1], [2, 3]]
    assert not any(batch.is_folded for batch in found)


def test_nothing_is_no_batch() -> None:
    assert not [*batches([])]


class Table:
    """An origin that does what is given in its order. With `unique`, no two rows share a name."""

    def __init__(self, *, unique: bool) -> None:
        self.rows: dict[str, Record] = {}
        self._unique = unique

    def apply(self, writes: Sequence[Write]) -> list[int]:
        """The versions of those that it refuses."""
        return [write.version for write in writes if not self._write(write)]

    def _write(self, write: Write) -> bool:
        key, there = write.key, write.key in self.rows
        match write.operation:
            case Operation.DELETE:
                self.rows.pop(key, None)
                return True
            case Operation.UPDATE:
                row = {**self.rows.get(key, {}), **write.fields}
                is_wanted = there
            case operation:
                row = {"name": None, "age": None, **write.fields}
                is_wanted = operation is UPSERT or not there
        if not is_wanted or (self._unique and self._is_taken(row.get("name"), key)):
            return False
        self.rows[key] = row
        return True

    def _is_taken(self, name: str | None, key: str) -> bool:
        others = [one["name"] for other, one in self.rows.items() if other != key]
        return name is not None and name in others


def drain(table: Table, batch: Folded) -> list[int]:
    """As a drain does it: all of a batch, or with nothing folded if any is refused."""
    before = dict(table.rows)
    refused = table.apply(batch.writes)
    if refused and batch.is_folded:
        table.rows = before
        return [
            version
            for single in batches(batch.logged, apart=True)
            for version in drain(table, single)
        ]
    return refused


def both_ways(
    said: list[tuple[str, Operation, Record]], batch_size: int, *, unique: bool
) -> tuple[Table, set[int], Table, set[int]]:
    """What is there and what was refused, one by one and folded."""
    log = [
        logged(version, key, operation, **({} if operation is DELETE else fields))
        for version, (key, operation, fields) in enumerate(said, 1)
    ]
    one_by_one, folded = Table(unique=unique), Table(unique=unique)
    refused = {
        version
        for one in log
        for batch in batches([one])
        for version in one_by_one.apply(batch.writes)
    }
    dead = {
        version
        for begin in range(0, len(log), batch_size)
        for batch in batches(log[begin : begin + batch_size])
        for version in drain(folded, batch)
    }
    return one_by_one, refused, folded, dead


_fields = st.fixed_dictionaries(
    {}, optional={"name": st.sampled_from(["x", "y", None]), "age": st.integers(0, 2)}
)
_writes = st.lists(
    st.tuples(st.sampled_from("kl"), st.sampled_from(Operation), _fields), max_size=12
)


@given(_writes, st.integers(1, 12))
def test_folded_writes_come_to_what_they_come_to_one_by_one(
    said: list[tuple[str, Operation, Record]], batch_size: int
) -> None:
    one_by_one, refused, folded, dead = both_ways(said, batch_size, unique=False)
    assert folded.rows == one_by_one.rows
    assert dead <= refused  # what is overwritten in the same batch is not missed


@given(_writes, st.integers(1, 12))
def test_what_all_is_taken_one_by_one_all_is_taken_folded(
    said: list[tuple[str, Operation, Record]], batch_size: int
) -> None:
    """Also where keys stand in each other's way, and folding changes their order."""
    one_by_one, refused, folded, dead = both_ways(said, batch_size, unique=True)
    if not refused:
        assert folded.rows == one_by_one.rows
        assert not dead
