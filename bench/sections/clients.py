"""A Python program that caches through Pantler's SDK, and one with the libraries that it would pick
instead, on the same Valkey: `clients` is one table of all.

All are asyncio clients on uvloop in the benchmark's own process, but for dogpile.cache, which is
synchronous and has threads. Pantler's server has a processor of its own; what a library does for a
call it does on that of the program.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import uvloop
from limits import RateLimitItemPerHour
from limits.aio.storage import RedisStorage
from pantler import AsyncClient

from bench.libraries import Library, open_dogpile, open_libraries, open_redis
from bench.rates import Rate, Scale, Turn, from_coroutines, from_threads, interleaved, median, ratio
from bench.report import Chart, Line
from bench.sections.client_latency import client_latency
from bench.sections.client_near import NEAR, client_near
from bench.sections.client_stampede import client_stampede
from bench.sections.client_workloads import client_workloads
from bench.sections.exchange import FIRST_LEVEL, exchange
from bench.sections.rate_limits import COUNTERPARTS, PER_HOUR, SHARED, Counterpart, rules
from bench.servers import KEYS, NAMESPACE, VALUE, filled_server, on_load_cpu
from bench.serving import Serving

COALESCED, ALONE = "Pantler", "Pantler, one RPC a call"
BATCHES = 16  # coroutines that read batches
THREADS = 8  # of dogpile.cache; more are no faster, for they share one interpreter
DOGPILE = f"dogpile.cache, {THREADS} threads"
FULL = Scale()
QUICK = Scale(rounds=1, seconds=0.05, callers=8, crowd=40, keys=200)
"""Shows whether all of it works, and no figures."""
_WANTED = {"redis-py": ">= 10, p99 < 5 ms", ALONE: ">= 40"}


def clients(scale: Scale = FULL) -> Iterator[Line]:
    """Gets and batches, a call alone, a near cache, what the server does for them, stampedes, rate
    limits, and workloads like production's."""
    loop = asyncio.Runner(loop_factory=uvloop.new_event_loop)  # one: gRPC keeps to its first
    with _server() as serving, on_load_cpu(), loop:
        gets, batches = loop.run(_reads(serving, scale))
        yield from _get_lines(gets, scale)
        yield from _batch_lines(batches)
        yield from client_latency(serving, scale, loop)
        yield from client_near(serving, scale, loop)
        yield from exchange(serving, scale, loop)
        yield from client_stampede(serving, scale)
        acquires = loop.run(_acquires(serving, scale))
        yield from _acquire_lines(acquires, scale)
        yield from client_workloads(serving, scale, loop)


@contextmanager
def _server() -> Iterator[Serving]:
    """With the rules of rate limits, and the namespaces that two sections need."""
    namespaces = {FIRST_LEVEL: {"l1": {}}, NEAR: {"near_cache": True}}
    settings = {"namespaces": namespaces, **rules(PER_HOUR)}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(str(settings))
        file.flush()
        with filled_server("--config", file.name) as serving:
            yield serving


@asynccontextmanager
async def _open_clients(serving: Serving) -> AsyncIterator[Sequence[Library]]:
    """Pantler's, and then the libraries."""
    async with (
        AsyncClient(serving.address) as coalescing,
        AsyncClient(serving.address, coalesce=False) as alone,
        open_libraries(serving.redis_socket, dict.fromkeys(KEYS, VALUE)) as libraries,
    ):
        ways = {COALESCED: coalescing, ALONE: alone}
        ours = [
            Library(name, partial(client.get, NAMESPACE), partial(client.get_many, NAMESPACE))
            for name, client in ways.items()
        ]
        yield (*ours, *libraries)


