"""get_or_set: one fetches for all, what it fetched is stored, and stale values stand in for it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pantler
import pytest
import pytest_asyncio

from tests.clients.fetching import Source
from tests.servers.pantler import PantlerServer

BRIEF = timedelta(milliseconds=30)


@pytest_asyncio.fixture(scope="module")
async def graceful(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """A server whose namespaces have a grace."""
    config: Path = tmp_path_factory.mktemp("grace") / "pantler.yaml"
    config.write_text(
        "namespaces:\n"
        "  revalidated: {stale_while_revalidate: 1h}\n"
        "  guarded: {stale_if_error: 1h}\n"
        "  refreshed: {refresh_ratio: 0.01}\n"
    )
    async with PantlerServer(config=config) as running:
        yield running


async def test_of_all_callers_on_two_clients_one_fetches(
    client: pantler.AsyncClient, other: pantler.AsyncClient, namespace: str
) -> None:
    source = Source()
    source.open.clear()
    calls = [
        asyncio.create_task(each.get_or_set(namespace, "k", source.fetch, tags=["a"]))
        for _ in range(50)
        for each in (client, other)
    ]
    await source.asked.wait()
    await asyncio.sleep(0.1)
    source.open.set()
    assert await asyncio.gather(*calls) == [b"fetched"] * 100
    assert source.fetches == 1
    entry = await client.get(namespace, "k")
    assert entry is not None
    assert (entry.value, entry.tags) == (b"fetched", ("a",))
    assert await other.get_or_set(namespace, "k", source.fetch) == b"fetched"
    assert source.fetches == 1


async def test_what_is_stored_has_the_ttl_and_the_content_type_asked_for(
    client: pantler.AsyncClient, namespace: str
) -> None:
    minutes = timedelta(minutes=5)
    source = Source()
    await client.get_or_set(namespace, "k", source.fetch, ttl=minutes, content_type="text/plain")
    entry = await client.get(namespace, "k")
    assert entry is not None
    assert entry.content_type == "text/plain"
    assert abs(entry.expire_time - entry.create_time - minutes) < timedelta(seconds=1)


async def test_a_stale_value_is_given_at_once_and_fetched_anew_in_the_background(
    graceful: PantlerServer,
) -> None:
    source = Source()
    source.open.clear()
    async with pantler.AsyncClient(graceful.address) as client:
        await client.set("revalidated", "k", b"old", ttl=BRIEF)
        await asyncio.sleep(0.05)
        values = await asyncio.gather(
            *(client.get_or_set("revalidated", "k", source.fetch) for _ in range(20))
        )
        assert values == [b"old"] * 20
        await source.asked.wait()
        source.open.set()
        async with asyncio.timeout(1):
            while (entry := await client.get("revalidated", "k")) is None:
                await asyncio.sleep(0.01)
    assert entry.value == b"fetched"
    assert source.fetches == 1


async def test_a_fresh_value_that_is_soon_due_is_fetched_ahead(graceful: PantlerServer) -> None:
    source = Source()
    async with pantler.AsyncClient(graceful.address) as client:
        await client.set("refreshed", "k", b"old", ttl=timedelta(seconds=2))
        await asyncio.sleep(0.05)
        assert await client.get_or_set("refreshed", "k", source.fetch) == b"old"
        async with asyncio.timeout(1):
            while (entry := await client.get("refreshed", "k")) is None or entry.value == b"old":
                await asyncio.sleep(0.01)
    assert (entry.value, source.fetches) == (b"fetched", 1)


async def test_a_stale_value_stands_in_for_a_failed_fetch_where_the_namespace_allows(
    graceful: PantlerServer,
) -> None:
    source = Source()
    source.failure = RuntimeError("the source is down")
    async with pantler.AsyncClient(graceful.address) as client:
        await client.set("guarded", "k", b"old", ttl=BRIEF)
        await asyncio.sleep(0.05)
        assert await client.get_or_set("guarded", "k", source.fetch) == b"old"
        with pytest.raises(RuntimeError):
            await client.get_or_set("guarded", "k", source.fetch, accept_stale=False)
        with pytest.raises(RuntimeError):
            await client.get_or_set("guarded", "never set", source.fetch)


async def test_a_value_whose_key_was_deleted_meanwhile_is_given_and_not_stored(
    client: pantler.AsyncClient, other: pantler.AsyncClient, namespace: str
) -> None:
    source = Source()
    source.open.clear()
    call = asyncio.create_task(client.get_or_set(namespace, "k", source.fetch))
    await source.asked.wait()
    await other.delete(namespace, "k")
    source.open.set()
    assert await call == b"fetched"
    assert await client.get(namespace, "k") is None


async def test_a_value_is_given_though_the_server_went_away_meanwhile(namespace: str) -> None:
    source = Source()
    source.open.clear()
    server = PantlerServer()
    await server.start()
    async with pantler.AsyncClient(server.address, timeout=timedelta(seconds=1)) as client:
        call = asyncio.create_task(client.get_or_set(namespace, "k", source.fetch))
        await source.asked.wait()
        await server.stop()
        source.open.set()
        assert await call == b"fetched"


async def test_what_is_no_bytes_is_refused_even_none(
    client: pantler.AsyncClient, namespace: str
) -> None:
    async def nothing() -> None:
        return None

    for _ in range(2):
        with pytest.raises(TypeError, match="NoneType"):
            await client.get_or_set(namespace, "k", nothing)  # type: ignore[arg-type]


async def test_the_errors_of_a_fetch_come_through(
    client: pantler.AsyncClient, namespace: str
) -> None:
    async def invalidate(keys: Sequence[str] = ()) -> Any:
        await client.invalidate_keys(namespace, ["ok", "ok2", ""])

    with pytest.raises(pantler.InvalidArgument) as refused:
        await client.get_or_set(namespace, "k", invalidate)
    assert [one.path for one in refused.value.violations] == ["keys[2]"]
    with pytest.raises(pantler.InvalidArgument):
        await client.get_many_or_set(namespace, map(str, range(1500)), invalidate)


async def test_a_closed_client_gives_its_leases_back(
    server: PantlerServer, client: pantler.AsyncClient, graceful: PantlerServer
) -> None:
    held = Source()
    held.open.clear()
    async with pantler.AsyncClient(graceful.address) as closing:
        await closing.set("revalidated", "closed", b"old", ttl=BRIEF)
        await asyncio.sleep(0.05)
        assert await closing.get_or_set("revalidated", "closed", held.fetch) == b"old"
        await held.asked.wait()  # in the background
    source = Source()
    async with pantler.AsyncClient(graceful.address) as next_one, asyncio.timeout(1):
        got = await next_one.get_or_set("revalidated", "closed", source.fetch, accept_stale=False)
    assert got == b"fetched"


async def test_a_client_that_is_closed_during_a_fetch_gives_its_lease_back_and_its_caller_the_value(
    server: PantlerServer, client: pantler.AsyncClient, namespace: str
) -> None:
    held = Source(b"held")
    held.open.clear()
    closing = pantler.AsyncClient(server.address)
    fetching = asyncio.create_task(closing.get_or_set(namespace, "k", held.fetch))
    await held.asked.wait()
    await closing.close()
    async with asyncio.timeout(5):  # and not the 10 s of a lease
        assert await client.get_or_set(namespace, "k", Source().fetch) == b"fetched"
    held.open.set()
    assert await fetching == b"held"
    entry = await client.get(namespace, "k")
    assert entry is not None
    assert entry.value == b"fetched"
