"""Counters through the Python SDK, against a real server."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import uuid4

import pantler
import pytest
import pytest_asyncio

from tests.servers.pantler import PantlerServer

_numbers = count()


@pytest.fixture
def namespace() -> str:
    return f"sdkcount{next(_numbers)}"


@pytest_asyncio.fixture(scope="module")
async def client(server: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    async with pantler.AsyncClient(server.address) as opened:
        yield opened


async def test_a_counter_stays_within_its_bounds(
    client: pantler.AsyncClient, namespace: str
) -> None:
    first = await client.increment(namespace, "stock", 2, ceiling=2)
    assert first == pantler.CounterResult(2, applied=True, expire_time=None)
    assert not (await client.increment(namespace, "stock", ceiling=2)).applied
    taken = [await client.increment(namespace, "stock", -1, floor=0) for _ in range(3)]
    assert [one.applied for one in taken] == [True, True, False]
    assert await client.get_counter(namespace, "stock") == 0
    assert await client.get_counter(namespace, "nobody") == 0
    lives = await client.increment(namespace, "stock", ttl=timedelta(hours=1))
    assert lives.expire_time is not None
    left = lives.expire_time - datetime.now(UTC)
    assert timedelta(minutes=59) < left < timedelta(minutes=61)


async def test_a_request_id_counts_once(client: pantler.AsyncClient, namespace: str) -> None:
    request_id = uuid4().hex
    first = await client.increment(namespace, "c", 5, request_id=request_id)
    assert await client.increment(namespace, "c", 5, request_id=request_id) == first
    with pytest.raises(pantler.InvalidArgument) as refused:
        await client.increment(namespace, "c", 6, request_id=request_id)
    assert [one.path for one in refused.value.violations] == ["request_id"]
    assert await client.get_counter(namespace, "c") == 5


async def test_any_number_of_counters_is_split_into_calls(
    client: pantler.AsyncClient, namespace: str
) -> None:
    await client.increment(namespace, "c7", 7)
    await client.increment(namespace, "c2007", 9)
    names = [f"c{number}" for number in range(2500)]
    assert await client.get_counters(namespace, names) == {"c7": 7, "c2007": 9}
    assert await client.reset_counters(namespace, names) == {"c7": 7, "c2007": 9}
    assert await client.get_counters(namespace, names) == {}


async def test_uniques_are_counted_over_sets(client: pantler.AsyncClient, namespace: str) -> None:
    monday = [f"user:{number}" for number in range(2500)]
    assert await client.add_unique(namespace, "mon", monday, ttl=timedelta(days=1))
    assert not await client.add_unique(namespace, "mon", monday[:5])
    await client.add_unique(namespace, "tue", ["user:1", "ada"])
    alone, both = [await client.count_unique(namespace, sets) for sets in (["mon"], ["mon", "tue"])]
    assert abs(alone - 2500) < 100
    assert abs(both - 2501) < 100
    assert await client.merge_unique(namespace, "week", ["mon", "tue"]) == both
    with pytest.raises(TypeError):
        await client.count_unique(namespace, "mon")


async def test_sets_of_uniques_are_deleted(client: pantler.AsyncClient, namespace: str) -> None:
    await client.add_unique(namespace, "mon", ["ada"])
    await client.increment(namespace, "mon")
    names = [f"s{number}" for number in range(1500)]
    deleted = await client.delete_unique(namespace, ["mon", *names])
    assert deleted == {"mon": True, **dict.fromkeys(names, False)}
    assert await client.count_unique(namespace, ["mon"]) == 0
    assert await client.get_counter(namespace, "mon") == 1, "of the same name"
