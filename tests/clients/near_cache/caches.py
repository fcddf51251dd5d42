"""Near caches as tests open them, and look into them."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import pantler

NAMESPACES = 40
BOUND_S = 5.0  # of the client's default
AT_ONCE = timedelta(0)
MINUTE = timedelta(minutes=1)
_numbers = count()


def a_namespace() -> str:
    """Of `near_server`."""
    return f"near{next(_numbers) % NAMESPACES}"


def near_cache(*namespaces: str, **options: Any) -> pantler.NearCache:
    return pantler.NearCache(namespaces, **{"settle": AT_ONCE, "ttl": MINUTE, **options})


async def opened(address: str, *namespaces: str, **options: Any) -> pantler.AsyncClient:
    """A client whose near cache has begun. Close it."""
    client = pantler.AsyncClient(address, near_cache=near_cache(*namespaces, **options))
    await client.get(namespaces[0], "anything")
    await until(lambda: client.near_cache_stats().is_sure)
    return client


async def until(holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.01)


def is_kept(client: pantler.AsyncClient, namespace: str, key: str) -> bool:
    assert client._near is not None
    return client._near.find(namespace, key) is not None


async def keep(client: pantler.AsyncClient, namespace: str, *keys: str) -> None:
    """Reads until they are kept: the word of their writes may come after the first read."""
    async with asyncio.timeout(10):
        while not all(is_kept(client, namespace, key) for key in keys):
            await client.get_many(namespace, keys)
            await asyncio.sleep(0.05)


async def value(client: pantler.AsyncClient, namespace: str, key: str) -> bytes | None:
    entry = await client.get(namespace, key)
    return None if entry is None else entry.value
