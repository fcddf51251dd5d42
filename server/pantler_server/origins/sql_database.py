"""Connections to databases: an engine for each url, shared by namespaces, and calls that end in
time whatever the database does.

Every connection commits each statement by itself; transactions begin with an explicit BEGIN.
"""

import asyncio
import math
import select
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import structlog
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InvalidatePoolError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from pantler_server.core import background
from pantler_server.origins import sql_loaders

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S = 5
# A server that is gone without a word is noticed after about 20 s by connections that wait for it.
KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 3}
IDLE_IN_TRANSACTION_MS = 60_000  # a worker that vanished in a transaction keeps its locks so long
SQLITE_BUSY_MS = (
    50  # a file's lock is awaited in such steps, so that a deadline between them counts
)
RETRY_LOCK_S = 0.005
RETIRE_STEP_S = 0.1
BEGINNING = "beginning"  # a savepoint
MIN_STATEMENT_TIMEOUT_MS = 64  # below, the timeouts of connections would change with each call

T = TypeVar("T")


class Attempt:
    """How far a write has come when its call fails."""

    def __init__(self) -> None:
        self.may_have_landed = False
        """Whether what makes it last, COMMIT or a statement that commits by itself, was sent."""
        self._given_up = False

    def send(self) -> None:
        """Called right before that is sent. Raises CancelledError if nobody waits any more."""
        if self._given_up:
            raise asyncio.CancelledError
        self.may_have_landed = True

    def fail(self) -> None:
        """The database said that it did not happen."""
        self.may_have_landed = False

    def give_up(self) -> None:
        self._given_up = True


class Databases:
    """The databases that are in use, by url."""

    def __init__(self) -> None:
        self._open: dict[str, Database] = {}

    def __len__(self) -> int:
        return len(self._open)

    def take(self, url: str, pool_size: int) -> "Database":
        """For one more user, who gives it back."""
        database = self._open.get(url)
        if database is None:
            database = self._open[url] = Database(url)
        database.users += 1
        database.grow(pool_size)
        return database

    async def give_back(self, database: "Database") -> None:
        """Closes its connections if nobody else uses it."""
        database.users -= 1
        if database.users == 0:
            del self._open[database.url]
            await database.close()


