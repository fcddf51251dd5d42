"""Refresh-ahead: an entry that is read past `refresh_ratio` of its ttl is loaded anew beside the
reads, by one worker, while all are served.

There is no timer for a key: what nobody reads is not refreshed, and expires. A worker asks for the
lease of a key at most each PAUSE_S, so that the reads of a hot key stay one round trip, or none.
"""

import asyncio
import secrets
from collections.abc import Sequence

from pantler_server.core import background
from pantler_server.core.errors import ServiceError
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.keys import group
from pantler_server.engines.cache.look import Look
from pantler_server.engines.cache.model import Hit, LeaseAsk
from pantler_server.engines.cache.record import keys, scripts
from pantler_server.engines.cache.record.loading import MARGIN_S, Loader, Mine, load_s
from pantler_server.origins.origin import Origin
from pantler_server.store.request import read
from pantler_server.store.store import Store

PAUSE_S = 1.0
HOT_REFRESH_RATIO = 0.8  # of hot keys, where others are not refreshed
MAX_REFRESHES = 1000  # under way in a worker, those in their pause included; more are not begun


class Refresher:
    """`stop` after use."""

    def __init__(self, store: Store, cache: CacheEngine, loader: Loader, hot: HotKeys) -> None:
        self._store = store
        self._cache = cache
        self._loader = loader
        self._hot = hot
        self._loop = asyncio.get_running_loop()
        self._busy: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def stop(self) -> None:
        await background.stop(tuple(self._busy.values()))

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
        now."""
        name = look.at.space.name, look.at.key
        if look.sight is None or name in self._busy or len(self._busy) >= MAX_REFRESHES:
            return
        self._busy[name] = background.start(self._refresh(name, look, origin), "refresh ahead")

    async def _refresh(self, name: tuple[str, str], look: Look, origin: Origin) -> None:
        try:
            if not await self._refreshed(look, origin):
                await asyncio.sleep(PAUSE_S)
        finally:
            del self._busy[name]

    async def _refreshed(self, look: Look, origin: Origin) -> bool:
        space, key = look.at.space, look.at.key
        try:
            if await self._is_stopped(look):
                return False
            ask = LeaseAsk(round((load_s(space) + MARGIN_S) * 1000), 0, secrets.token_hex(8))
            grant = await self._cache.lookups.take_refresh(look, ask, self._deadline())
            if grant is None:
                return True  # another entry is there by now
            if grant.lease is None:
                return False
            await self._loader.load(space, origin, Mine.of(key, grant.lease))
        except ServiceError:
            return False  # counted where it failed; what is there is served on
        return True

    async def _is_stopped(self, look: Look) -> bool:
        """Whether a StopRefresh came after what is there was loaded."""
        at = look.at
        request = read(
            at.partition.slot,
            at.key,
            ("GET", keys.stopped(at.partition, at.key)),
            ("GET", keys.all_stopped(at.partition)),
        )
        replies = await self._store.call(request, self._deadline())
        assert isinstance(look.found, Hit)
        created_us = look.found.created_us
        return any(reply is not None and int(reply) >= created_us for reply in replies)

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
