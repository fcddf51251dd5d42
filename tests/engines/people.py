"""The table `people` as a system of record: key, name, email (unique) and age (not negative)."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pantler_server.core import origin_config
from pantler_server.core.errors import OriginUnavailable
from pantler_server.core.record import Record
from pantler_server.origins.origin import Batch, BeforeCommit, RecordOutcome
from pantler_server.origins.sql import SqlOrigin
from pantler_server.origins.sql_database import Databases

_SCHEMA = """
CREATE TABLE IF NOT EXISTS people (
    id TEXT PRIMARY KEY, name TEXT, email TEXT UNIQUE, age INTEGER CHECK (age >= 0)
)
"""


class People(SqlOrigin):
    """Over SQLite, in a file. `start` before use, `stop` after it."""

    def __init__(self, file: Path, *, version_column: str | None = None) -> None:
        self.file = file
        self.execute("PRAGMA journal_mode = WAL")  # to switch to it, the origin would lock the file
        self.execute(_SCHEMA)
        if version_column:
            self.execute(f"ALTER TABLE people ADD COLUMN {version_column} BIGINT")
        config = origin_config.SqlOrigin(
            url=f"sqlite:///{file}", table="people", version_column=version_column
        )
        super().__init__("people", config, Databases())
        self.batches: list[Batch] = []
        """Those that were committed."""
        self.loads = 0
        self.away = False
        """Whether it refuses all calls."""
        self.has_defaults = False
        """Whether only it knows what becomes of what is not given."""

    def execute(self, statement: str) -> list[Any]:
        """As its owner, on a connection of its own."""
        connection = sqlite3.connect(self.file, timeout=10)
        connection.row_factory = sqlite3.Row
        try:
            found = connection.execute(statement).fetchall()
            connection.commit()
            return found
        finally:
            connection.close()

    def rows(self) -> dict[str, Record]:
        """All that it holds, past any outage."""
        return {row["id"]: dict(row) for row in self.execute("SELECT * FROM people")}

    def whole_record(self, key: str, fields: Record, version: int) -> Record | None:
        return None if self.has_defaults else super().whole_record(key, fields, version)

    async def load(self, key: str, deadline: float) -> Record | None:
        self._reach()
        self.loads += 1
        return await super().load(key, deadline)

    async def load_many(self, keys: Sequence[str], deadline: float) -> Mapping[str, RecordOutcome]:
        self._reach()
        self.loads += 1
        return await super().load_many(keys, deadline)

    async def apply(self, batch: Batch, before_commit: BeforeCommit, deadline: float) -> int:
        self._reach()
        had = await super().apply(batch, before_commit, deadline)
        if had < batch.last:
            self.batches.append(batch)
        return had

    async def applied(self, log: str, deadline: float) -> int:
        self._reach()
        return await super().applied(log, deadline)

    def _reach(self) -> None:
        if self.away:
            raise OriginUnavailable("the database does not answer", "people")
