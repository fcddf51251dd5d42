"""A table of PostgreSQL that writes down each change of its rows."""

from typing import NamedTuple

from tests.servers.postgres import PostgresServer

# Rows are in a partition, and the trigger stands there: it changes nothing, so Pantler may know
# whole records before the table has them. With `label` only the table knows the whole.
TABLE = """
CREATE TABLE {name} (
  id TEXT PRIMARY KEY, number BIGINT NOT NULL, a BIGINT NOT NULL, b BIGINT NOT NULL{more}
) PARTITION BY HASH (id)
"""
ROWS = "CREATE TABLE {name}_rows PARTITION OF {name} FOR VALUES WITH (MODULUS 1, REMAINDER 0)"
VERSION = ", version BIGINT NOT NULL"
LABEL = ", label TEXT NOT NULL DEFAULT 'new'"
CHANGES = """
CREATE TABLE {name}_changes (
  place BIGSERIAL PRIMARY KEY, operation TEXT, id TEXT, number BIGINT, a BIGINT, b BIGINT,
  version BIGINT
)
"""
NOTE = """
CREATE FUNCTION {name}_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE is_now {name}_rows;
BEGIN
  IF TG_OP = 'DELETE' THEN is_now := OLD; ELSE is_now := NEW; END IF;
  INSERT INTO {name}_changes (operation, id, number, a, b, version)
    VALUES (TG_OP, is_now.id, is_now.number, is_now.a, is_now.b, {version});
  RETURN NULL;
END $$
"""
TRIGGER = """
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON {name}_rows
  FOR EACH ROW EXECUTE FUNCTION {name}_note()
"""


class Row(NamedTuple):
    """A row: the number of the write that made it as it is, and of those that `a` and `b` are
    from."""

    number: int
    a: int
    b: int


class Change(NamedTuple):
    """What became of a row; of a DELETE what it was."""

    operation: str
    key: str
    row: Row
    version: int | None
    """None in a table without versions."""


class AuditedTable:
    def __init__(self, postgres: PostgresServer, name: str, *, versioned: bool) -> None:
        self.name = name
        self._postgres = postgres
        self._versioned = versioned

    @property
    def origin(self) -> dict[str, object]:
        """As a namespace is configured with it."""
        versions = {"version_column": "version"} if self._versioned else {}
        return {"sql": {"url": self._postgres.url, "table": self.name, **versions}}

    async def make(self) -> None:
        more = VERSION if self._versioned else LABEL
        version = "is_now.version" if self._versioned else "NULL"
        for statement in (TABLE, ROWS, CHANGES, NOTE, TRIGGER):
            await self._postgres.execute(
                statement.format(name=self.name, more=more, version=version)
            )

    async def rows(self) -> dict[str, Row]:
        found = await self._postgres.execute(f"SELECT id, number, a, b FROM {self.name}")
        return {key: Row(*row) for key, *row in found}

    async def changes(self) -> list[Change]:
        """In the order in which they were made."""
        found = await self._postgres.execute(
            f"SELECT operation, id, number, a, b, version FROM {self.name}_changes ORDER BY place"
        )
        return [
            Change(operation, key, Row(*row), version) for operation, key, *row, version in found
        ]
