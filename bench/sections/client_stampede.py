"""Many callers in several programs on one key that is not there, through the SDK and through
libraries that promise to fetch it once."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from secrets import token_hex

import uvloop
from aiocache import cached_stampede
from pantler import AsyncClient

from bench.callers import Burst, Programs, meet
from bench.libraries import CONNECTIONS, open_aiocache, open_cashews, open_dogpile
from bench.rates import Scale
from bench.report import Line, rounds
from bench.servers import NAMESPACE, VALUE
from bench.serving import Serving

PROGRAMS = 4
FETCH_S = 0.05
LEASE_S = 10  # of a lock: far beyond a fetch
TTL_S = 60

Read = Callable[[str], Awaitable[object]]
"""One call of get_or_set, by its key."""


class _Origin:
    """What is cached. It counts its fetches."""

    def __init__(self) -> None:
        self.fetches = 0

    async def fetch(self) -> bytes:
        self.fetches += 1
        await asyncio.sleep(FETCH_S)
        return VALUE

    def fetch_in_thread(self) -> bytes:
        self.fetches += 1
        time.sleep(FETCH_S)
        return VALUE


def client_stampede(serving: Serving, scale: Scale) -> Iterator[Line]:
    """How soon the last caller has the value, and how often it is fetched."""
    bursts: dict[str, list[Burst]] = {name: [] for name in _PROGRAMS}
    with Programs(PROGRAMS) as programs:
        for number in rounds(1 + scale.rounds, "clients: stampede"):
            for name, program in _PROGRAMS.items():
                address = serving.address if name == PANTLER else serving.redis_socket
                burst = programs.burst(program, address, scale.crowd, token_hex(8))
                if number:  # the first calls of a program are slow
                    bursts[name].append(burst)
    for name in bursts:
        if name != PANTLER:
            yield _line(name, bursts, scale)


def _line(name: str, bursts: Mapping[str, list[Burst]], scale: Scale) -> Line:
    def came_to(some: list[Burst]) -> str:
        took_s = statistics.median(one.took_s for one in some)
        return f"{took_s * 1000:,.0f} ms, fetches: {max(one.fetches for one in some)}"

    pairs = zip(bursts[PANTLER], bursts[name], strict=True)
    ratio = statistics.median(ours.took_s / theirs.took_s for ours, theirs in pairs)
    return Line(
        f"Stampede of {scale.crowd:,} in {PROGRAMS} programs on a key that takes "
        f"{FETCH_S * 1000:.0f} ms to fetch: the last answer, against {name}",
        came_to(bursts[PANTLER]),
        came_to(bursts[name]),
        f"{ratio:.2f}",
        "fetches: 1",
    )


@asynccontextmanager
async def _open_pantler(address: str, origin: _Origin) -> AsyncIterator[Read]:
    async with AsyncClient(address) as client:
        yield lambda key: client.get_or_set(NAMESPACE, key, origin.fetch)


@asynccontextmanager
async def _open_cashews(redis_socket: str, origin: _Origin) -> AsyncIterator[Read]:
    """`lock` is for all programs, and within one `protected`, which it has by default."""
    cache = open_cashews(redis_socket)

    @cache(ttl=TTL_S, key="cashews:{key}", lock=True)
    async def read(key: str) -> bytes:  # noqa: ARG001 the cache has use for the key
        return await origin.fetch()

    yield read
    await cache.close()


@asynccontextmanager
async def _open_aiocache(redis_socket: str, origin: _Origin) -> AsyncIterator[Read]:
    """Its RedLock is for all programs, but those that don't have it don't wait for it."""
    cache = open_aiocache(redis_socket)

    async def read(key: str) -> bytes:  # noqa: ARG001 the cache has use for the key
        return await origin.fetch()

    caching = cached_stampede(
        lease=LEASE_S, ttl=TTL_S, key_builder=lambda _, key: f"aiocache:{key}"
    )
    caching.cache = cache  # its own would have neither the socket nor the pool
    yield lambda key: caching.decorator(read, key)
    await cache.close()


def _pantler(address: str, calls: int, key: str) -> Burst:
    return uvloop.run(_at_once(_open_pantler, address, calls, key))


def _cashews(redis_socket: str, calls: int, key: str) -> Burst:
    return uvloop.run(_at_once(_open_cashews, redis_socket, calls, key))


def _aiocache(redis_socket: str, calls: int, key: str) -> Burst:
    return uvloop.run(_at_once(_open_aiocache, redis_socket, calls, key))


async def _at_once(
    opened: Callable[[str, _Origin], AbstractAsyncContextManager[Read]],
    address: str,
    calls: int,
    key: str,
) -> Burst:
    origin = _Origin()
    async with opened(address, origin) as read:
        await read(token_hex(8))
        origin.fetches = 0
        meet()
        began_s = time.monotonic()
        await asyncio.gather(*(read(key) for _ in range(calls)))
        return Burst(began_s, time.monotonic(), origin.fetches)


def _dogpile(redis_socket: str, calls: int, key: str) -> Burst:
    """From as many threads as there are connections."""
    origin, region = _Origin(), open_dogpile(redis_socket)

    def read(asked: str) -> object:
        return region.get_or_create(asked, origin.fetch_in_thread, expiration_time=TTL_S)

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(read, [token_hex(8)] * CONNECTIONS))
        origin.fetches = 0
        meet()
        began_s = time.monotonic()
        list(threads.map(read, [key] * calls))
        return Burst(began_s, time.monotonic(), origin.fetches)


PANTLER = "Pantler"
_PROGRAMS: dict[str, Callable[[str, int, str], Burst]] = {
    PANTLER: _pantler,
    "cashews with its lock": _cashews,
    "aiocache's cached_stampede": _aiocache,
    "dogpile.cache with its distributed lock": _dogpile,
}
