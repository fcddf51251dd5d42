"""Whose fault it is that a write fails: the row's, or that of the whole table.

A trigger can fail in any way for some rows, and a policy of row-level security says what a missing
privilege says. So where a table that has changed would explain an error, it is looked at again: if
nothing has changed, and the privileges are there, the row is at fault, and holds up no other.
"""

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from pantler_server.core.origin_config import SqlOrigin
from pantler_server.origins import sql_errors
from pantler_server.origins.sql_errors import Fault, Meaning
from pantler_server.origins.sql_statements import Shape
from pantler_server.origins.sql_table import SqlTable, is_sound


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

    async def read(self, shape: Shape, error: SQLAlchemyError) -> Fault:
        """What an error means. In a transaction, what has failed must be rolled back before."""
        if not sql_errors.may_be_of_row(error):
            return sql_errors.read(error)
        if shape not in self._sound:
            self._sound[shape] = await self._connection.run_sync(
                is_sound, self._config, self._table, *shape
            )
        return sql_errors.of_row(error) if self._sound[shape] else sql_errors.read(error)
