"""The origins of all namespaces of a worker, as the configuration has them."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from pantler_server.core import background
from pantler_server.core.config import Settings
from pantler_server.core.errors import OriginUnavailable, ServiceError
from pantler_server.core.origin_config import OriginConfig
from pantler_server.core.record import Operation
from pantler_server.origins.grpc import Channels, GrpcOrigin
from pantler_server.origins.guard import GuardedOrigin
from pantler_server.origins.origin import Origin, OriginHealth

if TYPE_CHECKING:
    from pantler_server.origins.sql_database import Databases

LOOK_TIMEOUT_S = 5.0
LOOK_AGAIN_S = 1.0  # at one that is away

log = structlog.get_logger(__name__)


class Origins:
    """`start`, then `stop`; `apply` in between, on a reload.

    Those of the namespaces that the configuration names are made at the start. A namespace that it
    does not name gets that of `namespace_defaults` when it is first asked for.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._databases: Databases | None = None
        self._channels = Channels()
        self._origins: dict[str, GuardedOrigin] = {}
        self._retiring: dict[GuardedOrigin, asyncio.Task[None]] = {}
        self._looks: dict[GuardedOrigin, asyncio.Task[None]] = {}  # at those not seen yet
        self._reported: dict[str, str] = {}

    async def start(self) -> None:
        """Begins to find out whether they can serve. Waits for none: calls do."""
        for name in self._settings.namespaces:
            self._make(name)

    async def stop(self) -> None:
        """Calls under way fail."""
        retiring, self._retiring = self._retiring, {}
        await background.stop((*retiring.values(), *self._looks.values()))
        await asyncio.gather(*(one.stop() for one in (*self._origins.values(), *retiring)))

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration. A namespace whose origin is configured as before keeps
        it; others have the new one from now on, and who has the old one may go on with it."""
        self._settings = settings
        for name, origin in tuple(self._origins.items()):
            if settings.namespace(name).origin != origin.config:
                del self._origins[name]
                self._retire(origin)
                self._make(name)
        for name in settings.namespaces:
            if name not in self._origins:
                self._make(name)

    def of(self, name: str) -> Origin | None:
        """That of a namespace; None if it has none. A look into a dict, but at the first use of a
        namespace that has it by default."""
        origin = self._origins.get(name)
        if origin is None and name not in self._settings.namespaces:
            return self._make(name)
        return origin

    def health(self) -> list[OriginHealth]:
        """How each is, as far as it is known. Asks nobody."""
        return [self._health(self._origins[name]) for name in sorted(self._origins)]

    def report(self) -> None:
        """Logs which can't serve as they are configured, and which can again: what has changed
        since the last time."""
        problems = {name: one.problem for name, one in self._origins.items() if one.problem}
        if problems == self._reported:
            return
        for name, problem in problems.items():
            if self._reported.get(name) != problem:
                log.error("origin can't serve", namespace=name, problem=problem)
        for name in self._reported.keys() - problems.keys():
            if name in self._origins:  # else the configuration has another one now, or none
                log.info("origin can serve", namespace=name)
        self._reported = problems

    def _make(self, name: str) -> GuardedOrigin | None:
        config = self._settings.namespace(name).origin
        if config is None:
            return None
        origin = self._origins[name] = GuardedOrigin(self._inner(name, config), name, config)
        origin.begin()
        self._looks[origin] = look = background.start(self._look(origin), "look at an origin")
        look.add_done_callback(lambda _: self._looks.pop(origin, None))
        return origin

    def _inner(self, name: str, config: OriginConfig) -> Origin:
        if config.sql is not None:
            # SQLAlchemy takes some 20 MB and 0.2 s, which services without a table do not pay.
            from pantler_server.origins.sql import SqlOrigin
            from pantler_server.origins.sql_database import Databases

            if self._databases is None:  # and not merely empty
                self._databases = Databases()
            return SqlOrigin(name, config.sql, self._databases)
        return GrpcOrigin(name, config, self._channels)

    def _health(self, origin: GuardedOrigin) -> OriginHealth:
        health = origin.health
        if health.available and origin in self._looks:
            return replace(health, available=False, detail="not looked at yet")
        return health

    async def _look(self, origin: GuardedOrigin) -> None:
        """Ends when it is known whether it can serve. A check is what needs no more than that."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await origin.check("", Operation.DELETE, {}, loop.time() + LOOK_TIMEOUT_S)
            except OriginUnavailable:
                await asyncio.sleep(LOOK_AGAIN_S)
            except ServiceError:
                return  # it has a problem, or no such key
            else:
                return

    def _retire(self, origin: GuardedOrigin) -> None:
        if (look := self._looks.get(origin)) is not None:
            look.cancel()
        task = background.start(origin.retire(), "retirement of an origin")
        self._retiring[origin] = task
        task.add_done_callback(lambda _: self._retiring.pop(origin, None))
