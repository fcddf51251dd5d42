"""`make bench`: Pantler side by side with what a user would pick instead.

Every figure is a ratio of two things measured in turn in one run, since the machine's speed drifts.
The servers have one processor, the load and Redis the other. Give names of sections to run only
those.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import uvloop
from pantler.v1 import cache_pb2, cache_pb2_grpc
from pantler_server.core.config import RedisConfig
from pantler_server.store.open import open_store
from pantler_server.store.request import read
from pantler_server.worker_process import GRPC_EXPERIMENTS
from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.load import Target, calls_per_second
from bench.serving import Serving, memory_bytes

SERVER_CPU, LOAD_CPU = 0, 1
ROUNDS = 9
SECONDS = 3
VALUE = b"x" * 100
BATCH = 100
MEMORY_ENTRIES = 1_000_000
NAMESPACE = "bench"

console = Console()


@dataclass(frozen=True, slots=True)
class Line:
    """A figure, beside what it is compared with and what it is to reach."""

    what: str
    measured: str
    compared: str
    ratio: str
    wanted: str


@contextmanager
def bare_server(redis_socket: str, experiments: str) -> Iterator[str]:
    """The address of a grpc.aio server that does nothing else, on the processor of the servers."""
    port = 50990 + (experiments == "")
    command = [
        *("taskset", "--cpu-list", str(SERVER_CPU)),
        *(sys.executable, "-m", "bench.bare_server", str(port), redis_socket),
    ]
    env = {"GRPC_EXPERIMENTS": experiments, "GRPC_VERBOSITY": "ERROR"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=env)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def filled_server() -> Iterator[Serving]:
    """Pantler on one processor and its Valkey on the other, with the keys that are asked for."""
    with Serving(cpu=SERVER_CPU) as serving:
        serving.valkey.cpu_affinity([LOAD_CPU])
        with grpc.insecure_channel(serving.address) as channel:
            entries = [cache_pb2.BatchSetEntry(key=key, value=VALUE) for key in keys(BATCH)]
            request = cache_pb2.BatchSetRequest(namespace=NAMESPACE, entries=entries)
            cache_pb2_grpc.CacheServiceStub(channel).BatchSet(request)
        with Redis(unix_socket_path=serving.redis_socket) as redis:
            redis.mset(dict.fromkeys(keys(BATCH), VALUE))
        yield serving


def keys(count: int) -> list[str]:
    return [f"user:{number}" for number in range(count)]


def paired(what: str, first: Target, second: Target) -> tuple[float, float, float]:
    """The medians of two methods' calls a second, measured in turn, and of their ratios."""
    rates = [
        tuple(calls_per_second(target, SECONDS, LOAD_CPU) for target in (first, second))
        for _ in track(range(ROUNDS), what, console=console, transient=True)
    ]
    ratios = [one / other for one, other in rates]
    return (
        *(statistics.median(column) for column in zip(*rates, strict=True)),
        statistics.median(ratios),
    )


