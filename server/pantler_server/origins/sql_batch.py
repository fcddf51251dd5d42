"""Batches of write-behind: one transaction, with a fence, and what is refused kept apart.

The table `pantler_logs` beside the records' one has a row for each log: the epoch of its owner, and
the position up to which its writes are in the database. Both are checked and set in the transaction
of the writes: so a batch is done once, however often it is tried, and not by an owner whose
successor has begun.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import structlog
from sqlalchemy import (
    BigInteger,
    ClauseElement,
    Dialect,
    Executable,
    Text,
    bindparam,
    column,
    select,
    table,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from pantler_server.core.origin_config import SqlOrigin
from pantler_server.core.record import Operation, Record
from pantler_server.origins.origin import Batch, BeforeCommit, OwnerSuperseded, Refusal, Write
from pantler_server.origins.sql_database import BEGINNING
from pantler_server.origins.sql_errors import Fault, Meaning
from pantler_server.origins.sql_faults import Faults
from pantler_server.origins.sql_statements import Shape, Statements
from pantler_server.origins.sql_table import SqlTable
from pantler_server.origins.sql_types import Arrays, Bytes, Converter

log = structlog.get_logger(__name__)

LOGS = "pantler_logs"
SKIPPED = "a trigger of the table skips it"
MAX_LOGGED = 3  # refusals of a batch whose errors are logged

_json_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Logs:
    """The statements on `pantler_logs`, in the schema of the records' table."""

    def __init__(self, schema: str | None, *, is_sqlite: bool) -> None:
        self.name = f"{schema}.{LOGS}" if schema else LOGS
        logs = table(
            LOGS,
            column("log", Text()),
            column("epoch", BigInteger()),
            column("applied", BigInteger()),
            schema=schema,
        )
        insert: Any = (sqlite.insert if is_sqlite else postgresql.insert)(logs)
        given = insert.values(log=bindparam("log"), epoch=bindparam("epoch"), applied=0)
        self.begin = given.on_conflict_do_update(
            index_elements=["log"],
            set_={"epoch": insert.excluded.epoch},
            where=logs.c.epoch <= insert.excluded.epoch,
        ).returning(logs.c.applied)
        """Locks the row of a log for an owner; gives its position, or nothing if a later owner has
        begun."""
        self.finish = (
            update(logs).where(logs.c.log == bindparam("of_log")).values(applied=bindparam("last"))
        )
        self.advance = (
            update(logs)
            .where(
                logs.c.log == bindparam("of_log"),
                logs.c.epoch <= bindparam("of_epoch"),
                logs.c.applied < bindparam("first"),
            )
            .values(epoch=bindparam("of_epoch"), applied=bindparam("last"))
            .returning(logs.c.log)
        )
        """Both at once, for writes none of which was done before; nothing if that is not so, or the
        log is new."""
        self.applied = select(logs.c.applied).where(logs.c.log == bindparam("log"))
        self.probe = select(logs.c.applied).limit(0)

        self._logs = logs

    def ddl(self, dialect: Dialect) -> str:
        """What makes the table."""
        quoted = dialect.identifier_preparer.format_table(self._logs)
        return (
            f"CREATE TABLE IF NOT EXISTS {quoted} (log TEXT PRIMARY KEY, epoch BIGINT NOT NULL, "
            "applied BIGINT NOT NULL)"
        )


