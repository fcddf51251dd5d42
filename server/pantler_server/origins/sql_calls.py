"""Calls of a database for one namespace: what their errors mean for callers, and what operators are
told of problems."""

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum, auto
from typing import Any, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from pantler_server.core import origin_config
from pantler_server.core.errors import (
    OriginNotReady,
    OriginOutcomeUnknown,
    OriginUnavailable,
    ServiceError,
    WriteRefused,
)
from pantler_server.origins import sql_errors
from pantler_server.origins.sql_batch import LOGS
from pantler_server.origins.sql_database import Attempt, Database, Databases
from pantler_server.origins.sql_errors import Fault, Meaning

LOG_AGAIN_S = 60.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Use(Enum):
    """What something is a problem for."""

    ALL = auto()
    WRITES = auto()
    """Until a write succeeds."""
    LOGS = auto()
    """Batches."""
    QUERY = auto()
    """The operator's query, whose errors are no problem of the table."""


_OF_WRITES = (Use.WRITES, Use.LOGS)


class Calls:
    """`start` before use, `stop` after it. `on_problem` is told what a problem is one for."""

    def __init__(
        self,
        namespace: str,
        config: origin_config.SqlOrigin,
        databases: Databases,
        on_problem: Callable[[Use], None],
    ) -> None:
        self.problems: dict[Use, str] = {}
        self._namespace = namespace
        self._config = config
        self._databases = databases
        self._on_problem = on_problem
        self._taken: Database | None = None
        self._failing: Fault | None = None  # as the log has it, until a call succeeds
        self._logged_at = 0.0

    def start(self) -> None:
        self._taken = self._databases.take(self._config.url, self._config.pool_size)

    async def stop(self) -> None:
        if self._taken is not None:
            database, self._taken = self._taken, None
            await self._databases.give_back(database)

    @property
    def database(self) -> Database:
        assert self._taken is not None, "it was not started"
        return self._taken

    @property
    def problem(self) -> str:
        """That of all uses comes first; with one of another use, the rest goes on."""
        return next((self.problems[use] for use in Use if use in self.problems), "")

    def set_problem(self, use: Use, problem: str) -> OriginNotReady:
        self.problems[use] = problem
        self._on_problem(use)
        return OriginNotReady(self._namespace, problem)

    async def read(
        self,
        work: Callable[[AsyncConnection], Coroutine[Any, Any, T]],
        deadline: float,
        use: Use = Use.ALL,
    ) -> T:
        async def on_connection(_: Attempt) -> T:
            connect = self.database.connection
            if use is Use.QUERY:
                connect = self.database.read_only
            async with connect(deadline) as connection:
                return await work(connection)

        return await self.run(on_connection, deadline, use)

    async def run(
        self,
        work: Callable[[Attempt], Coroutine[Any, Any, T]],
        deadline: float,
        use: Use,
    ) -> T:
        """Runs work on the database, and says what its errors mean for the caller."""
        attempt = Attempt()
        try:
            result = await self.database.run(work(attempt), deadline, attempt)
        except TimeoutError:
            if attempt.may_have_landed:
                raise OriginOutcomeUnknown(self._namespace) from None
            raise self.unavailable("did not answer in time", use) from None
        except SQLAlchemyError as exc:
            raise self._error(exc, attempt, use) from exc
        self._failing = None
        if use is Use.WRITES:
            self.problems.pop(use, None)
        return result

    def _error(self, exc: SQLAlchemyError, attempt: Attempt, use: Use) -> ServiceError:
        fault = sql_errors.read(exc)
        self._log(fault, exc)
        if use is Use.QUERY and (problem := sql_errors.problem_of_query(exc)):
            return OriginNotReady(self._namespace, problem)
        match fault.meaning:
            case Meaning.LOST if attempt.may_have_landed:
                return OriginOutcomeUnknown(self._namespace)
            case Meaning.REFUSED if use is not Use.ALL:
                return WriteRefused(f"the origin refuses the write: {fault.text}", self._namespace)
            case Meaning.REFUSED:
                return self.unavailable(f"failed: {fault.text}", use)
            case Meaning.CHANGED:
                return self.set_problem(Use.ALL, f"{fault.text}: it is looked at again")
            case Meaning.FORBIDDEN:
                of_logs = f"table {LOGS}: " if use is Use.LOGS else ""
                return self.set_problem(use, of_logs + fault.text)
        return self.unavailable(f"failed: {fault.text}", use)

    def refused(self, fault: Fault, exc: SQLAlchemyError) -> WriteRefused:
        self._log(fault, exc)
        return WriteRefused(f"the origin refuses the write: {fault.text}", self._namespace)

    def _log(self, fault: Fault, exc: SQLAlchemyError) -> None:
        """The database's own words. What goes on failing in one way is told now and then."""
        now = asyncio.get_running_loop().time()
        if fault == self._failing and now < self._logged_at + LOG_AGAIN_S:
            return
        self._failing, self._logged_at = fault, now
        log.warning(
            "origin failed",
            namespace=self._namespace,
            meaning=fault.meaning.name,
            error=str(getattr(exc, "orig", None) or exc),
        )

    def unavailable(self, how: str, use: Use = Use.ALL) -> OriginUnavailable:
        advice = "nothing was written" if use in _OF_WRITES else "try again after a moment"
        return OriginUnavailable(
            f"the origin of namespace {self._namespace!r} {how}; {advice}", self._namespace
        )
