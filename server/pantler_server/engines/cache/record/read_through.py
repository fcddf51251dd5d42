"""Read-through: a record that is not cached is loaded, once for all who ask for it.

fresh                         it is given; past `refresh_ratio` of its ttl a load begins beside
in stale_while_revalidate     it is given as stale, and a load begins beside
in stale_if_error             the load is waited for, for `soft_timeout` if that is set; if it
                              takes longer, or fails, the stale one is given
not there                     the load is waited for
"""

import asyncio
import secrets
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import TypeGuard, TypeVar

from pantler_server.core import background, canonical_json
from pantler_server.core.errors import (
    OriginNotReady,
    OriginOutcomeUnknown,
    OriginUnavailable,
    ServiceError,
    StoreOutOfMemory,
)
from pantler_server.core.namespace import Namespace
from pantler_server.core.record import Record
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.look import Look
from pantler_server.engines.cache.model import Hit, LeaseAsk, Miss
from pantler_server.engines.cache.record.flights import Flight, Flights
from pantler_server.engines.cache.record.loading import (
    MARGIN_S,
    Loader,
    Mine,
    Outcome,
    away,
    load_s,
)
from pantler_server.engines.cache.record.model import Found, Read, Source
from pantler_server.engines.cache.record.refresh import Refresher
from pantler_server.origins.origin import Origin

_Loaded = TypeVar("_Loaded")

_ORIGIN_FAILED = (OriginUnavailable, OriginOutcomeUnknown, OriginNotReady)


