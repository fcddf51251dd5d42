"""A batch of reads: each key as a read of its own would have it, one round trip a partition."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pantler_server.core.errors import ServiceError
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache.first_level import FirstLevel, Tickets, closing_all
from pantler_server.engines.cache.follow_up import FollowUp, is_final, left_ratio
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.model import Hit, LeaseAsk, Miss
from pantler_server.engines.cache.reading import Place, Reader, Sight, judge, place_of, plain_hit
from pantler_server.engines.cache.stats import CacheStats
from pantler_server.engines.cache.waiting import Waiter


class BatchGet:
    """Errors stand in the place of their key."""

    def __init__(
        self,
        stats: CacheStats,
        reader: Reader,
        first_level: FirstLevel,
        after: FollowUp,
        hot_keys: HotKeys,
    ) -> None:
        self._stats = stats
        self._reader = reader
        self._first_level = first_level
        self._after = after
        self._hot_keys = hot_keys

    async def get(
        self,
        space: Namespace,
        wanted: Sequence[str],
        deadline: float,
        ask: LeaseAsk | None,
        accept_stale: bool,
    ) -> list[Hit | Miss | ServiceError]:
        """Entries in the order asked, each as `get` gives it, side by side."""
        self._hot_keys.count_many(space, wanted)
        level = self._first_level.of(space)
        if level is None:
            return await self._get_far(space, wanted, deadline, ask, accept_stale, {})
        left = left_ratio(space, ask)
        results: list[Hit | Miss | ServiceError | None] = [
            *self._first_level.find_plain(level, wanted, left)
        ]
        others = [index for index, found in enumerate(results) if found is None]
        if not others:
            return results  # type: ignore[return-value]  # each was found
        places = [place_of(space, wanted[index]) for index in others]
        near, tickets = self._first_level.begin_many(
            level, places, [left] * len(places), leased=ask is not None
        )
        far = []
        for index, found in zip(others, near, strict=True):
            results[index] = found
            if found is None:
                far.append(index)
        if far:
            keys_far = [wanted[index] for index in far]
            with closing_all(tickets):
                found_far = await self._get_far(
                    space, keys_far, deadline, ask, accept_stale, tickets
                )
            for index, end in zip(far, found_far, strict=True):
                results[index] = end
        return results  # type: ignore[return-value]  # each key was near or far

    async def _get_far(
        self,
        space: Namespace,
        wanted: Sequence[str],
        deadline: float,
        ask: LeaseAsk | None,
        accept_stale: bool,
        tickets: Tickets,
    ) -> list[Hit | Miss | ServiceError]:
        """What Redis has of a batch. `tickets` by the places of keys that a first level keeps."""
        results: list[Hit | Miss | ServiceError | None] = [None] * len(wanted)
        hits = 0
        others: list[tuple[int, Place, Sight]] = []
        left = left_ratio(space, ask)
        for group, seen in await self._reader.get_many(space, wanted, deadline):
            if isinstance(seen, ServiceError):
                for index in group.indexes:
                    results[index] = seen
                continue
            raws, view, labels = seen
            for index, place, raw in zip(group.indexes, group.places, raws, strict=True):
                if isinstance(raw, bytes) and (hit := plain_hit(raw, view, left)):
                    results[index] = hit
                    hits += 1
                    if tickets and (ticket := tickets.get(place)) is not None:
                        ticket.keep(Sight(raw, view), hit)
                elif isinstance(raw, ServiceError):
                    results[index] = raw
                else:
                    at = Place(space, wanted[index], group.partition, place)
                    others.append((index, at, Sight(raw or None, view, labels)))
        self._stats.of(space.name).hits += hits
        if others:
            await self._get_others(space, others, results, deadline, ask, accept_stale, tickets)
        return results  # type: ignore[return-value]  # each key is in one group

    async def _get_others(
        self,
        space: Namespace,
        others: Sequence[tuple[int, Place, Sight]],
        results: list[Hit | Miss | ServiceError | None],
        deadline: float,
        ask: LeaseAsk | None,
        accept_stale: bool,
        tickets: Tickets,
    ) -> None:
        """What is no plain hit of a batch; into `results`, by its index."""
        ends: dict[int, Hit | Miss | BaseException] = {}
        unfinished: dict[int, tuple[Place, Sight, Hit | Miss]] = {}
        for index, at, sight in others:
            try:
                ends[index] = found = judge(sight, at, accept_stale=accept_stale)
            except ServiceError as error:
                ends[index] = error
                continue
            if tickets and (ticket := tickets.get(at.entry)) is not None:
                ticket.keep(sight, found)
            if not is_final(at, sight, found, ask, accept_stale):
                unfinished[index] = (at, sight, found)
        # Nobody waits who holds what another waits for: first all leases that are free are taken.
        impatient = None if ask is None else replace(ask, wait_ms=0)
        calls = {
            index: self._after.follow_up(at, sight, found, deadline, impatient, accept_stale)
            for index, (at, sight, found) in unfinished.items()
        }
        ends |= await _side_by_side(calls)
        if ask is not None and ask.wait_ms and not any(map(_has_lease, ends.values())):
            party: list[Waiter] = []
            calls = {
                index: self._after.wait(at, sight, end, deadline, ask, accept_stale, party)
                for index, (at, sight, _) in unfinished.items()
                if isinstance(end := ends[index], Miss)
            }
            ends |= await _side_by_side(calls)
        stats = self._stats.of(space.name)
        for index, end in ends.items():
            if isinstance(end, BaseException):
                if not isinstance(end, ServiceError):
                    raise end
            else:
                stats.count_read(end)
            results[index] = end


async def _side_by_side(
    calls: Mapping[int, Coroutine[Any, Any, Hit | Miss]],
) -> dict[int, Hit | Miss | BaseException]:
    """What each call comes to."""
    ends = await asyncio.gather(*calls.values(), return_exceptions=True)
    return dict(zip(calls, ends, strict=True))


def _has_lease(end: Hit | Miss | BaseException) -> bool:
    return not isinstance(end, BaseException) and end.lease is not None
