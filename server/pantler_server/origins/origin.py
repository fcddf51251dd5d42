"""The port to systems of record: what the record engine asks of a table or of a service.

Deadlines are times of the event loop. All calls raise OriginUnavailable (it is away, too slow, or
its answer can't be read; nothing was written) and OriginNotReady; writes also OriginOutcomeUnknown.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pantler_server.core.errors import OriginUnavailable
from pantler_server.core.record import Operation, Record

RecordOutcome = Record | OriginUnavailable
"""A record of several, or why this one can't be read."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write of one record, its fields as `check` gave them."""

    key: str
    operation: Operation
    fields: Record
    """Empty for a DELETE. The key's column is not among them."""
    version: int
    """Greater than that of every write of the key before it; below 2**53."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a write came to."""

    record: Record | None
    """The record afterwards; None if it is gone, or the origin does not say."""
    is_known: bool
    """Whether `record` is what the origin has now."""
    existed: bool = True
    """For a DELETE: whether there was one."""
    version: int = 0
    """The record's, where the origin keeps one (a version column); else 0."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write of a batch that the origin does not take, however often it is tried."""

    version: int
    """Of the write."""
    reason: str
    """For people; never the text of a driver."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Writes that go to the origin together, at most one of each key."""

    log: str
    """Which log they are from: a namespace's partition, as `users:0`."""
    epoch: int
    """Of the owner of the log: the origin takes nothing of an owner after a later one began."""
    last: int
    """The log's position after them: the version of its last write that is in them. The origin
    takes no write at or before a position that it has had."""
    writes: Sequence[Write]


class BeforeCommit(Protocol):
    """Told of the writes of a batch that are refused, before the others are committed."""

    async def __call__(self, refused: Sequence[Refusal]) -> None: ...


class OwnerSuperseded(Exception):
    """A later owner of the log has begun; nothing of the batch was done."""


@dataclass(frozen=True, slots=True)
class OriginHealth:
    """The state of a namespace's origin, as a worker sees it."""

    namespace: str
    available: bool
    """Whether it can be used: it is configured well, and not left alone for its failures."""
    detail: str
    """What is wrong, for people; empty when nothing is."""


class Origin(Protocol):
    """A system of record. `start` before use, `stop` after it."""

    async def start(self) -> None:
        """Begins to find out whether it can serve; it may be away."""

    async def stop(self) -> None: ...

    @property
    def problem(self) -> str:
        """Why it can't serve as it is configured, for operators; empty if it can, or is only
        away."""

    @property
    def keys_can_be_listed(self) -> bool:
        """Whether `list_keys` works."""

    def require(self) -> None:
        """Raises OriginUnavailable if a call would be refused now without being tried."""

    def check_key(self, key: str) -> None:
        """Raises InvalidFields, with path `key`, if no record can have it. May be called before the
        origin was ever reached: then it checks nothing."""

    async def check(
        self, key: str, operation: Operation, fields: Record, deadline: float
    ) -> Record:
        """The fields as reading them back would give them, without the key's column. Raises
        InvalidFields with a path (`key`, `fields.NAME`) for each that the origin would refuse for
        its name or its type."""

    def whole_record(self, key: str, fields: Record, version: int) -> Record | None:
        """What an INSERT or UPSERT of fields that were checked makes of a record when a batch
        brings it: with the key's column, `version` where the origin keeps one, and all others; None
        if only the origin knows, since it has defaults of its own, or it was never reached."""

    def part_of_record(self, key: str, fields: Record, version: int) -> Record:
        """What is known of it where `whole_record` is None: the key, what is given, and null for
        what else is not given by the origin itself."""

    async def load(self, key: str, deadline: float) -> Record | None:
        """None if there is no such record."""

    async def load_many(self, keys: Sequence[str], deadline: float) -> Mapping[str, RecordOutcome]:
        """Those of the records that there are, with one query for all. One that can't be read
        leaves the others as they are."""

    async def store(self, write: Write, deadline: float) -> Stored:
        """Does one write now. Raises RecordExists, RecordMissing and WriteRefused."""

    async def apply(self, batch: Batch, before_commit: BeforeCommit, deadline: float) -> int:
        """Does a batch in one transaction: all of it but what is refused, which `before_commit` is
        told. Doing it again changes nothing: gives up to which position it had had the log before,
        0 for none, or none of this batch. What it came to by then it does not tell again. Raises
        OwnerSuperseded."""

    async def applied(self, log: str, deadline: float) -> int:
        """Up to which position of a log it has had writes; 0 for none."""

    def list_keys(
        self, query: str | None, after: str, page_size: int
    ) -> AsyncIterator[Sequence[str]]:
        """The keys of all records, or those that the operator's query gives, in an order of the
        origin's, from behind `after` ('' for the first) on, a page at a time."""
