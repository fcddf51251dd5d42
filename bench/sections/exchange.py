"""What the server does for the SDK: Gets by CacheService/Exchange, many in each message."""

import statistics
import time
from asyncio import Runner
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import grpc.aio
import psutil
from pantler.v1 import cache_pb2, cache_pb2_grpc

from bench.rates import WARM_UP_S, Scale
from bench.report import Line, rounds
from bench.servers import NAMESPACE, VALUE
from bench.serving import Serving

FIRST_LEVEL = "first-level"
"""The namespace that has one."""
IN_FLIGHT = 4  # messages
SIZES = (128, 256, 1000)  # Gets of a message: about what the SDK sends, and the most
TIMEOUT_MS = 60_000  # beyond what a call takes: only a defect meets it
CLOCK_TICK_S = 0.01  # of the processor times: what a short turn takes at least
_SOURCES = {NAMESPACE: ("Redis", 150_000), FIRST_LEVEL: ("the first level", 300_000)}


class _Served(NamedTuple):
    """Gets a second of the clock, and of the worker's processor."""

    per_second: float
    per_cpu_second: float


def exchange(serving: Serving, scale: Scale, loop: Runner) -> Iterator[Line]:
    """A stream whose answers are not looked at, so that the worker is the slower side."""
    served = loop.run(_served(serving, scale))
    for (namespace, size), rates in served.items():
        source, wanted = _SOURCES[namespace]
        clock, cpu = (statistics.median(column) for column in zip(*rates, strict=True))
        yield Line(
            f"Exchange of {size:,} Gets a message, from {source}, on one core of the server",
            f"{cpu:,.0f}/s, worker cpu {1e6 / cpu:.1f} µs a get",
            f"as measured {clock:,.0f}/s",
            f"{cpu / wanted:.2f}",
            f">= {wanted:,}/s",
        )


async def _served(serving: Serving, scale: Scale) -> dict[tuple[str, int], list[_Served]]:
    """By the namespace and the size of a message."""
    found: dict[tuple[str, int], list[_Served]] = {one: [] for one in product(_SOURCES, SIZES)}
    worker, keys = serving.worker, [f"user:{number}" for number in range(max(SIZES))]
    async with grpc.aio.insecure_channel(serving.address) as channel:
        stub = cache_pb2_grpc.CacheServiceStub(channel)
        for namespace in _SOURCES:
            entries = [cache_pb2.BatchSetEntry(key=key, value=VALUE) for key in keys]
            await stub.BatchSet(cache_pb2.BatchSetRequest(namespace=namespace, entries=entries))
            await _turn(stub, worker, _message(namespace, keys), WARM_UP_S)
        for _ in rounds(scale.rounds, "clients: exchange"):
            for (namespace, size), rates in found.items():
                message = _message(namespace, keys[:size])
                rates.append(await _turn(stub, worker, message, scale.seconds))
    return found


def _message(namespace: str, keys: Sequence[str]) -> cache_pb2.ExchangeRequest:
    gets = cache_pb2.ExchangeGets(namespace=namespace, keys=keys)
    operation = cache_pb2.ExchangeOperation(timeout_ms=TIMEOUT_MS, gets=gets)
    return cache_pb2.ExchangeRequest(operations=[operation])


async def _turn(
    stub: "cache_pb2_grpc.CacheServiceAsyncStub",
    worker: psutil.Process,
    message: cache_pb2.ExchangeRequest,
    seconds: float,
) -> _Served:
    call = stub.Exchange()
    size, unanswered, answered = len(message.operations[0].gets.keys), 0, 0
    began, began_s = worker.cpu_times(), time.perf_counter()
    is_over = False
    while unanswered or not is_over:
        while not is_over and unanswered < size * IN_FLIGHT:
            await call.write(message)
            unanswered += size
        response: Any = await call.read()
        got = sum(len(result.hits.values) for result in response.results)
        assert got, response
        unanswered, answered = unanswered - got, answered + got
        is_over = time.perf_counter() - began_s >= seconds
    ended, took_s = worker.cpu_times(), time.perf_counter() - began_s
    call.cancel()
    cpu_s = ended.user + ended.system - began.user - began.system
    return _Served(answered / took_s, answered / max(cpu_s, CLOCK_TICK_S))
