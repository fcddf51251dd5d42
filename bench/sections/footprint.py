"""How soon Pantler is there, and what it keeps."""

import statistics
from collections.abc import Iterator

import grpc
from pantler.v1 import cache_pb2, cache_pb2_grpc
from redis import Redis
from rich.progress import track

from bench.report import Line, console, rounds
from bench.servers import NAMESPACE, VALUE
from bench.serving import Serving, memory_bytes

ENTRIES = 1_000_000


def start() -> Iterator[Line]:
    """How soon it serves, and what it keeps resident when idle."""
    ready_s, worker_bytes = [], []
    for _ in rounds(5, "start"):
        with Serving() as serving:
            ready_s.append(serving.ready_s)
            worker_bytes.append(memory_bytes(serving.worker))
    ready = statistics.median(ready_s)
    yield Line("Ready after the start", f"{ready:.2f} s", wanted="<= 1.5 s")
    idle = statistics.median(worker_bytes) / 2**20
    yield Line("Memory of an idle worker", f"{idle:.0f} MiB", wanted="<= 120 MiB")


def memory() -> Iterator[Line]:
    """What a million entries of 100 B take in Redis, against SET … PX of the same keys."""

    def used(redis: Redis) -> int:
        return int(redis.info("memory")["used_memory"])

    with Serving() as serving, grpc.insecure_channel(serving.address) as channel:
        cache = cache_pb2_grpc.CacheServiceStub(channel)
        with Redis(unix_socket_path=serving.redis_socket) as redis:
            empty = used(redis)
            for first in track(range(0, ENTRIES, 1000), "memory", console=console, transient=True):
                entries = [
                    cache_pb2.BatchSetEntry(key=f"user:{number}", value=VALUE)
                    for number in range(first, first + 1000)
                ]
                request = cache_pb2.BatchSetRequest(namespace=NAMESPACE, entries=entries)
                cache.BatchSet(request, timeout=60)
            ours = used(redis) - empty
            redis.execute_command("FLUSHALL", "SYNC")
            empty = used(redis)
            for first in range(0, ENTRIES, 1000):
                pipeline = redis.pipeline(transaction=False)
                for number in range(first, first + 1000):
                    pipeline.set(f"user:{number}", VALUE, px=3_600_000)
                pipeline.execute()
            raw = used(redis) - empty
    yield Line(
        "Memory of an entry of 100 B, against SET … PX",
        f"{ours / ENTRIES:.0f} B",
        f"{raw / ENTRIES:.0f} B",
        f"{ours / raw:.2f}",
        "<= 1.6",
    )
