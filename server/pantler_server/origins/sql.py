"""A table of PostgreSQL or SQLite as system of record.

How late a write may take effect, which the fence of write-through relies on: a call ends by its
deadline, and after that sends nothing more. What it has sent before may take effect a little later:
on PostgreSQL less than as long after the deadline as it was sent before it, or 64 ms, by the
server's `statement_timeout` (sql_database.py), on SQLite as long as one COMMIT takes. For COMMIT
itself PostgreSQL knows no bound; it takes one fsync, or what a synchronous standby needs.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from sqlalchemy import bindparam, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from pantler_server.core import background, origin_config
from pantler_server.core.errors import (
    OriginNotReady,
    OriginUnavailable,
    RecordExists,
    RecordMissing,
    ServiceError,
    WriteRefused,
)
from pantler_server.core.record import Operation, Record
from pantler_server.origins import sql_errors
from pantler_server.origins.origin import Batch, BeforeCommit, RecordOutcome, Stored, Write
from pantler_server.origins.sql_batch import SKIPPED, BatchWriter, Logs, parameters, shape_of
from pantler_server.origins.sql_calls import Calls, Use
from pantler_server.origins.sql_database import Attempt, Database, Databases
from pantler_server.origins.sql_errors import Meaning
from pantler_server.origins.sql_faults import Faults
from pantler_server.origins.sql_reflection import TableProblem, reflect
from pantler_server.origins.sql_statements import Statements
from pantler_server.origins.sql_table import SqlTable, Unreadable

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 5.0
LOOK_FOR_CHANGES_S = 30.0  # ten queries of the catalogue each time
LOOK_TIMEOUT_S = 10.0  # of one look at the table in the background
PAGE_TIMEOUT_S = 60.0  # of one page of keys: the operator's query may take its time


class SqlOrigin:
    """One table, for one namespace. Implements `Origin`."""

    keys_can_be_listed = True

    def __init__(
        self, namespace: str, config: origin_config.SqlOrigin, databases: Databases
    ) -> None:
        self._namespace = namespace
        self._config = config
        self._calls = Calls(namespace, config, databases, self._noted_problem)
        self._table: SqlTable | None = None
        self._statements: Statements | None = None
        self._logs: Logs | None = None  # known once its table is there
        self._change = ""  # why the table could not serve as it is now, if it was looked at anew
        self._look = asyncio.Lock()
        self._look_again = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._calls.start()
        self._look_again.set()
        self._looking = background.start(self._keep_looking(), f"origin of {self._namespace}")

    async def stop(self) -> None:
        if self._looking is not None:
            await background.stop([self._looking])
            self._looking = None
        await self._calls.stop()

    @property
    def problem(self) -> str:
        return self._calls.problem

    @property
    def _database(self) -> Database:
        return self._calls.database

    def require(self) -> None:
        """Each call is tried."""

    def check_key(self, key: str) -> None:
        if self._table is not None:
            self._table.check_key(key)

    async def check(
        self, key: str, operation: Operation, fields: Record, deadline: float
    ) -> Record:
        table, _ = await self._ready(deadline)
        return table.check(key, operation, fields)

    def whole_record(self, key: str, fields: Record, version: int) -> Record | None:
        return None if self._table is None else self._table.whole_record(key, fields, version)

    def part_of_record(self, key: str, fields: Record, version: int) -> Record:
        if self._table is None:
            return fields
        return self._table.part_of_record(key, fields, version)

    async def load(self, key: str, deadline: float) -> Record | None:
        """One query by the key."""
        table, statements = await self._ready(deadline)
        value = table.find_key(key)
        if value is None:
            return None
        rows = await self._calls.read(
            lambda connection: _rows(connection, statements.load, {"key": value}), deadline
        )
        return self._record(table, rows[0]) if rows else None

    async def load_many(self, keys: Sequence[str], deadline: float) -> Mapping[str, RecordOutcome]:
        table, statements = await self._ready(deadline)
        values = [value for key in keys if (value := table.find_key(key)) is not None]
        if not values:
            return {}
        rows = await self._calls.read(
            lambda connection: _rows(connection, statements.load_many, statements.keys(values)),
            deadline,
        )
        found: dict[str, RecordOutcome] = {}
        for row in rows:
            try:
                key = table.key_of_row(row)
            except Unreadable as exc:
                raise self._unreadable(exc) from None  # it may be that of any key
            try:
                found[key] = table.record(row)
            except Unreadable as exc:
                found[key] = self._unreadable(exc)
        return found

    def _record(self, table: SqlTable, row: Sequence[Any]) -> Record:
        try:
            return table.record(row)
        except Unreadable as exc:
            raise self._unreadable(exc) from None

    def _unreadable(self, why: Unreadable) -> OriginUnavailable:
        return OriginUnavailable(
            f"a record of namespace {self._namespace!r} can't be read: {why}", self._namespace
        )

    async def store(self, write: Write, deadline: float) -> Stored:
        """One statement, which gives the row as it is then; on SQLite a transaction of its own."""
        table, statements = await self._ready(deadline)
        shape = shape_of(write)
        statement = statements.one(shape)
        table.check_key(write.key)
        values = parameters(table, shape, write)

        async def run(connection: AsyncConnection, attempt: Attempt) -> tuple[Sequence[Any], bool]:
            """What it gives, and whether there is a row of the key if it gives nothing."""
            try:
                rows = await _rows(connection, statement, values)
            except SQLAlchemyError as exc:
                if sql_errors.read(exc).meaning is not Meaning.LOST:
                    attempt.fail()
                faults = Faults(connection, self._config, table)
                fault = await faults.read(shape, statement, exc)
                if fault.meaning is Meaning.REFUSED:
                    raise self._calls.refused(fault, exc) from exc
                raise
            if rows or not table.has_triggers:
                return rows, bool(rows)
            return rows, bool(
                await _rows(connection, statements.existing, statements.keys([values["key"]]))
            )

        async def work(attempt: Attempt) -> tuple[Sequence[Any], bool]:
            if self._database.is_sqlite:
                async with self._database.transaction(deadline, attempt) as connection:
                    return await run(connection, attempt)
            async with self._database.connection(deadline) as connection:
                attempt.send()
                return await run(connection, attempt)

        rows, exists = await self._calls.run(work, deadline, Use.WRITES)
        return self._stored(table, write, rows, exists)

    def _stored(self, table: SqlTable, write: Write, rows: Sequence[Any], exists: bool) -> Stored:
        match write.operation:
            case Operation.DELETE if rows or not exists:
                return Stored(None, is_known=True, existed=bool(rows))
            case Operation.INSERT if not rows and (exists or not table.has_triggers):
                raise RecordExists(write.key)
            case Operation.UPDATE if not rows and not exists:
                raise RecordMissing(write.key)
        if not rows:
            raise WriteRefused(f"the origin refuses the write: {SKIPPED}", self._namespace)
        try:
            record = table.record(rows[0])
        except Unreadable:
            return Stored(None, is_known=False)  # it is done, and whoever reads it is told
        if table.has_late_triggers or str(record[table.key.name]) != write.key:
            return Stored(None, is_known=False)  # the row is another one than it was made
        version = 0 if table.version is None else int(record[table.version.name])
        return Stored(record, is_known=True, version=version)

    async def apply(self, batch: Batch, before_commit: BeforeCommit, deadline: float) -> int:
        """A few round trips for each kind of write in the batch; more where some are refused."""
        table, statements = await self._ready(deadline)
        logs = await self._open_logs(deadline)

        async def work(attempt: Attempt) -> int:
            async with self._database.transaction(deadline, attempt) as connection:
                writer = BatchWriter(connection, self._config, table, statements)
                return await writer.apply(logs, batch, before_commit)

        return await self._calls.run(work, deadline, Use.WRITES)

    async def applied(self, log: str, deadline: float) -> int:
        logs = await self._open_logs(deadline)
        rows = await self._calls.read(
            lambda connection: _rows(connection, logs.applied, {"log": log}), deadline
        )
        return int(rows[0][0]) if rows else 0

    async def list_keys(
        self, query: str | None, after: str, page_size: int
    ) -> AsyncIterator[Sequence[str]]:
        """A query a page, each from behind the last key of the one before: nothing is held open in
        between, and rows that come and go meanwhile do no harm."""
        while True:
            page = await self._page(query, after, page_size)
            if page:
                yield page
            if len(page) < page_size:
                return
            after = page[-1]

    async def _page(self, query: str | None, after: str, page_size: int) -> Sequence[str]:
        deadline = asyncio.get_running_loop().time() + PAGE_TIMEOUT_S
        table, statements = await self._ready(deadline)
        values: dict[str, Any] = {}
        if after:
            values["key"] = table.key_converter.key_to_database(after)
        if query is None:
            statement: Any = statements.page(bool(after), page_size)
        else:
            statement = _page_of_query(query, table, bool(after))
            values["page_size"] = page_size
        use = Use.ALL if query is None else Use.QUERY
        rows = await self._calls.read(
            lambda connection: _rows(connection, statement, values), deadline, use
        )
        try:
            return [table.key_of(row[0]) for row in rows]
        except Unreadable:
            raise OriginNotReady(
                self._namespace, f"`query` gives what are no values of column {table.key.name}"
            ) from None

    # Whether it can serve

    async def _ready(self, deadline: float) -> tuple[SqlTable, Statements]:
        """The table; looks for it if it was not found yet."""
        if self._table is None or self._statements is None:
            if Use.ALL not in self._calls.problems:
                await self._find_table(deadline)
            if self._table is None or self._statements is None:
                raise OriginNotReady(self._namespace, self.problem)
        return self._table, self._statements

    async def _keep_looking(self) -> None:
        """Looks for the table at the start and again while there is a problem, or the database is
        away before it was ever found; after that, now and then, whether it has changed."""
        loop = asyncio.get_running_loop()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_FOR_CHANGES_S):
                    await self._look_again.wait()
            if not self._look_again.is_set():
                await self._look_for_changes(loop.time() + LOOK_TIMEOUT_S)
                continue
            with suppress(ServiceError):
                await self._find_table(loop.time() + LOOK_TIMEOUT_S)
                if Use.LOGS in self._calls.problems:
                    await self._open_logs(loop.time() + LOOK_TIMEOUT_S)
            if self._table is not None and Use.LOGS not in self._calls.problems:
                self._look_again.clear()
            else:
                await asyncio.sleep(LOOK_AGAIN_S)

    async def _find_table(self, deadline: float) -> None:
        """Finds the table, or what the problem is. Raises OriginUnavailable."""
        try:
            async with asyncio.timeout_at(deadline):
                async with self._look:
                    if self._table is None:
                        await self._reflect(deadline)
        except TimeoutError:
            raise self._calls.unavailable("did not answer in time") from None

    async def _reflected(self, deadline: float) -> SqlTable:
        async def work(_: Attempt) -> SqlTable:
            async with self._database.connection(deadline) as connection:
                return await connection.run_sync(reflect, self._config)

        return await self._calls.run(work, deadline, Use.ALL)

    async def _look_for_changes(self, deadline: float) -> None:
        """A column that was added is taken up. What could not serve changes nothing here: whoever
        depends on what is gone is told by the database, and the others go on."""
        known = self._table
        try:
            table = await self._reflected(deadline)
        except TableProblem as exc:
            if str(exc) != self._change:
                self._change = str(exc)
                log.warning(
                    "the table has changed, and can't serve as it is",
                    namespace=self._namespace,
                    problem=self._change,
                )
            return
        except ServiceError:
            return
        self._change = ""
        if known is not None and self._table is known and not table.is_like(known):
            self._take(table)
            log.info("the table has changed", namespace=self._namespace, table=table.name)

    def _take(self, table: SqlTable) -> None:
        self._statements = Statements(table, is_sqlite=self._database.is_sqlite)
        self._table = table

    async def _reflect(self, deadline: float) -> None:
        try:
            table = await self._reflected(deadline)
        except TableProblem as exc:
            self._calls.set_problem(Use.ALL, str(exc))
            return
        except OriginNotReady:
            return  # the problem is set
        self._take(table)
        self._calls.problems.pop(Use.ALL, None)
        log.info("origin ready", namespace=self._namespace, table=table.name)

    def _noted_problem(self, use: Use) -> None:
        if use is Use.ALL:
            self._table = self._statements = self._logs = None
        self._look_again.set()

    async def _open_logs(self, deadline: float) -> Logs:
        """The table of logs, made at its first use."""
        if self._logs is None:
            table, _ = await self._ready(deadline)
            logs = Logs(table.clause.schema, is_sqlite=self._database.is_sqlite)
            if not await self._has(logs, deadline):
                await self._make(logs, deadline)
            self._logs = logs
            self._calls.problems.pop(Use.LOGS, None)
        return self._logs

    async def _has(self, logs: Logs, deadline: float) -> bool:
        async def work(_: Attempt) -> bool:
            async with self._database.connection(deadline) as connection:
                try:
                    await connection.execute(logs.probe)
                except SQLAlchemyError as exc:
                    if sql_errors.read(exc).meaning is not Meaning.CHANGED:
                        raise
                    return False
                return True

        return await self._calls.run(work, deadline, Use.LOGS)

    async def _make(self, logs: Logs, deadline: float) -> None:
        async def work(attempt: Attempt) -> str:
            async with self._database.transaction(deadline, attempt) as connection:
                ddl = logs.ddl(connection.dialect)
                try:
                    await connection.exec_driver_sql(ddl)
                except SQLAlchemyError as exc:
                    if sql_errors.read(exc).meaning is not Meaning.FORBIDDEN:
                        raise
                    return ddl
                return ""

        try:
            refused = await self._calls.run(work, deadline, Use.LOGS)
        except WriteRefused:  # another worker makes it at the same moment
            raise self._calls.unavailable("is being made ready", Use.LOGS) from None
        if refused:
            raise self._calls.set_problem(
                Use.LOGS,
                f"table {logs.name} is not there, and the user may not make it: run `{refused}`, "
                "and grant SELECT, INSERT and UPDATE on it",
            )


async def _rows(connection: AsyncConnection, statement: Any, values: Any) -> Sequence[Any]:
    return (await connection.execute(statement, values)).all()


def _page_of_query(query: str, table: SqlTable, after: bool) -> Any:
    """A page of what the operator's query gives. It stays a query of its own whatever it has at its
    end, and its colons are no parameters. It has a parameter in any case: the driver lets several
    statements pass where there is none."""
    escaped = query.strip().rstrip(";").replace(":", "\\:")
    condition = "key > :key" if after else "key IS NOT NULL"
    statement = text(
        f"WITH warm(key) AS (\n{escaped}\n) SELECT DISTINCT key FROM warm WHERE {condition} "
        "ORDER BY key LIMIT :page_size"
    )
    if after:
        return statement.bindparams(bindparam("key", type_=table.key.type))
    return statement
