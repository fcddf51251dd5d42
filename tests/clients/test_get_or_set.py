"""get_or_set and get_many_or_set: one fetch for all, whatever happens to it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pantler
import pytest
import pytest_asyncio
from pantler import leased_fetch
from pantler.batch import several
from pantler.v1 import cache_pb2, cache_pb2_grpc

from tests.servers.pantler import PantlerServer

_numbers = count()
BRIEF = timedelta(milliseconds=30)


@pytest.fixture
def namespace() -> str:
    return f"getorset{next(_numbers)}"


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


@pytest_asyncio.fixture
async def client(server: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    async with pantler.AsyncClient(server.address) as opened:
        yield opened


@pytest_asyncio.fixture
async def other(server: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    """A client of another program, as far as the server can tell."""
    async with pantler.AsyncClient(server.address) as opened:
        yield opened


class Source:
    """What is behind the cache: counts what is fetched, and can be held or made to fail."""

    def __init__(self, value: bytes = b"fetched") -> None:
        self.value = value
        self.fetches = 0
        self.failure: Exception | None = None
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self) -> bytes:
        self.fetches += 1
        self.asked.set()
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return self.value

    async def fetch_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        await self.fetch()
        return {key: f"value of {key}".encode() for key in keys if not key.startswith("none")}


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


async def test_a_value_that_is_refused_is_said_and_ends_the_lease(
    client: pantler.AsyncClient, namespace: str
) -> None:
    with pytest.raises(TypeError):
        await client.get_or_set(namespace, "k", Source("text").fetch)  # type: ignore[arg-type]
    with pytest.raises(pantler.InvalidArgument):
        await client.get_or_set(namespace, "k", Source(b"x" * (5 << 20)).fetch)
    async with asyncio.timeout(1):
        assert await client.get_or_set(namespace, "k", Source().fetch) == b"fetched"


async def test_what_is_no_bytes_is_refused_even_none(
    client: pantler.AsyncClient, namespace: str
) -> None:
    async def nothing() -> None:
        return None

    for _ in range(2):
        with pytest.raises(TypeError, match="NoneType"):
            await client.get_or_set(namespace, "k", nothing)  # type: ignore[arg-type]


async def test_a_value_that_is_refused_takes_nothing_from_the_others(
    client: pantler.AsyncClient, namespace: str
) -> None:
    async def fetch(keys: Sequence[str]) -> dict[str, bytes]:
        return {key: b"x" * (5 << 20 if key == "large" else 10) for key in keys}

    with pytest.raises(pantler.PartialFailure) as partial:
        await client.get_many_or_set(namespace, ["a", "large", "b"], fetch)
    assert set(partial.value.results) == {"a", "b"}
    assert isinstance(partial.value.errors["large"], pantler.InvalidArgument)
    assert set(await client.get_many(namespace, ["a", "large", "b"])) == {"a", "b"}


async def test_any_number_and_size_of_values_is_stored(
    client: pantler.AsyncClient, namespace: str
) -> None:
    asked: list[int] = []

    async def fetch(keys: Sequence[str]) -> dict[str, bytes]:
        asked.append(len(keys))
        return {key: b"x" * (1 << 20 if key.startswith("large") else 1) for key in keys}

    keys = [*(f"k{index}" for index in range(2300)), *(f"large{index}" for index in range(20))]
    assert list(await client.get_many_or_set(namespace, keys, fetch)) == keys
    assert asked == [1000, 1000, 320]
    assert await client.get_many_or_set(namespace, keys[:2300], fetch) == dict.fromkeys(
        keys[:2300], b"x"
    )
    assert len(asked) == 3
    large = {f"set{index}": b"x" * (1 << 20) for index in range(20)}
    assert list(await client.set_many(namespace, large)) == list(large)


async def test_who_is_given_a_lease_while_it_waits_fetches_at_once(
    client: pantler.AsyncClient, other: pantler.AsyncClient, namespace: str
) -> None:
    failing, held, source = Source(), Source(), Source()
    failing.failure = RuntimeError("the source is down")
    for each in (failing, held):
        each.open.clear()
    first = asyncio.create_task(
        # What the next one stores would do for it, if that came soon enough.
        client.get_or_set(namespace, "k1", failing.fetch, accept_stale=False)
    )
    second = asyncio.create_task(client.get_or_set(namespace, "k2", held.fetch))
    await failing.asked.wait()
    await held.asked.wait()
    both = asyncio.create_task(other.get_many_or_set(namespace, ["k1", "k2"], source.fetch_many))
    await asyncio.sleep(0.05)
    failing.open.set()
    with pytest.raises(RuntimeError):
        await first
    async with asyncio.timeout(1):
        await source.asked.wait()
        assert await client.get_or_set(namespace, "k1", source.fetch) == b"value of k1"
    assert not both.done()
    held.open.set()
    assert await both == {"k1": b"value of k1", "k2": b"fetched"}
    assert await second == b"fetched"


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


def test_a_single_text_is_not_taken_for_its_letters() -> None:
    with pytest.raises(TypeError, match="several"):
        several("abc")
    assert several(["a", "b", "a", "c"]) == {"a": 0, "b": 1, "c": 3}


async def test_many_keys_are_fetched_in_one_call_for_those_that_miss(
    client: pantler.AsyncClient, namespace: str
) -> None:
    await client.set(namespace, "there", b"cached")
    asked: list[Sequence[str]] = []
    source = Source()

    async def fetch(keys: Sequence[str]) -> dict[str, bytes]:
        asked.append(keys)
        return await source.fetch_many(keys)

    keys = ["a", "there", "none", "b", "a"]
    values = await client.get_many_or_set(namespace, keys, fetch)
    assert values == {"there": b"cached", "a": b"value of a", "b": b"value of b"}
    assert asked == [["a", "none", "b"]]
    async with asyncio.timeout(1):  # nobody waits for the lease of what has no value
        await client.get_many_or_set(namespace, keys, fetch)
    assert asked[1:] == [["none"]]


async def test_many_keys_of_many_callers_are_fetched_once_each(
    client: pantler.AsyncClient, other: pantler.AsyncClient, namespace: str
) -> None:
    fetched: list[str] = []

    async def fetch(keys: Sequence[str]) -> dict[str, bytes]:
        fetched.extend(keys)
        await asyncio.sleep(0.05)
        return {key: key.encode() for key in keys}

    keys = [f"k{index}" for index in range(60)]
    parts = [keys[:40], keys[20:], list(reversed(keys)), keys[::2], ["k0"]]
    async with asyncio.timeout(5):  # those that hold what another waits for do not wait themselves
        results = await asyncio.gather(
            *(
                each.get_many_or_set(namespace, part, fetch)
                for part in parts
                for each in (client, other)
            )
        )
    for part, result in zip([part for part in parts for _ in range(2)], results, strict=True):
        assert result == {key: key.encode() for key in part}
    assert sorted(fetched) == sorted(keys)


async def test_a_failed_fetch_of_many_ends_all_their_leases(
    client: pantler.AsyncClient, namespace: str
) -> None:
    source = Source()
    source.failure = RuntimeError("the source is down")
    with pytest.raises(RuntimeError):
        await client.get_many_or_set(namespace, ["a", "b"], source.fetch_many)
    source.failure = None
    async with asyncio.timeout(1):
        values = await client.get_many_or_set(namespace, ["b", "a"], source.fetch_many)
    assert set(values) == {"a", "b"}


async def test_conditions_and_touch(client: pantler.AsyncClient, namespace: str) -> None:
    first = await client.set(namespace, "k", b"1", if_absent=True)
    assert first.stored
    refused = await client.set(namespace, "k", b"2", if_absent=True)
    assert (refused.stored, refused.version, refused.expire_time) == (False, 0, None)
    assert (await client.set(namespace, "k", b"2", if_version=first.version)).stored
    assert not (await client.set(namespace, "k", b"3", if_version=first.version)).stored
    assert not await client.delete(namespace, "k", if_version=first.version)
    assert (await client.set(namespace, "k", b"3", if_present=True)).stored
    with pytest.raises(TypeError, match="if_absent and if_version"):
        await client.set(namespace, "k", b"4", if_absent=True, if_version=1)
    expires = await client.touch(namespace, "k", timedelta(minutes=2))
    entry = await client.get(namespace, "k")
    assert entry is not None
    assert (entry.value, entry.expire_time) == (b"3", expires)
    assert await client.touch(namespace, "nothing") is None


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


async def test_a_value_that_is_too_large_ends_its_lease(
    client: pantler.AsyncClient, other: pantler.AsyncClient, namespace: str
) -> None:
    async def fetch() -> bytes:
        return b"x" * (20 << 20)

    async with asyncio.timeout(5):  # a lease is for 10 s
        for one in (client, other, client):
            assert len(await one.get_or_set(namespace, "k", fetch)) == 20 << 20
