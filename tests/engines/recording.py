"""Records as the tests of their races tell the story: a real table, and an origin that can be
held."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pantler_server.core.canonical_json import decode
from pantler_server.core.errors import OriginUnavailable, ServiceError
from pantler_server.core.namespace import Namespace
from pantler_server.core.origin_config import OriginConfig
from pantler_server.core.record import Operation, Record
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.model import Hit
from pantler_server.engines.cache.record.engine import RecordEngine
from pantler_server.engines.cache.record.model import Found, Put, Written
from pantler_server.engines.namespaces.engine import milliseconds
from pantler_server.origins.origin import Origin, RecordOutcome, Stored, Write
from pantler_server.origins.sql import SqlOrigin
from pantler_server.origins.sql_database import Databases
from pantler_server.store.store import Store

INSERT, UPDATE, UPSERT, DELETE = Operation
ADA = {"id": "1", "name": "Ada", "age": 36}


class Gate:
    """Lets what comes by pass, or holds it. Each that comes is counted, and can be waited for."""

    def __init__(self) -> None:
        self.came = 0
        self._open = asyncio.Event()
        self._open.set()
        self._changed = asyncio.Condition()

    def hold(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def pass_by(self, deadline: float) -> None:
        async with self._changed:
            self.came += 1
            self._changed.notify_all()
        try:
            async with asyncio.timeout_at(deadline):
                await self._open.wait()
        except TimeoutError:
            raise OriginUnavailable("held for too long", "test") from None

    async def until(self, came: int) -> None:
        """Waits until so many have come."""
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: self.came >= came)


@dataclass
class HeldOrigin:
    """An origin, with gates before and after what it does, and a count of it."""

    inner: Origin
    before_load: Gate = field(default_factory=Gate)
    after_load: Gate = field(default_factory=Gate)
    before_store: Gate = field(default_factory=Gate)
    after_store: Gate = field(default_factory=Gate)
    fails: ServiceError | None = None
    """What loads and stores raise instead."""
    fails_after: ServiceError | None = None
    """What a store raises when it is done."""
    queries: list[Sequence[str]] = field(default_factory=list)
    """The keys of each load."""
    store_deadlines: list[float] = field(default_factory=list)
    """What each store was given."""

    @property
    def gates(self) -> tuple[Gate, ...]:
        return self.before_load, self.after_load, self.before_store, self.after_store

    async def start(self) -> None:
        """The inner one has started before it was held."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def load(self, key: str, deadline: float) -> Record | None:
        self.queries.append([key])
        await self.before_load.pass_by(deadline)
        if self.fails is not None:
            raise self.fails
        record = await self.inner.load(key, deadline)
        await self.after_load.pass_by(deadline)
        return record

    async def load_many(self, keys: Sequence[str], deadline: float) -> Mapping[str, RecordOutcome]:
        self.queries.append(keys)
        await self.before_load.pass_by(deadline)
        if self.fails is not None:
            raise self.fails
        records = await self.inner.load_many(keys, deadline)
        await self.after_load.pass_by(deadline)
        return records

    async def store(self, write: Write, deadline: float) -> Stored:
        self.store_deadlines.append(deadline)
        await self.before_store.pass_by(deadline)
        if self.fails is not None:
            raise self.fails
        stored = await self.inner.store(write, deadline)
        await self.after_store.pass_by(soon())
        if self.fails_after is not None:
            raise self.fails_after
        return stored


