"""Watches through the Python SDK, against a real server."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pantler
import pytest

from tests.failover.worker import caller_of
from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer
from tests.servers.valkey import ValkeyServer, free_port

_numbers = count()
SECOND = timedelta(seconds=1)


@pytest.fixture
def namespace() -> str:
    return f"sdkwatch{next(_numbers)}"


async def events(
    messages: AsyncGenerator[pantler.WatchMessage, None], wanted: int
) -> list[pantler.InvalidationEvent]:
    """So many; there is no gap before."""
    told: list[pantler.InvalidationEvent] = []
    async with asyncio.timeout(15):
        while len(told) < wanted:
            message = await anext(messages)
            assert not message.gaps
            told += message.events
    return told


def names(told: list[pantler.InvalidationEvent]) -> list[str]:
    return [event.name for event in told]


async def test_events_are_typed(server: PantlerServer, namespace: str) -> None:
    before = datetime(2020, 1, 1, tzinfo=UTC)
    async with pantler.AsyncClient(server.address) as client:
        watch = client.watch_invalidations(namespace)
        async with aclosing(watch.__aiter__()) as messages:
            assert await anext(messages) == pantler.WatchMessage((), ())
            await client.invalidate_keys(namespace, ["k"], soft=True)
            await client.invalidate_tags(namespace, ["t"])
            await client.invalidate_keys(namespace, ["p"], cascade=True)
            await client.invalidate_namespace(namespace)
            await client.invalidate_older_than(namespace, before)
            async with aclosing(client.invalidate_pattern(namespace, "x*")) as walk:
                assert [step.done async for step in walk][-1]
            told = await events(messages, 7)
        event = pantler.InvalidationEvent
        assert told == [
            event(namespace, "key", "k", True),
            event(namespace, "tag", "t", False),
            event(namespace, "key", "p", False),
            event(namespace, "dependency", "p", False),
            event(namespace, "all", "", False),
            event(namespace, "created_before", "", False, before),
            event(namespace, "pattern", "x*", False),
        ]
        await client.invalidate_tags(namespace, ["later"])
        resumed = client.watch_invalidations(namespace, resume_token=watch.resume_token)
        async with aclosing(resumed.__aiter__()) as messages:
            assert names(await events(messages, 1)) == ["later"]


async def test_it_goes_on_after_a_cut_connection(namespace: str, server: PantlerServer) -> None:
    port = int(server.address.rpartition(":")[2])
    async with (
        FaultProxy(port) as proxy,
        pantler.AsyncClient(f"127.0.0.1:{proxy.port}") as watching,
        pantler.AsyncClient(server.address) as client,
    ):
        watch = watching.watch_invalidations(namespace, heartbeat_interval=SECOND)
        async with aclosing(watch.__aiter__()) as messages:
            await anext(messages)
            for number in range(3):
                proxy.cut()
                await client.delete(namespace, f"k{number}")
                assert names(await events(messages, 1)) == [f"k{number}"]
            # A connection that is open at this end only shows in that no heartbeats come.
            proxy.hold_replies()
            await client.delete(namespace, "unheard")
            waiting = asyncio.create_task(events(messages, 1))
            await asyncio.sleep(0.2)
            proxy.cut()
            proxy.restore()
            assert names(await waiting) == ["unheard"]


async def test_silence_for_three_heartbeats_is_a_reason_to_begin_again(
    namespace: str, server: PantlerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pantler.resumed.MISSED_HEARTBEATS", 1.5)
    port = int(server.address.rpartition(":")[2])
    async with (
        FaultProxy(port) as proxy,
        pantler.AsyncClient(f"127.0.0.1:{proxy.port}") as watching,
        pantler.AsyncClient(server.address) as client,
    ):
        watch = watching.watch_invalidations(namespace, heartbeat_interval=SECOND)
        async with aclosing(watch.__aiter__()) as messages:
            await anext(messages)
            opened = 0
            method = watch._method

            def counted(*arguments: Any) -> Any:
                nonlocal opened
                opened += 1
                return method(*arguments)

            watch._method = counted
            proxy.hold_replies()
            waiting = asyncio.create_task(events(messages, 1))
            async with asyncio.timeout(10):
                while not opened:
                    await asyncio.sleep(0.05)
            proxy.cut()
            proxy.restore()
            await client.delete(namespace, "k")
            assert names(await waiting) == ["k"]


async def test_it_outlives_a_worker_and_what_redis_forgets(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    async with ValkeyServer() as redis, caller_of(url=redis.url) as (other_worker, _):
        config.write_text(f"redis: {{url: {redis.url}}}\n")
        async with (
            PantlerServer(config=config) as server,
            FaultProxy(int(server.address.rpartition(":")[2])) as proxy,
            pantler.AsyncClient(f"127.0.0.1:{proxy.port}") as client,
        ):
            watch = client.watch_invalidations("failover")
            async with aclosing(watch.__aiter__()) as messages:
                await anext(messages)
                [worker] = server.workers()
                worker.terminate()  # it drains, and another is started
                await other_worker.delete("between")
                assert names(await events(messages, 1)) == ["between"]
                for away in (False, True):  # then its token is of the time before
                    if away:
                        proxy.refuse()
                        proxy.cut()
                    await redis.execute("FLUSHALL")
                    proxy.restore()
                    async with asyncio.timeout(10):
                        while not (message := await anext(messages)).gaps:
                            pass
                    assert message.gaps == ("failover",)
                await other_worker.delete("after")
                assert names(await events(messages, 1)) == ["after"]


async def test_what_can_not_begin_is_raised(server: PantlerServer, namespace: str) -> None:
    async with pantler.AsyncClient(f"127.0.0.1:{free_port()}") as client:
        with pytest.raises(pantler.Unavailable):
            await anext(client.watch_invalidations(namespace).__aiter__())
    async with pantler.AsyncClient(server.address) as client:
        for watch in (
            client.watch_invalidations(),
            client.watch_invalidations(namespace, resume_token="x"),
            client.watch_invalidations(namespace, heartbeat_interval=timedelta(minutes=2)),
        ):
            with pytest.raises(pantler.InvalidArgument):
                await anext(watch.__aiter__())


async def test_closing_the_client_ends_it(server: PantlerServer, namespace: str) -> None:
    client = pantler.AsyncClient(server.address)
    messages = client.watch_invalidations(namespace).__aiter__()
    await anext(messages)
    waiting = asyncio.create_task(anext(messages))
    await asyncio.sleep(0.1)
    await client.close()
    with pytest.raises(pantler.PantlerError, match="closed"):
        await waiting
