"""The table behind a namespace: how its records and the values of its columns look.

All names in statements come from here: from the configuration, and only if the database has them
(sql_reflection.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import TableClause
from sqlalchemy.types import TypeEngine

from pantler_server.core.errors import FieldViolation, InvalidFields
from pantler_server.core.record import Operation, Record
from pantler_server.origins.sql_types import (
    Converter,
    KeyConverter,
)


class Unreadable(Exception):
    """A value is not one of its column's type, as may be in SQLite. The text names the column."""


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of the records."""

    name: str
    type: TypeEngine[Any]
    """Which values are bound with."""
    converter: Converter
    nullable: bool
    has_default: bool
    """Whether the database gives it a value of its own where none is given."""
    given_by_table: bool
    """Whether nothing else may be written to it: it is computed, or always an identity."""


@dataclass(frozen=True, slots=True)
class SqlTable:
    """A table that can serve."""

    name: str
    """As configured."""
    clause: TableClause
    key: TableColumn
    key_converter: KeyConverter
    version: TableColumn | None
    columns: Mapping[str, TableColumn]
    """Of the records by name, with those of the key and of the version."""
    has_triggers: bool
    has_late_triggers: bool
    """Whether they may change a row after a statement has given it."""
    written: tuple[TableColumn, ...] = field(init=False, repr=False)
    """The columns that callers write: all but the key, the version and what the table gives."""
    _required: frozenset[str] = field(init=False, repr=False)
    """Of these, the ones without which there is no row."""
    _defaulted: frozenset[str] = field(init=False, repr=False)
    """Of these, the ones that the table fills in where they are not given."""
    _unset: Record = field(init=False, repr=False)
    """The others of these, as they are where they are not given."""
    _adds_to_rows: bool = field(init=False, repr=False)
    """Whether a row has more in it than was written."""

    def __post_init__(self) -> None:
        def learn(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)  # as a frozen one sets its own

        own = (self.key, self.version)
        written = [one for one in self.columns.values() if not (one in own or one.given_by_table)]
        learn("written", tuple(written))
        learn(
            "_required",
            frozenset(one.name for one in written if not (one.nullable or one.has_default)),
        )
        learn("_defaulted", frozenset(one.name for one in written if one.has_default))
        learn("_unset", {one.name: None for one in written if not one.has_default})
        given = any(one.given_by_table for one in self.columns.values())
        learn("_adds_to_rows", self.has_triggers or given)

    def has_columns_of(self, other: "SqlTable") -> bool:
        """Whether statements for the other one do here what they do there."""
        return repr((self.key, self.version, self.columns)) == repr(
            (other.key, other.version, other.columns)
        )

    def is_like(self, other: "SqlTable") -> bool:
        """Whether it serves as the other one does."""
        triggers = (self.has_triggers, self.has_late_triggers)
        return self.has_columns_of(other) and triggers == (
            other.has_triggers,
            other.has_late_triggers,
        )

    def check_key(self, key: str) -> None:
        """Raises InvalidFields with path `key`."""
        try:
            self.key_converter.key_to_database(key)
        except ValueError as exc:
            raise InvalidFields([FieldViolation("key", str(exc))]) from None

    def find_key(self, key: str) -> Any:
        """What a key is in the database; None if it can't be one there."""
        try:
            return self.key_converter.key_to_database(key)
        except ValueError:
            return None

    def key_of(self, value: Any) -> str:
        """The key of a value of the key's column."""
        return str(self._wire(self.key, value))

    def key_of_row(self, row: Sequence[Any]) -> str:
        """That of a row of all `columns`, in their order. Raises Unreadable."""
        return self.key_of(row[list(self.columns).index(self.key.name)])

    def check(self, key: str, operation: Operation, fields: Record) -> Record:
        """As `Origin.check`."""
        self.check_key(key)
        checked: Record = {}
        wrong: list[FieldViolation] = []
        for name, value in fields.items():
            try:
                if self._checked_key(key, name, value):
                    continue
                checked[name] = self._checked(name, value)
            except ValueError as exc:
                wrong.append(FieldViolation(f"fields.{name}", str(exc)))
        if operation is Operation.UPDATE and not checked and not wrong:
            wrong.append(FieldViolation("fields", "must not be empty"))
        if operation in (Operation.INSERT, Operation.UPSERT):
            missing = (name for name in self._unset if name in self._required - fields.keys())
            wrong.extend(FieldViolation(f"fields.{name}", "is required") for name in missing)
        if wrong:
            raise InvalidFields(wrong)
        return checked

    def _checked_key(self, key: str, name: str, value: Any) -> bool:
        """Whether it is the key's column; raises ValueError if its value is not the key."""
        if name != self.key.name:
            return False
        if value is None or self.key_of(self.key.converter.to_database(value)) != key:
            raise ValueError("must be the key, or be left out")
        return True

    def _checked(self, name: str, value: Any) -> Any:
        found = self.columns.get(name)
        if found is None:
            raise ValueError(f"is not a column of {self.name}")
        if found is self.version:
            raise ValueError("is set by Pantler")
        if found.given_by_table:
            raise ValueError("is given by the table")
        if value is None:
            if not found.nullable:
                raise ValueError("must not be null")
            return None
        return found.converter.to_wire(found.converter.to_database(value))

    def whole_record(self, key: str, fields: Record, version: int) -> Record | None:
        """As `Origin.whole_record`."""
        if self._adds_to_rows or not self._defaulted <= fields.keys():
            return None
        return self.part_of_record(key, fields, version)

    def part_of_record(self, key: str, fields: Record, version: int) -> Record:
        """As `Origin.part_of_record`."""
        known = {name: value for name, value in fields.items() if name in self.columns}
        record = {**self._unset, **known}
        if self.version is not None:
            record[self.version.name] = version
        record[self.key.name] = self._wire(self.key, self.key_converter.key_to_database(key))
        return record

    def value(self, name: str, checked: Any) -> Any:
        """What a checked value is for the driver."""
        return None if checked is None else self.columns[name].converter.to_database(checked)

    def record(self, row: Sequence[Any]) -> Record:
        """A row of all `columns`, in their order."""
        return {
            one.name: self._wire(one, value)
            for one, value in zip(self.columns.values(), row, strict=True)
        }

    def _wire(self, one: TableColumn, value: Any) -> Any:
        if value is None:
            return None
        try:
            return one.converter.to_wire(value)
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise Unreadable(
                f"column {one.name} holds what is not of its type, or nests too deeply"
            ) from None
