"""Channels through the Python SDK, against a real server."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from itertools import count
from typing import Any

import pantler
import pytest
import pytest_asyncio
from pantler import ChannelGap, ChannelMessage

from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer

SECOND = timedelta(seconds=1)
_numbers = count()

Items = AsyncGenerator[ChannelMessage | ChannelGap, None]


@pytest_asyncio.fixture(scope="module")
async def client(history_server: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    async with pantler.AsyncClient(history_server.address) as opened:
        yield opened


@pytest.fixture
def channel() -> str:
    return f"sdk{next(_numbers)}"


class Listening:
    """A subscription whose items are taken one by one; after `begin` it hears what comes."""

    def __init__(self, subscription: pantler.ChannelSubscription) -> None:
        self.subscription = subscription
        self.items: Items = subscription.__aiter__()
        self._next: asyncio.Future[Any] | None = None

    async def begin(self) -> None:
        self._next = asyncio.ensure_future(anext(self.items))
        async with asyncio.timeout(10):
            while not self.subscription._begun:
                await asyncio.sleep(0.005)

    async def next(self) -> Any:
        async with asyncio.timeout(15):
            taken, self._next = self._next or asyncio.ensure_future(anext(self.items)), None
            return await taken


async def test_messages_are_typed(client: pantler.AsyncClient, channel: str) -> None:
    subscription = client.subscribe("kept", channel, patterns=["x:*"])
    async with aclosing(subscription.__aiter__()) as items:
        listening = Listening(subscription)
        listening.items = items
        await listening.begin()
        first = await client.publish("kept", channel, b"\0", content_type="text/plain")
        assert await client.publish("kept", f"x:{channel}", b"") == first + 1
        assert await listening.next() == ChannelMessage(channel, b"\0", "text/plain", first)
        assert await listening.next() == ChannelMessage(f"x:{channel}", b"", "", first + 1)
        assert subscription.sequence == first + 1
    resumed = client.subscribe("kept", channel, f"x:{channel}", resume_after=first)
    async with aclosing(resumed.__aiter__()) as items:
        assert await anext(items) == ChannelMessage(f"x:{channel}", b"", "", first + 1)


async def test_a_request_id_publishes_once(client: pantler.AsyncClient, channel: str) -> None:
    first = await client.publish("kept", channel, b"x", request_id=channel)
    assert await client.publish("kept", channel, b"x", request_id=channel) == first
    with pytest.raises(pantler.InvalidArgument):
        await client.publish("kept", channel, b"y", request_id=channel)
    assert await client.publish("plain", channel, b"x") == 0


async def test_what_is_wrong_is_raised_at_once(client: pantler.AsyncClient, channel: str) -> None:
    with pytest.raises(pantler.FailedPrecondition, match="history"):
        await anext(client.subscribe("plain", channel, resume_after=0).__aiter__())
    for wrong in (
        client.subscribe("kept", channel, resume_after=1 << 60),
        client.subscribe("kept"),
        client.subscribe("kept", patterns=["["]),
    ):
        with pytest.raises(pantler.InvalidArgument):
            await anext(wrong.__aiter__())
    with pytest.raises(TypeError):
        client.subscribe("kept", patterns="one")


@pytest.mark.parametrize("namespace", ["kept", "plain"])
async def test_it_goes_on_after_a_cut_connection(
    history_server: PantlerServer, client: pantler.AsyncClient, channel: str, namespace: str
) -> None:
    """With a history without a loss, and otherwise with a gap."""
    async with (
        FaultProxy(int(history_server.address.rpartition(":")[2])) as proxy,
        pantler.AsyncClient(f"127.0.0.1:{proxy.port}") as listener,
    ):
        subscription = listener.subscribe(namespace, channel, heartbeat_interval=SECOND)
        listening = Listening(subscription)
        async with aclosing(listening.items):
            await listening.begin()
            for number in range(3):
                proxy.cut()
                await client.publish(namespace, channel, b"%d" % number)
                if namespace == "kept":
                    assert (await listening.next()).payload == b"%d" % number
                else:
                    assert await listening.next() == ChannelGap("DISCONNECTED", 0)


async def test_silence_for_three_heartbeats_is_a_reason_to_begin_again(
    history_server: PantlerServer,
    client: pantler.AsyncClient,
    channel: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pantler.resumed.MISSED_HEARTBEATS", 1.5)
    async with (
        FaultProxy(int(history_server.address.rpartition(":")[2]), mark=b"Subscribe") as proxy,
        pantler.AsyncClient(f"127.0.0.1:{proxy.port}") as listener,
    ):
        listening = Listening(listener.subscribe("kept", channel, heartbeat_interval=SECOND))
        async with aclosing(listening.items):
            await listening.begin()
            proxy.hold_replies()
            await client.publish("kept", channel, b"unheard")
            await asyncio.sleep(1.6)
            proxy.restore()
            assert (await listening.next()).payload == b"unheard"


@pytest.mark.parametrize(("unknown", "reason"), [(True, "FAILOVER"), (False, "HISTORY")])
async def test_it_goes_on_with_a_server_that_does_not_know_where_it_was(
    history_server: PantlerServer, server: PantlerServer, channel: str, unknown: bool, reason: str
) -> None:
    """Its Redis is another whose sequences are lower, or it keeps no history: that is a gap."""
    after = history_server if unknown else server
    async with (
        FaultProxy(int(history_server.address.rpartition(":")[2])) as proxy,
        pantler.AsyncClient(f"127.0.0.1:{proxy.port}") as listener,
        pantler.AsyncClient(after.address) as client,
    ):
        listening = Listening(listener.subscribe("kept", channel, heartbeat_interval=SECOND))
        async with aclosing(listening.items):
            await listening.begin()
            if unknown:
                listening.subscription._asking.resume_after = 1 << 60
            proxy._target_port = int(after.address.rpartition(":")[2])
            proxy.cut()
            found = await listening.next()
            assert found.reason == reason
            assert bool(found.sequence) is unknown
            await client.publish("kept", channel, b"after")
            assert (await listening.next()).payload == b"after"
