"""Programs that call a server many times at once, each a process with one channel.

All are on the processor of the load, and all begin at the same moment.
"""

import asyncio
import multiprocessing
import os
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from multiprocessing.synchronize import Barrier
from typing import Any, NamedTuple, Self

import grpc.aio
from pantler.v1 import cache_pb2, cache_pb2_grpc

from bench.servers import LOAD_CPU, NAMESPACE, VALUE

FETCH_S = 0.1
TIMEOUT_S = 30.0  # beyond what a call takes: only a defect meets it

Caller = Callable[[], Awaitable[bool]]
"""One call; whether it had to fetch."""

_together: Barrier  # of all programs, in each of them


class Burst(NamedTuple):
    """What calls that were made at once came to."""

    began_s: float
    ended_s: float
    """When the last was answered. Both are of the monotonic clock, which processes share."""
    fetches: int

    @property
    def took_s(self) -> float:
        return self.ended_s - self.began_s


class Programs:
    """So many programs, from the beginning of the block to its end."""

    def __init__(self, count: int) -> None:
        spawn = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
        self._count = count
        self._pool = spawn.Pool(count, _join, (spawn.Barrier(count),))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.terminate()
        self._pool.join()

    def echoes(self, address: str, calls: int) -> Burst:
        """So many calls of a bare server in all."""
        return self.burst(_echoes, address, calls, "echo")

    def stampede(self, address: str, calls: int, key: str) -> Burst:
        """So many calls in all for one key of Pantler, which is fetched in FETCH_S."""
        return self.burst(_stampede, address, calls, key)

    def burst(self, program: Callable[..., Burst], address: str, calls: int, key: str) -> Burst:
        """So many calls in all. Each program is given its share of them, and meets the others
        before the first."""
        orders = [(address, calls // self._count, key)] * self._count
        bursts = self._pool.starmap(program, orders, chunksize=1)
        return Burst(
            min(one.began_s for one in bursts),
            max(one.ended_s for one in bursts),
            sum(one.fetches for one in bursts),
        )


def _join(together: Barrier) -> None:
    global _together
    _together = together
    os.sched_setaffinity(0, {LOAD_CPU})


def meet() -> None:
    """Waits until all programs are here."""
    _together.wait(TIMEOUT_S)


def _echoes(address: str, calls: int, key: str) -> Burst:
    return asyncio.run(_at_once(address, calls, key, _echo))


def _stampede(address: str, calls: int, key: str) -> Burst:
    return asyncio.run(_at_once(address, calls, key, _get_or_fetch))


async def _at_once(
    address: str, calls: int, key: str, caller_of: Callable[[grpc.aio.Channel, str], Caller]
) -> Burst:
    async with grpc.aio.insecure_channel(address) as channel:
        caller = caller_of(channel, key)
        await channel.channel_ready()
        meet()
        began_s = time.monotonic()
        fetched = await asyncio.gather(*(caller() for _ in range(calls)))
        return Burst(began_s, time.monotonic(), sum(fetched))


def _echo(channel: grpc.aio.Channel, key: str) -> Caller:
    request = cache_pb2.GetRequest(namespace=NAMESPACE, key=key)
    echo: Any = channel.unary_unary(
        "/bench.Bare/Echo",
        request_serializer=cache_pb2.GetRequest.SerializeToString,
        response_deserializer=cache_pb2.GetRequest.FromString,
    )

    async def call() -> bool:
        await echo(request, timeout=TIMEOUT_S)
        return False

    return call


def _get_or_fetch(channel: grpc.aio.Channel, key: str) -> Caller:
    lease = cache_pb2.LeaseRequest(ttl=timedelta(seconds=10), wait=timedelta(seconds=10))
    request = cache_pb2.GetRequest(namespace=NAMESPACE, key=key, lease=lease)
    cache: Any = cache_pb2_grpc.CacheServiceStub(channel)

    async def call() -> bool:
        found = await cache.Get(request, timeout=TIMEOUT_S)
        if found.hit.entry.value == VALUE:
            return False
        await asyncio.sleep(FETCH_S)
        fill = cache_pb2.SetRequest(
            namespace=NAMESPACE, key=key, value=VALUE, fill_token=found.miss.lease.token
        )
        stored = await cache.Set(fill, timeout=TIMEOUT_S)
        assert stored.outcome == cache_pb2.SET_OUTCOME_STORED
        return True

    return call
