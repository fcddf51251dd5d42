"""Records: a namespace as the cache of a system of record.

Reads are answered from the cache and loaded where it has nothing (read_through.py, loading.py,
refresh.py), or ahead of their use (warming.py). Writes go through (write_through.py) or behind
(write_behind.py, drainer.py).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import structlog

from pantler_server.core import background
from pantler_server.core.config import NamespaceConfig, Settings
from pantler_server.core.errors import (
    InvalidFields,
    NoOrigin,
    OriginOutcomeUnknown,
    OriginUnavailable,
    ServiceError,
    WriteRefused,
    WrongKind,
)
from pantler_server.core.namespace import Namespace
from pantler_server.core.origin_config import WriteMode
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.record.backlog import Backlog
from pantler_server.engines.cache.record.base import Bases
from pantler_server.engines.cache.record.dead_writes import DeadWrites
from pantler_server.engines.cache.record.drainer import Drainer
from pantler_server.engines.cache.record.durability import Safekeeping
from pantler_server.engines.cache.record.loading import Loader
from pantler_server.engines.cache.record.log_drain import Deployment
from pantler_server.engines.cache.record.model import (
    HELD_BACK,
    DeadWrite,
    Flushed,
    Found,
    Loaded,
    Put,
    Read,
    Source,
    WriteBacklog,
    Written,
)
from pantler_server.engines.cache.record.read_through import ReadThrough
from pantler_server.engines.cache.record.refresh import Refresher
from pantler_server.engines.cache.record.write_behind import WriteBehind
from pantler_server.engines.cache.record.write_through import WriteThrough
from pantler_server.origins.origin import Origin, OriginHealth
from pantler_server.store.store import Store

LIST_PAGE = 2000  # keys: the origin runs the operator's query once for each page
LOOK_S = 5.0  # how often it is looked for what keeps writes from waiting safely
AGAIN_S = 0.5  # until Redis is asked again for the namespaces, at the start

log = structlog.get_logger(__name__)

Wanted = Callable[[NamespaceConfig], bool]
TakeUp = Callable[[Wanted, float], Awaitable[None]]
"""Resolves the namespaces of the deployment that are wanted, so that each is prepared, within a
deadline. Raises the StoreErrors."""


class RecordEngine:
    """`origin_of` gives the origin of a namespace, `deployment` asks for what tells this deployment
    from others. `start` before use, `stop` after it. Deadlines
    are times of the event loop.

    All raise NoOrigin, OriginUnavailable, OriginNotReady, InvalidFields, WrongKind and the
    StoreErrors; in a batch these stand in the place of their item.
    """

    def __init__(
        self,
        store: Store,
        cache: CacheEngine,
        origin_of: Callable[[str], Origin | None],
        hot: HotKeys,
        deployment: Deployment,
    ) -> None:
        self._origin_of = origin_of
        self._loader = Loader(store, cache, hot)
        self._refresher = Refresher(store, cache, self._loader, hot)
        self._reads = ReadThrough(cache, self._loader, self._refresher)
        self._through = WriteThrough(store, cache, hot)
        self._durability = Safekeeping(store)
        self._drainer = Drainer(
            store, cache, self._durability, lambda space: origin_of(space.name), deployment
        )
        bases = Bases(store, self._reads)
        self._behind = WriteBehind(
            store, cache, hot, bases, self._durability, self._drainer.appended
        )
        self._backlog = Backlog(store, self._drainer.hurry)
        self._dead = DeadWrites(store)
        self._spaces: dict[str, Namespace] = {}  # those that have an origin
        self._problems: dict[str, str] = {}  # why writes can't wait, by namespace
        self._timeout_s = store.timeout_s
        self._task: asyncio.Task[None] | None = None
        self._looks: set[asyncio.Task[None]] = set()

    def start(self, take_up: TakeUp) -> None:
        """Begins to drain what waits, also in namespaces that nobody calls."""
        self._drainer.start()
        self._task = background.start(self._keep_looking(take_up), "records")

    async def stop(self, deadline: float) -> None:
        """Drains what waits in this worker's logs, as far as the time allows."""
        await background.stop(tuple(self._looks))
        if self._task is not None:
            await background.stop((self._task,))
        await self._through.stop()
        await self._drainer.stop(deadline)
        await self._refresher.stop()
        await self._reads.stop()
        await self._loader.stop()

    def prepare(self, space: Namespace) -> None:
        """Comes before the first use of a namespace, and of its changed configuration."""
        if space.config.origin is not None:
            self._spaces[space.name] = space
            self._drainer.prepare(space)

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration where it must not wait for a call."""
        for name, space in tuple(self._spaces.items()):
            config = settings.namespace(name)
            if config.origin is None:
                del self._spaces[name]
                look = background.start(self._warn_of_waiting(space), "look at what waits")
                self._looks.add(look)
                look.add_done_callback(self._looks.discard)
            else:
                self._spaces[name] = replace(space, config=config)
        self._drainer.apply(settings)

    def with_problems(self, origins: Sequence[OriginHealth]) -> list[OriginHealth]:
        """The health of origins, with what keeps writes from waiting for them in Redis."""
        return [
            replace(one, available=False, detail=problem)
            if (problem := self._problems.get(one.namespace)) and one.available
            else one
            for one in origins
        ]

    async def get(
        self, space: Namespace, key: str, deadline: float, *, force_refresh: bool = False
    ) -> Found:
        """One record. One round trip if it is cached; else four, and the load."""
        origin = self._origin(space)
        return await self._reads.get(space, origin, key, deadline, force_refresh=force_refresh)

    async def get_many(
        self,
        space: Namespace,
        keys: Sequence[str],
        deadline: float,
        *,
        force_refresh: bool = False,
    ) -> list[Found | ServiceError]:
        """Records in the order asked, each as `get` gives it, with one query for all that must be
        loaded."""
        origin = self._origin(space)
        return await self._reads.get_many(
            space, origin, keys, deadline, force_refresh=force_refresh
        )

    async def get_record(
        self, space: Namespace, key: str, deadline: float, *, force_refresh: bool = False
    ) -> Read:
        """As `get`, decoded."""
        origin = self._origin(space)
        return await self._reads.get_record(
            space, origin, key, deadline, force_refresh=force_refresh
        )

    async def get_records(
        self,
        space: Namespace,
        keys: Sequence[str],
        deadline: float,
        *,
        force_refresh: bool = False,
    ) -> list[Read | ServiceError]:
        """As `get_many`, decoded."""
        origin = self._origin(space)
        return await self._reads.get_records(
            space, origin, keys, deadline, force_refresh=force_refresh
        )

    async def put(self, space: Namespace, put: Put, deadline: float) -> Written:
        """One write. Raises RecordExists, RecordMissing, RecordChanged, WriteRefused,
        WriteBacklogFull and OriginOutcomeUnknown too."""
        origin = self._origin(space)
        match space.config.writes:
            case WriteMode.THROUGH:
                return await self._through.put(space, origin, put, deadline)
            case WriteMode.BEHIND:
                return await self._behind.put(space, origin, put, deadline)
            case WriteMode.REFUSED:
                raise WriteRefused(
                    f"the records of namespace {space.name!r} are read only (`writes: refused`)",
                    space.name,
                )

    async def put_many(
        self, space: Namespace, puts: Sequence[Put], deadline: float
    ) -> list[Written | ServiceError]:
        """Writes, each as `put` does it; of one key in their order, and none after one of unknown
        outcome."""
        origin = self._origin(space)
        if space.config.writes is WriteMode.BEHIND:
            return await self._behind.put_many(space, origin, puts, deadline)
        by_key: dict[str, list[int]] = {}
        for index, put in enumerate(puts):
            by_key.setdefault(put.key, []).append(index)
        results: list[Written | ServiceError | None] = [None] * len(puts)
        assert space.config.origin is not None
        # At the pace of the origin: a write that waited for its turn there would use up its time.
        turns = asyncio.Semaphore(space.config.origin.max_concurrency)

        async def in_order(indexes: Sequence[int]) -> None:
            is_known = True
            for index in indexes:
                try:
                    if not is_known:
                        raise OriginUnavailable(HELD_BACK, space.name)
                    async with turns:
                        results[index] = await self.put(space, puts[index], deadline)
                except ServiceError as error:
                    results[index] = error
                    is_known = is_known and not isinstance(error, OriginOutcomeUnknown)

        await asyncio.gather(*map(in_order, by_key.values()))
        return results  # type: ignore[return-value]  # each is of one key

    async def stop_refresh(
        self, space: Namespace, keys: Sequence[str] | None, deadline: float
    ) -> None:
        """What is cached now of these keys, of all for None, is not refreshed ahead any more. One
        round trip."""
        self._origin(space)
        await self._refresher.stop_refresh(space, keys, deadline)

    async def flush(self, space: Namespace, timeout_s: float | None, deadline: float) -> Flushed:
        """Waits until the origin has had all writes that were acknowledged before the call, or the
        time is up."""
        self._origin(space)
        return await self._backlog.flush(space, timeout_s, deadline)

    async def backlog(self, space: Namespace, deadline: float) -> WriteBacklog:
        """What waits for the origin. One round trip."""
        self._origin(space)
        return await self._backlog.tell(space, deadline)

    async def list_dead(
        self, space: Namespace, page_token: str, page_size: int, deadline: float
    ) -> tuple[list[DeadWrite], str]:
        """A page of dead writes, the first for '', and the token of the next, '' at the end."""
        self._origin(space)
        return await self._dead.page(space, page_token, page_size, deadline)

    async def retry_dead(self, space: Namespace, ids: Sequence[str] | None, deadline: float) -> int:
        """Queues dead writes again, all for None; how many."""
        self._origin(space)
        return await self._dead.retry(space, ids, deadline)

    async def discard_dead(
        self, space: Namespace, ids: Sequence[str] | None, deadline: float
    ) -> int:
        """Forgets dead writes, all for None; how many."""
        self._origin(space)
        return await self._dead.discard(space, ids, deadline)

    async def load_ahead(self, space: Namespace, keys: Sequence[str], deadline: float) -> Loaded:
        """Loads what is not cached, with one query. It counts as reads of the keys."""
        outcomes = await self.get_many(space, keys, deadline)
        errors = [one for one in outcomes if isinstance(one, ServiceError)]
        loaded = sum(isinstance(one, Found) and one.source is Source.ORIGIN for one in outcomes)
        away = (one for one in errors if not isinstance(one, InvalidFields | WrongKind))
        return Loaded(loaded, len(errors), next(away, None))

    def keys_can_be_listed(self, space: Namespace) -> bool:
        """Whether `list_keys` works: with a table."""
        return self._origin(space).keys_can_be_listed

    def list_keys(
        self, space: Namespace, query: str | None, after: str
    ) -> AsyncIterator[Sequence[str]]:
        """The keys of all records of an origin that can list them, or those that the operator's
        query gives, from behind `after` ('' for the first) on, in pages of LIST_PAGE."""
        return self._origin(space).list_keys(query, after, LIST_PAGE)

    async def _keep_looking(self, take_up: TakeUp) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with suppress(ServiceError):
                await take_up(lambda config: config.origin is not None, loop.time() + LOOK_S)
                break
            await asyncio.sleep(AGAIN_S)
        while True:
            for name, space in tuple(self._spaces.items()):
                if space.config.writes is not WriteMode.BEHIND:
                    self._problems.pop(name, None)
                    continue
                with suppress(ServiceError):
                    self._problems[name] = await self._durability.problem(
                        space, loop.time() + self._timeout_s
                    )
            await asyncio.sleep(LOOK_S)

    async def _warn_of_waiting(self, space: Namespace) -> None:
        """For a namespace that has lost its origin: nobody else can tell any more."""
        with suppress(ServiceError):
            deadline = asyncio.get_running_loop().time() + self._timeout_s
            backlog = await self._backlog.tell(space, deadline)
            if backlog.pending or backlog.dead:
                log.warning(
                    "writes wait for an origin that was taken away",
                    namespace=space.name,
                    waiting=backlog.pending,
                    dead=backlog.dead,
                )

    def _origin(self, space: Namespace) -> Origin:
        origin = self._origin_of(space.name)
        if origin is None:
            raise NoOrigin(space.name)
        return origin
