"""A table of people that many namespaces are over, for what is loaded ahead."""

import sqlite3
from contextlib import closing
from pathlib import Path

COUNT = 300
NAMESPACES = """
namespace_defaults: {{origin: {{sql: {{url: "sqlite:///{file}", table: people}}}}}}
namespaces:
  adults: {{warm: {{source: query, query: SELECT id FROM people WHERE age >= 18}}}}
  away: {{origin: {{grpc: {{target: "127.0.0.1:1"}}}}}}
  gone: {{origin: {{sql: {{url: "sqlite:///{file}", table: nothing}}}}}}
"""


def make_people(file: Path, count: int = COUNT) -> None:
    """p000, p001 and so on; each third of them is of age."""
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("PRAGMA journal_mode=wal")
        database.execute("CREATE TABLE people (id TEXT PRIMARY KEY, age INTEGER)")
        database.executemany(
            "INSERT INTO people VALUES (?, ?)",
            [(f"p{index:03}", 30 if index % 3 == 0 else 9) for index in range(count)],
        )


def write_config(folder: Path) -> Path:
    """The table, and a configuration in which every namespace is over it; `adults` warms some of
    it, `away` is over a service that does not answer, and `gone` over a table that is not
    there."""
    make_people(folder / "people.db")
    config = folder / "pantler.yaml"
    config.write_text(NAMESPACES.format(file=folder / "people.db"))
    return config
