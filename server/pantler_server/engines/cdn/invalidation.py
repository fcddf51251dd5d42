"""Invalidations of namespaces with a CDN, which purge it too.

Pantler's own levels come first, then the outbox, and then the answer: what was acknowledged is
hidden here and will be purged there, and a CDN that asks again, once it was purged, gets nothing
old. An invalidation that may have been done though it failed is purged all the same.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from pantler_server.core import background
from pantler_server.core.errors import (
    CascadeTooWide,
    NotReplicated,
    OriginOutcomeUnknown,
    OutcomeUnknown,
    PurgeBacklogFull,
    ServiceError,
    StoreOutOfMemory,
    StoreUnavailable,
)
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cdn.engine import CdnEngine

T = TypeVar("T")

MAYBE_DONE = (CascadeTooWide, NotReplicated, OriginOutcomeUnknown, OutcomeUnknown)
"""Errors after which what was asked for may be in force."""

_UNPURGED = "it is done, but the purge of the CDN could not be written down: repeat the call"


class Progress(Protocol):
    """How far an invalidation by pattern is."""

    @property
    def invalidated(self) -> int: ...
    @property
    def done(self) -> bool: ...


class Invalidation(Protocol):
    """The port to what invalidates Pantler's own levels."""

    async def invalidate_keys(
        self,
        space: Namespace,
        named: Sequence[str],
        deadline: float,
        *,
        soft: bool = False,
        cascade: bool = False,
    ) -> list[str]: ...

    async def invalidate_tags(
        self, space: Namespace, tags: Sequence[str], deadline: float, *, soft: bool = False
    ) -> None: ...

    async def invalidate_namespace(
        self, space: Namespace, deadline: float, *, soft: bool = False
    ) -> int: ...

    async def invalidate_older_than(
        self, space: Namespace, before_us: int, deadline: float, *, soft: bool = False
    ) -> None: ...

    def invalidate_pattern(
        self, space: Namespace, pattern: str, *, dry_run: bool = False
    ) -> AsyncIterator[Any]: ...


class Deletion(Protocol):
    """The port to what deletes entries."""

    async def delete(
        self, space: Namespace, key: str, deadline: float, if_version: int = 0
    ) -> bool: ...

    async def delete_many(
        self, space: Namespace, doomed: Sequence[str], deadline: float
    ) -> list[Any]: ...


