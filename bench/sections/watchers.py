"""Many who watch one worker: what they keep there, and what telling them all costs."""

import asyncio
import statistics
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import grpc.aio
import psutil
import uvloop
from pantler.v1 import invalidation_pb2, invalidation_pb2_grpc

from bench.report import Line, rounds
from bench.servers import LOAD_CPU, NAMESPACE, SERVER_CPU
from bench.serving import Serving, memory_bytes

WATCHERS = 1_000
CHANNELS = 20
INVALIDATIONS = 50
ROUNDS = 3


class Watched(NamedTuple):
    """What so many watchers came to."""

    kept_bytes: int
    processor_s: float
    """Of the worker, for each message to each watcher."""
    told_s: float
    """From the call of an invalidation until the last watcher had read it."""


def watchers() -> Iterator[Line]:
    """The memory of watchers in a worker, gRPC's included, and the cost of telling each of one
    invalidation."""
    found = []
    for _ in rounds(ROUNDS, "watchers"):
        with Serving(cpu=SERVER_CPU) as serving:
            serving.valkey.cpu_affinity([LOAD_CPU])
            found.append(uvloop.run(_watch(serving)))
    kept = statistics.median(one.kept_bytes for one in found)
    processor_s = statistics.median(one.processor_s for one in found)
    told_s = statistics.median(one.told_s for one in found)
    crowd = f"{WATCHERS:,} watchers of a worker"
    yield Line(
        f"{crowd}: memory of the worker",
        f"{kept / 2**20:.1f} MiB, {kept / WATCHERS / 2**10:.1f} KiB each",
    )
    yield Line(f"{crowd}: its processor for a message to each", f"{processor_s * 1e6:.0f} µs each")
    yield Line(
        f"{crowd}: from an invalidation's call until all have read it", f"{told_s * 1000:.0f} ms"
    )


async def _watch(serving: Serving) -> Watched:
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(serving.address, options) for _ in range(CHANNELS)]
    stubs: list[Any] = [invalidation_pb2_grpc.InvalidationServiceStub(one) for one in channels]
    request = invalidation_pb2.WatchInvalidationsRequest(namespaces=[NAMESPACE])
    request.heartbeat_interval.FromSeconds(60)
    for stub in stubs:  # what a connection takes is not a watcher's
        warm = stub.WatchInvalidations(request)
        await warm.read()
        warm.cancel()
    worker = serving.worker
    before_bytes = memory_bytes(worker)
    calls = [stubs[number % CHANNELS].WatchInvalidations(request) for number in range(WATCHERS)]
    for call in calls:
        await call.read()
    kept_bytes = memory_bytes(worker) - before_bytes
    took_s = []
    began_s = processor_s_of(worker)
    for number in range(INVALIDATIONS):
        invalidate = invalidation_pb2.InvalidateTagsRequest(
            namespace=NAMESPACE, tags=[f"t{number}"]
        )
        began = time.perf_counter()
        await asyncio.gather(stubs[0].InvalidateTags(invalidate), *map(_told, calls))
        took_s.append(time.perf_counter() - began)
    processor_s = (processor_s_of(worker) - began_s) / INVALIDATIONS / WATCHERS
    for call in calls:
        call.cancel()
    for channel in channels:
        await channel.close()
    return Watched(kept_bytes, processor_s, statistics.median(took_s))


async def _told(call: Any) -> None:
    while not (message := await call.read()).events:
        assert not message.gaps


def processor_s_of(process: psutil.Process) -> float:
    """What it has used."""
    times = process.cpu_times()
    return times.user + times.system
