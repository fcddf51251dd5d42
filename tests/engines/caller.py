"""A caller of the cache engine, as the tests of its races tell the story."""

import asyncio
from dataclasses import dataclass
from itertools import count
from typing import Any

from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import fill_token, keys
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.fill_token import FillToken
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
_holders = count()


@dataclass(frozen=True, slots=True)
class Caller:
    """One namespace through one engine. Every call has five seconds."""

    engine: CacheEngine
    space: Namespace

    async def get(self, key: str, *, accept_stale: bool = False) -> Hit | Miss:
        return await self.engine.get(self.space, key, _soon(), accept_stale=accept_stale)

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
        return await self.engine.get(self.space, key, _soon(), ask, accept_stale=accept_stale)

    async def set(self, key: str, value: bytes = b"v", **said: Any) -> SetResult:
        return await self.engine.set(self.space, NewEntry(key, value, **said), _soon())

    async def fill(self, key: str, token: str, value: bytes = b"fill", **said: Any) -> SetOutcome:
        read = fill_token.read(token)
        assert read is not None
        return (await self.set(key, value, token=read, **said)).outcome

    async def delete(self, key: str, if_version: int = 0) -> bool:
        return await self.engine.delete(self.space, key, _soon(), if_version)

    async def touch(self, key: str, ttl_ms: int | None = None) -> int | None:
        return await self.engine.touch(self.space, key, ttl_ms, _soon())

    async def release(self, key: str, token: str, *, failed: bool = False) -> bool:
        return await self.engine.release_lease(
            self.space, key, lease_token(token), _soon(), failed=failed
        )

    async def extend(self, key: str, token: str, ttl_ms: int) -> int:
        return await self.engine.extend_lease(self.space, key, lease_token(token), ttl_ms, _soon())

    async def describe(self, key: str) -> Description:
        return await self.engine.describe(self.space, key, _soon())


def lease_token(text: str) -> FillToken:
    token = fill_token.read(text)
    assert token is not None
    assert token.of_lease
    return token


def value(found: Hit | Miss) -> bytes | None:
    return found.value if isinstance(found, Hit) else None


def granted(found: Hit | Miss) -> str:
    """The token of the lease that was given."""
    assert found.lease is not None
    assert found.lease.token == found.fill_token
    return found.lease.token


async def on(store: Store, caller: Caller, place: str, key: str, *command: Argument) -> Any:
    """A command on what belongs to a key: its `entry`, `marks`, `tombstones` or `lease`."""
    partition, entry = keys.place(caller.space, key)
    where = {
        "entry": entry,
        "marks": keys.marks(partition),
        "tombstones": keys.tombstones(partition),
        "lease": keys.lease(partition, entry),
    }[place]
    packed = pack(command[0], where, *command[1:])
    [reply] = await store.call(Request(partition.slot, (packed,), key, repeatable=False), _soon())
    return reply


def _soon() -> float:
    return asyncio.get_running_loop().time() + 5.0
