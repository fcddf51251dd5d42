"""get_or_set of one key by many callers of a client at the same moment."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from itertools import count
from time import monotonic

import pantler
import pytest
import pytest_asyncio
from pantler import telemetry

from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer

CALLERS = 500
_numbers = count()


class Asked(telemetry.Hook):
    """Counts what the client asks the server."""

    def __init__(self) -> None:
        self.operations: list[str] = []

    def begin(self, operation: str, namespace: str, address: str) -> None:
        self.operations.append(operation)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest_asyncio.fixture
async def client(server: PantlerServer, asked: Asked) -> AsyncIterator[pantler.AsyncClient]:
    async with pantler.AsyncClient(server.address, hooks=[asked]) as opened:
        yield opened


@pytest.fixture
def namespace() -> str:
    return f"shared{next(_numbers)}"


async def test_one_asks_for_all(client: pantler.AsyncClient, asked: Asked, namespace: str) -> None:
    fetches = 0

    async def fetch() -> bytes:
        nonlocal fetches
        fetches += 1
        return b"v"

    calls = (client.get_or_set(namespace, "k", fetch) for _ in range(CALLERS))
    assert await asyncio.gather(*calls) == [b"v"] * CALLERS
    assert fetches == 1
    assert asked.operations == ["batch_get", "batch_set"]


async def test_keys_and_namespaces_are_told_apart(
    client: pantler.AsyncClient, namespace: str
) -> None:
    async def read(of: str, key: str) -> bytes:
        async def fetch() -> bytes:
            return f"{of} {key}".encode()

        return await client.get_or_set(of, key, fetch)

    places = [(of, key) for of in (namespace, f"{namespace}b") for key in ("k", "l")] * 3
    found = await asyncio.gather(*(read(*place) for place in places))
    assert found == [" ".join(place).encode() for place in places]


async def test_who_comes_after_an_invalidation_gets_nothing_from_before(
    client: pantler.AsyncClient, namespace: str
) -> None:
    fetching, go_on = asyncio.Event(), asyncio.Event()

    async def fetch_old() -> bytes:
        fetching.set()
        await go_on.wait()
        return b"old"

    async def fetch_new() -> bytes:
        return b"new"

    before = [asyncio.create_task(client.get_or_set(namespace, "k", fetch_old)) for _ in range(3)]
    await fetching.wait()
    await client.invalidate_keys(namespace, ["k"])
    async with asyncio.timeout(5):
        assert await client.get_or_set(namespace, "k", fetch_new) == b"new"
    go_on.set()
    assert await asyncio.gather(*before) == [b"old"] * 3
    assert await client.get_or_set(namespace, "k", fetch_old) == b"new"


async def test_if_the_one_is_cancelled_another_goes_on(
    client: pantler.AsyncClient, namespace: str
) -> None:
    fetching, fetches = asyncio.Event(), 0

    async def fetch() -> bytes:
        nonlocal fetches
        fetches += 1
        fetching.set()
        if fetches == 1:
            await asyncio.sleep(60)
        return b"v"

    calls = [asyncio.create_task(client.get_or_set(namespace, "k", fetch)) for _ in range(CALLERS)]
    await fetching.wait()
    for cancelled in calls[:2]:  # the one that fetches, and one that waits for it
        cancelled.cancel()
    async with asyncio.timeout(5):
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in results[:2]] == [asyncio.CancelledError] * 2
    assert results[2:] == [b"v"] * (CALLERS - 2)
    assert fetches <= 4  # the first, one of those that came meanwhile, and late ones


async def test_a_fetch_that_fails_fails_all_who_came_before_it_began(
    client: pantler.AsyncClient, namespace: str
) -> None:
    fetches = 0

    async def fetch() -> bytes:
        nonlocal fetches
        fetches += 1
        await asyncio.sleep(0.1)
        if fails:
            raise fails.pop()
        return b"v"

    fails: list[Exception] = [pantler.NotFound("second"), RuntimeError("first")]
    for failure in reversed(list(fails)):
        fetches = 0
        calls = (client.get_or_set(namespace, "k", fetch) for _ in range(50))
        async with asyncio.timeout(4):  # and not 50 times 0.1 s
            results = await asyncio.gather(*calls, return_exceptions=True)
        assert [one for one in results if one is not failure] == []
        assert fetches == 1
        frames = list(traceback.walk_tb(failure.__traceback__))
        assert len(frames) < 20  # and not those of all callers
        assert "fetch" in {frame.f_code.co_name for frame, _ in frames}
    assert await client.get_or_set(namespace, "k", fetch) == b"v"


async def test_who_waits_when_a_fetch_begins_shares_its_failure_and_who_comes_later_does_not(
    client: pantler.AsyncClient, namespace: str
) -> None:
    gates = [asyncio.Event() for _ in range(3)]
    fetching = [asyncio.Event() for _ in range(3)]
    numbers = count()

    async def fetch() -> bytes:
        number = next(numbers)
        fetching[number].set()
        await gates[number].wait()
        raise RuntimeError(number)

    def calls(count: int) -> list[asyncio.Task[bytes]]:
        return [asyncio.create_task(client.get_or_set(namespace, "k", fetch)) for _ in range(count)]

    first = calls(1)
    await fetching[0].wait()
    during = []
    for _ in range(10):  # each in a tick of its own
        during += calls(1)
        await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        gates[0].set()
        await fetching[1].wait()  # one of those that waited
        late = calls(1)
        await asyncio.sleep(0.05)
        gates[1].set()
        await fetching[2].wait()
        gates[2].set()
        results = await asyncio.gather(*first, *during, *late, return_exceptions=True)
    assert [str(one) for one in results] == ["0", *["1"] * 10, "2"]


async def test_those_who_share_a_failure_leave_no_lease_behind(
    client: pantler.AsyncClient, server: PantlerServer, namespace: str
) -> None:
    async def failing() -> bytes:
        await asyncio.sleep(0.05)
        raise RuntimeError

    async def fetch() -> bytes:
        return b"v"

    async def later(index: int) -> bytes:
        await asyncio.sleep(index * 0.001)
        return await client.get_or_set(namespace, "k", failing)

    await asyncio.gather(*(later(index) for index in range(30)), return_exceptions=True)
    async with pantler.AsyncClient(server.address) as other, asyncio.timeout(5):  # a lease is 10 s
        assert await other.get_or_set(namespace, "k", fetch) == b"v"


async def test_that_there_is_nothing_is_shared_too(
    client: pantler.AsyncClient, namespace: str
) -> None:
    fetches = 0

    async def nothing(keys: Sequence[str]) -> dict[str, bytes]:
        nonlocal fetches
        fetches += 1
        await asyncio.sleep(0.3)
        return {}

    async def later(index: int) -> dict[str, bytes]:
        await asyncio.sleep(index * 0.005)
        return await client.get_many_or_set(namespace, ["k"], nothing)

    found = await asyncio.gather(*(later(index) for index in range(30)))
    assert found == [{}] * 30
    assert fetches == 2


async def test_a_server_that_is_away_is_away_for_all_at_once() -> None:
    timeout = timedelta(seconds=1)

    async def fetch() -> bytes:
        raise AssertionError

    async with pantler.AsyncClient("127.0.0.1:1", timeout=timeout) as client:
        began = monotonic()
        calls = (client.get_or_set("away", "k", fetch) for _ in range(CALLERS))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(one) for one in results} == {pantler.Unavailable}
        assert monotonic() - began < 2 * timeout.total_seconds()


async def test_callers_of_a_closed_client_all_hear_that(
    server: PantlerServer, namespace: str
) -> None:
    async def fetch() -> bytes:
        raise AssertionError

    client = pantler.AsyncClient(server.address)
    await client.close()
    calls = (client.get_or_set(namespace, "k", fetch) for _ in range(3))
    async with asyncio.timeout(2):
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(one) for one in results] == ["the client is closed"] * 3


async def test_who_has_a_value_does_not_share_that_there_is_none(
    client: pantler.AsyncClient, namespace: str
) -> None:
    async def nothing(keys: Sequence[str]) -> dict[str, bytes]:
        return {}

    async def fetch() -> bytes:
        return b"v"

    many = client.get_many_or_set(namespace, ["k"], nothing)
    none, value = await asyncio.gather(many, client.get_or_set(namespace, "k", fetch))
    assert (none, value) == ({}, b"v")


async def test_without_the_server_each_fetches_for_itself_at_once(server: PantlerServer) -> None:
    timeout, fetches = timedelta(seconds=1), count()

    async def fetch() -> bytes:
        raise RuntimeError(next(fetches))

    async with FaultProxy(int(server.address.rpartition(":")[2])) as proxy:
        proxy.stall()
        address = f"127.0.0.1:{proxy.port}"
        async with pantler.AsyncClient(address, timeout=timeout, on_unavailable="fetch") as client:
            calls = (client.get_or_set("away", "k", fetch) for _ in range(6))
            async with asyncio.timeout(4):  # and not 6 times 2 s
                results = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(map(str, results)) == ["0", "1", "2", "3", "4", "5"]