class ReadThrough:
    """`stop` after use."""

    def __init__(self, cache: CacheEngine, loader: Loader, refresher: Refresher) -> None:
        self._cache = cache
        self._loader = loader
        self._refresher = refresher
        self._loop = asyncio.get_running_loop()
        self._slow: set[asyncio.Task[Found]] = set()
        self._flights = Flights()

    async def stop(self) -> None:
        await background.stop(tuple(self._slow))

    async def get(
        self,
        space: Namespace,
        origin: Origin,
        key: str,
        deadline: float,
        *,
        force_refresh: bool = False,
    ) -> Found:
        """One record. One round trip if it is cached; else four, and the load.

        With `force_refresh` what is cached is invalidated first. While Redis is full it can't be:
        then the caller alone gets what the origin has now, and what is cached stays.
        """
        origin.check_key(key)
        if force_refresh:
            try:
                await self._cache.invalidation.invalidate_keys(space, [key], deadline, soft=True)
            except StoreOutOfMemory:
                load = self._loader.load_uncached(space, origin, key)
                return await self._in_time(load, space, deadline)
            return await self._get(space, origin, key, deadline, None)
        while (joined := self._flights.join(space, key, deadline)) is not None:
            found = await joined
            if found is not None:
                return found
        with self._flights.begin(space, key, deadline) as flight:
            flight.found = await self._get(space, origin, key, deadline, flight)
            return flight.found

    async def _get(
        self, space: Namespace, origin: Origin, key: str, deadline: float, flight: Flight | None
    ) -> Found:
        """Without a flight nothing stale is given."""
        force_refresh = flight is None
        look = await self._cache.lookups.look(
            space, key, deadline, self._refresher.left_ratio(space, key)
        )
        if flight is not None:
            self._cache.lookups.count_joined(look, len(flight.joined))
        if _is_foreign(look.found):
            await self._drop(space, [(key, look.found.version)], deadline)
            look = await self._cache.lookups.look(space, key, deadline, 0)
        found = self._at_hand(look, origin, force_refresh=force_refresh)
        if found is not None:
            return found
        obtained = self._obtain(look, origin, deadline, accept_stale=not force_refresh)
        return await self._or_kept(look, obtained)

    async def get_many(
        self,
        space: Namespace,
        origin: Origin,
        wanted: Sequence[str],
        deadline: float,
        *,
        force_refresh: bool = False,
    ) -> list[Outcome]:
        """Records in the order asked, each as `get` gives it. One round trip for what is cached;
        three more and one query for all the rest that nobody else loads."""
        outcomes: dict[str, Outcome] = {}
        for key in wanted:
            try:
                origin.check_key(key)
            except ServiceError as error:
                outcomes[key] = error
        good = [key for key in dict.fromkeys(wanted) if key not in outcomes]
        if force_refresh and good:
            try:
                await self._cache.invalidation.invalidate_keys(space, good, deadline, soft=True)
            except StoreOutOfMemory:
                load = self._loader.load_many_uncached(space, origin, good)
                outcomes |= await self._in_time(load, space, deadline)
                return [outcomes[key] for key in wanted]
        left = self._refresher.left_ratios(space, good)
        looks = await self._cache.lookups.look_many(space, good, deadline, left) if good else []
        foreign = [
            (one.at.key, one.found.version)
            for one in looks
            if isinstance(one, Look) and _is_foreign(one.found)
        ]
        if foreign:
            await self._drop(space, foreign, deadline)
            looks = await self._cache.lookups.look_many(space, good, deadline, left)
        missing: list[Look] = []
        for key, look in zip(good, looks, strict=True):
            if isinstance(look, ServiceError):
                outcomes[key] = look
                continue
            found = self._at_hand(look, origin, force_refresh=force_refresh)
            if found is None:
                missing.append(look)
            else:
                outcomes[key] = found
        if missing:
            outcomes |= await self._get_missing(
                space, origin, missing, deadline, accept_stale=not force_refresh
            )
        return [outcomes[key] for key in wanted]

    async def get_record(
        self,
        space: Namespace,
        origin: Origin,
        key: str,
        deadline: float,
        *,
        force_refresh: bool = False,
    ) -> Read:
        """As `get`, decoded. What looks like a record but is none shows here alone: it is dropped,
        and the key read again."""
        found = await self.get(space, origin, key, deadline, force_refresh=force_refresh)
        try:
            return Read(found, decoded(found.value))
        except ValueError:
            await self._drop(space, [(key, found.version)], deadline)
        read = self._read_again(space, await self.get(space, origin, key, deadline))
        if isinstance(read, ServiceError):
            raise read
        return read

    async def get_records(
        self,
        space: Namespace,
        origin: Origin,
        wanted: Sequence[str],
        deadline: float,
        *,
        force_refresh: bool = False,
    ) -> list[Read | ServiceError]:
        """As `get_many`, decoded, as `get_record` has it."""
        outcomes = await self.get_many(space, origin, wanted, deadline, force_refresh=force_refresh)
        reads: dict[str, Read | ServiceError] = {}
        foreign: dict[str, int] = {}
        for key, outcome in zip(wanted, outcomes, strict=True):
            if isinstance(outcome, ServiceError):
                reads[key] = outcome
            elif key not in reads:
                try:
                    reads[key] = Read(outcome, decoded(outcome.value))
                except ValueError:
                    foreign[key] = outcome.version
        if foreign:
            await self._drop(space, foreign.items(), deadline)
            again = await self.get_many(space, origin, tuple(foreign), deadline)
            for key, outcome in zip(foreign, again, strict=True):
                reads[key] = self._read_again(space, outcome)
        return [reads[key] for key in wanted]

    @staticmethod
    def _read_again(space: Namespace, outcome: Outcome) -> Read | ServiceError:
        """What a second read came to."""
        if isinstance(outcome, ServiceError):
            return outcome
        try:
            return Read(outcome, decoded(outcome.value))
        except ValueError:  # it expired, and is kept for an origin that fails; or was set just now
            return away(space)

    async def _drop(
        self, space: Namespace, foreign: Iterable[tuple[str, int]], deadline: float
    ) -> None:
        """Removes what is no record: versions of keys. One round trip."""
        await asyncio.gather(
            *(
                self._cache.delete(space, key, deadline, if_version=version)
                for key, version in foreign
            )
        )

    def _at_hand(self, look: Look, origin: Origin, *, force_refresh: bool) -> Found | None:
        """What is given without a load; one that is due begins beside."""
        hit = look.found
        if not isinstance(hit, Hit) or (hit.stale and force_refresh):
            return None
        if look.due or hit.stale:
            self._refresher.refresh(look, origin)
        return cached(hit)

    async def _get_missing(
        self,
        space: Namespace,
        origin: Origin,
        missing: Sequence[Look],
        deadline: float,
        *,
        accept_stale: bool,
    ) -> dict[str, Outcome]:
        """Nobody waits who holds what another waits for: first all leases that are free are taken,
        and loaded for."""
        ask = self._ask(space, 0)
        grants = await self._cache.lookups.take_leases(missing, ask, deadline)
        outcomes: dict[str, Outcome] = {}
        mine: list[Mine] = []
        uncached: list[str] = []
        waiting: dict[str, Awaitable[Found]] = {}
        by_key = {look.at.key: look for look in missing}
        for look, grant in zip(missing, grants, strict=True):
            key = look.at.key
            if isinstance(grant, StoreOutOfMemory):
                uncached.append(key)
            elif isinstance(grant, BaseException):
                if not isinstance(grant, ServiceError):
                    raise grant
                outcomes[key] = grant
            elif grant.lease is not None:
                mine.append(Mine.of(key, grant.lease))
            elif isinstance(grant, Hit) and (accept_stale or not grant.stale):
                outcomes[key] = cached(grant)
            else:
                waiting[key] = self._obtain(look, origin, deadline, accept_stale=accept_stale)
        if mine:
            load = asyncio.ensure_future(self._loader.load_many(space, origin, mine))
            waiting |= {
                one.key: self._in_time(_one_of(load, one.key), space, deadline) for one in mine
            }
        if uncached:
            load = asyncio.ensure_future(self._loader.load_many_uncached(space, origin, uncached))
            waiting |= {key: self._in_time(_one_of(load, key), space, deadline) for key in uncached}
        ends = await asyncio.gather(
            *(self._or_kept(by_key[key], one) for key, one in waiting.items()),
            return_exceptions=True,
        )
        for key, end in zip(waiting, ends, strict=True):
            if isinstance(end, BaseException) and not isinstance(end, ServiceError):
                raise end
            outcomes[key] = end
        return outcomes

    async def _obtain(
        self, look: Look, origin: Origin, deadline: float, *, accept_stale: bool
    ) -> Found:
        """Loads, or waits for who does."""
        space, key = look.at.space, look.at.key
        began = self._loop.time()
        wait_ms = max(1, int(min(deadline - began, load_s(space) + MARGIN_S) * 1000))
        lookups, ask = self._cache.lookups, self._ask(space, wait_ms)
        try:
            found = await lookups.take_lease(look, ask, deadline, accept_stale=accept_stale)
        except StoreOutOfMemory:
            pass  # there is no room for a lease, so there is none for a record
        else:
            if found.lease is not None:
                mine = Mine.of(key, found.lease)
                return await self._in_time(self._loader.load(space, origin, mine), space, deadline)
            if isinstance(found, Hit):
                return cached(found)
            # Either the load that was waited for takes too long, and more loads would not be
            # faster; or writers are on their way to the origin one after the other, and nobody may
            # fill; or nobody is to wait any more, as the worker ends.
            waited = self._loop.time() >= began + wait_ms / 1000
            if waited and not await self._loader.is_being_written(space, key, deadline):
                raise away(space)
        load = self._loader.load_uncached(space, origin, key)
        return await self._in_time(load, space, deadline)

    async def _in_time(
        self, load: Awaitable[_Loaded], space: Namespace, deadline: float
    ) -> _Loaded:
        try:
            async with asyncio.timeout_at(deadline):
                return await load
        except TimeoutError:
            raise away(space) from None

    async def _or_kept(self, look: Look, obtained: Awaitable[Found]) -> Found:
        """What is obtained; or what is kept for when that fails, or takes too long."""
        kept = look.kept()
        if kept is None or _is_foreign(kept):
            return await obtained
        assert look.at.space.config.origin is not None
        soft_timeout = look.at.space.config.origin.soft_timeout
        try:
            if soft_timeout is None:
                return await obtained
            task = asyncio.ensure_future(obtained)
            background.keep(self._slow, task)
            async with asyncio.timeout(soft_timeout.total_seconds()):
                return await asyncio.shield(task)
        except (TimeoutError, *_ORIGIN_FAILED):
            return cached(kept)

    def _ask(self, space: Namespace, wait_ms: int) -> LeaseAsk:
        ttl_ms = round((load_s(space) + MARGIN_S) * 1000)
        return LeaseAsk(ttl_ms, wait_ms, secrets.token_hex(8))


def _is_foreign(found: Hit | Miss) -> TypeGuard[Hit]:
    """Whether a value was set before the namespace had an origin, and so is no record: records are
    canonical JSON without a content type, or empty. This looks at its ends only, which costs
    nothing; what has those and is none shows when it is decoded."""
    if not isinstance(found, Hit):
        return False
    value = found.value
    return bool(found.content_type) or (
        bool(value) and not (value.startswith((b'{"', b"{}")) and value.endswith(b"}"))
    )


def decoded(value: bytes) -> Record | None:
    """Raises ValueError for what is no record."""
    return canonical_json.decode(value) if value else None


def cached(hit: Hit) -> Found:
    """A hit as an answer."""
    return Found(
        hit.value,
        Source.CACHE,
        hit.stale,
        hit.version,
        hit.created_us,
        hit.expires_us,
        hit.tags,
    )


async def _one_of(load: "asyncio.Future[Mapping[str, Outcome]]", key: str) -> Found:
    found = (await asyncio.shield(load))[key]
    if isinstance(found, ServiceError):
        raise found
    return found
