"""What becomes of calls whose stream, server or client breaks, stands still or ends."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pantler
import pytest
import pytest_asyncio
from pantler import exchange, operation_stream
from pantler.operation_stream import OperationStream

from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer
from tests.servers.valkey import ValkeyServer


@pytest_asyncio.fixture
async def proxy(server: PantlerServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(int(server.address.rpartition(":")[2])) as opened:
        yield opened


@pytest_asyncio.fixture
async def behind(proxy: FaultProxy) -> AsyncIterator[pantler.AsyncClient]:
    """A client behind the proxy, with its streams open."""
    async with pantler.AsyncClient(f"127.0.0.1:{proxy.port}") as opened:
        await asyncio.gather(*(opened.get("any", f"{n}") for n in range(300)))
        yield opened


def streams_of(client: pantler.AsyncClient) -> list[OperationStream]:
    assert client._exchange is not None
    return client._exchange._streams


async def test_a_call_that_is_cancelled_leaves_the_others(
    behind: pantler.AsyncClient, proxy: FaultProxy, namespace: str
) -> None:
    await behind.set(namespace, "a", b"1")
    proxy.hold_replies()
    calls = [asyncio.create_task(behind.get(namespace, "a")) for _ in range(100)]
    await asyncio.sleep(0.05)
    for call in calls[::2]:
        call.cancel()
    proxy.restore()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ends[::2])
    assert all(isinstance(one, pantler.Entry) for one in ends[1::2])


async def test_when_a_stream_breaks_what_may_be_repeated_is_and_nothing_else_runs_twice(
    behind: pantler.AsyncClient, proxy: FaultProxy, client: pantler.AsyncClient, namespace: str
) -> None:
    await client.set(namespace, "a", b"1")
    proxy.hold_replies()
    gets = [asyncio.create_task(behind.get(namespace, "a")) for _ in range(50)]
    sets = [asyncio.create_task(behind.set(namespace, f"s{n}", b"2")) for n in range(50)]
    once = [asyncio.create_task(behind.increment(namespace, "once")) for _ in range(50)]
    named = [
        asyncio.create_task(behind.increment(namespace, "named", request_id=f"{namespace}-{n}"))
        for n in range(50)
    ]
    while await client.get_counters(namespace, ["once", "named"]) != {"once": 50, "named": 50}:
        await asyncio.sleep(0.01)
    proxy.cut()
    proxy.restore()
    async with asyncio.timeout(5):
        assert all(isinstance(one, pantler.Entry) for one in await asyncio.gather(*gets))
        assert all(one.stored for one in await asyncio.gather(*sets))
        assert sorted(one.value for one in await asyncio.gather(*named)) == [*range(1, 51)]
        unknown = await asyncio.gather(*once, return_exceptions=True)
    assert all(isinstance(one, pantler.OutcomeUnknown) for one in unknown)
    assert await client.get_counters(namespace, ["once", "named"]) == {"once": 50, "named": 50}


@pytest.mark.timeout(120)
async def test_whenever_streams_break_each_call_ends_and_counts_at_most_once(
    behind: pantler.AsyncClient, proxy: FaultProxy, client: pantler.AsyncClient, namespace: str
) -> None:
    random.seed(10)
    done = unknown = 0

    async def keep_counting() -> None:
        nonlocal done, unknown
        for _ in range(40):
            try:
                await behind.increment(namespace, "n")
                done += 1
            except pantler.OutcomeUnknown:
                unknown += 1
            except pantler.Unavailable:
                pass  # nothing was done

    async def keep_cutting() -> None:
        while True:
            await asyncio.sleep(random.uniform(0.001, 0.05))
            if random.random() < 0.5:
                proxy.hold_replies()
                await asyncio.sleep(random.uniform(0, 0.02))
            proxy.cut()
            proxy.restore()

    cutting = asyncio.create_task(keep_cutting())
    async with asyncio.timeout(60):
        await asyncio.gather(*(keep_counting() for _ in range(20)))
    cutting.cancel()
    assert unknown
    assert done <= await client.get_counter(namespace, "n") <= done + unknown


async def test_no_call_outlasts_its_time(proxy: FaultProxy, namespace: str) -> None:
    brief = timedelta(milliseconds=300)
    async with pantler.AsyncClient(f"127.0.0.1:{proxy.port}", timeout=brief) as client:
        await client.get(namespace, "a")
        proxy.stall()
        calls = [client.get(namespace, "a"), client.set(namespace, "a", b"")]
        async with asyncio.timeout(1.5):
            ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(one) for one in ends] == [pantler.DeadlineExceeded] * 2
        proxy.restore()
        assert await client.get_many(namespace, ["b"]) == {}


async def test_a_server_that_is_not_there_is_unavailable_soon() -> None:
    async with pantler.AsyncClient("127.0.0.1:9") as client:
        async with asyncio.timeout(4):
            for call in (client.get("any", "a"), client.increment("any", "n")):
                with pytest.raises(pantler.Unavailable) as failed:
                    await call
                assert not isinstance(failed.value, pantler.OutcomeUnknown)


async def test_what_a_slow_server_does_not_answer_is_bounded(
    behind: pantler.AsyncClient, proxy: FaultProxy, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(behind, "_timeout_s", 50.0)  # of a busy machine
    monkeypatch.setattr(behind._exchange, "_timeout_s", 50.0)
    proxy.stall()
    value = bytes(20_000)
    writes = [asyncio.create_task(behind.set(namespace, f"{n}", value)) for n in range(4_000)]
    reads = [asyncio.create_task(behind.get(namespace, f"{n}")) for n in range(20_000)]
    await asyncio.sleep(1)
    for stream in streams_of(behind):
        most = operation_stream.MAX_UNANSWERED_BYTES + 2 * exchange.MAX_MESSAGE_BYTES
        assert stream._unanswered_bytes <= most
        assert stream.under_way <= operation_stream.MAX_UNDER_WAY
    proxy.restore()
    assert all(one.stored for one in await asyncio.gather(*writes))
    await asyncio.gather(*reads)
    assert not any(stream.under_way for stream in streams_of(behind))


async def test_a_server_that_stops_hands_its_streams_on_without_losing_a_call(
    namespace: str,
) -> None:
    async with ValkeyServer() as valkey:
        first, second = (PantlerServer("--redis-url", valkey.url) for _ in range(2))
        await asyncio.gather(first.start(), second.start())
        port, other_port = (int(one.address.rpartition(":")[2]) for one in (first, second))
        done = 0
        stopping = asyncio.Event()

        async with FaultProxy(port) as proxy:
            address = f"127.0.0.1:{proxy.port}"
            async with pantler.AsyncClient(address) as client:

                async def keep_counting() -> None:
                    nonlocal done
                    while not stopping.is_set():
                        await client.increment(namespace, "n")
                        await client.get(namespace, "k")
                        done += 1

                counting = [asyncio.create_task(keep_counting()) for _ in range(50)]
                await asyncio.sleep(0.3)
                proxy._target_port = other_port
                await first.stop()
                await asyncio.sleep(0.3)
                stopping.set()
                await asyncio.gather(*counting)
                assert await client.get_counter(namespace, "n") == done
        await second.stop()


async def test_a_stream_that_grows_old_is_followed_by_another(tmp_path: Any) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text("max_connection_age: 1s\n")
    async with (
        PantlerServer(config=config) as server,
        pantler.AsyncClient(server.address) as client,
    ):
        seen: set[int] = set()
        until = asyncio.get_running_loop().time() + 2.5
        while asyncio.get_running_loop().time() < until:
            await asyncio.gather(*(client.increment("aged", "n") for _ in range(20)))
            seen.update(map(id, streams_of(client)))
        assert len(seen) >= 3


async def test_a_client_that_is_closed_ends_its_calls(
    behind: pantler.AsyncClient, proxy: FaultProxy, namespace: str
) -> None:
    proxy.hold_replies()
    calls = [
        asyncio.create_task(behind.get(namespace, "a")),
        asyncio.create_task(behind.set(namespace, "a", b"")),
    ]
    await asyncio.sleep(0.05)
    async with asyncio.timeout(2):
        await behind.close()
        ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in ends] == [pantler.PantlerError] * 2
    for _ in range(2):
        with pytest.raises(pantler.PantlerError, match="closed"):
            await behind.get(namespace, "a")


@pytest.mark.parametrize("coalesce", [True, False])
async def test_a_closed_client_makes_no_stubs(
    server: PantlerServer, namespace: str, coalesce: bool
) -> None:
    for _ in range(20):  # gRPC crashed now and then
        client = pantler.AsyncClient(server.address, coalesce=coalesce)
        await client.get(namespace, "k")
        await client.describe(namespace, "k")
        await client.close()
        for call in (
            client.get(namespace, "k"),
            client.describe(namespace, "k"),
            client.invalidate_keys(namespace, ["k"]),
            client.list_hot_keys(namespace),
        ):
            with pytest.raises(pantler.PantlerError, match="the client is closed"):
                await call


async def test_without_streams_too_what_was_never_sent_is_known_not_to_be_done() -> None:
    async with pantler.AsyncClient("127.0.0.1:1", coalesce=False) as client:
        for _ in range(5):
            with pytest.raises(pantler.Unavailable) as failed:
                await client.increment("away", "counter")
            assert not isinstance(failed.value, pantler.OutcomeUnknown)
        assert "left alone" in repr(client)


async def test_a_get_that_is_tried_again_keeps_its_time(proxy: FaultProxy, namespace: str) -> None:
    timeout_s = 1.0
    address, timeout = f"127.0.0.1:{proxy.port}", timedelta(seconds=timeout_s)
    async with pantler.AsyncClient(address, timeout=timeout) as client:
        await client.get(namespace, "k")
        proxy.stall()
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        reading = asyncio.create_task(client.get(namespace, "k"))
        await asyncio.sleep(0.8 * timeout_s)
        proxy.cut()
        with pytest.raises(pantler.PantlerError):
            await reading
        assert loop.time() - began_s < 1.6 * timeout_s