class Database:
    """One database, of PostgreSQL or SQLite."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.users = 0
        self.is_sqlite = url.startswith("sqlite:")
        self._pool_size = 0
        self._engine: AsyncEngine | None = None
        self._ending: set[asyncio.Task[Any]] = set()  # calls that nobody waits for any more
        self._writer = asyncio.Lock()  # SQLite: one at a time, else they would wait in its threads

    def grow(self, pool_size: int) -> None:
        """To this many connections at most, unless there may be more already."""
        if pool_size <= self._pool_size:
            return
        self._pool_size = pool_size
        if self._engine is not None:
            old, self._engine = self._engine, None
            self._let_end(asyncio.create_task(_retire(old)))

    @property
    def engine(self) -> AsyncEngine:
        if self._engine is None:
            self._engine = _open_engine(self.url, self._pool_size)
        return self._engine

    async def close(self) -> None:
        await background.stop(self._ending)
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    async def run(self, work: Coroutine[Any, Any, T], deadline: float, attempt: Attempt) -> T:
        """The result of `work`; raises TimeoutError at the deadline, at once: work that does not
        end when it is cancelled, as the driver waits for a server that hangs, ends on its own."""
        task = asyncio.create_task(work)
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(task)
        finally:
            if not task.done():
                attempt.give_up()
                task.cancel()
                self._let_end(task)

    def _let_end(self, task: asyncio.Task[Any]) -> None:
        self._ending.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._ending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("a call that was given up failed", error=type(error).__name__)

    @asynccontextmanager
    async def connection(self, deadline: float) -> AsyncIterator[AsyncConnection]:
        """For statements that each commit by themselves. See `_bound` for how late they may."""
        async with self.engine.connect() as connection:
            await self._bound(connection, deadline)
            yield connection

    @asynccontextmanager
    async def read_only(self, deadline: float) -> AsyncIterator[AsyncConnection]:
        """For statements of others: whatever they are, the database lets them write nothing."""
        async with self.connection(deadline) as connection:
            if not self.is_sqlite:
                await connection.exec_driver_sql("BEGIN READ ONLY")
                yield connection
                await connection.exec_driver_sql("ROLLBACK")
                return
            await connection.exec_driver_sql("PRAGMA query_only = ON")
            try:
                yield connection
            finally:
                if not connection.invalidated:  # as one is whose call was cancelled
                    await connection.exec_driver_sql("PRAGMA query_only = OFF")

    async def _bound(self, connection: AsyncConnection, deadline: float) -> None:
        """Lets PostgreSQL end a statement that nobody waits for any more.

        Its bound is a power of two, so that it is seldom set anew, at a round trip each: less than
        twice the time left, or MIN_STATEMENT_TIMEOUT_MS. So no statement takes effect later than
        as long after its deadline as it was begun before it, or 64 ms. Mostly it ends sooner, for
        a call that is given up has the driver ask the server to cancel.
        """
        if self.is_sqlite:
            return
        left_ms = max((deadline - asyncio.get_running_loop().time()) * 1000, 1.0)
        bound = max(1 << math.ceil(math.log2(left_ms)), MIN_STATEMENT_TIMEOUT_MS)
        info = connection.sync_connection.info if connection.sync_connection else {}
        if info.get("statement_timeout_ms") != bound:
            await connection.exec_driver_sql(f"SET statement_timeout = {bound}")
            info["statement_timeout_ms"] = bound

    @asynccontextmanager
    async def transaction(
        self, deadline: float, attempt: Attempt
    ) -> AsyncIterator[AsyncConnection]:
        """Commits at its end, and rolls back after an error. On PostgreSQL it begins with a
        savepoint, which costs nothing there. On SQLite it has waited for the
        file's lock by then, so nothing in it waits for other writers."""
        if not self.is_sqlite:
            async with self.connection(deadline) as connection:
                # Deferred constraints would show at COMMIT only, when it is too late to tell which
                # write broke them.
                await connection.exec_driver_sql(
                    f"BEGIN; SET CONSTRAINTS ALL IMMEDIATE; SAVEPOINT {BEGINNING}"
                )
                yield connection
                await self._commit(connection, attempt)
            return
        async with self._writer, self.connection(deadline) as connection:
            await self._begin_immediate(connection)
            yield connection
            await self._commit(connection, attempt)

    @staticmethod
    async def _begin_immediate(connection: AsyncConnection) -> None:
        """Waits for SQLite's lock, which other processes may hold, until the call's deadline."""
        while True:
            try:
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
                return
            except OperationalError as exc:
                if not getattr(exc.orig, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                    raise
            await asyncio.sleep(RETRY_LOCK_S)

    @staticmethod
    async def _commit(connection: AsyncConnection, attempt: Attempt) -> None:
        attempt.send()
        await connection.exec_driver_sql("COMMIT")


async def _retire(engine: AsyncEngine) -> None:
    """Closes the connections of an engine once the calls that have them have ended."""
    pool = engine.sync_engine.pool
    try:
        while isinstance(pool, QueuePool) and pool.checkedout():  # noqa: ASYNC110 no event tells
            await asyncio.sleep(RETIRE_STEP_S)
    finally:
        await engine.dispose()


def _open_engine(url: str, pool_size: int) -> AsyncEngine:
    """Opens nothing yet."""
    given = make_url(url)
    if given.get_backend_name() == "sqlite":
        engine = create_async_engine(_sqlite_url(given), **_pool(pool_size))
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    else:
        engine = create_async_engine(
            given.set(drivername="postgresql+psycopg"),
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S, **KEEPALIVE, **given.query},
            **_pool(pool_size),
        )
        event.listen(engine.sync_engine, "connect", _set_up_postgres)
        event.listen(engine.sync_engine, "checkout", _check_alive)
    return engine


def _pool(pool_size: int) -> dict[str, Any]:
    # Calls wait for a connection until their deadline; LIFO lets those that are too many be idle.
    return {
        "isolation_level": "AUTOCOMMIT",
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": 3600,
        "pool_use_lifo": True,
    }


def _sqlite_url(given: URL) -> URL:
    """A file that must be there: SQLite would make an empty database of a path misspelt."""
    query = {**given.query, "mode": "rw", "uri": "true"}
    return URL.create(
        "sqlite+aiosqlite", database=f"file:{quote(given.database or '')}", query=query
    )


def _set_up_sqlite(connection: Any, _: Any) -> None:
    connection.driver_connection.text_factory = sql_loaders.text_of_sqlite
    cursor = connection.cursor()
    for setting in ("journal_mode = WAL", f"busy_timeout = {SQLITE_BUSY_MS}", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _set_up_postgres(connection: Any, record: Any) -> None:
    record.info.clear()  # what a connection before this one was set to
    sql_loaders.set_up_postgres(connection.driver_connection)
    cursor = connection.cursor()
    cursor.execute(
        "SELECT set_config('TimeZone', 'UTC', false), set_config("
        f"'idle_in_transaction_session_timeout', '{IDLE_IN_TRANSACTION_MS}', false)"
    )
    cursor.close()


def _check_alive(connection: Any, _record: Any, _proxy: Any) -> None:
    """Of a connection that was idle: if there is something to read, the server has closed it (or
    says that it will). Found out without a round trip, before anything is sent: so a restart of
    the database leaves no write in doubt that begins after it."""
    raw = connection.driver_connection
    if not raw.closed:
        poll = select.poll()
        poll.register(raw.pgconn.socket, select.POLLIN)
        if not poll.poll(0):
            return
    raise InvalidatePoolError
