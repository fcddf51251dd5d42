"""Namespaces of one kind of values, against a real server."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pantler
import pytest
import pytest_asyncio
from pantler import codecs
from pantler.codecs import Codec

from tests.servers.pantler import PantlerServer

_numbers = count()


@dataclass
class User:
    id: int
    name: str


ADA, BOB = User(1, "Ada"), User(2, "Bob")


@pytest.fixture
def name() -> str:
    return f"typed{next(_numbers)}"


@pytest_asyncio.fixture(scope="module")
async def graceful(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """A server with a namespace that has a grace."""
    config = tmp_path_factory.mktemp("grace") / "pantler.yaml"
    config.write_text("namespaces: {graceful: {stale_while_revalidate: 1h}}")
    async with PantlerServer(config=config) as running:
        yield running


@pytest_asyncio.fixture
async def client(server: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    async with pantler.AsyncClient(server.address) as opened:
        yield opened


@pytest.fixture
def users(client: pantler.AsyncClient, name: str) -> pantler.Namespace[User]:
    return client.namespace(
        name, codec=codecs.of(User), ttl=timedelta(minutes=5), tags=["everyone"]
    )


async def test_values_go_in_and_come_out(users: pantler.Namespace[User]) -> None:
    assert await users.get("a") is None
    assert (await users.set("a", ADA)).stored
    assert not (await users.set("a", BOB, if_absent=True)).stored
    assert await users.get("a") == ADA
    assert list(await users.set_many({"b": BOB, "c": ADA})) == ["b", "c"]
    assert await users.get_many(["a", "b", "none"]) == {"a": ADA, "b": BOB}
    assert await users.delete("a")
    assert await users.delete_many(["a", "b"]) == {"a": False, "b": True}
    assert await users.get_many(["a", "b", "c"]) == {"c": ADA}


async def test_what_is_stored_has_the_content_type_the_ttl_and_the_tags(
    client: pantler.AsyncClient, users: pantler.Namespace[User]
) -> None:
    async def fetch() -> User:
        return ADA

    async def fetch_many(keys: Sequence[str]) -> dict[str, User]:
        return dict.fromkeys(keys, BOB)

    brief = timedelta(minutes=1)
    await users.set("set", ADA, tags=["t", "everyone"])
    await users.set_many({"set_many": ADA}, tags=["t"], ttl=brief)
    await users.get_or_set("fetched", fetch, tags=["t"])
    await users.get_many_or_set(["many"], fetch_many, tags=["t"], ttl=brief)
    entries = await client.get_many(users.name, ["set", "set_many", "fetched", "many"])
    for key, entry in entries.items():
        lives = entry.expire_time - entry.create_time
        wanted = brief if "many" in key else timedelta(minutes=5)
        assert abs(lives - wanted) < timedelta(seconds=5)
        assert (entry.content_type, entry.tags) == ("application/json", ("everyone", "t"))
    assert len(entries) == 4
    assert entries["set"].value == b'{"id":1,"name":"Ada"}'


async def test_ttls_are_prolonged_and_entries_invalidated(users: pantler.Namespace[User]) -> None:
    await users.set("a", ADA, tags=["t"])
    await users.set("b", BOB, depends_on=["a"])
    hour = await users.touch("a", timedelta(hours=1))
    minutes = await users.touch("b")
    assert hour is not None
    assert minutes is not None
    assert hour - datetime.now(UTC) > timedelta(minutes=50)
    assert minutes - datetime.now(UTC) < timedelta(minutes=10)
    assert (await users.invalidate_keys(["a"], cascade=True)).keys == ("a", "b")
    assert await users.get_many(["a", "b"]) == {}
    await users.set("a", ADA, tags=["t"])
    await users.invalidate_tags(["t"])
    assert await users.get("a") is None


async def test_of_all_who_miss_one_fetches_and_all_get_the_value(
    users: pantler.Namespace[User],
) -> None:
    fetches = 0

    async def fetch() -> User:
        nonlocal fetches
        fetches += 1
        await asyncio.sleep(0.05)
        return ADA

    assert await asyncio.gather(*(users.get_or_set("a", fetch) for _ in range(20))) == [ADA] * 20
    assert fetches == 1


async def test_many_are_fetched_together(users: pantler.Namespace[User]) -> None:
    asked: list[Sequence[str]] = []

    async def fetch(keys: Sequence[str]) -> dict[str, User]:
        asked.append(keys)
        return {key: BOB for key in keys if key != "none"}

    await users.set("there", ADA)
    for _ in range(2):
        values = await users.get_many_or_set(["there", "b", "none"], fetch)
        assert values == {"there": ADA, "b": BOB}
    assert asked == [["b", "none"], ["none"]]


async def test_none_is_a_value_that_only_get_does_not_tell_from_a_miss(
    client: pantler.AsyncClient, name: str
) -> None:
    codec: Codec[User | None] = codecs.of(User | None)
    users = client.namespace(name, codec=codec)
    fetches = 0

    async def fetch() -> None:
        nonlocal fetches
        fetches += 1

    for _ in range(3):
        assert await users.get_or_set("nobody", fetch) is None
    assert fetches == 1
    assert await users.get("nobody") is None
    assert await users.get_many(["nobody", "never set"]) == {"nobody": None}


async def test_a_value_that_the_codec_does_not_take_is_named_and_not_stored(
    client: pantler.AsyncClient, users: pantler.Namespace[User]
) -> None:
    wrong: Any = {"id": 1}

    async def fetch() -> User:
        value: User = wrong
        return value

    async def fetch_many(keys: Sequence[str]) -> dict[str, User]:
        return {"good": ADA, "bad": wrong}

    for call in (
        users.set("bad", wrong),
        users.set_many({"good": ADA, "bad": wrong}),
        users.get_or_set("bad", fetch),
        users.get_many_or_set(["good", "bad"], fetch_many),
    ):
        told = rf"'bad' in '{users.name}', of type builtins.dict"
        with pytest.raises(pantler.EncodeError, match=told) as refused:
            await call
        assert (refused.value.namespace, refused.value.key) == (users.name, "bad")
        assert refused.value.content_type == "application/json"
        assert refused.value.__cause__ is not None
    assert await client.get_many(users.name, ["good", "bad"]) == {}
    async with asyncio.timeout(1):  # no lease is left behind
        assert await users.get_or_set("bad", lambda: asyncio.sleep(0, ADA)) == ADA


async def test_a_value_of_another_codec_is_named_and_left_as_it_is(
    client: pantler.AsyncClient, users: pantler.Namespace[User]
) -> None:
    async def fetch() -> User:
        raise AssertionError("it is there")

    async def fetch_many(keys: Sequence[str]) -> dict[str, User]:
        return dict.fromkeys(keys, BOB)

    await client.set(users.name, "text", b'{"id":1,"name":"Ada"}', content_type="text/plain")
    for call in (users.get("text"), users.get_or_set("text", fetch)):
        with pytest.raises(pantler.DecodeError, match="text/plain, not as application/json") as one:
            await call
        assert (one.value.namespace, one.value.key) == (users.name, "text")
        assert (one.value.stored, one.value.wanted) == ("text/plain", "application/json")
    await users.set("a", ADA)
    for several in (
        users.get_many(["text", "a"]),
        users.get_many_or_set(["text", "a"], fetch_many),
    ):
        with pytest.raises(pantler.PartialFailure) as partial:
            await several
        assert partial.value.results == {"a": ADA}
        assert isinstance(partial.value.errors["text"], pantler.DecodeError)
    assert await client.get(users.name, "text") is not None


async def test_bytes_that_are_not_what_they_say_are_told(
    client: pantler.AsyncClient, users: pantler.Namespace[User]
) -> None:
    for value in (b"{", b'{"id":"x","name":"y"}', b"\xff"):
        await client.set(users.name, "a", value, content_type="application/json")
        told = r"application/json and can't be read: ."
        with pytest.raises(pantler.DecodeError, match=told) as damaged:
            await users.get("a")
        assert damaged.value.__cause__ is not None


async def test_an_entry_that_does_not_say_what_it_is_is_read_if_it_can_be(
    client: pantler.AsyncClient, users: pantler.Namespace[User]
) -> None:
    await client.set(users.name, "a", b'{"id":1,"name":"Ada"}')
    assert await users.get("a") == ADA
    await client.set(users.name, "a", b"Ada")
    with pytest.raises(pantler.DecodeError, match="stored as unknown"):
        await users.get("a")


async def test_large_values_are_compressed_and_both_are_read(
    client: pantler.AsyncClient, name: str
) -> None:
    plain = client.namespace(name, codec=codecs.TEXT)
    texts = client.namespace(name, codec=codecs.compressed(codecs.TEXT))
    large = "a" * 100_000

    async def fetch(keys: Sequence[str]) -> dict[str, str]:
        return {key: large if key.startswith("large") else key for key in keys}

    await plain.set("before", large)
    await texts.set_many(await fetch(["small", "large"]))
    keys = ["before", "small", "large", "small fetched", "large fetched"]
    assert await texts.get_many_or_set(keys, fetch) == {**await fetch(keys), "before": large}
    assert await texts.get_many(keys) == {**await fetch(keys), "before": large}
    entries = await client.get_many(name, keys)
    zipped = 'application/zlib; content="text/plain; charset=utf-8"'
    assert {key for key, entry in entries.items() if entry.content_type == zipped} == {
        "large",
        "large fetched",
    }
    assert len(entries["large"].value) < 1000
    assert await plain.get("small") == "small"
    with pytest.raises(pantler.DecodeError, match="application/zlib"):
        await plain.get("large")


async def test_a_stale_value_is_given_only_to_those_who_accept_it(
    graceful: PantlerServer,
) -> None:
    async def fetch() -> str:
        return "new"

    async with pantler.AsyncClient(graceful.address) as client:
        lenient = client.namespace("graceful", codec=codecs.TEXT)
        strict = client.namespace("graceful", codec=codecs.TEXT, accept_stale=False)
        for key in "abc":
            await lenient.set(key, "old", ttl=timedelta(milliseconds=30))
        await asyncio.sleep(0.05)
        assert await lenient.get("a") is None
        assert await lenient.get("a", accept_stale=True) == "old"
        assert await lenient.get_or_set("a", fetch) == "old"
        assert await lenient.get_or_set("b", fetch, accept_stale=False) == "new"
        assert await strict.get_or_set("c", fetch) == "new"


async def test_keys_that_can_not_be_read_do_not_take_the_others_with_them(
    client: pantler.AsyncClient, users: pantler.Namespace[User]
) -> None:
    await users.set("a", ADA)
    keys = ["a", *(f"k{index}" for index in range(1000)), "bad\n"]  # two calls to the server

    async def nothing(keys: Sequence[str]) -> dict[str, User]:
        return {}

    for call in (users.get_many(keys), users.get_many_or_set(keys, nothing)):
        with pytest.raises(pantler.PartialFailure) as partial:
            await call
        assert partial.value.results == {"a": ADA}
        assert isinstance(partial.value.errors["bad\n"], pantler.InvalidArgument)

    async def none(keys: Sequence[str]) -> dict[str, bytes]:
        return {}

    with pytest.raises(pantler.PartialFailure) as partial:
        await client.get_many_or_set(users.name, keys, none)
    assert partial.value.results == {"a": b'{"id":1,"name":"Ada"}'}
