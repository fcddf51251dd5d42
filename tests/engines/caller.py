"""A caller of the cache engine, as the tests of its races tell the story."""

import asyncio
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import fill_token, keys
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.fill_token import FillToken
from pantler_server.engines.cache.invalidation.model import Dependent, Progress, TagsAdded
from pantler_server.engines.cache.model import (
    Description,
    Hit,
    LeaseAsk,
    Miss,
    NewEntry,
    SetOutcome,
    SetResult,
)
from pantler_server.store.request import Argument, Request, pack
from pantler_server.store.store import Store

STORED, CONDITION_NOT_MET, FILL_LOST = SetOutcome
READ_S = 0.2  # a read, on a machine that does other things too
_holders = count()


@dataclass(frozen=True, slots=True)
class Caller:
    """One namespace through one engine. Every call has five seconds."""

    engine: CacheEngine
    space: Namespace

    async def get(self, key: str, *, accept_stale: bool = False) -> Hit | Miss:
        return await self.engine.get(self.space, key, soon(), accept_stale=accept_stale)

    async def ask(
        self,
        key: str,
        *,
        wait_ms: int = 0,
        ttl_ms: int = 10_000,
        holder: str = "",
        accept_stale: bool = False,
    ) -> Hit | Miss:
        """A Get that asks for the lease."""
        ask = LeaseAsk(ttl_ms, wait_ms, holder or f"holder{next(_holders)}")
        return await self.engine.get(self.space, key, soon(), ask, accept_stale=accept_stale)

    async def set(self, key: str, value: bytes = b"v", **said: Any) -> SetResult:
        return await self.engine.set(self.space, NewEntry(key, value, **said), soon())

    async def fill(self, key: str, token: str, value: bytes = b"fill", **said: Any) -> SetOutcome:
        return (await self.set(key, value, token=fill_token_of(token), **said)).outcome

    async def delete(self, key: str, if_version: int = 0) -> bool:
        return await self.engine.delete(self.space, key, soon(), if_version)

    async def touch(self, key: str, ttl_ms: int | None = None) -> int | None:
        return await self.engine.touch(self.space, key, ttl_ms, soon())

    async def release(self, key: str, token: str, *, failed: bool = False) -> bool:
        return await self.engine.release_lease(
            self.space, key, lease_token(token), soon(), failed=failed
        )

    async def extend(self, key: str, token: str, ttl_ms: int) -> int:
        return await self.engine.extend_lease(self.space, key, lease_token(token), ttl_ms, soon())

    async def invalidate_keys(
        self, *named: str, soft: bool = False, cascade: bool = False
    ) -> list[str]:
        return await self.engine.invalidation.invalidate_keys(
            self.space, named, soon(), soft=soft, cascade=cascade
        )

    async def invalidate_tags(self, *tags: str, soft: bool = False) -> None:
        await self.engine.invalidation.invalidate_tags(self.space, tags, soon(), soft=soft)

    async def invalidate_namespace(self, *, soft: bool = False) -> int:
        return await self.engine.invalidation.invalidate_namespace(self.space, soon(), soft=soft)

    async def invalidate_older_than(self, before_us: int, *, soft: bool = False) -> None:
        await self.engine.invalidation.invalidate_older_than(
            self.space, before_us, soon(), soft=soft
        )

    async def invalidate_pattern(self, pattern: str, *, dry_run: bool = False) -> Progress:
        """The last of the progress, with all examples."""
        examples: list[str] = []
        last = Progress(0, 0, 0)
        async for last in self.engine.invalidation.invalidate_pattern(
            self.space, pattern, dry_run=dry_run
        ):
            examples += last.examples
        assert last.done
        return replace(last, examples=examples)

    async def declare(self, key: str, *depends_on: str) -> None:
        await self.engine.invalidation.declare_dependencies(self.space, key, depends_on, soon())

    async def dependents(self, key: str) -> list[Dependent]:
        found, token = await self.engine.invalidation.list_dependents(
            self.space, key, 1000, "", soon()
        )
        assert not token
        return found

    async def add_tags(self, key: str, *tags: str) -> TagsAdded:
        return await self.engine.tags.add(self.space, key, tags, soon())

    async def remove_tags(self, key: str, *tags: str) -> bool:
        return await self.engine.tags.remove(self.space, key, tags, soon())

    async def tags(self, key: str) -> tuple[str, ...] | None:
        return await self.engine.tags.of(self.space, key, soon())

    async def tagged_keys(self, tag: str, page_size: int = 1000) -> dict[str, bool]:
        """Whether each is stale, over all pages."""
        found: dict[str, bool] = {}
        token = ""
        while True:
            page, token = await self.engine.tags.list_keys(
                self.space, tag, page_size, token, soon()
            )
            assert len(page) <= page_size
            found |= {one.key: one.stale for one in page}
            if not token:
                return found

    async def describe(self, key: str) -> Description:
        return await self.engine.describe(self.space, key, soon())


def fill_token_of(text: str) -> FillToken:
    token = fill_token.read(text)
    assert token is not None
    return token


def lease_token(text: str) -> FillToken:
    token = fill_token_of(text)
    assert token.of_lease
    return token


def value(found: Hit | Miss) -> bytes | None:
    return found.value if isinstance(found, Hit) else None


def granted(found: Hit | Miss) -> str:
    """The token of the lease that was given."""
    assert found.lease is not None
    assert found.lease.token == found.fill_token
    return found.lease.token


async def waiting(caller: Caller, key: str, **said: Any) -> "asyncio.Task[Hit | Miss]":
    """A Get that waits for the lease's holder: it has read, and its room is registered."""
    task = asyncio.create_task(caller.ask(key, wait_ms=4_000, **said))
    await asyncio.sleep(0.03)
    assert not task.done()
    return task


async def on(store: Store, caller: Caller, place: str, key: str, *command: Argument) -> Any:
    """A command on what belongs to a key: `entry`, `marks`, `tombstones`, `labels`, `lease` or
    `history`."""
    partition, entry = keys.place(caller.space, key)
    where = {
        "entry": entry,
        "marks": keys.marks(partition),
        "tombstones": keys.tombstones(partition),
        "labels": keys.label_marks(partition),
        "lease": keys.lease(partition, entry),
        "history": keys.history(partition),
    }[place]
    packed = pack(command[0], where, *command[1:])
    [reply] = await store.call(Request(partition.slot, (packed,), key, repeatable=False), soon())
    return reply


def soon() -> float:
    return asyncio.get_running_loop().time() + 5.0
