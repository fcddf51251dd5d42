"""What a read needs beyond its one round trip: a lease, a wait for its holder, a new ttl.

Nearly all reads need nothing (`is_final`); the others need one round trip more, or a wait.
"""

import asyncio

from pantler_server.core.errors import StoreError
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import entry
from pantler_server.engines.cache.leases import Leases
from pantler_server.engines.cache.model import Hit, LeaseAsk, Miss
from pantler_server.engines.cache.reading import Place, Reader, Sight, judge, kept_for_errors
from pantler_server.engines.cache.stats import CacheStats
from pantler_server.engines.cache.sweeper import Sweeper
from pantler_server.engines.cache.touching import touch
from pantler_server.engines.cache.waiting import Waiter, WaitingRooms
from pantler_server.store.store import Store

# A sliding entry gets its ttl again when this share of it is over, so that most reads of a busy one
# stay one round trip.
SLIDE_RATIO = 0.1


class FollowUp:
    """All raise the StoreErrors and WrongKind."""

    def __init__(
        self,
        store: Store,
        stats: CacheStats,
        reader: Reader,
        leases: Leases,
        rooms: WaitingRooms,
        sweeper: Sweeper,
    ) -> None:
        self._store = store
        self._stats = stats
        self._reader = reader
        self._leases = leases
        self._rooms = rooms
        self._sweeper = sweeper

    async def follow_up(
        self,
        at: Place,
        sight: Sight,
        found: Hit | Miss,
        deadline: float,
        ask: LeaseAsk | None,
        accept_stale: bool,
    ) -> Hit | Miss:
        """What comes of a read that is not final."""
        if isinstance(found, Hit) and not found.stale:
            return await self._renew(at, sight, found, deadline, ask)
        if ask is None:
            failed = await self._leases.failed_lately(at, sight, deadline)
            return judge(sight, at, accept_stale=True, failed=failed)
        if isinstance(found, Miss) and ask.wait_ms:
            return await self.wait(at, sight, found, deadline, ask, accept_stale)
        while True:
            grant = await self._leases.take(at, sight, ask, deadline, accept_stale=accept_stale)
            if grant is not None:
                break
            # The primary has another entry, by now or since a replica that is behind was read.
            sight = await self._reader.get(at, deadline)
            found = judge(sight, at, accept_stale=accept_stale)
            if isinstance(found, Hit) and not found.stale:
                return found
        if grant.failed:
            found = judge(sight, at, accept_stale=accept_stale, failed=True)
        if grant.lease is not None:
            return found._replace(fill_token=grant.lease.token, lease=grant.lease)
        if isinstance(found, Miss) and ask.wait_ms:  # it was stale at first, and is gone
            return await self.wait(at, sight, found, deadline, ask, accept_stale)
        return found

    async def wait(
        self,
        at: Place,
        sight: Sight,
        found: Miss,
        deadline: float,
        ask: LeaseAsk,
        accept_stale: bool,
        party: list[Waiter] | None = None,
    ) -> Hit | Miss:
        """What came while a caller waited; the miss that it saw if nothing did. Who gets the lease
        dismisses the others of its party."""
        until = min(deadline, asyncio.get_running_loop().time() + ask.wait_ms / 1000)
        waited = await self._rooms.wait(
            at, sight, ask, until, accept_stale=accept_stale, party=party
        )
        if waited is None:
            return found
        if waited.lease is not None:
            for waiter in party or ():
                waiter.dismiss()
        return waited

    async def _renew(
        self, at: Place, sight: Sight, found: Hit, deadline: float, ask: LeaseAsk | None
    ) -> Hit:
        """Gives a fresh entry its ttl again, if it is sliding, and offers its refresh, if it is
        due."""
        try:
            if _is_sliding(sight):
                assert sight.raw is not None
                ttl_ms = entry.read_header(sight.raw).ttl_us // 1000
                version = entry.raw_version(sight.raw)
                expires_us = await touch(self._store, at.space, at.key, ttl_ms, deadline, version)
                if expires_us:
                    found = found._replace(expires_us=expires_us)
                    self._sweeper.note_if_short(at.space, ttl_ms)
            if ask is not None and is_due(sight, left_ratio(at.space, ask)):
                grant = await self._leases.take(at, sight, ask, deadline, accept_stale=True)
                if grant is not None and grant.lease is not None:
                    found = found._replace(fill_token=grant.lease.token, lease=grant.lease)
        except StoreError:  # Redis is full, say: a hit stays a hit
            self._stats.of(at.space.name).renewals_failed += 1
        return found


def left_ratio(space: Namespace, ask: LeaseAsk | None) -> float:
    """The share of its ttl below which a fresh entry is offered for refresh: none to who does not
    ask."""
    return 0.0 if ask is None else 1 - space.config.refresh_ratio


def is_final(
    at: Place, sight: Sight, found: Hit | Miss, ask: LeaseAsk | None, accept_stale: bool
) -> bool:
    """Whether a read needs nothing more; nearly all don't."""
    if isinstance(found, Hit) and not found.stale:
        return not is_due(sight, left_ratio(at.space, ask)) and not _is_sliding(sight)
    return ask is None and not (accept_stale and kept_for_errors(sight, at.space))


def _is_sliding(sight: Sight) -> bool:
    """Whether a fresh entry is to be given its ttl again by this read."""
    assert sight.raw is not None
    return bool(sight.raw[1] & entry.SLIDING) and is_due(sight, 1 - SLIDE_RATIO)


def is_due(sight: Sight, left_ratio: float) -> bool:
    """Whether at most this share of a fresh entry's ttl is left."""
    assert sight.raw is not None
    header = entry.read_header(sight.raw)
    return header.expires_us - sight.view.now_us <= header.ttl_us * left_ratio
