"""Functions whose results are kept: what becomes of their calls."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pantler
import pytest
import pytest_asyncio
from pantler import codecs

from tests.servers.pantler import PantlerServer

_numbers = count()


class Source:
    """What is behind the cache."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.failure: Exception | None = None

    async def give(self, *arguments: Any) -> str:
        self.calls.append(arguments)
        await asyncio.sleep(0.02)
        if self.failure is not None:
            raise self.failure
        return f"{arguments} #{len(self.calls)}"


@pytest_asyncio.fixture
async def texts(server: PantlerServer) -> AsyncIterator[pantler.Namespace[str]]:
    async with pantler.AsyncClient(server.address) as client:
        yield client.namespace(f"cached{next(_numbers)}", codec=codecs.TEXT)


async def test_of_calls_at_once_the_function_runs_once_for_each_key(
    texts: pantler.Namespace[str],
) -> None:
    source = Source()

    @texts.cached("user:{user_id}")
    async def load(user_id: int, *, team: str = "none") -> str:
        return await source.give(user_id, team)

    first = await asyncio.gather(*(load(1) for _ in range(10)), load(2), load(user_id=2))
    assert len(source.calls) == 2
    assert await load(1) == first[0]
    assert await texts.get("user:1") == first[0]
    assert set(source.calls) == {(1, "none"), (2, "none")}


async def test_what_is_kept_has_the_ttl_the_tags_and_the_dependencies(
    server: PantlerServer, texts: pantler.Namespace[str]
) -> None:
    source = Source()

    @texts.cached(
        "user:{user_id}",
        ttl=timedelta(minutes=7),
        tags=["team:{team}", "all"],
        depends_on=["team:{team}"],
    )
    async def load(user_id: int, team: int = 3) -> str:
        return await source.give(user_id)

    await load(1)
    async with pantler.AsyncClient(server.address) as client:
        told = await client.describe(texts.name, "user:1")
    assert (told.tags, told.depends_on) == (("team:3", "all"), ("team:3",))
    assert told.ttl == timedelta(minutes=7)
    assert told.content_type == "text/plain; charset=utf-8"
    await texts.invalidate_tags(["team:3"])
    await load(1)
    assert len(source.calls) == 2
    with pytest.raises(pantler.UncacheableArgument, match=r"'team' of .* 1 to 256"):
        await texts.cached("{a}", tags=["{team}"])(taking)("a", "x" * 257)


async def taking(a: str, team: str) -> str:
    return a


async def test_what_is_invalidated_is_called_again(texts: pantler.Namespace[str]) -> None:
    source = Source()

    @texts.cached("{user_id}")
    async def load(user_id: int) -> str:
        return await source.give(user_id)

    first = await load(1)
    kept = await load(2)
    await load.invalidate(1)
    assert await load(1) != first
    assert await load(2) == kept


async def test_a_failure_is_its_callers_and_is_not_kept(texts: pantler.Namespace[str]) -> None:
    source = Source()
    source.failure = RuntimeError("the source is down")

    @texts.cached("{user_id}")
    async def load(user_id: int) -> str:
        return await source.give(user_id)

    with pytest.raises(RuntimeError, match="down"):
        await load(1)
    source.failure = None
    async with asyncio.timeout(1):
        assert await load(1) == "(1,) #2"


async def test_an_argument_that_makes_no_key_fails_the_call_and_not_the_source(
    texts: pantler.Namespace[str],
) -> None:
    source = Source()

    @texts.cached("{user}")
    async def load(user: Any) -> str:
        return await source.give(user)

    for call in (load, load.invalidate):
        with pytest.raises(pantler.UncacheableArgument, match="'user'"):
            await call([1])
    with pytest.raises(TypeError, match="missing"):
        await load()  # type: ignore[call-arg]
    assert source.calls == []


async def test_a_result_that_the_codec_does_not_take_is_said(texts: pantler.Namespace[str]) -> None:
    @texts.cached("{user}")
    async def load(user: int) -> str:
        return None  # type: ignore[return-value]

    with pytest.raises(pantler.EncodeError, match=r"'1' in .*NoneType"):
        await load(1)


async def test_methods_are_called_with_their_object(texts: pantler.Namespace[str]) -> None:
    class Users:
        def __init__(self, source: Source) -> None:
            self.source = source

        @texts.cached("one:{user_id}")
        async def load(self, user_id: int) -> str:
            return await self.source.give(user_id)

        @texts.cached("class:{user_id}")
        @classmethod
        async def of_class(cls, user_id: int) -> str:
            return f"{cls.__name__} {user_id}"

        @classmethod
        @texts.cached("inside:{user_id}")
        async def inside(cls, user_id: int) -> str:
            return f"{cls.__name__} {user_id}"

        @texts.cached("static:{user_id}")
        @staticmethod
        async def static(user_id: int) -> str:
            return str(user_id)

    source = Source()
    users = Users(source)
    assert await users.load(1) == await users.load(user_id=1) == "(1,) #1"
    await users.load.invalidate(1)
    assert await Users.load(users, 1) == "(1,) #2"
    owner: Any
    for owner in (users, Users):
        assert await owner.of_class(1) == "Users 1"
        assert await owner.inside(1) == "Users 1"
        assert await owner.static(1) == "1"
    await Users.of_class.invalidate(1)
    assert await texts.get_many(["class:1", "static:1"]) == {"static:1": "1"}


async def test_none_is_kept_where_the_codec_takes_it(
    server: PantlerServer, texts: pantler.Namespace[str]
) -> None:
    calls = 0
    async with pantler.AsyncClient(server.address) as client:

        @client.namespace(texts.name, codec=codecs.JSON).cached("{user}")
        async def find(user: str) -> None:
            nonlocal calls
            calls += 1

        assert [await find("nobody"), await find("nobody")] == [None, None]
    assert calls == 1


async def test_calls_may_be_limited_whether_they_are_kept_or_not(
    server: PantlerServer, texts: pantler.Namespace[str]
) -> None:
    source = Source()
    hourly = pantler.RateLimitRule("fixed_window", limit=2, window=timedelta(hours=1))
    async with pantler.AsyncClient(server.address) as client:

        @client.rate_limited(hourly, subject=f"{texts.name}:{{user_id}}")
        @texts.cached("{user_id}")
        async def load(user_id: int) -> str:
            return await source.give(user_id)

        assert await load(1) == await load(1)
        with pytest.raises(pantler.RateLimited):
            await load(1)
    assert len(source.calls) == 1


async def test_a_stale_result_is_given_while_the_function_is_called_again(
    tmp_path: Path,
) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text("namespaces: {graceful: {stale_while_revalidate: 1h}}")
    source = Source()
    async with (
        PantlerServer(config=config) as running,
        pantler.AsyncClient(running.address) as client,
    ):
        graceful = client.namespace("graceful", codec=codecs.TEXT)

        @graceful.cached("{user_id}", ttl=timedelta(milliseconds=30))
        async def load(user_id: int) -> str:
            return await source.give(user_id)

        @graceful.cached("{user_id}", accept_stale=False)
        async def load_fresh(user_id: int) -> str:
            return await source.give(user_id)

        old = await load(1)
        await asyncio.sleep(0.05)
        assert await load(1) == old
        async with asyncio.timeout(2):
            while len(source.calls) < 2:
                await asyncio.sleep(0.01)
        assert await load_fresh(1) != old
