"""Reads side by side with the least that the same stack can do."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator

import uvloop
from pantler.v1 import cache_pb2
from pantler_server.store.request import read
from pantler_server.worker_process import GRPC_EXPERIMENTS
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis

from bench.engine import deadline, open_engine
from bench.load import Target, calls_per_second
from bench.report import Line, rounds
from bench.servers import KEYS, LOAD_CPU, NAMESPACE, bare_server, filled_server

ROUNDS = 9
SECONDS = 3
CONNECTIONS = 64  # of redis-py, one for each coroutine


def paired(what: str, first: Target, second: Target) -> tuple[float, float, float]:
    """The medians of two methods' calls a second, measured in turn, and of their ratios."""
    rates = [
        tuple(calls_per_second(target, SECONDS, LOAD_CPU) for target in (first, second))
        for _ in rounds(ROUNDS, what)
    ]
    ratios = [one / other for one, other in rates]
    return (
        *(statistics.median(column) for column in zip(*rates, strict=True)),
        statistics.median(ratios),
    )


def unary_get() -> Iterator[Line]:
    """A Get that hits, through the whole server with metrics, against a bare echo: as grpc.aio
    comes, and with the settings of Pantler's workers, which make both faster."""
    get = cache_pb2.GetRequest(namespace=NAMESPACE, key=KEYS[0])
    for label, experiments in (("", ""), (" with our gRPC settings", GRPC_EXPERIMENTS)):
        with filled_server() as serving, bare_server(serving.redis_socket, experiments) as bare:
            pantler, echo, ratio = paired(
                f"Get{label}",
                Target(serving.address, "pantler.v1.CacheService/Get", get),
                Target(bare, "bench.Bare/Echo", get),
            )
        wanted = "" if experiments else ">= 0.75"
        yield Line(
            f"Get, hit, against a bare grpc.aio echo{label}",
            f"{pantler:,.0f}/s",
            f"{echo:,.0f}/s",
            f"{ratio:.2f}",
            wanted,
        )


def batch_get() -> Iterator[Line]:
    """BatchGet of 100 keys that hit, against a bare handler with one MGET."""
    request = cache_pb2.BatchGetRequest(namespace=NAMESPACE, keys=KEYS)
    with filled_server() as serving, bare_server(serving.redis_socket, GRPC_EXPERIMENTS) as bare:
        pantler, mget, ratio = paired(
            "BatchGet",
            Target(serving.address, "pantler.v1.CacheService/BatchGet", request),
            Target(bare, "bench.Bare/MultiGet", request),
        )
    yield Line(
        f"BatchGet of {len(KEYS)}, against a bare handler with one MGET",
        f"{pantler * len(KEYS):,.0f} keys/s",
        f"{mget * len(KEYS):,.0f} keys/s",
        f"{ratio:.2f}",
        ">= 0.7",
    )


def redis_py() -> Iterator[Line]:
    """Gets straight to Redis from 64 coroutines: Pantler's link, against redis-py's pool of 64."""

    async def gets_per_second(get: Callable[[], Awaitable[object]]) -> float:
        done = 0
        until = time.perf_counter() + SECONDS

        async def caller() -> None:
            nonlocal done
            while time.perf_counter() < until:
                await get()
                done += 1

        await asyncio.gather(*(caller() for _ in range(CONNECTIONS)))
        return done / SECONDS

    async def run(path: str) -> tuple[float, float]:
        pool = BlockingConnectionPool.from_url(f"unix://{path}", max_connections=CONNECTIONS)
        redis = AsyncRedis(connection_pool=pool)
        request = read(0, KEYS[0], ("GET", KEYS[0]))
        async with open_engine(path) as engine:
            rates = (
                await gets_per_second(lambda: engine.store.call(request, deadline())),
                await gets_per_second(lambda: redis.get(KEYS[0])),
            )
        await redis.aclose()
        await pool.aclose()
        return rates

    with filled_server() as serving:
        rates = [uvloop.run(run(serving.redis_socket)) for _ in rounds(3, "redis-py")]
    link, driver = (statistics.median(column) for column in zip(*rates, strict=True))
    ratio = statistics.median(ours / theirs for ours, theirs in rates)
    yield Line(
        "The link to Redis alone, against redis-py with 64 connections",
        f"{link:,.0f} gets/s",
        f"{driver:,.0f} gets/s",
        f"{ratio:.1f}",
    )