class PurgedInvalidation:
    """As the ports have them, with the id of the purge; it is empty where the namespace has no CDN.
    All raise what the ports raise, PurgeBacklogFull and the StoreErrors: then the caller repeats
    the call, also where all but the purge was done."""

    def __init__(self, invalidation: Invalidation, deletion: Deletion, cdn: CdnEngine) -> None:
        self._invalidation = invalidation
        self._deletion = deletion
        self._cdn = cdn
        self._late: set[asyncio.Task[None]] = set()

    async def invalidate_keys(
        self,
        space: Namespace,
        named: Sequence[str],
        deadline: float,
        *,
        soft: bool = False,
        cascade: bool = False,
    ) -> tuple[list[str], str]:
        """All that were invalidated, which are those that are purged."""

        async def purge(keys: Sequence[str] | None) -> str:
            if keys is None and cascade:  # nobody knows how far it came
                return await self._cdn.purge_namespace(space, deadline, soft=soft)
            return await self._cdn.purge_keys(space, keys or named, deadline, soft=soft)

        work = self._invalidation.invalidate_keys(
            space, named, deadline, soft=soft, cascade=cascade
        )
        return await then_purge(space, work, purge)

    async def invalidate_tags(
        self, space: Namespace, tags: Sequence[str], deadline: float, *, soft: bool = False
    ) -> str:
        work = self._invalidation.invalidate_tags(space, tags, deadline, soft=soft)
        _, purge_id = await then_purge(
            space, work, lambda _: self._cdn.purge_tags(space, tags, deadline, soft=soft)
        )
        return purge_id

    async def invalidate_namespace(
        self, space: Namespace, deadline: float, *, soft: bool = False
    ) -> tuple[int, str]:
        """The version that the namespace has now."""
        work = self._invalidation.invalidate_namespace(space, deadline, soft=soft)
        return await then_purge(
            space, work, lambda _: self._cdn.purge_namespace(space, deadline, soft=soft)
        )

    async def invalidate_older_than(
        self, space: Namespace, before_us: int, deadline: float, *, soft: bool = False
    ) -> str:
        """All of the namespace is purged: the CDN does not know ages."""
        work = self._invalidation.invalidate_older_than(space, before_us, deadline, soft=soft)
        _, purge_id = await then_purge(
            space, work, lambda _: self._cdn.purge_namespace(space, deadline, soft=soft)
        )
        return purge_id

    async def invalidate_pattern(
        self, space: Namespace, pattern: str, *, dry_run: bool = False
    ) -> AsyncIterator[tuple[Any, str]]:
        """All of the namespace is purged at the end, also of a walk that is given up: the CDN does
        not know patterns."""
        walk = self._invalidation.invalidate_pattern(space, pattern, dry_run=dry_run)
        if dry_run or space.config.cdn is None:
            async for progress in walk:
                yield progress, ""
            return

        async def purge() -> str:
            return await self._cdn.purge_namespace(space, self._cdn.soon())

        async def late() -> None:
            with suppress(ServiceError):  # the caller knows that the walk came to no end
                await purge()

        is_purged = False
        try:
            async for progress in walk:
                if not progress.done:
                    yield progress, ""
                    continue
                # Also if nothing was there: an earlier walk may have removed it, and not come here.
                purge_id = await _unless_lost(purge())
                is_purged = True
                yield progress, purge_id
        finally:
            if not is_purged:  # whoever asked has gone, say: there is no time to wait
                background.keep(self._late, background.start(late(), "purge after a walk"))

    async def delete(
        self, space: Namespace, key: str, deadline: float, if_version: int = 0
    ) -> bool:
        """As the port. What the CDN keeps of the key goes, also if Pantler had nothing, or another
        version: the call may be the repeat of one that could not write its purge down."""
        deleted, _ = await then_purge(
            space,
            self._deletion.delete(space, key, deadline, if_version),
            lambda _: self._cdn.purge_keys(space, [key], deadline),
        )
        return deleted

    async def delete_many(
        self, space: Namespace, doomed: Sequence[str], deadline: float
    ) -> list[bool | ServiceError]:
        """As the port; of keys that certainly were not deleted the CDN keeps what it has."""

        async def purge(outcomes: list[bool | ServiceError] | None) -> str:
            if outcomes is None:
                return await self._cdn.purge_keys(space, doomed, deadline)
            gone = [
                key
                for key, outcome in zip(doomed, outcomes, strict=True)
                if not isinstance(outcome, ServiceError) or isinstance(outcome, MAYBE_DONE)
            ]
            return await self._cdn.purge_keys(space, gone, deadline) if gone else ""

        work = self._deletion.delete_many(space, doomed, deadline)
        outcomes, _ = await then_purge(space, work, purge)
        return outcomes


async def then_purge(
    space: Namespace, work: Awaitable[T], purge: Callable[[T | None], Awaitable[str]]
) -> tuple[T, str]:
    """Does the work, then purges; what it came to, and the id of the purge. `purge` gets what it
    came to, None if that is not known."""
    if space.config.cdn is None:
        return await work, ""
    try:
        done = await work
    except MAYBE_DONE:
        with suppress(ServiceError):
            await purge(None)
        raise
    return done, await _unless_lost(purge(done))


async def _unless_lost(purge: Awaitable[str]) -> str:
    """An error must not say that nothing was done."""
    try:
        return await purge
    except StoreUnavailable as away:
        raise OutcomeUnknown(_UNPURGED, away.metadata["role"]) from away
    except PurgeBacklogFull as full:
        target = full.metadata["target"]
        raise PurgeBacklogFull(target, but="it is done, but ", alone=full.alone) from full
    except StoreOutOfMemory as full:
        raise StoreOutOfMemory(_UNPURGED, full.metadata["role"]) from full
