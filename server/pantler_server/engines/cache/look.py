"""Reads for an engine that loads what is missing itself: what the cache has, and the leases for the
rest. Callers' own reads are in engine.py and batch_get.py."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from pantler_server.core.errors import ServiceError
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache.first_level import FirstLevel, Ticket, Tickets, closing_all
from pantler_server.engines.cache.follow_up import FollowUp, is_due
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.leases import Grant, Leases
from pantler_server.engines.cache.model import Hit, LeaseAsk, Miss
from pantler_server.engines.cache.reading import Place, Reader, Sight, judge, place_of, plain_hit
from pantler_server.engines.cache.stats import CacheStats


class Look(NamedTuple):
    """What a read saw of a key."""

    at: Place
    found: Hit | Miss
    """A stale hit within `stale_while_revalidate` only."""
    sight: Sight | None = None
    """None if the first level answered."""
    due: bool = False
    """Whether no more of a fresh entry's ttl is left than the caller named."""

    def kept(self) -> Hit | None:
        """What is kept for `stale_if_error`."""
        if self.sight is None or self.sight.raw is None:
            return None
        found = judge(self.sight, self.at, accept_stale=True, failed=True)
        return found if isinstance(found, Hit) else None


class Lookups:
    """All raise the StoreErrors and WrongKind; `look_many` gives them in the place of their key."""

    def __init__(
        self,
        stats: CacheStats,
        reader: Reader,
        first_level: FirstLevel,
        leases: Leases,
        after: FollowUp,
        hot_keys: HotKeys,
    ) -> None:
        self._stats = stats
        self._reader = reader
        self._first_level = first_level
        self._leases = leases
        self._after = after
        self._hot_keys = hot_keys

    async def look(self, space: Namespace, key: str, deadline: float, left_ratio: float) -> Look:
        """One key; it is due when at most this share of its ttl is left. One round trip, none if
        the first level has it."""
        self._hot_keys.count(space, key)
        at = place_of(space, key)
        begun = self._first_level.begin(at, left_ratio, leased=True)
        if not isinstance(begun, Ticket):
            return Look(at, begun)
        with begun:
            sight = await self._reader.get(at, deadline)
            look = _judged(at, sight, left_ratio)
            begun.keep(sight, look.found)
        self._stats.of(space.name).count_read(look.found)
        return look

    def count_joined(self, look: Look, reads: int) -> None:
        """Counts so many more reads that got what this one saw."""
        stats = self._stats.of(look.at.space.name)
        for _ in range(reads):
            self._hot_keys.count(look.at.space, look.at.key)
            stats.count_read(look.found)

    async def look_many(
        self, space: Namespace, wanted: Sequence[str], deadline: float, left_ratios: Sequence[float]
    ) -> list[Look | ServiceError]:
        """Keys in the order asked, each as `look` gives it with its ratio. One round trip for each
        server, none for those that the first level has."""
        self._hot_keys.count_many(space, wanted)
        level = self._first_level.of(space)
        if level is None:
            return await self._look_far(space, wanted, deadline, left_ratios, {})
        places = [place_of(space, key) for key in wanted]
        near, tickets = self._first_level.begin_many(level, places, left_ratios, leased=True)
        results: list[Look | ServiceError | None] = [
            None if found is None else Look(at, found)
            for at, found in zip(places, near, strict=True)
        ]
        far = [index for index, found in enumerate(near) if found is None]
        if far:
            keys_far = [wanted[index] for index in far]
            left_far = [left_ratios[index] for index in far]
            with closing_all(tickets):
                looks = await self._look_far(space, keys_far, deadline, left_far, tickets)
            for index, look in zip(far, looks, strict=True):
                results[index] = look
        return results  # type: ignore[return-value]  # each key was near or far

    async def _look_far(
        self,
        space: Namespace,
        wanted: Sequence[str],
        deadline: float,
        left_ratios: Sequence[float],
        tickets: Tickets,
    ) -> list[Look | ServiceError]:
        results: list[Look | ServiceError | None] = [None] * len(wanted)
        stats = self._stats.of(space.name)
        for group, seen in await self._reader.get_many(space, wanted, deadline):
            for position, index in enumerate(group.indexes):
                raw = seen if isinstance(seen, ServiceError) else seen.raws[position]
                if isinstance(raw, ServiceError):
                    results[index] = raw
                    continue
                assert not isinstance(seen, ServiceError)
                at = Place(space, wanted[index], group.partition, group.places[position])
                try:
                    sight = Sight(raw or None, seen.view, seen.labels)
                    look = _judged(at, sight, left_ratios[index])
                except ServiceError as error:  # it is no entry
                    results[index] = error
                    continue
                if (ticket := tickets.get(at.entry)) is not None:
                    ticket.keep(sight, look.found)
                stats.count_read(look.found)
                results[index] = look
        return results  # type: ignore[return-value]  # each key is in one group

    async def take_lease(
        self, look: Look, ask: LeaseAsk, deadline: float, *, accept_stale: bool = True
    ) -> Hit | Miss:
        """For what was missing: the same with the lease; or what came while the caller waited for
        another's load; or the miss without a lease. One round trip, or a wait."""
        assert look.sight is not None
        return await self._after.follow_up(
            look.at, look.sight, look.found, deadline, ask, accept_stale=accept_stale
        )

    async def take_refresh(self, look: Look, ask: LeaseAsk, deadline: float) -> Grant | None:
        """The lease of an entry that is due or stale, if nobody has it. One round trip."""
        assert look.sight is not None
        return await self._leases.take(look.at, look.sight, ask, deadline, accept_stale=True)

    async def take_leases(
        self, looks: Sequence[Look], ask: LeaseAsk, deadline: float
    ) -> list[Hit | Miss | BaseException]:
        """As `take_lease` without waiting, for each, side by side."""
        calls = (self.take_lease(look, ask, deadline) for look in looks)
        return await asyncio.gather(*calls, return_exceptions=True)


def _judged(at: Place, sight: Sight, left_ratio: float) -> Look:
    hit = plain_hit(sight.raw, sight.view, left_ratio) if sight.raw else None
    if hit is not None:
        return Look(at, hit, sight)
    found = judge(sight, at, accept_stale=True)
    due = isinstance(found, Hit) and not found.stale and is_due(sight, left_ratio)
    return Look(at, found, sight, due)
