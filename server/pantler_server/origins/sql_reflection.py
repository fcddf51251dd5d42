"""A look at a table, as the database describes it: whether it can serve, and be written."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Connection, Inspector, TableClause, column, inspect, select, table, text
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import TypeEngine

from pantler_server.core.origin_config import SqlOrigin
from pantler_server.core.record import Operation
from pantler_server.origins import sql_columns
from pantler_server.origins.sql_table import SqlTable, TableColumn
from pantler_server.origins.sql_types import (
    Integers,
    KeyConverter,
    Texts,
    Uuids,
)

_OID = (
    # of a table of PostgreSQL, by the parameters `name` and `schema`
    "to_regclass(concat_ws('.', quote_ident(CAST(:schema AS text)), quote_ident(:name)))"
)


class TableProblem(Exception):
    """The table can't serve as it is configured. The text says why, for operators."""


def reflect(connection: Connection, config: SqlOrigin) -> SqlTable:
    """Reads how the table is. Raises TableProblem. Costs some ten queries of the catalogue."""
    return _Reflection(connection, config).table()


class _Reflection:
    """One look at a table."""

    def __init__(self, connection: Connection, config: SqlOrigin) -> None:
        self._connection = connection
        self._config = config
        schema, _, name = config.table.rpartition(".")
        self._schema, self._name = schema or None, name
        self._inspector: Inspector = inspect(connection)
        self._is_sqlite = connection.dialect.name == "sqlite"

    def table(self) -> SqlTable:
        config = self._config
        if not self._inspector.has_table(self._name, self._schema):
            raise TableProblem(f"there is no table {config.table}")
        there = {one["name"]: one for one in self._inspector.get_columns(self._name, self._schema)}
        for name in self._names(there):
            if name not in there:
                raise TableProblem(f"table {config.table} has no column {name}")
        types = self._declared() if self._is_sqlite else {}
        found = {name: self._column(there[name], types.get(name)) for name in self._names(there)}
        columns = {name: one for name, one in found.items() if one is not None}
        if unfit := sorted(found.keys() - columns.keys()):
            raise self._unfit(unfit, types)
        key = columns[config.key_column]
        self._check_unique(key)
        self._check_collation(key)
        clause = table(
            self._name,
            *(column(one.name, one.type) for one in columns.values()),
            schema=self._schema,
        )
        self._check_readable(clause)
        kinds = self._kinds_of_triggers()
        return SqlTable(
            name=config.table,
            clause=clause,
            key=key,
            key_converter=self._key_converter(key),
            version=self._version(columns),
            columns=columns,
            has_triggers=bool(kinds),
            has_late_triggers="late" in kinds,
        )

    def may_write(self, table: SqlTable, operation: Operation, names: Sequence[str]) -> bool:
        """Whether we have the privileges; SQLite has none."""
        if self._is_sqlite:
            return True
        own = [table.key.name, *([table.version.name] if table.version else [])]
        if operation is Operation.DELETE:
            statement = text(f"SELECT has_table_privilege({_OID}, 'DELETE')")
            return bool(self._connection.execute(statement, self._place).scalar())
        needed = {}
        if operation is not Operation.UPDATE:
            needed["INSERT"] = [*own, *names]
        if operation is Operation.UPSERT:
            needed["UPDATE"] = [*own, *(one.name for one in table.written)]
        elif operation is Operation.UPDATE:
            needed["UPDATE"] = [*own[1:], *names]
        statement = text(
            f"SELECT bool_and(has_column_privilege({_OID}, name, :privilege)) "
            "FROM unnest(CAST(:columns AS text[])) AS name"
        )
        return all(
            self._connection.execute(
                statement, {**self._place, "columns": columns, "privilege": privilege}
            ).scalar()
            for privilege, columns in needed.items()
        )

    def _names(self, there: Mapping[str, ReflectedColumn]) -> list[str]:
        """The columns of a record, the key's first."""
        config = self._config
        given = config.columns or tuple(there)
        version = (config.version_column,) if config.version_column is not None else ()
        return list(dict.fromkeys((config.key_column, *given, *version)))

    def _column(self, found: ReflectedColumn, declared: str | None) -> TableColumn | None:
        """None if records can't have values of its type."""
        if declared is None:
            bind_type, converter = sql_columns.of_postgres(self._below_domain(found["type"]))
        else:
            bind_type, converter = sql_columns.of_sqlite(declared)
        if converter is None:
            return None
        identity = found.get("identity")
        domain = found["type"] if isinstance(found["type"], DOMAIN) else None
        computed = found.get("computed") is not None
        return TableColumn(
            name=found["name"],
            type=bind_type,
            converter=converter,
            nullable=found["nullable"] and not (domain and domain.not_null),
            has_default=computed or identity is not None or found["default"] is not None,
            given_by_table=computed or bool(identity and identity.get("always")),
        )

    def _unfit(self, names: Sequence[str], declared: Mapping[str, str]) -> TableProblem:
        if not self._is_sqlite:
            statement = text(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
                f"WHERE attnum > 0 AND attrelid = {_OID}"
            )
            rows = self._connection.execute(statement, self._place)
            declared = {row.attname: row.format_type for row in rows}
        kinds = ", ".join(f"{name} ({declared[name] or 'without a type'})" for name in names)
        return TableProblem(
            f"table {self._config.table} has columns of types that records can't have, {kinds}: "
            "name the others in `columns`"
        )

    @property
    def _place(self) -> dict[str, str | None]:
        """The parameters of `_OID`."""
        return {"name": self._name, "schema": self._schema}

    def _check_collation(self, key: TableColumn) -> None:
        """Where keys that differ may be equal to the database, one row would have several."""
        if self._is_sqlite:
            quoted = self._connection.dialect.identifier_preparer.quote
            place = ".".join(quoted(one) for one in (self._schema, self._name) if one)
            # The plan of a comparison names the collation; nothing else tells that of a column.
            plan = f"EXPLAIN SELECT {quoted(key.name)} = '' FROM {place}"
            steps = self._connection.exec_driver_sql(plan).all()
            blind = any(str(step.p4).startswith(("NOCASE", "RTRIM")) for step in steps)
        else:
            statement = text(
                "SELECT 1 FROM pg_attribute JOIN pg_collation ON pg_collation.oid = attcollation "
                f"WHERE attrelid = {_OID} AND attname = :column AND NOT collisdeterministic"
            )
            found = self._connection.execute(statement, {**self._place, "column": key.name})
            blind = found.first() is not None
        if blind:
            raise TableProblem(
                f"key column {key.name} of table {self._config.table} has a collation by which "
                "different keys are equal: give it one that tells them apart"
            )

    def _below_domain(self, reflected: TypeEngine[Any]) -> TypeEngine[Any]:
        if not isinstance(reflected, DOMAIN):
            return reflected
        statement = text(
            "SELECT format_type(typbasetype, typtypmod) FROM pg_type WHERE typname = :name "
            "AND (CASE WHEN CAST(:schema AS text) IS NULL THEN pg_type_is_visible(oid) "
            "ELSE typnamespace = CAST(quote_ident(:schema) AS regnamespace) END)"
        )
        names = {"name": reflected.name, "schema": reflected.schema}
        declared = self._connection.execute(statement, names).scalar_one()
        return sql_columns.of_domain(declared, reflected.data_type)

    def _declared(self) -> dict[str, str]:
        """SQLite's types as they were written; what SQLAlchemy makes of them has lost the names."""
        statement = text("SELECT name, type FROM pragma_table_xinfo(:name, :schema)")
        rows = self._connection.execute(
            statement, {"name": self._name, "schema": self._schema or "main"}
        )
        return {row.name: row.type for row in rows}

    def _check_unique(self, key: TableColumn) -> None:
        inspector, place = self._inspector, (self._name, self._schema)
        if inspector.get_pk_constraint(*place)["constrained_columns"] == [key.name]:
            return
        unique = [one["column_names"] for one in inspector.get_unique_constraints(*place)]
        unique += [
            cast("list[str]", one["column_names"])
            for one in inspector.get_indexes(*place)
            if one["unique"] and not self._is_partial(one)
        ]
        if [key.name] not in unique:
            raise TableProblem(
                f"key column {key.name} of table {self._config.table} is neither its primary key "
                "nor unique"
            )
        if key.nullable:
            raise TableProblem(
                f"key column {key.name} of table {self._config.table} may be null: make it NOT NULL"
            )

    @staticmethod
    def _is_partial(index: Any) -> bool:
        return any(name.endswith("_where") for name in index.get("dialect_options", {}))

    def _key_converter(self, key: TableColumn) -> KeyConverter:
        converter = key.converter
        # A padded or case-blind column would let two keys mean one row.
        is_plain = key.type.__visit_name__ != "CITEXT" and not getattr(converter, "padded", False)
        if isinstance(converter, Integers | Texts | Uuids) and is_plain:
            return converter
        raise TableProblem(
            f"key column {key.name} of table {self._config.table} must be text (no CHAR(n) or "
            "CITEXT), a whole number or a UUID"
        )

    def _version(self, columns: Mapping[str, TableColumn]) -> TableColumn | None:
        name = self._config.version_column
        if name is None:
            return None
        if name == self._config.key_column:
            raise TableProblem(f"column {name} can't be both key and version")
        if columns[name].converter != Integers(64) or columns[name].given_by_table:
            raise TableProblem(
                f"version column {name} of table {self._config.table} must be of 64-bit whole "
                "numbers (BIGINT)"
            )
        return columns[name]

    def _check_readable(self, clause: TableClause) -> None:
        """Lets a missing privilege show at once; costs no row."""
        self._connection.execute(select(*clause.columns).limit(0))

    def _kinds_of_triggers(self) -> set[str]:
        """`late` and `early`: whether they come after what a statement gives of a row, as all do on
        SQLite."""
        if self._is_sqlite:
            statement = text(
                "SELECT DISTINCT 'late' FROM sqlite_master "
                "WHERE type = 'trigger' AND tbl_name = :name"
            )
            rows = self._connection.execute(statement, {"name": self._name})
        else:
            before_or_instead = 2 | 64  # bits of tgtype
            statement = text(
                f"SELECT CASE WHEN tgtype & {before_or_instead} = 0 THEN 'late' ELSE 'early' END "
                f"FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = {_OID}"
            )
            rows = self._connection.execute(statement, self._place)
        return set(rows.scalars())


def is_sound(
    connection: Connection,
    config: SqlOrigin,
    known: SqlTable,
    operation: Operation,
    names: Sequence[str],
) -> bool:
    """Whether the table is as it is known, and we may write these columns of it."""
    try:
        look = _Reflection(connection, config)
        return look.table().has_columns_of(known) and look.may_write(known, operation, names)
    except (TableProblem, SQLAlchemyError):
        return False
