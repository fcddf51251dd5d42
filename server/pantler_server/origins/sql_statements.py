"""The statements on a table, for PostgreSQL and SQLite.

They are made once for each set of columns and kept, since making one costs more than running it.
Values come as parameters: `key`, `version` and, in the order of the columns, `v0`, `v1`, …
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnElement,
    Delete,
    Enum,
    Executable,
    Text,
    Update,
    any_,
    bindparam,
    cast,
    column,
    delete,
    func,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from pantler_server.core.record import Operation
from pantler_server.origins.sql_table import SqlTable

MAX_KEPT = 256  # sets of columns; callers choose which columns they write

Insert = postgresql.Insert | sqlite.Insert
AnyWrite = TypeVar("AnyWrite", Update, Delete)
Shape = tuple[Operation, tuple[str, ...]]
"""What is done, and to which columns."""


class Statements:
    """Of one table."""

    def __init__(self, table: SqlTable, *, is_sqlite: bool) -> None:
        self._table = table
        self._clause = table.clause
        self._key = table.clause.c[table.key.name]
        self._version = None if table.version is None else table.clause.c[table.version.name]
        self._all = [_readable(table.clause.c[name]) for name in table.columns]
        self._is_sqlite = is_sqlite
        self._kept: dict[tuple[str, Shape], Executable] = {}
        self.load = select(*self._all).where(self._key == bindparam("key"))
        self.load_many = select(*self._all).where(self._is_one_of_keys())
        existing = [self._key] if self._version is None else [self._key, self._version]
        self.existing = select(*existing).where(self._is_one_of_keys())
        """Which of `keys` there are, with their versions where there is a version column."""

    def _is_one_of_keys(self) -> ColumnElement[bool]:
        """Takes the parameter that `keys` gives. One text of the statement for all numbers of keys,
        so that the server needs to plan it but once."""
        if self._is_sqlite:
            given = func.json_each(bindparam("keys", type_=Text())).table_valued("value")
            return self._key.in_(select(given.c.value))
        return self._key == any_(bindparam("keys", type_=ARRAY(self._table.key.type)))

    def keys(self, values: Sequence[Any]) -> dict[str, Any]:
        """The parameter of `load_many` and `existing`."""
        return {"keys": json.dumps(values) if self._is_sqlite else values}

    def page(self, after: bool, limit: int) -> Executable:
        """A page of all keys, behind `key` if there is an `after`."""
        statement = select(self._key).order_by(self._key).limit(limit)
        return statement.where(self._key > bindparam("key")) if after else statement

    def one(self, shape: Shape) -> Executable:
        """One write, which sets the version beyond that of the row, and gives the row afterwards;
        of a DELETE the key."""
        return self._keep("one", shape, self._one)

    def each(self, shape: Shape) -> Executable:
        """Writes of a batch, to be run with a list of parameters."""
        return self._keep("each", shape, self._each)

    def bulk(self, shape: Shape) -> Executable:
        """Writes of a batch at once, for PostgreSQL: `rows` has them as JSON, an object for each by
        the names of its columns, in wire form, but bytes as
        PostgreSQL writes them. Gives the keys of the rows that were written."""
        return self._keep("bulk", shape, self._bulk)

    def _keep(self, kind: str, shape: Shape, make: Callable[[Shape], Executable]) -> Executable:
        found = self._kept.get((kind, shape))
        if found is None:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            found = self._kept[kind, shape] = make(shape)
        return found

    def _one(self, shape: Shape) -> Executable:
        values = self._parameters(shape)
        version: ColumnElement[Any] = bindparam("version")
        match shape[0]:
            case Operation.INSERT:
                inserted = self._insert(values).on_conflict_do_nothing(
                    index_elements=[self._key.name]
                )
                return inserted.returning(*self._all)
            case Operation.UPSERT:
                inserted = self._insert(values)
                set_ = self._excluded(inserted)
                if self._version is not None:
                    set_[self._version.name] = self._beyond(version)
                upserted = inserted.on_conflict_do_update(
                    index_elements=[self._key.name], set_=set_
                )
                return upserted.returning(*self._all)
            case Operation.UPDATE:
                if self._version is not None:
                    values[self._version.name] = self._beyond(version)
                return self._update(values, bindparam("key")).returning(*self._all)
            case Operation.DELETE:
                return self._delete().where(self._key == bindparam("key")).returning(self._key)

    def _beyond(self, version: ColumnElement[Any]) -> ColumnElement[Any]:
        """A version after that of the row, whoever has set that."""
        assert self._version is not None
        greatest = func.max if self._is_sqlite else func.greatest
        return greatest(func.coalesce(self._version, 0) + 1, version)

    def _each(self, shape: Shape) -> Executable:
        values = self._parameters(shape)
        match shape[0]:
            case Operation.DELETE:
                deleted = self._delete().where(self._key == bindparam("key"))
                return self._only_older(deleted, bindparam("version"))
            case Operation.UPDATE:
                updated = self._update(values, bindparam("key"))
                return self._only_older(updated, bindparam("version"))
            case _:
                return self._merge(self._insert(values), shape[0])

    def _bulk(self, shape: Shape) -> Executable:
        given, values = self._given(shape)
        key = given[self._table.key.name]
        version = None if self._table.version is None else given[self._table.version.name]
        match shape[0]:
            case Operation.DELETE:
                deleted = self._delete().where(self._key == key)
                return self._only_older(deleted, version).returning(self._key)
            case Operation.UPDATE:
                updated = self._update(values, key)
                return self._only_older(updated, version).returning(self._key)
            case _:
                insert = postgresql.insert(self._clause)
                names = [self._key.name, *values]
                rows = select(key, *values.values())
                merged = self._merge(insert.from_select(names, rows), shape[0])
                return merged.returning(self._key)

    def _merge(self, inserted: Insert, operation: Operation) -> Insert:
        """What a batch does to rows that exist: nothing, or, if the row is older, the whole."""
        if operation is Operation.INSERT:
            return inserted.on_conflict_do_nothing(index_elements=[self._key.name])
        set_ = self._excluded(inserted)
        where = None
        if self._version is not None:
            newer = inserted.excluded[self._version.name]
            set_[self._version.name] = newer
            where = self._is_older(newer)
        return inserted.on_conflict_do_update(
            index_elements=[self._key.name], set_=set_, where=where
        )

    def _only_older(self, statement: AnyWrite, version: Any) -> AnyWrite:
        if self._version is None:
            return statement
        return statement.where(self._is_older(version))

    def _is_older(self, version: Any) -> ColumnElement[bool]:
        assert self._version is not None
        return or_(self._version.is_(None), self._version < version)

    def _insert(self, values: dict[str, Any]) -> Insert:
        make: Any = sqlite.insert if self._is_sqlite else postgresql.insert
        inserted: Insert = make(self._clause).values({self._key.name: bindparam("key"), **values})
        return inserted

    def _update(self, values: dict[str, Any], key: Any) -> Update:
        return update(self._clause).values(values).where(self._key == key)

    def _delete(self) -> Delete:
        return delete(self._clause)

    def _excluded(self, inserted: Insert) -> dict[str, Any]:
        """All that callers write takes what the insert would have given it: its default where
        nothing was given. The key too, for an update must set something."""
        names = [self._key.name, *(one.name for one in self._table.written)]
        return {name: inserted.excluded[name] for name in names}

    def _parameters(self, shape: Shape) -> dict[str, Any]:
        """The columns that are set, with their parameters."""
        operation, names = shape
        columns = self._table.columns
        values: dict[str, Any] = {
            name: bindparam(f"v{place}", type_=columns[name].type)
            for place, name in enumerate(names)
        }
        if self._version is not None and operation is not Operation.DELETE:
            values[self._version.name] = bindparam("version", type_=self._version.type)
        return values

    def _given(self, shape: Shape) -> tuple[dict[str, Any], dict[str, Any]]:
        """A row for each write, from JSON: all its columns by name, and those that are set.

        The database reads the wire form of all types but bytes itself, and the driver has one text
        to send instead of a list for each column: the fastest of the ways that were measured.
        """
        table = self._table
        sources = [table.key, *(table.columns[name] for name in shape[1])]
        if table.version is not None:
            sources.append(table.version)
        rows = (
            func.json_to_recordset(cast(bindparam("rows", type_=Text()), JSON))
            .table_valued(*(column(one.name, one.type) for one in sources), name="given")
            .render_derived(with_types=True)
        )
        given = {one.name: rows.c[one.name] for one in sources}
        values = {name: given[name] for name in shape[1]}
        if table.version is not None and shape[0] is not Operation.DELETE:
            values[table.version.name] = given[table.version.name]
        return given, values


def _readable(one: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column as it is read: of enumerations the texts, among them those that were added since the
    table was looked at."""
    if isinstance(one.type, Enum):
        return type_coerce(one, Text())
    if isinstance(one.type, ARRAY) and isinstance(one.type.item_type, Enum):
        return cast(one, ARRAY(Text()))
    return one
