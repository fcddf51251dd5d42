"""What callers wrote and were told, and what a table must be like after it.

Each write has a number that no other has, and sets the columns `number` and, of `a` and `b`, one
(update) or both (insert, upsert) to it. So each row, and each change of one, tells which writes it
is from. The version of an acknowledged write says where it stands among those of its key.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count, pairwise
from typing import Literal

from tests.failover.audited_table import Change, Row

Kind = Literal["insert", "update", "upsert", "delete"]
COLUMNS = ("a", "b")


class Outcome(StrEnum):
    UNKNOWN = "unknown"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    """Nothing was done."""


@dataclass
class Write:
    key: str
    kind: Kind
    number: int
    columns: tuple[str, ...]
    """Which of COLUMNS it sets."""
    floor: int
    """The newest version of the key that was acknowledged before it was sent."""
    outcome: Outcome = Outcome.UNKNOWN
    version: int = 0
    answers: list[str] = field(default_factory=list)
    """What each call came to."""

    @property
    def fields(self) -> dict[str, int]:
        return {"number": self.number} | dict.fromkeys(self.columns, self.number)

    @property
    def request_id(self) -> str:
        return f"write-{self.number}"

    def on(self, row: Row | None) -> Row | None:
        """What it makes of a row that it fits."""
        if self.kind == "delete":
            return None
        values = {} if row is None else row._asdict()
        return Row(**(values | self.fields))

    def fits(self, row: Row | None) -> bool:
        if self.kind in ("insert", "update"):
            return (row is None) is (self.kind == "insert")
        return True


class Problem(StrEnum):
    LOST = "lost"
    """What was acknowledged is not there."""
    TWICE = "twice"
    """A write took effect more than once."""
    ORDER = "order"
    """Writes took effect in another order than that of their versions."""
    WRONG = "wrong"
    """There is what nobody wrote, or what was refused."""
    STALE = "stale"
    """What is read is not what the table has."""
    DEAD = "dead"
    """A write is dead that nothing is in the way of."""


class History:
    """Of the writes of one namespace."""

    def __init__(self) -> None:
        self.writes: dict[str, list[Write]] = {}
        self._by_number: dict[int, Write] = {}
        self._newest: Counter[str] = Counter()
        self._numbers = count(1)
        self.acknowledged = 0
        """Writes."""
        self.calls: Counter[str] = Counter()
        """What they came to."""
        self.problems: list[tuple[Problem, str, str]] = []
        """What is wrong, of which key, and how."""

    def write(self, key: str, kind: Kind, columns: tuple[str, ...] = COLUMNS) -> Write:
        """One that is about to be sent."""
        number = next(self._numbers)
        set_ = () if kind == "delete" else columns
        write = Write(key, kind, number, set_, self._newest[key])
        self.writes.setdefault(key, []).append(write)
        self._by_number[number] = write
        return write

    def answered(self, write: Write, answer: str, outcome: Outcome, version: int = 0) -> None:
        self.calls[answer] += 1
        write.answers.append(f"{answer} {version}" if version else answer)
        if write.outcome is Outcome.ACKNOWLEDGED:
            if outcome is Outcome.REFUSED or version not in (0, write.version):
                self.complain(Problem.TWICE, write.key, f"{write} was acknowledged, now: {answer}")
            return
        if outcome is Outcome.REFUSED and len(write.answers) > 1:
            outcome = Outcome.UNKNOWN  # an earlier attempt may be under way
        write.outcome, write.version = outcome, version
        if outcome is Outcome.ACKNOWLEDGED:
            self.acknowledged += 1
            if version <= write.floor:
                self.complain(Problem.ORDER, write.key, f"version {version} of {write}")
            self._newest[write.key] = max(version, self._newest[write.key])

    def complain(self, problem: Problem, key: str, how: str) -> None:
        self.problems.append((problem, key, how))

    @property
    def outcomes(self) -> Counter[Outcome]:
        return Counter(write.outcome for write in self._all())

    def _all(self) -> Iterator[Write]:
        return (write for writes in self.writes.values() for write in writes)

    def check(self, rows: Mapping[str, Row], changes: Sequence[Change]) -> None:
        """Looks for problems in the table, once nothing waits any more."""
        changes_of: dict[str, list[Change]] = {}
        for change in changes:
            changes_of.setdefault(change.key, []).append(change)
        for key in {*self.writes, *rows, *changes_of}:
            checked = _Key(key, self.writes.get(key, []), self._by_number)
            found = [*checked.row(rows.get(key)), *checked.changes(changes_of.get(key, []))]
            self.problems += [(problem, key, how) for problem, how in found]

    def told(self, rows: Mapping[str, Row], changes: Sequence[Change]) -> str:
        """All that is known of the keys with problems; of more than five only which."""
        lines = [f"{problem}: {key}: {how}" for problem, key, how in self.problems[:50]]
        for key in list(dict.fromkeys(key for _, key, _ in self.problems))[:5]:
            lines += ["", f"{key}: {rows.get(key)}"]
            lines += map(str, sorted(self.writes.get(key, []), key=lambda one: one.number))
            lines += [str(change) for change in changes if change.key == key]
        return "\n".join(lines)


class _Key:
    """The writes of one key, against what the table has of it."""

    def __init__(self, key: str, writes: Sequence[Write], by_number: Mapping[int, Write]) -> None:
        self._key = key
        self._by_number = by_number
        acknowledged = [one for one in writes if one.outcome is Outcome.ACKNOWLEDGED]
        self._acknowledged = sorted(acknowledged, key=lambda one: one.version)
        self._unknown = [one for one in writes if one.outcome is Outcome.UNKNOWN]

    def row(self, row: Row | None) -> Iterator[tuple[Problem, str]]:
        """What is wrong with the row as it is at the end."""
        for one, other in pairwise(self._acknowledged):
            if one.version == other.version:
                yield Problem.ORDER, f"{one} and {other}"
        last = self._acknowledged[-1] if self._acknowledged else None
        if row is None:
            is_gone = last is None or last.kind == "delete"
            if not is_gone and not any(one.kind == "delete" for one in self._unknown):
                yield Problem.LOST, f"there is no row, and {last} was acknowledged"
            return
        maker = self._by_number.get(row.number)
        if maker is None or (maker is not last and maker.outcome is Outcome.REFUSED):
            yield Problem.WRONG, f"{row} is of {maker}"
        elif maker is not last and maker.outcome is Outcome.ACKNOWLEDGED:
            yield Problem.LOST, f"{row}, and {last} was acknowledged"
        else:
            yield from self._columns(row)

    def _columns(self, row: Row) -> Iterator[tuple[Problem, str]]:
        """What is wrong with `a` and `b`, which may be from earlier writes than `number`."""
        maker = self._by_number[row.number]
        for column in COLUMNS:
            number = getattr(row, column)
            setter = self._by_number.get(number)
            if column in maker.columns:
                is_right = setter is maker
            elif maker.outcome is Outcome.UNKNOWN:
                is_right = setter is not None and column in setter.columns
            else:
                before = self._acknowledged[: self._acknowledged.index(maker)]
                setters = [one for one in before if column in one.columns]
                possible = [one for one in self._unknown if column in one.columns]
                is_right = setter in [*setters[-1:], *possible]
            if not is_right:
                yield Problem.LOST, f"{row}: {column} is of {setter}"

    def changes(self, changes: Iterable[Change]) -> Iterator[tuple[Problem, str]]:
        """What is wrong with the way the row took."""
        seen: set[int] = set()
        newest = newest_known = 0
        for change in changes:
            if change.operation == "DELETE":
                continue  # what it tells of is what was there
            write = self._by_number.get(change.row.number)
            if write is None or write.key != self._key or write.outcome is Outcome.REFUSED:
                yield Problem.WRONG, f"{change} is of {write}"
                continue
            if write.number in seen:
                yield Problem.TWICE, f"{change} of {write}"
            seen.add(write.number)
            if change.version is not None and change.version <= newest:
                yield Problem.ORDER, f"{change} of {write} after version {newest}"
            newest = change.version or 0
            if write.outcome is Outcome.ACKNOWLEDGED:
                if change.version not in (None, write.version):
                    yield Problem.TWICE, f"{change} of {write}"
                if write.version <= newest_known:
                    yield Problem.ORDER, f"{change} of {write} after version {newest_known}"
                newest_known = write.version
                yield from self._columns(change.row)
