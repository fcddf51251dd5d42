"""get_or_set: the lease of a fetch ends with it, whatever becomes of the fetch and its client."""

import asyncio
from datetime import timedelta

import grpc
import pantler
import pytest
from pantler import leased_fetch
from pantler.v1 import cache_pb2, cache_pb2_grpc

from tests.clients.fetching import Source
from tests.servers.pantler import PantlerServer


async def test_a_failed_fetch_is_its_callers_and_the_next_one_fetches(
    client: pantler.AsyncClient, other: pantler.AsyncClient, namespace: str
) -> None:
    source, better = Source(), Source()
    source.failure = RuntimeError("the source is down")
    source.open.clear()
    first = asyncio.create_task(client.get_or_set(namespace, "k", source.fetch, accept_stale=False))
    await source.asked.wait()
    second = asyncio.create_task(other.get_or_set(namespace, "k", better.fetch))
    await asyncio.sleep(0.05)
    source.open.set()
    with pytest.raises(RuntimeError, match="the source is down"):
        await first
    async with asyncio.timeout(1):
        assert await second == b"fetched"
    assert (source.fetches, better.fetches) == (1, 1)


async def test_a_cancelled_fetch_lets_the_next_one_fetch_at_once(
    client: pantler.AsyncClient, other: pantler.AsyncClient, namespace: str
) -> None:
    held, source = Source(), Source()
    held.open.clear()
    first = asyncio.create_task(client.get_or_set(namespace, "k", held.fetch))
    await held.asked.wait()
    second = asyncio.create_task(other.get_or_set(namespace, "k", source.fetch))
    await asyncio.sleep(0.05)
    first.cancel()
    async with asyncio.timeout(1):
        assert await second == b"fetched"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_fetch_longer_than_its_lease_stays_the_only_one(
    client: pantler.AsyncClient,
    other: pantler.AsyncClient,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leased_fetch, "LEASE_S", 0.4)
    monkeypatch.setattr(leased_fetch, "EXTEND_S", 0.1)
    monkeypatch.setattr(leased_fetch, "WAIT_S", 0.3)  # who waits asks more than once
    source = Source()
    source.open.clear()
    calls = [
        asyncio.create_task(each.get_or_set(namespace, "k", source.fetch))
        for each in (client, other)
    ]
    await asyncio.sleep(1.2)
    source.open.set()
    assert await asyncio.gather(*calls) == [b"fetched"] * 2
    assert source.fetches == 1


async def test_the_lease_of_a_client_that_died_goes_to_the_next(
    server: PantlerServer,
    client: pantler.AsyncClient,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = cache_pb2_grpc.CacheServiceStub(channel)
        lease = cache_pb2.LeaseRequest(ttl=timedelta(milliseconds=300))
        request = cache_pb2.GetRequest(namespace=namespace, key="k", lease=lease)
        assert (await stub.Get(request)).miss.HasField("lease")  # and is never heard of again
    async with asyncio.timeout(1):
        assert await client.get_or_set(namespace, "k", Source().fetch) == b"fetched"


async def test_a_value_that_is_refused_is_said_and_ends_the_lease(
    client: pantler.AsyncClient, namespace: str
) -> None:
    with pytest.raises(TypeError):
        await client.get_or_set(namespace, "k", Source("text").fetch)  # type: ignore[arg-type]
    with pytest.raises(pantler.InvalidArgument):
        await client.get_or_set(namespace, "k", Source(b"x" * (5 << 20)).fetch)
    async with asyncio.timeout(1):
        assert await client.get_or_set(namespace, "k", Source().fetch) == b"fetched"


async def test_a_value_that_is_too_large_ends_its_lease(
    client: pantler.AsyncClient, other: pantler.AsyncClient, namespace: str
) -> None:
    async def fetch() -> bytes:
        return b"x" * (20 << 20)

    async with asyncio.timeout(5):  # a lease is for 10 s
        for one in (client, other, client):
            assert len(await one.get_or_set(namespace, "k", fetch)) == 20 << 20


async def test_a_client_that_is_closed_with_a_fetch_cancelled_gives_its_lease_back(
    server: PantlerServer, client: pantler.AsyncClient, namespace: str
) -> None:
    held = Source()
    held.open.clear()
    with pytest.raises(TimeoutError):
        async with pantler.AsyncClient(server.address) as closing, asyncio.timeout(0.2):
            await closing.get_or_set(namespace, "k", held.fetch)
    async with asyncio.timeout(1):
        assert await client.get_or_set(namespace, "k", Source().fetch) == b"fetched"


async def test_a_closed_client_says_so(server: PantlerServer, namespace: str) -> None:
    held = Source()
    held.open.clear()
    closing = pantler.AsyncClient(server.address)
    fetching = asyncio.create_task(closing.get_or_set(namespace, "k", held.fetch))
    await held.asked.wait()
    waiting = asyncio.create_task(closing.get_or_set(namespace, "k", held.fetch))
    await asyncio.sleep(0.05)
    await closing.close()
    with pytest.raises(pantler.PantlerError, match="closed"):
        await waiting
    with pytest.raises(pantler.PantlerError, match="closed"):
        await closing.get(namespace, "k")
    held.open.set()
    assert await fetching == b"fetched"  # it has the value all the same


async def test_a_call_cancelled_at_any_moment_leaves_no_lease_for_long(
    client: pantler.AsyncClient, other: pantler.AsyncClient, namespace: str
) -> None:
    slow = Source()
    slow.open.clear()
    for index in range(40):
        call = asyncio.create_task(client.get_or_set(namespace, f"k{index}", slow.fetch))
        await asyncio.sleep(index * 0.0002)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    async with asyncio.timeout(2):
        values = await asyncio.gather(
            *(other.get_or_set(namespace, f"k{index}", Source().fetch) for index in range(40))
        )
    assert values == [b"fetched"] * 40