class BatchWriter:
    """Applies one batch within a transaction.

    Writes of one kind go to the database at once. If it refuses them for one of their values, they
    are split in halves, each behind a savepoint, until the bad ones are alone: O(bad · log n)
    statements. What breaks a rule then is tried once more at the end, since another write of the
    batch may have made it good.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        config: SqlOrigin,
        table: SqlTable,
        statements: Statements,
    ) -> None:
        self._connection = connection
        self._faults = Faults(connection, config, table)
        self._table = table
        self._statements = statements
        self._is_sqlite = connection.dialect.name == "sqlite"
        self._columns = {one.name for one in table.written}
        self._binary = {one.name for one in table.written if _is_binary(one.converter)}
        self._refused: dict[int, str] = {}  # reasons by version of the write
        self._logged: set[str] = set()

    async def apply(self, logs: Logs, batch: Batch, before_commit: BeforeCommit) -> int:
        """All but the COMMIT; the log's position before it, or 0 where that is before all of the
        batch. Raises OwnerSuperseded."""
        if not self._is_sqlite and await self._at_once(logs, batch, before_commit):
            return 0
        return await self._step_by_step(logs, batch, before_commit)

    async def _at_once(self, logs: Logs, batch: Batch, before_commit: BeforeCommit) -> bool:
        """Two statements for writes of one kind, if none was done before and none breaks a rule;
        else nothing is done, and it gives False."""
        place = {
            "of_log": batch.log,
            "of_epoch": batch.epoch,
            "first": min((one.version for one in batch.writes), default=batch.last),
            "last": batch.last,
        }
        if (await self._connection.execute(logs.advance, place)).first() is None:
            return False
        try:
            for shape, group in self._groups(batch.writes):
                await self._bulk(shape, group)
        except SQLAlchemyError as exc:
            if not Faults.may_be_of_row(exc):
                raise
            await self._connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {BEGINNING}")
            self._refused.clear()
            return False
        if refused := self._refusals(batch.writes):
            await before_commit(refused)
        return True

    async def _step_by_step(self, logs: Logs, batch: Batch, before_commit: BeforeCommit) -> int:
        owner = {"log": batch.log, "epoch": batch.epoch}
        row = (await self._connection.execute(logs.begin, owner)).first()
        if row is None:
            raise OwnerSuperseded
        applied = int(row[0])
        if applied >= batch.last:
            return applied
        refused = await self._write([one for one in batch.writes if one.version > applied])
        if refused:
            await before_commit(refused)
        await self._connection.execute(logs.finish, {"of_log": batch.log, "last": batch.last})
        return applied

    async def _write(self, writes: Sequence[Write]) -> list[Refusal]:
        broken: list[Write] = []
        for shape, group in self._groups(writes):
            broken += await self._write_group(shape, group)
        for write in broken:
            await self._write_group(shape_of(write), [write])
        return self._refusals(writes)

    def _groups(self, writes: Sequence[Write]) -> Iterator[tuple[Shape, list[Write]]]:
        """Those of columns that the table still has, as it had when they were checked; the others
        are refused."""
        for shape, group in _groups(writes):
            gone = sorted(set(shape[1]) - self._columns)
            if gone:
                reason = f"the table has no column {gone[0]} any more"
                self._refused.update((write.version, reason) for write in group)
            else:
                yield shape, group

    def _refusals(self, writes: Sequence[Write]) -> list[Refusal]:
        return [
            Refusal(one.version, self._refused[one.version])
            for one in writes
            if one.version in self._refused
        ]

    async def _write_group(self, shape: Shape, group: Sequence[Write]) -> list[Write]:
        """Writes them, and gives those that break a rule; notes why they and others are refused."""
        for write in group:
            self._refused.pop(write.version, None)
        await self._connection.exec_driver_sql("SAVEPOINT pantler")
        try:
            await (self._each if self._is_sqlite else self._bulk)(shape, group)
        except SQLAlchemyError as exc:
            if not Faults.may_be_of_row(exc):
                raise
            await self._connection.exec_driver_sql("ROLLBACK TO SAVEPOINT pantler")
            await self._connection.exec_driver_sql("RELEASE SAVEPOINT pantler")
            statements = self._statements
            statement = (statements.each if self._is_sqlite else statements.bulk)(shape)
            fault = await self._faults.read(shape, statement, exc)
            if fault.meaning is not Meaning.REFUSED:
                raise
            if len(group) == 1:
                self._log(fault, exc)
                self._refused[group[0].version] = fault.text
                return list(group)
            half = len(group) // 2
            return [
                *await self._write_group(shape, group[:half]),
                *await self._write_group(shape, group[half:]),
            ]
        return []  # the savepoint goes with the COMMIT: a round trip less

    def _log(self, fault: Fault, error: SQLAlchemyError) -> None:
        """The database's own words, of the first refusal of each kind."""
        if fault.text not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged.add(fault.text)
            log.warning(
                "the origin refuses a write",
                table=self._table.name,
                reason=fault.text,
                error=str(getattr(error, "orig", None) or error),
            )

    async def _bulk(self, shape: Shape, group: Sequence[Write]) -> None:
        """PostgreSQL: one statement, which tells the rows that it wrote."""
        rows = {"rows": _json_encoder.encode([self._object(write) for write in group])}
        found = (await self._connection.execute(self._statements.bulk(shape), rows)).all()
        if len(found) == len(group):
            return
        written = {self._table.key_of(row[0]) for row in found}
        await self._explain(shape[0], [write for write in group if write.key not in written])

    def _object(self, write: Write) -> Record:
        """A write as `Statements.bulk` takes it."""
        row = {self._table.key.name: write.key, **write.fields}
        if self._binary:
            for name in self._binary.intersection(row):
                row[name] = _hexadecimal(row[name])
        if self._table.version is not None:
            row[self._table.version.name] = write.version
        return row

    async def _explain(self, operation: Operation, missed: Sequence[Write]) -> None:
        """Why writes found no row to write. What others have changed since then is no excuse: no
        write is dropped in silence."""
        existing = await self._existing(missed)
        for write in missed:
            if self._note(operation, write, existing):
                continue
            if operation is Operation.DELETE and write.key not in existing:
                continue
            if self._table.has_triggers:
                self._refused[write.version] = SKIPPED
            elif operation is not Operation.DELETE:
                self._refused[write.version] = (
                    "others wrote the record at the same time, or a policy of the table hides it"
                )

    async def _each(self, shape: Shape, group: Sequence[Write]) -> None:
        """SQLite: nobody else writes meanwhile, so a look beforehand tells which find a row."""
        existing: dict[str, int] = {}
        fit = group
        if self._may_be_in_the_way(shape[0]):
            existing = await self._existing(group)
            fit = [write for write in group if not self._note(shape[0], write, existing)]
        statement = self._statements.each(shape)
        rows = [parameters(self._table, shape, write) for write in fit]
        if not self._table.has_triggers:
            if rows:
                await self._execute_many(statement, rows)
            return
        for write, row in zip(fit, rows, strict=True):
            done = await self._connection.execute(statement, row)
            if not done.rowcount and (shape[0] is not Operation.DELETE or write.key in existing):
                self._refused[write.version] = SKIPPED

    def _may_be_in_the_way(self, operation: Operation) -> bool:
        """Whether it matters to such a write if there is a row, and of which version."""
        if operation in (Operation.INSERT, Operation.UPDATE) or self._table.version is not None:
            return True
        return operation is Operation.DELETE and self._table.has_triggers

    async def _execute_many(self, statement: Executable, rows: Sequence[dict[str, Any]]) -> None:
        """By the driver itself: what SQLAlchemy does for each row takes longer than SQLite does."""
        assert isinstance(statement, ClauseElement)
        dialect = self._connection.dialect
        compiled: Any = statement.compile(dialect=dialect)
        names = compiled.positiontup
        impls = [compiled.binds[name].type.dialect_impl(dialect) for name in names]
        processors = [impl.bind_processor(dialect) for impl in impls]
        columns = [
            [row[name] for row in rows] if process is None else [process(row[name]) for row in rows]
            for name, process in zip(names, processors, strict=True)
        ]
        await self._connection.exec_driver_sql(str(compiled), [*zip(*columns, strict=True)])

    async def _existing(self, writes: Iterable[Write]) -> dict[str, int]:
        """The versions of the rows that there are, by key; 0 without a version column."""
        keys = [self._table.find_key(write.key) for write in writes]
        found = await self._connection.execute(
            self._statements.existing, self._statements.keys(keys)
        )
        return {self._table.key_of(row[0]): (row[1] or 0) if len(row) > 1 else 0 for row in found}

    def _note(self, operation: Operation, write: Write, existing: dict[str, int]) -> bool:
        """Whether what exists is in a write's way, and notes how."""
        version = existing.get(write.key)
        if version is not None and operation is Operation.INSERT:
            self._refused[write.version] = "there was a record already"
        elif version is None and operation is Operation.UPDATE:
            self._refused[write.version] = "there was no record"
        elif version is not None and self._table.version and version >= write.version:
            self._refused[write.version] = "there was a newer version already"
        return write.version in self._refused


