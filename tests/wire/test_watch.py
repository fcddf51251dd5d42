"""WatchInvalidations through a real channel: its messages, what it refuses, and how it ends."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc.aio
import pytest
from pantler.v1 import (
    cache_pb2,
    cache_pb2_grpc,
    errors_pb2,
    invalidation_pb2,
    invalidation_pb2_grpc,
)

from tests.servers.pantler import PantlerServer
from tests.servers.valkey import ValkeyServer
from tests.wire.test_cache_service import details, violations

_numbers = count()
HARD = invalidation_pb2.INVALIDATION_MODE_HARD
SOFT = invalidation_pb2.INVALIDATION_MODE_SOFT


def ask(*namespaces: str, **said: Any) -> invalidation_pb2.WatchInvalidationsRequest:
    return invalidation_pb2.WatchInvalidationsRequest(namespaces=namespaces, **said)


@pytest.fixture
def invalidation(channel: grpc.aio.Channel) -> Any:
    return invalidation_pb2_grpc.InvalidationServiceStub(channel)


@pytest.fixture
def namespace() -> str:
    return f"watch{next(_numbers)}"


@asynccontextmanager
async def watch(stub: Any, *namespaces: str, **said: Any) -> AsyncIterator[Any]:
    """A call whose first message was read, and is its `first`."""
    call = stub.WatchInvalidations(ask(*namespaces, **said))
    try:
        call.first = await call.read()
        yield call
    finally:
        call.cancel()


async def events(call: Any, wanted: int) -> list[Any]:
    """So many, past heartbeats."""
    told: list[Any] = []
    async with asyncio.timeout(10):
        while len(told) < wanted:
            message = await call.read()
            assert not message.gaps
            told += message.events
    return told


async def to_the_end(call: Any) -> None:
    async with asyncio.timeout(10):
        while True:
            await call.read()


async def test_every_kind_of_event(invalidation: Any, namespace: str) -> None:
    async with watch(invalidation, namespace) as call:
        assert not call.first.events
        assert not call.first.gaps
        assert call.first.resume_token
        named: dict[str, Any] = {"namespace": namespace}
        await invalidation.InvalidateKeys(
            invalidation_pb2.InvalidateKeysRequest(keys=["k"], mode=SOFT, **named)
        )
        await invalidation.InvalidateKeys(
            invalidation_pb2.InvalidateKeysRequest(keys=["k"], cascade=True, **named)
        )
        await invalidation.InvalidateTags(
            invalidation_pb2.InvalidateTagsRequest(tags=["t"], **named)
        )
        await invalidation.InvalidateNamespace(invalidation_pb2.InvalidateNamespaceRequest(**named))
        older = invalidation_pb2.InvalidateOlderThanRequest(**named)
        older.created_before.FromMicroseconds(1_700_000_000_000_001)
        await invalidation.InvalidateOlderThan(older)
        walk = invalidation.InvalidatePattern(
            invalidation_pb2.InvalidatePatternRequest(pattern="k*", **named)
        )
        assert [one async for one in walk][-1].done
        told = await events(call, 7)
    event = invalidation_pb2.InvalidationEvent
    assert told == [
        event(key="k", mode=SOFT, **named),
        event(key="k", mode=HARD, **named),
        event(dependency="k", mode=HARD, **named),
        event(tag="t", mode=HARD, **named),
        event(all=True, mode=HARD, **named),
        event(created_before=older.created_before, mode=HARD, **named),
        event(pattern="k*", mode=HARD, **named),
    ]


async def test_heartbeats_come_at_the_interval(invalidation: Any, namespace: str) -> None:
    async with watch(invalidation, namespace, heartbeat_interval={"seconds": 1}) as call:
        began = time.monotonic()
        heartbeat = await call.read()
        assert 0.9 < time.monotonic() - began < 1.9
        assert not heartbeat.events
        assert not heartbeat.gaps
        assert heartbeat.resume_token


@pytest.mark.parametrize(
    ("request_", "paths"),
    [
        (ask(), ["namespaces"]),
        (ask(*(f"n{number}" for number in range(101))), ["namespaces"]),
        (ask("good", "Bad", ""), ["namespaces[1]", "namespaces[2]"]),
        (
            ask("n", heartbeat_interval={"nanos": 999_000_000}, resume_token="x"),
            ["heartbeat_interval", "resume_token"],
        ),
        (ask("n", heartbeat_interval={"seconds": 61}), ["heartbeat_interval"]),
        (ask("n", heartbeat_interval={"seconds": -1}), ["heartbeat_interval"]),
    ],
)
async def test_what_is_wrong_is_refused(
    invalidation: Any, request_: invalidation_pb2.WatchInvalidationsRequest, paths: list[str]
) -> None:
    assert list(await violations(invalidation.WatchInvalidations(request_).read())) == paths


async def test_a_token_of_other_namespaces_is_refused(invalidation: Any, namespace: str) -> None:
    async with watch(invalidation, namespace) as call:
        token = call.first.resume_token
    async with watch(invalidation, namespace, namespace, resume_token=token) as call:
        assert not call.first.gaps  # a name twice is one
    for wrong in (ask("other", resume_token=token), ask(namespace, "other", resume_token=token)):
        found = await violations(invalidation.WatchInvalidations(wrong).read())
        assert found == {"resume_token": "is the token of a watch over other namespaces"}


async def test_a_token_of_another_server_is_refused(invalidation: Any, namespace: str) -> None:
    async with watch(invalidation, namespace) as call:
        token = call.first.resume_token
    async with (
        PantlerServer() as other,
        grpc.aio.insecure_channel(other.address) as other_channel,
    ):
        stub: Any = invalidation_pb2_grpc.InvalidationServiceStub(other_channel)
        found = await violations(stub.WatchInvalidations(ask(namespace, resume_token=token)).read())
        assert "another deployment" in found["resume_token"]


async def metric(server: PantlerServer, name: str) -> float:
    def read() -> str:
        with urlopen(f"http://{server.http_address}/metrics") as answer:
            return str(answer.read().decode())

    found = re.search(rf"^{name} (\S+)$", await asyncio.to_thread(read), re.MULTILINE)
    return float(found[1]) if found else 0.0


async def until_metric(server: PantlerServer, name: str, wanted: float) -> None:
    async with asyncio.timeout(10):
        while await metric(server, name) != wanted:
            await asyncio.sleep(0.05)


async def test_a_watch_that_is_cancelled_is_over(
    server: PantlerServer, invalidation: Any, namespace: str
) -> None:
    async with watch(invalidation, namespace), watch(invalidation, namespace):
        await until_metric(server, "pantler_watchers", 2)
    await until_metric(server, "pantler_watchers", 0)


async def test_a_slow_reader_gets_a_gap_and_goes_on(invalidation: Any, namespace: str) -> None:
    """It reads nothing until more was invalidated than connection and worker keep for it."""
    tags = [f"{number:0250}" for number in range(1000)]
    async with watch(invalidation, namespace) as slow, watch(invalidation, namespace) as fast:
        for number in range(45):
            renamed = [f"{number:03}{tag}" for tag in tags]
            await invalidation.InvalidateTags(
                invalidation_pb2.InvalidateTagsRequest(namespace=namespace, tags=renamed)
            )
            await events(fast, 1000)
        await invalidation.InvalidateTags(
            invalidation_pb2.InvalidateTagsRequest(namespace=namespace, tags=["last"])
        )
        gaps = told = 0
        async with asyncio.timeout(30):
            while True:
                message = await slow.read()
                gaps += len(message.gaps)
                told += len(message.events)
                if any(event.tag == "last" for event in message.events):
                    break
        assert gaps >= 1
        assert told < 45_000


async def test_a_restart_of_the_server_loses_nothing(tmp_path: Path) -> None:
    """It ends the watch with a reason, and a watch with its token tells what came meanwhile."""
    config = tmp_path / "pantler.yaml"
    async with ValkeyServer() as redis:
        config.write_text(
            f"redis: {{url: {redis.url}}}\nstrict_namespaces: true\n"
            "namespaces: {n: {near_cache: true}}\n"
        )
        async with (
            PantlerServer(config=config) as server,
            PantlerServer(config=config) as writer,
            grpc.aio.insecure_channel(server.address) as channel,
            grpc.aio.insecure_channel(writer.address) as other_channel,
        ):
            stub: Any = invalidation_pb2_grpc.InvalidationServiceStub(channel)
            cache: Any = cache_pb2_grpc.CacheServiceStub(other_channel)

            async def write(key: str) -> None:
                await cache.Set(cache_pb2.SetRequest(namespace="n", key=key))

            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await stub.WatchInvalidations(ask("n", "unknown")).read()
            assert failed.value.code() is grpc.StatusCode.NOT_FOUND
            async with watch(stub, "n") as call:
                await write("before")
                token = call.first.resume_token
                while not (message := await call.read()).events:
                    token = message.resume_token
                token = message.resume_token
                began = time.monotonic()
                await server.stop()
                with pytest.raises(grpc.aio.AioRpcError) as ended:
                    await to_the_end(call)
                assert time.monotonic() - began < 5
                assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
                reason = errors_pb2.ERROR_REASON_SHUTTING_DOWN
                info = details(ended.value)["ErrorInfo"]
                assert info.reason == errors_pb2.ErrorReason.Name(reason)
            await write("between")
            async with (
                PantlerServer(config=config) as again,
                grpc.aio.insecure_channel(again.address) as new_channel,
            ):
                stub = invalidation_pb2_grpc.InvalidationServiceStub(new_channel)
                async with watch(stub, "n", resume_token=token) as call:
                    assert not call.first.gaps
                    await write("after")
                    told = await events(call, 2)
                    assert [event.written_key for event in told] == ["between", "after"]


async def test_after_a_flush_a_watch_gives_tokens_that_hold(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    async with ValkeyServer() as redis:
        config.write_text(f"redis: {{url: {redis.url}}}\n")
        async with (
            PantlerServer(config=config) as server,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            stub: Any = invalidation_pb2_grpc.InvalidationServiceStub(channel)
            async with watch(stub, "n") as call, asyncio.timeout(10):
                await redis.execute("FLUSHALL")
                while not (message := await call.read()).gaps:
                    pass
            async with watch(stub, "n", resume_token=message.resume_token) as call:
                assert not call.first.gaps


@pytest.mark.component("grpcurl")
async def test_it_answers_through_grpcurl(server: PantlerServer, namespace: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *("grpcurl", "-plaintext", "-d", json.dumps({"namespaces": [namespace]})),
        *(server.address, "pantler.v1.InvalidationService/WatchInvalidations"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(10):
        first = await process.stdout.readuntil(b"}\n")
    process.terminate()
    await process.communicate()
    assert list(json.loads(first)) == ["resumeToken"]
