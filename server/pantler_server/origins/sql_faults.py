"""Whose fault it is that a write fails: the row's, or that of the whole table.

A trigger can fail in any way for some rows, and a policy of row-level security says what a missing
privilege says. So where a table that has changed would explain an error, it is looked at again: if
nothing has changed, and the privileges are there, the row is at fault, and holds up no other. What
the database calls unsupported is the row's fault only if it would run the statement for others.
"""

from sqlalchemy import ClauseElement, Executable
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from pantler_server.core.origin_config import SqlOrigin
from pantler_server.origins import sql_errors
from pantler_server.origins.sql_errors import Fault, Meaning
from pantler_server.origins.sql_reflection import is_sound
from pantler_server.origins.sql_statements import Shape
from pantler_server.origins.sql_table import SqlTable


class Faults:
    """Of the writes of one call: it looks at the table once for each kind of write."""

    def __init__(self, connection: AsyncConnection, config: SqlOrigin, table: SqlTable) -> None:
        self._connection = connection
        self._config = config
        self._table = table
        self._sound: dict[Shape, bool] = {}

    @staticmethod
    def may_be_of_row(error: SQLAlchemyError) -> bool:
        meaning = sql_errors.read(error).meaning
        return meaning is Meaning.REFUSED or sql_errors.may_be_of_row(error)

    async def read(self, shape: Shape, statement: Executable, error: SQLAlchemyError) -> Fault:
        """What an error means. In a transaction, what has failed must be rolled back before."""
        if not sql_errors.may_be_of_row(error):
            return sql_errors.read(error)
        if sql_errors.is_unsupported(error) and not await self._can_run(statement):
            return sql_errors.read(error)
        if shape not in self._sound:
            self._sound[shape] = await self._connection.run_sync(
                is_sound, self._config, self._table, *shape
            )
        return sql_errors.of_row(error) if self._sound[shape] else sql_errors.read(error)

    async def _can_run(self, statement: Executable) -> bool:
        """Whether PostgreSQL makes a plan of it, whatever the values."""
        assert isinstance(statement, ClauseElement)
        compiled = statement.compile(dialect=self._connection.dialect)
        unset = dict.fromkeys(compiled.params)
        try:
            await self._connection.exec_driver_sql(f"EXPLAIN {compiled}", unset)
        except SQLAlchemyError:
            return False
        return True
