"""Values as drivers read them. One that Python has nothing for, as `infinity` of a date or JSON of
a thousand levels, comes as its bytes, and its row is told as unreadable (sql_table.py): else the
driver would refuse all rows of the query.
"""

from functools import cache
from typing import Any

from psycopg import AsyncConnection, DataError
from psycopg.abc import AdaptContext, Buffer, Loader
from psycopg.pq import Format

_TYPES = ("date", "time", "timestamp", "timestamptz", "json", "jsonb")


def set_up_postgres(connection: AsyncConnection[Any]) -> None:
    adapters = connection.adapters
    for name in _TYPES:
        oid = adapters.types[name].oid
        strict = adapters.get_loader(oid, Format.TEXT)
        assert strict is not None
        adapters.register_loader(oid, _or_bytes(strict))


def text_of_sqlite(raw: bytes) -> str | bytes:
    """A `text_factory`: SQLite lets bytes that are no UTF-8 be text."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


@cache
def _or_bytes(strict: type[Loader]) -> type[Loader]:
    class OrBytes:
        format = Format.TEXT

        def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
            self._load = strict(oid, context).load

        def load(self, data: Buffer) -> Any:
            try:
                return self._load(data)
            except (DataError, ValueError, RecursionError):
                return bytes(data)

    return OrBytes
