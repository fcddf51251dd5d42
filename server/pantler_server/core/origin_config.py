"""Systems of record in the configuration of a namespace: where they are, and how they are read and
written."""

import re
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializationInfo,
    field_serializer,
    model_validator,
)

from pantler_server.core.duration import MILLISECOND
from pantler_server.core.setting_types import (
    Address,
    Duration,
    Problem,
    hide_password,
    refuse,
    revealed,
)

SQL_SCHEMES = ("postgresql://", "sqlite:///")
_SELECT = re.compile(r"\s*(select|with|values|table)\b", re.IGNORECASE)


def _sql_url(value: str) -> str:
    if not value.startswith(SQL_SCHEMES):
        raise ValueError(
            "must be postgresql://user:password@host:5432/database or sqlite:///path/to/file.db"
        )
    return value


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SqlOrigin(_Section):
    """A table. Whoever owns it makes it; Pantler reads and writes its rows."""

    url: Annotated[str, AfterValidator(_sql_url)]
    """The database: postgresql://user:password@host:5432/database, or sqlite:///path/to/file.db
    (four slashes for an absolute path)."""
    table: str = Field(min_length=1)
    """The table, as `users` or `schema.users`."""
    key_column: str = Field("id", min_length=1)
    """The column whose value is the key: its primary key, or unique and never null. Text, a whole
    number or a UUID."""
    columns: tuple[str, ...] = ()
    """The columns of a record, beside the key's; unset: all of the table."""
    version_column: str | None = None
    """A column of 64-bit whole numbers that grow with each write of a row: of two writes the newer
    wins."""
    pool_size: int = Field(10, ge=1, le=1000)
    """Connections of each worker to this database; namespaces with the same `url` share them."""

    @field_serializer("url", when_used="json")
    def _hide_password(self, value: str, info: SerializationInfo) -> str:
        return value if revealed(info) else hide_password(value)


class GrpcOrigin(_Section):
    """A service that implements pantler.origin.v1.OriginService."""

    target: Address
    """Where it listens, host:port."""
    ca_file: Path | None = None
    """The authority that signed its certificate; unset: no TLS."""


class BreakerConfig(_Section):
    """When an origin that fails is left alone."""

    failures: int = Field(5, ge=1, le=1000)
    """How many calls in a row must fail."""
    pause: Duration = Field(timedelta(seconds=5), ge=MILLISECOND, le=timedelta(hours=1))
    """For how long it is not called then; after that one call at a time tries."""


class OriginConfig(_Section):
    """The system of record behind a namespace: one of `sql` and `grpc`."""

    sql: SqlOrigin | None = None
    grpc: GrpcOrigin | None = None
    timeout: Duration = Field(timedelta(seconds=2), ge=MILLISECOND, le=timedelta(minutes=5))
    """How long one call of it may take."""
    soft_timeout: Duration | None = Field(None, ge=MILLISECOND)
    """After how long a read is answered with what has expired, if that is still kept
    (`stale_if_error`), while the load goes on; unset: it waits for the load."""
    max_concurrency: int = Field(32, ge=1, le=10_000)
    """Calls of it under way from each worker; more wait for their turn."""
    breaker: BreakerConfig = BreakerConfig()

    @model_validator(mode="after")
    def _one_kind(self) -> "OriginConfig":
        if (self.sql is None) == (self.grpc is None):
            raise ValueError("give one of sql and grpc")
        return self


class WriteMode(StrEnum):
    """What a write of a record does."""

    THROUGH = "through"
    """The origin has it before the call is answered."""
    BEHIND = "behind"
    """Redis has it, durably, before the call is answered; the origin gets it later."""
    REFUSED = "refused"
    """Records are read only."""


class WriteBehindConfig(_Section):
    """How writes get to the origin later."""

    interval: Duration = Field(timedelta(milliseconds=500), ge=MILLISECOND, le=timedelta(hours=1))
    """How long a write waits at most for others, while the origin keeps up."""
    batch_size: int = Field(500, ge=1, le=10_000)
    """How many writes go to the origin in one transaction, and no longer wait for more."""
    max_backlog: int = Field(100_000, ge=1, le=100_000_000)
    """How many writes may wait, dead ones included; more are refused with RESOURCE_EXHAUSTED."""
    fsync: bool = True
    """Whether a write is on Redis's disk before it is acknowledged. Takes an append-only file, and
    Redis 7.2 or `appendfsync always`."""
    replicas: int = Field(0, ge=0, le=16)
    """How many replicas must have a write before it is acknowledged."""


class WarmSource(StrEnum):
    """Where the keys come from that are loaded ahead."""

    ALL = "all"
    """All rows of the table."""
    QUERY = "query"
    """Those that `query` gives."""
    KEYS = "keys"
    """Those of `keys`."""
    HOT = "hot"
    """Those that were read most the day before, and today."""


class WarmConfig(_Section):
    """What is loaded ahead."""

    source: WarmSource = WarmSource.HOT
    """`all`, `query`, `keys` or `hot`."""
    query: str | None = None
    """A SELECT of keys, one column; with `source: query`."""
    keys: tuple[str, ...] = ()
    """With `source: keys`."""
    at_start: bool = False
    """Whether that is done when the service starts, once for all workers."""
    ready_after: bool = False
    """Whether readiness waits for it."""
    keys_per_second: int = Field(1000, ge=1, le=1_000_000)
    """How many keys are loaded in a second at most."""

    @model_validator(mode="after")
    def _holds_together(self) -> "WarmConfig":
        refuse("WarmConfig", self._problems())
        return self

    def _problems(self) -> Iterator[Problem]:
        if (self.query is None) == (self.source is WarmSource.QUERY):
            yield ("query",), "goes with source: query, and only with that"
        if self.query is not None and not _SELECT.match(self.query):
            yield ("query",), "must be a SELECT: begin with SELECT, WITH, VALUES or TABLE"
        if bool(self.keys) != (self.source is WarmSource.KEYS):
            yield ("keys",), "goes with source: keys, and only with that"
        if self.ready_after and not self.at_start:
            yield ("ready_after",), "is of use only with at_start"


class HotKeysConfig(_Section):
    """What is done for keys that are read much."""

    sample_ratio: float = Field(0.01, gt=0.0, le=1.0)
    """The share of reads that are counted."""
    min_reads_per_second: float = Field(50.0, gt=0.0)
    """From how many reads a second on, of all workers together, a key is hot."""
    ttl_factor: float = Field(1.0, ge=1.0, le=100.0)
    """By how much the ttl is longer of what is loaded for a hot key."""
    keep_refreshed: bool = False
    """Whether a hot key is refreshed ahead also where others are not (`refresh_ratio: 1`): past 0.8
    of its ttl."""
    l1_only: bool = False
    """Whether the first level (`l1`) keeps nothing but hot keys."""