def _is_binary(converter: Converter) -> bool:
    return isinstance(converter.item if isinstance(converter, Arrays) else converter, Bytes)


def _hexadecimal(value: Any) -> Any:
    """Bytes as PostgreSQL writes them, from base64; also each of a list."""
    if isinstance(value, list):
        return [_hexadecimal(one) for one in value]
    return None if value is None else f"\\x{base64.b64decode(value).hex()}"


def parameters(table: SqlTable, shape: Shape, write: Write) -> dict[str, Any]:
    """What `Statements` takes for a write."""
    values = {
        f"v{place}": table.value(name, write.fields[name]) for place, name in enumerate(shape[1])
    }
    values["key"] = table.find_key(write.key)
    if table.version is not None:
        values["version"] = write.version
    return values


def shape_of(write: Write) -> Shape:
    """What a write does, and to which columns."""
    return write.operation, tuple(sorted(write.fields))


_ORDER = [Operation.DELETE, Operation.UPDATE, Operation.UPSERT, Operation.INSERT]


def _groups(writes: Sequence[Write]) -> list[tuple[Shape, list[Write]]]:
    """Writes by what they do. DELETEs first, for what they free may be taken by others; each group
    in the order of keys, so that two transactions lock rows in one order."""
    groups: dict[Shape, list[Write]] = {}
    group: list[Write] = []
    last: tuple[object, ...] = ()
    for write in writes:
        said = (write.operation, *write.fields)
        if said != last:  # mostly the writes of a batch are alike
            last, group = said, groups.setdefault(shape_of(write), [])
        group.append(write)
    for group in groups.values():
        group.sort(key=attrgetter("key"))
    return sorted(groups.items(), key=lambda one: (_ORDER.index(one[0][0]), one[0][1]))
