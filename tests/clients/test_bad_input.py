"""What is no text, no bytes and no time is refused at the call, and holds up no other."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pantler
import pytest
import pytest_asyncio

from tests.servers.pantler import PantlerServer

HALF = "\ud800"  # of a character


@pytest_asyncio.fixture
async def client(server: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    async with pantler.AsyncClient(server.address) as opened:
        await opened.get("bad", "its streams are open then")
        yield opened


@pytest.mark.parametrize(("key", "error"), [(3, TypeError), (None, TypeError), (HALF, ValueError)])
async def test_what_is_no_text_is_no_key(
    client: pantler.AsyncClient, key: Any, error: type[Exception]
) -> None:
    async def fetch() -> bytes:
        raise AssertionError

    async with asyncio.timeout(2):
        *refused, stored, found = await asyncio.gather(
            client.get("bad", key),
            client.get(key, "k"),
            client.get_many("bad", [key]),
            client.get_or_set("bad", key, fetch),
            client.get_or_set("bad", key, fetch),
            client.set("bad", "k", b"v"),
            client.get("bad", "absent"),
            return_exceptions=True,
        )
    assert [type(one) for one in refused if not isinstance(one, error)] == []
    assert isinstance(stored, pantler.SetResult)
    assert found is None


@pytest.mark.parametrize("value", [None, "v", 1])
async def test_what_is_no_bytes_is_no_value(client: pantler.AsyncClient, value: Any) -> None:
    with pytest.raises(TypeError, match="must be bytes, not"):
        await client.set("bad", "none", value)
    with pytest.raises(TypeError, match="must be bytes, not"):
        await client.set_many("bad", {"none": value})
    assert await client.get("bad", "none") is None


@pytest.mark.parametrize("stored_as", [{"ttl": "1 day"}, {"tags": [1]}, {"depends_on": [None]}])
async def test_how_to_store_is_looked_at_before_the_fetch(
    client: pantler.AsyncClient, stored_as: dict[str, Any]
) -> None:
    async def fetch() -> bytes:
        raise AssertionError

    with pytest.raises((TypeError, AttributeError)):
        await client.get_or_set("bad", "stored_as", fetch, **stored_as)


@pytest.mark.parametrize("timeout", [5, timedelta(0), timedelta(seconds=-1), None])
def test_a_timeout_is_a_time(timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout is a timedelta above 0"):
        pantler.AsyncClient(timeout=timeout)


async def test_a_timeout_of_years_is_taken(server: PantlerServer) -> None:
    async with pantler.AsyncClient(server.address, timeout=timedelta(days=10_000)) as client:
        assert await client.get("bad", "absent") is None
