"""A system of record on disk: a table of SQLite, and the configuration of namespaces over it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

TABLE = """
CREATE TABLE users (
  id TEXT PRIMARY KEY, name TEXT, age INTEGER CHECK (age >= 0), email TEXT UNIQUE, score REAL
)
"""
NAMESPACES = """
redis: {{embedded: {{directory: {folder}/valkey}}}}
namespaces:
  through: {{origin: &users {{sql: {{url: "sqlite:///{folder}/users.db", table: users}}}}}}
  behind: {{origin: *users, writes: behind, write_behind: {{interval: 20ms}}}}
  small: {{origin: *users, max_value_bytes: 200}}
  readonly: {{origin: *users, writes: refused}}
  gone: {{origin: {{sql: {{url: "sqlite:///{folder}/users.db", table: nothing}}}}}}
"""


class UsersTable:
    """The table, made at once, and looked at from beside Pantler."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "users.db"
        self.config = folder / "pantler.yaml"
        """Namespaces that write through and behind, of small records, that only read, and over a
        table that is not there."""
        self.config.write_text(NAMESPACES.format(folder=folder))
        with closing(sqlite3.connect(self._path)) as database:
            database.execute("PRAGMA journal_mode=wal")
            database.execute(TABLE)

    def row(self, key: str) -> tuple[Any, ...] | None:
        """Name, age, email and score."""
        asked = "SELECT name, age, email, score FROM users WHERE id = ?"
        with closing(sqlite3.connect(self._path)) as database:
            found: tuple[Any, ...] | None = database.execute(asked, (key,)).fetchone()
        return found

    def change(self, statement: str, *values: Any) -> None:
        with closing(sqlite3.connect(self._path)) as database, database:
            database.execute(statement, values)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else writes meanwhile."""
        with closing(sqlite3.connect(self._path, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            yield
            database.execute("ROLLBACK")

    @property
    def count(self) -> int:
        with closing(sqlite3.connect(self._path)) as database:
            [rows] = database.execute("SELECT count(*) FROM users").fetchone()
        return int(rows)
