"""PubSubService through a real channel: what it gives, what it refuses, and how it ends."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from pantler.v1 import errors_pb2, pubsub_pb2, pubsub_pb2_grpc

from tests.servers.pantler import PantlerServer
from tests.servers.valkey import ValkeyServer
from tests.wire.test_cache_service import details, violations
from tests.wire.test_watch import to_the_end, until_metric

CONFIG = "namespaces: {kept: {channels: {history: {}}}}\n"
_numbers = count()


@pytest.fixture
def server(history_server: PantlerServer) -> PantlerServer:
    return history_server


@pytest_asyncio.fixture(scope="module")
async def channels(history_server: PantlerServer) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(history_server.address) as opened:
        yield pubsub_pb2_grpc.PubSubServiceStub(opened)


@pytest.fixture
def name() -> str:
    """A channel that no other test uses."""
    return f"wire{next(_numbers)}"


def send(
    channel: str, payload: bytes = b"", namespace: str = "kept", **said: Any
) -> pubsub_pb2.PublishRequest:
    return pubsub_pb2.PublishRequest(namespace=namespace, channel=channel, payload=payload, **said)


def ask(*channels: str, namespace: str = "kept", **said: Any) -> pubsub_pb2.SubscribeRequest:
    return pubsub_pb2.SubscribeRequest(namespace=namespace, channels=channels, **said)


@asynccontextmanager
async def subscribe(stub: Any, *channels: str, **said: Any) -> AsyncIterator[Any]:
    """A call whose first message was read, and is its `first`."""
    call = stub.Subscribe(ask(*channels, **said))
    try:
        call.first = await call.read()
        yield call
    finally:
        call.cancel()


async def messages(call: Any, wanted: int) -> list[pubsub_pb2.ChannelMessage]:
    """So many, past heartbeats."""
    found: list[pubsub_pb2.ChannelMessage] = []
    async with asyncio.timeout(10):
        while len(found) < wanted:
            event = await call.read()
            assert event.WhichOneof("event") != "gap"
            if event.HasField("message"):
                found.append(event.message)
    return found


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await to_the_end(call)
    return failed.value


async def test_what_is_published_comes_to_all_who_listen(channels: Any, name: str) -> None:
    async with (
        subscribe(channels, name) as one,
        subscribe(channels, patterns=[f"{name}*"]) as other,
    ):
        assert one.first.WhichOneof("event") == "heartbeat"
        answer = await channels.Publish(send(name, b"\0x", content_type="text/plain"))
        expected = pubsub_pb2.ChannelMessage(
            channel=name, payload=b"\0x", content_type="text/plain", sequence=answer.sequence
        )
        assert answer.sequence > one.first.heartbeat.sequence
        assert await messages(one, 1) == await messages(other, 1) == [expected]


async def test_a_resume_goes_on_after_a_sequence(channels: Any, name: str) -> None:
    payloads = b"0", b"1", b"2", b"3", b"4"
    first, *rest = [(await channels.Publish(send(name, payload))).sequence for payload in payloads]
    async with subscribe(channels, name, resume_after=first) as call:
        assert call.first.heartbeat.sequence == first
        assert [message.sequence for message in await messages(call, 4)] == rest
    async with subscribe(channels, name, resume_after=0) as call:
        assert [message.payload for message in await messages(call, 5)] == [
            b"0",
            b"1",
            b"2",
            b"3",
            b"4",
        ]


async def test_without_a_history_there_is_no_sequence(channels: Any, name: str) -> None:
    async with subscribe(channels, name, namespace="other") as call:
        assert await channels.Publish(send(name, b"x", "other")) == pubsub_pb2.PublishResponse()
        [message] = await messages(call, 1)
        assert (message.payload, message.sequence) == (b"x", 0)
    failed = await failure(channels.Subscribe(ask(name, namespace="other", resume_after=0)))
    assert failed.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert details(failed)["ErrorInfo"].reason == "ERROR_REASON_NO_HISTORY"


async def test_heartbeats_come_at_the_interval(channels: Any, name: str) -> None:
    async with subscribe(channels, name, heartbeat_interval={"seconds": 1}) as call:
        began = time.monotonic()
        event = await call.read()
        assert 0.9 < time.monotonic() - began < 1.9
        assert event.heartbeat.sequence >= call.first.heartbeat.sequence


@pytest.mark.parametrize(
    ("request_", "paths"),
    [
        (send("c", namespace="Bad"), ["namespace"]),
        (send(""), ["channel"]),
        (
            send("a\n", b"", content_type="ö", request_id="x" * 129),
            ["channel", "content_type", "request_id"],
        ),
        (send("c" * 513, bytes(65_537)), ["channel", "payload"]),
        (send("c", bytes(11), "small"), ["payload"]),
    ],
)
async def test_what_is_wrong_is_not_published(
    channels: Any, request_: pubsub_pb2.PublishRequest, paths: list[str]
) -> None:
    assert list(await violations(channels.Publish(request_))) == paths


async def test_a_request_id_of_another_message_is_refused(channels: Any, name: str) -> None:
    first = await channels.Publish(send(name, b"x", request_id=name))
    assert await channels.Publish(send(name, b"x", request_id=name)) == first
    assert list(await violations(channels.Publish(send(name, b"y", request_id=name)))) == [
        "request_id"
    ]


@pytest.mark.parametrize(
    ("request_", "paths"),
    [
        (ask("c", namespace=""), ["namespace"]),
        (ask(), ["channels"]),
        (ask("good", "", "a\0", "x" * 513), ["channels[1]", "channels[2]", "channels[3]"]),
        (ask(*map(str, range(101)), patterns=["x"] * 101), ["channels", "patterns"]),
        (
            ask(patterns=["[a", "good*", "", "x" * 513], heartbeat_interval={"nanos": 999_000_000}),
            ["patterns[0]", "patterns[2]", "patterns[3]", "heartbeat_interval"],
        ),
        (ask("c", heartbeat_interval={"seconds": 61}), ["heartbeat_interval"]),
        (ask("c", resume_after=(1 << 64) - 1), ["resume_after"]),
    ],
)
async def test_what_is_wrong_is_not_subscribed_to(
    channels: Any, request_: pubsub_pb2.SubscribeRequest, paths: list[str]
) -> None:
    assert list(await violations(channels.Subscribe(request_).read())) == paths


async def test_a_hundred_of_each_are_taken(channels: Any, name: str) -> None:
    many = [f"{name}-{number}" for number in range(100)]
    async with subscribe(channels, *many, patterns=[f"{one}*" for one in many]) as call:
        await channels.Publish(send(many[-1], b"x"))
        await channels.Publish(send(f"{many[-1]}y", b"y"))
        assert [message.payload for message in await messages(call, 2)] == [b"x", b"y"]


async def test_a_subscription_that_is_cancelled_is_over(
    server: PantlerServer, channels: Any, name: str
) -> None:
    async with subscribe(channels, name), subscribe(channels, name):
        await until_metric(server, "pantler_subscribers", 2)
    await until_metric(server, "pantler_subscribers", 0)


async def test_a_slow_reader_gets_a_gap_and_goes_on(channels: Any, name: str) -> None:
    """It reads nothing until more was published than connection and worker keep for it."""
    async with subscribe(channels, name) as slow, subscribe(channels, name) as fast:
        for _ in range(200):
            await channels.Publish(send(name, bytes(60_000)))
            await messages(fast, 1)
        await channels.Publish(send(name, b"last"))
        gaps, sequence = 0, slow.first.heartbeat.sequence
        async with asyncio.timeout(30):
            while True:
                event = await slow.read()
                kind = event.WhichOneof("event")
                if kind == "message":
                    assert event.message.sequence == sequence + 1
                if kind == "gap":
                    assert event.gap.reason == pubsub_pb2.GAP_REASON_SLOW
                    gaps += 1
                sequence = getattr(event, kind).sequence
                if event.message.payload == b"last":
                    break
        assert gaps


async def test_a_stop_of_the_server_ends_a_subscription_and_loses_nothing(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    async with ValkeyServer() as redis:
        config.write_text(f"redis: {{url: {redis.url}}}\n{CONFIG}")
        async with (
            PantlerServer(config=config) as server,
            PantlerServer(config=config) as other,
            grpc.aio.insecure_channel(server.address) as channel,
            grpc.aio.insecure_channel(other.address) as other_channel,
        ):
            stub: Any = pubsub_pb2_grpc.PubSubServiceStub(channel)
            other_stub: Any = pubsub_pb2_grpc.PubSubServiceStub(other_channel)
            async with subscribe(stub, "c") as call:
                await other_stub.Publish(send("c", b"before"))
                [before] = await messages(call, 1)
                began = time.monotonic()
                await server.stop()
                ended = await failure(call)
                assert time.monotonic() - began < 5
                assert ended.code() is grpc.StatusCode.UNAVAILABLE
                reason = errors_pb2.ERROR_REASON_SHUTTING_DOWN
                assert details(ended)["ErrorInfo"].reason == errors_pb2.ErrorReason.Name(reason)
            await other_stub.Publish(send("c", b"between"))
            async with subscribe(other_stub, "c", resume_after=before.sequence) as call:
                assert [message.payload for message in await messages(call, 1)] == [b"between"]