async def _reads(
    serving: Serving, scale: Scale
) -> tuple[dict[str, list[Rate]], dict[str, list[Rate]]]:
    """Gets, and batches of all keys, by client."""
    region = open_dogpile(serving.redis_socket)
    region.set_multi(dict.fromkeys(KEYS, VALUE))
    async with _open_clients(serving) as asked:
        for library in asked:
            entry = await library.get(_keys(library)[0])
            assert getattr(entry, "value", entry) == VALUE, library.name
        gets: dict[str, Turn] = {
            one.name: partial(from_coroutines, one.get, _keys(one), scale.callers) for one in asked
        }
        batches: dict[str, Turn] = {
            one.name: partial(from_coroutines, one.get_many, [_keys(one)], BATCHES)
            for one in asked
            if one.name != ALONE  # a batch is one RPC in any case
        }
        gets[DOGPILE] = _threads(region.get, KEYS, THREADS)
        batches[DOGPILE] = _threads(region.get_multi, [KEYS], THREADS)
        return (
            await interleaved(gets, scale, "clients: get"),
            await interleaved(batches, scale, "clients: get many"),
        )


def _keys(library: Library) -> list[str]:
    return [library.prefix + key for key in KEYS]


def _threads(call: Callable[..., object], arguments: Sequence[object], threads: int) -> Turn:
    """The event loop has nothing to do meanwhile."""

    async def turn(seconds: float) -> Rate:
        return from_threads(call, arguments, threads, seconds)

    return turn


def _get_lines(gets: Mapping[str, list[Rate]], scale: Scale) -> Iterator[Line]:
    medians = {name: median(rates) for name, rates in gets.items()}
    chart = Chart(
        f"Gets a second from one Python program, {scale.callers} at a time",
        {name: rate.per_second for name, rate in medians.items()},
    )
    for name, rates in gets.items():
        if name == COALESCED:
            continue
        yield Line(
            f"Gets from {scale.callers} coroutines, against {name}",
            str(medians[COALESCED]),
            str(medians[name]),
            f"{ratio(gets[COALESCED], rates):.1f}",
            _WANTED.get(name, ""),
            chart,
        )


def _batch_lines(batches: Mapping[str, list[Rate]]) -> Iterator[Line]:
    ours = batches[COALESCED]
    for name, rates in batches.items():
        if name != COALESCED:
            yield Line(
                f"Batches of {len(KEYS)} keys, against {name}",
                f"{median(ours).per_second * len(KEYS):,.0f} keys/s",
                f"{median(rates).per_second * len(KEYS):,.0f} keys/s",
                f"{ratio(ours, rates):.1f}",
            )


async def _acquires(serving: Serving, scale: Scale) -> dict[tuple[str, Counterpart], list[Rate]]:
    """By the client and the algorithm."""
    subjects = [f"user:{number}" for number in range(SHARED)]
    redis = open_redis(serving.redis_socket)
    pool: Any = redis.connection_pool  # `limits` has no type for it
    async with AsyncClient(serving.address) as client, redis:
        storage = RedisStorage("async+redis://", implementation="redispy", connection_pool=pool)
        calls: dict[tuple[str, Counterpart], Callable[[str], Awaitable[object]]] = {}
        for one in COUNTERPARTS:
            item = RateLimitItemPerHour(PER_HOUR, namespace=one.algorithm)
            calls[COALESCED, one] = partial(client.acquire, rule=one.algorithm.value)
            calls["limits", one] = partial(one.limiter(storage).hit, item)
        for (name, one), call in calls.items():
            assert await call(subjects[0]), (name, one)
        turns: dict[tuple[str, Counterpart], Turn] = {
            key: partial(from_coroutines, call, subjects, scale.callers)
            for key, call in calls.items()
        }
        return await interleaved(turns, scale, "clients: acquire")


def _acquire_lines(
    acquires: Mapping[tuple[str, Counterpart], list[Rate]], scale: Scale
) -> Iterator[Line]:
    for one in COUNTERPARTS:
        ours, theirs = acquires[COALESCED, one], acquires["limits", one]
        yield Line(
            f"Acquires of {one.algorithm} from {scale.callers} coroutines, against the {one.what} "
            "of `limits`",
            str(median(ours)),
            str(median(theirs)),
            f"{ratio(ours, theirs):.1f}",
        )