@dataclass(frozen=True)
class Records:
    """A worker's records of one namespace over the table `users(id, name, age)`."""

    engine: RecordEngine
    cache: CacheEngine
    space: Namespace
    origin: HeldOrigin
    file: Path

    async def get(self, key: str, **said: Any) -> Found:
        return await self.engine.get(self.space, key, soon(), **said)

    async def record(self, key: str) -> Record | None:
        """What a get gives."""
        return (await self.engine.get_record(self.space, key, soon())).record

    async def get_many(self, *keys: str, **said: Any) -> list[Found | ServiceError]:
        return await self.engine.get_many(self.space, keys, soon(), **said)

    async def put(
        self, key: str, operation: Operation = UPSERT, request_id: str = "", **fields: Any
    ) -> Written:
        put = Put(key, operation, fields, request_id)
        return await self.engine.put(self.space, put, soon())

    def row(self, key: str) -> Record | None:
        """What the table has."""
        with sqlite3.connect(self.file) as database:
            found = database.execute("SELECT id, name, age FROM users WHERE id = ?", (key,))
            row = found.fetchone()
        return None if row is None else dict(zip(("id", "name", "age"), row, strict=True))

    def write_row(self, key: str, name: str, age: int | None = None) -> None:
        """As somebody else writes the table."""
        with sqlite3.connect(self.file) as database:
            database.execute("REPLACE INTO users VALUES (?, ?, ?)", (key, name, age))

    def spoil_row(self, key: str) -> None:
        """As SQLite lets others write it: what is no text into a column of text."""
        with sqlite3.connect(self.file) as database:
            database.execute("UPDATE users SET name = x'ff' || randomblob(8) WHERE id = ?", (key,))


@dataclass
class RecordsFactory:
    """Makes workers, each in a namespace of its own unless it is to be beside another."""

    engine: CacheEngine
    other_engine: CacheEngine
    store: Store
    space: Callable[[], Awaitable[Namespace]]
    folder: Path
    _made: list[Records] = field(default_factory=list)

    async def __call__(
        self, beside: Records | None = None, origin: Mapping[str, Any] | None = None, **config: Any
    ) -> Records:
        """`origin`: settings of it, and `config` of the namespace, beyond what is usual."""
        if beside is not None:
            return await self._worker(self.other_engine, beside.space, beside.file)
        file = self.folder / f"{len(self._made)}.db"
        make_table(file)
        table = {"url": f"sqlite:///{file}", "table": "users"}
        settings = OriginConfig.model_validate({"sql": table, **(origin or {})})
        space = _configured(await self.space(), {"origin": settings, **config})
        return await self._worker(self.engine, space, file)

    async def _worker(self, cache: CacheEngine, space: Namespace, file: Path) -> Records:
        assert space.config.origin is not None
        assert space.config.origin.sql is not None
        table = SqlOrigin(space.name, space.config.origin.sql, Databases())
        await table.start()
        # Its first connection locks the file, as long as a test blocks this loop to write there.
        with suppress(ServiceError):
            await table.check("1", UPSERT, {"name": "n"}, asyncio.get_running_loop().time() + 2)
        origin = HeldOrigin(table)
        engine = RecordEngine(self.store, cache, lambda _: origin, HotKeys(self.store), deployment)
        self._made.append(records := Records(engine, cache, space, origin, file))
        return records

    async def stop(self) -> None:
        for records in self._made:
            for gate in records.origin.gates:
                gate.open()
            await records.engine.stop(soon())
            await records.origin.stop()


def _configured(space: Namespace, config: Mapping[str, Any]) -> Namespace:
    """The namespace, configured otherwise."""
    new = space.config.model_copy(update=dict(config))
    return replace(
        space,
        config=new,
        ttl_ms=milliseconds(new.ttl),
        stale_while_revalidate_ms=milliseconds(new.stale_while_revalidate),
        grace_ms=milliseconds(max(new.stale_while_revalidate, new.stale_if_error)),
    )


async def deployment(_: float) -> bytes:
    return b"deployed"


def soon() -> float:
    return asyncio.get_running_loop().time() + 5


def make_table(file: Path) -> None:
    with sqlite3.connect(file) as database:
        database.execute(
            "CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, age INTEGER "
            "CHECK (age < 200))"
        )


def value(found: object) -> object:
    """The record, None if there is none."""
    assert isinstance(found, Found)
    return decode(found.value) if found.value else None


async def expire(records: Records, key: str) -> None:
    """Lets what is cached of a key come to its end."""
    await records.cache.touch(records.space, key, 1, soon())
    async with asyncio.timeout(5):
        while isinstance(await records.cache.get(records.space, key, soon()), Hit):
            await asyncio.sleep(0.001)


async def refreshes_have_ended(records: Records) -> None:
    """Waits for those under way in this worker."""
    async with asyncio.timeout(5):
        while tasks := tuple(records.engine._refresher._tasks):
            await asyncio.wait(tasks)
