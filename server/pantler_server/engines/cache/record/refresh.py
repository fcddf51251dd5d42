"""Refresh-ahead: an entry that is read past `refresh_ratio` of its ttl is loaded anew beside the
reads, by one worker, while all are served.

There is no timer for a key: what nobody reads is not refreshed, and expires. What falls due
together is loaded with one query. A worker asks for the lease of a key at most each PAUSE_S, so
that the reads of a hot key stay one round trip, or none.
"""

import asyncio
import secrets
from collections.abc import Iterable, Sequence

from pantler_server.core import background
from pantler_server.core.errors import ServiceError
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.keys import group
from pantler_server.engines.cache.leases import Grant
from pantler_server.engines.cache.look import Look
from pantler_server.engines.cache.model import Hit, LeaseAsk
from pantler_server.engines.cache.record import keys, scripts
from pantler_server.engines.cache.record.loading import MARGIN_S, Loader, Mine, load_s
from pantler_server.origins.origin import Origin
from pantler_server.store.request import read
from pantler_server.store.store import Store

PAUSE_S = 1.0
MAX_BATCH = 100  # entries of one query
GATHER_S = 0.05  # how long a refresh waits for others of its namespace …
GATHER_SHARE = 0.04  # … and at most this share of the ttl
HOT_REFRESH_RATIO = 0.8  # of hot keys, where others are not refreshed
MAX_REFRESHES = 1000  # under way in a worker, those in their pause included; more are not begun


class _Batch:
    """Entries of a namespace that are refreshed with one query."""

    def __init__(self, space: Namespace, origin: Origin) -> None:
        self.space = space
        self.origin = origin
        self.looks: list[Look] = []


class Refresher:
    """`stop` after use."""

    def __init__(self, store: Store, cache: CacheEngine, loader: Loader, hot: HotKeys) -> None:
        self._store = store
        self._cache = cache
        self._loader = loader
        self._hot = hot
        self._loop = asyncio.get_running_loop()
        self._busy: dict[tuple[str, str], _Batch] = {}
        self._gathering: dict[str, _Batch] = {}  # by namespace: those that more may join
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        await background.stop(tuple(self._tasks))

    def left_ratio(self, space: Namespace, key: str) -> float:
        """The share of its ttl below which an entry is due; 0 while it is being refreshed here."""
        if self._busy and (space.name, key) in self._busy:
            return 0.0
        config = space.config
        if config.refresh_ratio < 1:
            return 1 - config.refresh_ratio
        if config.hot_keys.keep_refreshed and self._hot.is_hot(space, key):
            return 1 - HOT_REFRESH_RATIO
        return 0.0

    def left_ratios(self, space: Namespace, wanted: Sequence[str]) -> Sequence[float]:
        """As `left_ratio`, for each of these keys."""
        config = space.config
        if not self._busy and (config.refresh_ratio < 1 or not config.hot_keys.keep_refreshed):
            return [1 - config.refresh_ratio] * len(wanted)
        return [self.left_ratio(space, key) for key in wanted]

    def refresh(self, look: Look, origin: Origin) -> None:
        """Begins to refresh an entry that is due or stale, unless this worker does, or did just
        now. It waits a moment for others, so that they share a query."""
        space, key = look.at.space, look.at.key
        name = space.name, key
        if look.sight is None or name in self._busy or len(self._busy) >= MAX_REFRESHES:
            return
        batch = self._gathering.get(space.name)
        if (
            batch is None
            or batch.space is not space
            or batch.origin is not origin
            or len(batch.looks) >= MAX_BATCH
        ):
            batch = self._gathering[space.name] = _Batch(space, origin)
            task = background.start(self._refresh_when_gathered(batch), "refresh ahead")
            background.keep(self._tasks, task)
        batch.looks.append(look)
        self._busy[name] = batch

    async def _refresh_when_gathered(self, batch: _Batch) -> None:
        name = batch.space.name
        try:
            await asyncio.sleep(min(GATHER_S, GATHER_SHARE * batch.space.ttl_ms / 1000))
            if self._gathering.get(name) is batch:
                del self._gathering[name]
            done = await self._refresh(batch)
            self._release(batch, done)
            if len(done) < len(batch.looks):
                await asyncio.sleep(PAUSE_S)
        finally:
            self._release(batch, [look.at.key for look in batch.looks])

    def _release(self, batch: _Batch, keys_of_it: Iterable[str]) -> None:
        """Those that are not in another batch by now."""
        for key in keys_of_it:
            name = batch.space.name, key
            if self._busy.get(name) is batch:
                del self._busy[name]

    async def _refresh(self, batch: _Batch) -> set[str]:
        """The keys that need no pause, as they were refreshed. Four round trips, and the load. What
        fails is counted where it failed, and what is there is served on."""
        going = await self._going(batch.looks)
        grants = await self._take_leases(batch.space, going)
        done = {key for key, grant in grants.items() if grant is None}  # another entry is there
        mine = [
            Mine.of(key, grant.lease)
            for key, grant in grants.items()
            if grant is not None and grant.lease is not None
        ]
        if mine:
            outcomes = await self._loader.load_many(batch.space, batch.origin, mine)
            done |= {key for key, one in outcomes.items() if not isinstance(one, ServiceError)}
        return done

    async def _going(self, looks: Sequence[Look]) -> list[Look]:
        """Those where no StopRefresh came after what is there was loaded."""
        requests = [
            read(
                look.at.partition.slot,
                look.at.key,
                ("GET", keys.stopped(look.at.partition, look.at.key)),
                ("GET", keys.all_stopped(look.at.partition)),
            )
            for look in looks
        ]
        going: list[Look] = []
        answers = await self._store.call_each(requests, self._deadline())
        for look, stopped in zip(looks, answers, strict=True):
            if isinstance(stopped, ServiceError):
                continue
            assert isinstance(look.found, Hit)
            created_us = look.found.created_us
            if not any(when is not None and int(when) >= created_us for when in stopped):
                going.append(look)
        return going

    async def _take_leases(
        self, space: Namespace, looks: Sequence[Look]
    ) -> dict[str, Grant | None]:
        """What `Lookups.take_refresh` gives for each, by key."""
        ttl_ms = round((load_s(space) + MARGIN_S) * 1000)
        ask = LeaseAsk(ttl_ms, 0, secrets.token_hex(8))
        until = self._deadline()
        asked = (self._cache.lookups.take_refresh(look, ask, until) for look in looks)
        grants: dict[str, Grant | None] = {}
        for look, grant in zip(
            looks, await asyncio.gather(*asked, return_exceptions=True), strict=True
        ):
            if isinstance(grant, ServiceError):
                continue
            if isinstance(grant, BaseException):
                raise grant
            grants[look.at.key] = grant
        return grants

    async def stop_refresh(
        self, space: Namespace, wanted: Sequence[str] | None, deadline: float
    ) -> None:
        """What is cached now of these keys, of all for None, expires. One round trip."""
        if wanted is None:
            places = [(one, [keys.all_stopped(one)]) for one in space.partitions]
        else:
            places = [
                (one.partition, [keys.stopped(one.partition, wanted[i]) for i in one.indexes])
                for one in group(space, wanted)
            ]
        requests = [scripts.stop_refresh(space, *one) for one in places]
        for outcome in await self._store.call_each(requests, deadline):
            if isinstance(outcome, ServiceError):
                raise outcome

    def _deadline(self) -> float:
        return self._loop.time() + self._store.timeout_s