def unary_get() -> Iterator[Line]:
    """A Get that hits, through the whole server with metrics, against a bare echo: as grpc.aio
    comes, and with the settings of Pantler's workers, which make both faster."""
    get = cache_pb2.GetRequest(namespace=NAMESPACE, key="user:1")
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
    request = cache_pb2.BatchGetRequest(namespace=NAMESPACE, keys=keys(BATCH))
    with filled_server() as serving, bare_server(serving.redis_socket, GRPC_EXPERIMENTS) as bare:
        pantler, mget, ratio = paired(
            "BatchGet",
            Target(serving.address, "pantler.v1.CacheService/BatchGet", request),
            Target(bare, "bench.Bare/MultiGet", request),
        )
    yield Line(
        "BatchGet of 100, against a bare handler with one MGET",
        f"{pantler * BATCH:,.0f} keys/s",
        f"{mget * BATCH:,.0f} keys/s",
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

        await asyncio.gather(*(caller() for _ in range(64)))
        return done / SECONDS

    async def run(path: str) -> tuple[float, float]:
        pool = BlockingConnectionPool.from_url(f"unix://{path}", max_connections=64)
        redis = AsyncRedis(connection_pool=pool)
        store = open_store("cache", RedisConfig(), Path(path))
        await store.start()
        request = read(0, "user:1", ("GET", "user:1"))
        rates = (
            await gets_per_second(lambda: store.call(request, time.monotonic() + 5)),
            await gets_per_second(lambda: redis.get("user:1")),
        )
        await store.stop()
        await redis.aclose()
        await pool.aclose()
        return rates

    with filled_server() as serving:
        rates = [uvloop.run(run(serving.redis_socket)) for _ in range(3)]
    link, driver = (statistics.median(column) for column in zip(*rates, strict=True))
    ratio = statistics.median(ours / theirs for ours, theirs in rates)
    yield Line(
        "The link to Redis alone, against redis-py with 64 connections",
        f"{link:,.0f} gets/s",
        f"{driver:,.0f} gets/s",
        f"{ratio:.1f}",
        "",
    )


def start() -> Iterator[Line]:
    """How soon it serves, and what it keeps resident when idle."""
    ready_s, worker_bytes = [], []
    for _ in track(range(5), "start", console=console, transient=True):
        with Serving() as serving:
            ready_s.append(serving.ready_s)
            worker_bytes.append(memory_bytes(serving.worker))
    yield Line("Ready after the start", f"{statistics.median(ready_s):.2f} s", "", "", "<= 1.5 s")
    idle = statistics.median(worker_bytes) / 2**20
    yield Line("Memory of an idle worker", f"{idle:.0f} MiB", "", "", "<= 120 MiB")


def memory() -> Iterator[Line]:
    """What a million entries of 100 B take in Redis, against SET … PX of the same keys."""

    def used(redis: Redis) -> int:
        return int(redis.info("memory")["used_memory"])

    with Serving() as serving, grpc.insecure_channel(serving.address) as channel:
        cache = cache_pb2_grpc.CacheServiceStub(channel)
        with Redis(unix_socket_path=serving.redis_socket) as redis:
            empty = used(redis)
            for first in track(range(0, MEMORY_ENTRIES, 1000), "memory", console=console):
                entries = [
                    cache_pb2.BatchSetEntry(key=f"user:{number}", value=VALUE)
                    for number in range(first, first + 1000)
                ]
                request = cache_pb2.BatchSetRequest(namespace=NAMESPACE, entries=entries)
                cache.BatchSet(request, timeout=60)
            ours = used(redis) - empty
            redis.execute_command("FLUSHALL", "SYNC")
            empty = used(redis)
            for first in range(0, MEMORY_ENTRIES, 1000):
                pipeline = redis.pipeline(transaction=False)
                for number in range(first, first + 1000):
                    pipeline.set(f"user:{number}", VALUE, px=3_600_000)
                pipeline.execute()
            raw = used(redis) - empty
    yield Line(
        "Memory of an entry of 100 B, against SET … PX",
        f"{ours / MEMORY_ENTRIES:.0f} B",
        f"{raw / MEMORY_ENTRIES:.0f} B",
        f"{ours / raw:.2f}",
        "<= 1.6",
    )


SECTIONS: dict[str, Callable[[], Iterator[Line]]] = {
    "get": unary_get,
    "batch": batch_get,
    "redis-py": redis_py,
    "start": start,
    "memory": memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all if none")
    wanted = parser.parse_args().sections or list(SECTIONS)
    unknown = set(wanted) - set(SECTIONS)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    if (psutil.cpu_count() or 1) < 2:
        parser.error("needs two processors, one for the servers and one for the load")
    table = Table("what", "Pantler", "compared with", "ratio", "wanted", box=None)
    for name in wanted:
        for line in SECTIONS[name]():
            table.add_row(line.what, line.measured, line.compared, line.ratio, line.wanted)
    console.print(table)


if __name__ == "__main__":
    main()
