"""Warming when the service starts: once for all workers of all machines.

One worker has it at a time, and notes in Redis twice a second how far it is. Another one goes on
from there once that has not come for TURN_MS. That it has ended, also if it was given up, is known
for ENDED_MS: workers that start meanwhile begin none.

    A warms, and halts for longer than TURN_MS      B takes it over from A's newest note
    A goes on, and loads a batch                    B loads it too: one of them finds it cached
    A notes, learns that B has it, and ends
"""

import asyncio
import secrets
from contextlib import aclosing
from random import uniform

import structlog

from pantler_server.core import background
from pantler_server.core.config import Settings
from pantler_server.core.errors import DeadlinePassed, ServiceError, StoreUnavailable
from pantler_server.core.namespace import Namespace, Namespaces
from pantler_server.engines.cache.record import warm_position, warm_scripts
from pantler_server.engines.cache.record.warm_model import Wanted
from pantler_server.engines.cache.record.warming import Warmer
from pantler_server.store.store import Store

LOOK_S = 1.0  # how often a worker looks how the warming of another is

log = structlog.get_logger(__name__)


class WarmingAtStart:
    """The namespaces of `settings` that are warmed at the start. `start`, then `stop`.

    `store`: where their entries are.
    """

    def __init__(
        self, store: Store, warmer: Warmer, namespaces: Namespaces, settings: Settings
    ) -> None:
        self._store = store
        self._warmer = warmer
        self._namespaces = namespaces
        self._who = secrets.token_hex(8)
        configs = {name: settings.namespace(name).warm for name in settings.namespaces}
        self._wanted = {
            name: Wanted.of(warm)
            for name, warm in configs.items()
            if warm is not None and warm.at_start
        }
        self._awaited = {
            name for name, warm in configs.items() if warm is not None and warm.ready_after
        }
        self._tasks: list[asyncio.Task[None]] = []

    def awaited(self) -> tuple[str, ...]:
        """The namespaces that readiness waits for, by name. Asks nobody."""
        return tuple(sorted(self._awaited))

    def start(self) -> None:
        self._tasks = [
            background.start(self._see_to(name, wanted), f"warm {name} at the start")
            for name, wanted in self._wanted.items()
        ]

    async def stop(self) -> None:
        """Another worker takes over what is under way."""
        await background.stop(self._tasks)

    async def _see_to(self, name: str, wanted: Wanted) -> None:
        """Until it has ended, here or elsewhere."""
        digest = warm_position.of_list(name, wanted)
        try:
            ended = await self._try(name, wanted, digest)
            while not ended:
                await asyncio.sleep(LOOK_S * uniform(0.5, 1))
                ended = await self._try(name, wanted, digest)
        finally:
            self._awaited.discard(name)

    async def _try(self, name: str, wanted: Wanted, digest: bytes) -> bool:
        """Whether it has ended."""
        try:
            space = await self._namespaces.resolve(name, self._soon())
            request = warm_scripts.claim(space, self._who, digest)
            [reply] = await self._store.call(request, self._soon())
            if isinstance(reply, bytes):
                return await self._warm(space, wanted, digest, reply.decode())
        except (StoreUnavailable, DeadlinePassed) as error:
            log.debug("warming waits for Redis", namespace=name, detail=error.message)
            return False
        except ServiceError as error:
            log.error("warming given up", namespace=name, error=error.message)
            return True
        return bool(reply)

    async def _warm(self, space: Namespace, wanted: Wanted, digest: bytes, position: str) -> bool:
        """Warms from a position on; whether it has ended, and not gone to another worker. Raises
        the StoreErrors."""
        try:
            async with aclosing(self._warmer.warm(space, wanted, position)) as told:
                async for progress in told:
                    position = progress.resume_token
                    if not await self._note(space, digest, position):
                        return False
        except StoreUnavailable:
            raise
        except ServiceError as error:  # of an origin that is away, say, which others find so too
            log.error(
                "warming given up",
                namespace=space.name,
                error=error.message,
                resume_token=position,
            )
        return await self._note(space, digest, position, ended=True)

    async def _note(
        self, space: Namespace, digest: bytes, position: str, *, ended: bool = False
    ) -> bool:
        """Whether this worker still has it."""
        request = warm_scripts.note(space, self._who, digest, position, ended=ended)
        [has_it] = await self._store.call(request, self._soon())
        return bool(has_it)

    def _soon(self) -> float:
        return asyncio.get_running_loop().time() + self._store.timeout_s
