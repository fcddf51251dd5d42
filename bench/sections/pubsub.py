"""Channels: what subscribers keep in a worker, what giving them messages costs, and a Publish
beside a Get."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import grpc.aio
import redis.asyncio
import uvloop
from pantler.v1 import cache_pb2, cache_pb2_grpc, pubsub_pb2, pubsub_pb2_grpc

from bench.report import Line, rounds
from bench.sections.watchers import processor_s_of
from bench.servers import LOAD_CPU, NAMESPACE, SERVER_CPU
from bench.serving import Serving, memory_bytes

SUBSCRIBERS = 1_000
CONNECTIONS = 20
MESSAGES = 50
CALLS = 2_000
AT_ONCE = 50
ROUNDS = 3
PAYLOAD = bytes(100)
CONFIG = f"namespaces: {{{NAMESPACE}: {{}}, kept: {{channels: {{history: {{}}}}}}}}\n"


class Measured(NamedTuple):
    """What a round came to."""

    kept_bytes: int
    processor_s: float
    """Of the worker, for each message to each subscriber."""
    given_s: float
    """For each message to each subscriber, all of the way."""
    redis_py_s: float
    """The same, by redis-py's subscriptions to the same Redis."""
    get_s: float
    publish_s: float
    kept_publish_s: float


def subscribers() -> Iterator[Line]:
    """The memory of subscribers in a worker, gRPC's included; messages to all of them; a Publish
    beside a Get."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "pantler.yaml"
        config.write_text(CONFIG)
        for _ in rounds(ROUNDS, "subscribers"):
            with Serving("--config", str(config), cpu=SERVER_CPU) as serving:
                serving.valkey.cpu_affinity([LOAD_CPU])
                found.append(uvloop.run(_measure(serving)))
    median = Measured(*map(statistics.median, zip(*found, strict=True)))
    crowd = f"{SUBSCRIBERS:,} subscribers of a worker"
    yield Line(
        f"{crowd}: memory of the worker",
        f"{median.kept_bytes / 2**20:.1f} MiB, {median.kept_bytes / SUBSCRIBERS / 2**10:.1f} KiB "
        "each",
        wanted="20 MiB",
    )
    yield Line(
        f"{crowd}: its processor for a message to each", f"{median.processor_s * 1e6:.0f} µs each"
    )
    yield Line(
        f"{crowd}: messages given",
        f"{1 / median.given_s:,.0f}/s",
        f"redis-py {1 / median.redis_py_s:,.0f}/s",
        f"{median.redis_py_s / median.given_s:.2f}",
    )
    for what, took_s in (("", median.publish_s), (" with a history", median.kept_publish_s)):
        yield Line(
            f"Publish{what}, {AT_ONCE} at once",
            f"{1 / took_s:,.0f}/s",
            f"Get {1 / median.get_s:,.0f}/s",
            f"{median.get_s / took_s:.2f}",
        )


async def _measure(serving: Serving) -> Measured:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(serving.address, options))
            for _ in range(CONNECTIONS)
        ]
        stubs: list[Any] = [pubsub_pb2_grpc.PubSubServiceStub(one) for one in channels]
        cache: Any = cache_pb2_grpc.CacheServiceStub(channels[0])
        get = cache_pb2.GetRequest(namespace=NAMESPACE, key="k")
        makes = [
            lambda: cache.Get(get),
            lambda: stubs[0].Publish(_message(NAMESPACE)),
            lambda: stubs[0].Publish(_message("kept")),
        ]
        for make in makes:
            await _call_s(make)  # the first calls of a server are slow
        took_s = [await _call_s(make) for make in makes]
        given = await _given(serving, stubs)
        return Measured(*given, await _by_redis_py(serving), *took_s)


async def _given(serving: Serving, stubs: list[Any]) -> tuple[int, float, float]:
    request = pubsub_pb2.SubscribeRequest(namespace=NAMESPACE, channels=["c"])
    request.heartbeat_interval.FromSeconds(60)
    for stub in stubs:  # what a connection takes is not a subscriber's
        warm = stub.Subscribe(request)
        await warm.read()
        warm.cancel()
    before_bytes = memory_bytes(serving.worker)
    calls = [stubs[number % CONNECTIONS].Subscribe(request) for number in range(SUBSCRIBERS)]
    for call in calls:
        await call.read()
    kept_bytes = memory_bytes(serving.worker) - before_bytes
    began, began_s = time.perf_counter(), processor_s_of(serving.worker)
    await asyncio.gather(
        *(stubs[0].Publish(_message(NAMESPACE)) for _ in range(MESSAGES)), *map(_read, calls)
    )
    given = MESSAGES * SUBSCRIBERS
    took_s = (time.perf_counter() - began) / given
    used_s = (processor_s_of(serving.worker) - began_s) / given
    for call in calls:
        call.cancel()
    return kept_bytes, used_s, took_s


async def _read(call: Any) -> None:
    for _ in range(MESSAGES):
        event = await call.read()
        assert event.HasField("message")


async def _by_redis_py(serving: Serving) -> float:
    async with AsyncExitStack() as stack:
        path = serving.redis_socket
        publisher = await stack.enter_async_context(redis.asyncio.Redis(unix_socket_path=path))
        subscriptions = []
        for _ in range(SUBSCRIBERS):
            client = await stack.enter_async_context(redis.asyncio.Redis(unix_socket_path=path))
            subscription = await stack.enter_async_context(client.pubsub())
            await subscription.subscribe("bench")
            await subscription.get_message(timeout=5)  # that it is done
            subscriptions.append(subscription)

        async def read(subscription: Any) -> None:
            for _ in range(MESSAGES):
                assert await subscription.get_message(timeout=60)

        began = time.perf_counter()
        await asyncio.gather(
            *(publisher.publish("bench", PAYLOAD) for _ in range(MESSAGES)),
            *map(read, subscriptions),
        )
        return (time.perf_counter() - began) / MESSAGES / SUBSCRIBERS


async def _call_s(make: Any) -> float:
    """The time of a call, of those that are made at once."""

    async def some() -> None:
        for _ in range(CALLS // AT_ONCE):
            await make()

    began = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return (time.perf_counter() - began) / CALLS


def _message(namespace: str) -> pubsub_pb2.PublishRequest:
    return pubsub_pb2.PublishRequest(namespace=namespace, channel="c", payload=PAYLOAD)
