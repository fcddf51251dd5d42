"""What a Python program would pick instead of Pantler to cache in Redis, each set for speed as its
documentation says. All have the values as they are, without pickling, and 64 connections."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import redis
from aiocache import RedisCache
from aiocache.serializers import NullSerializer
from cashews import Cache
from cashews.backends.redis import Redis as CashewsRedis
from cashews.backends.redis.client_side import BcastClientSide
from cashews.wrapper.backend_settings import register_backend
from dogpile.cache import CacheRegion, make_region
from redis.asyncio import BlockingConnectionPool, Redis

CONNECTIONS = 64  # of each library; more make none faster
POOL_WAIT_S = 60  # for a connection: thousands wait in a stampede


def _cashews_backend(*, client_side: bool, **settings: Any) -> CashewsRedis:
    return (BcastClientSide if client_side else CashewsRedis)(**settings)


register_backend("unix", _cashews_backend, pass_uri=True)  # without a pickler


class Library(NamedTuple):
    """An asyncio client, by what it gives."""

    name: str
    get: Callable[[str], Awaitable[object]]
    get_many: Callable[[Sequence[str]], Awaitable[object]]
    prefix: str = ""
    """Of its keys: cashews has a format of its own for their values."""


@asynccontextmanager
async def open_libraries(
    redis_socket: str, values: Mapping[str, bytes]
) -> AsyncIterator[Sequence[Library]]:
    """redis-py, the first, and those on top of it. They find these values."""
    plain = open_redis(redis_socket)
    aiocache, cashews = open_aiocache(redis_socket), open_cashews(redis_socket)
    try:
        await plain.mset(dict(values))
        await cashews.set_many({f"cashews:{key}": value for key, value in values.items()})
        yield (
            Library("redis-py", plain.get, plain.mget),
            Library("aiocache", aiocache.get, aiocache.multi_get),
            Library("cashews", cashews.get, lambda keys: cashews.get_many(*keys), "cashews:"),
        )
    finally:
        await cashews.close()
        await aiocache.close()
        await plain.aclose()


def open_redis(redis_socket: str) -> Redis:
    """redis-py, with hiredis. Its ordinary pool refuses the 65th coroutine; this one lets it
    wait."""
    return Redis.from_pool(_pool(redis_socket))


def open_aiocache(redis_socket: str) -> Any:
    """Without its time-out of 5 s, which is a task for each call. It takes a host and a port, so
    it is given a pool that has neither."""
    return RedisCache(
        serializer=NullSerializer(encoding=None),
        timeout=None,
        connection_pool_class=lambda **_: _pool(redis_socket),
    )


def open_cashews(redis_socket: str, *, client_side: bool = False) -> Cache:
    """`client_side`: with its cache in the program, of what begins with "cashews:"."""
    cache = Cache()
    cache.setup(
        f"unix://{redis_socket}",
        client_side=client_side,
        max_connections=CONNECTIONS,
        wait_for_connection_timeout=POOL_WAIT_S,
        socket_timeout=POOL_WAIT_S,  # its own of 1 s gives up in a stampede
        check_repr=False,  # else it makes a text of each value
    )
    return cache


def open_dogpile(redis_socket: str) -> CacheRegion:
    """Synchronous, for threads. Its keys and values have a format of their own. A waiter looks for
    the lock every 10 ms, in place of 100."""
    pool = redis.BlockingConnectionPool.from_url(
        f"unix://{redis_socket}", max_connections=CONNECTIONS, timeout=POOL_WAIT_S
    )
    region = make_region(
        key_mangler=lambda key: f"dogpile:{key}",
        serializer=lambda value: value,
        deserializer=lambda value: value,
    )
    return region.configure(
        "dogpile.cache.redis",
        arguments={
            "connection_pool": pool,
            "distributed_lock": True,
            "lock_timeout": 10,
            "lock_sleep": 0.01,
            "thread_local_lock": False,
        },
    )


def _pool(redis_socket: str) -> BlockingConnectionPool:
    return BlockingConnectionPool.from_url(
        f"unix://{redis_socket}", max_connections=CONNECTIONS, timeout=POOL_WAIT_S
    )
