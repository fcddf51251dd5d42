"""What is no text, no bytes and no time is refused at the call, and holds up no other."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pantler
import pytest
import pytest_asyncio
from pantler import codecs
from pantler.fastapi import ResponseCache

from tests.servers.pantler import PantlerServer

MINUTE = timedelta(minutes=1)
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
            client.set("bad", key, b"v"),
            client.touch("bad", key),
            client.delete("bad", key),
            client.describe("bad", key),
            client.set(key, "k", b"v"),
            client.touch(key, "k"),
            client.delete(key, "k"),
            client.describe(key, "k"),
            client.get_many("bad", [key]),
            client.get_or_set("bad", key, fetch),
            client.get_or_set("bad", key, fetch),
            client.set("bad", "k", b"v"),
            client.get("bad", "absent"),
            return_exceptions=True,
        )
    assert [type(one) for one in refused if not isinstance(one, error)] == []
    named = ["key", "namespace", *["key"] * 4, *["namespace"] * 4]
    for name, one in zip(named, refused, strict=False):
        assert str(one).startswith(f"{name} ")
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


@pytest.mark.parametrize(
    ("ttl", "error"),
    [(5, TypeError), ("1 day", TypeError), (timedelta(0), ValueError), (-MINUTE, ValueError)],
)
async def test_a_ttl_is_a_timedelta_above_0_wherever_it_is_given(
    client: pantler.AsyncClient, server: PantlerServer, ttl: Any, error: type[Exception]
) -> None:
    async def fetch() -> bytes:
        raise AssertionError

    def plain() -> bytes:
        raise AssertionError

    async def fetch_many(_: object) -> dict[str, bytes]:
        raise AssertionError

    view = client.namespace("bad", codec=codecs.BYTES)
    for call in (
        client.set("bad", "k", b"v", ttl=ttl),
        client.set_many("bad", {"k": b"v"}, ttl=ttl),
        client.touch("bad", "k", ttl),
        client.get_or_set("bad", "k", fetch, ttl=ttl),
        client.get_many_or_set("bad", ["k"], fetch_many, ttl=ttl),
        client.increment("bad", "n", ttl=ttl),
        client.add_unique("bad", "s", ["m"], ttl=ttl),
        client.merge_unique("bad", "s", ["t"], ttl=ttl),
        client.put_edge_value("target", "k", b"v", ttl=ttl),
        view.set("k", b"v", ttl=ttl),
        view.get_or_set("k", fetch, ttl=ttl),
    ):
        with pytest.raises(error, match=r"^ttl must be a timedelta above 0"):
            await call
    with pantler.Client(server.address) as blocking:
        for make in (
            lambda: client.namespace("bad", codec=codecs.BYTES, ttl=ttl),
            lambda: view.cached("k", ttl=ttl)(fetch),
            lambda: blocking.namespace("bad", codec=codecs.BYTES).cached("k", ttl=ttl)(plain),
            lambda: ResponseCache("bad", ttl=ttl),
            lambda: pantler.NearCache(["bad"], ttl=ttl),
        ):
            with pytest.raises(error, match=r"^ttl must be a timedelta above 0"):
                make()


@pytest.mark.parametrize("form", [int, list[int], None])
def test_a_type_is_no_codec_and_the_error_says_how_to_get_one(
    client: pantler.AsyncClient, form: Any
) -> None:
    named = "int" if form is int else str(form)
    with pytest.raises(TypeError, match=rf"give codecs\.of\({re.escape(named)}\)"):
        client.namespace("bad", codec=form)


async def test_a_fetch_that_is_not_async_is_told_so(client: pantler.AsyncClient) -> None:
    view = client.namespace("bad", codec=codecs.BYTES)
    fetch: Any = lambda *_: b"v"  # noqa: E731
    for call in (
        client.get_or_set("bad", "not async", fetch),
        client.get_many_or_set("bad", ["not async"], fetch),
        view.get_or_set("not async", fetch),
        view.get_many_or_set(["not async"], fetch),
    ):
        with pytest.raises(TypeError, match="fetch must be async: it returned bytes"):
            await call
