"""Plain functions whose results are kept, by `pantler.Client`. Keys are made as
test_cached_keys.py has it."""

import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from typing import Any

import pantler
import pytest
from pantler import codecs, sync_client

from tests.servers.pantler import PantlerServer

_numbers = count()


@pytest.fixture
def client(server: PantlerServer) -> Iterator[pantler.Client]:
    with pantler.Client(server.address) as opened:
        yield opened


@pytest.fixture
def texts(client: pantler.Client) -> sync_client.Namespace[str]:
    return client.namespace(f"plain{next(_numbers)}", codec=codecs.TEXT)


class Source:
    """What is behind the cache."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def give(self, *arguments: Any) -> str:
        self.threads.append(threading.current_thread())
        return f"{arguments} #{len(self.threads)}"


def test_the_function_runs_once_in_the_calling_thread(texts: sync_client.Namespace[str]) -> None:
    source = Source()

    @texts.cached("user:{user_id}")
    def load(user_id: int, *, team: str = "none") -> str:
        """Loads."""
        return source.give(user_id, team)

    first: str = load(1)
    assert load(user_id=1) == first == "(1, 'none') #1"
    assert texts.get("user:1") == first
    assert source.threads == [threading.current_thread()]
    assert (load.key(7), load.__doc__) == ("user:7", "Loads.")
    assert list(inspect.signature(load).parameters) == ["user_id", "team"]


def test_of_threads_that_miss_at_once_one_calls_the_function(
    texts: sync_client.Namespace[str],
) -> None:
    source = Source()

    @texts.cached("the one")
    def load() -> str:
        return source.give()

    with ThreadPoolExecutor(8) as pool:
        assert len({future.result() for future in [pool.submit(load) for _ in range(8)]}) == 1
    assert len(source.threads) == 1


def test_what_is_invalidated_is_called_again(
    client: pantler.Client, texts: sync_client.Namespace[str]
) -> None:
    source = Source()

    @texts.cached("{user_id}", ttl=timedelta(minutes=7), tags=["team:{team}"])
    def load(user_id: int, team: int = 3) -> str:
        return source.give(user_id)

    first, kept = load(1), load(2)
    load.invalidate(1)
    assert load(1) != first
    assert load(2) == kept
    told = client.describe(texts.name, "2")
    assert (told.tags, told.ttl) == (("team:3",), timedelta(minutes=7))


def test_methods_are_called_with_their_object(texts: sync_client.Namespace[str]) -> None:
    class Users:
        def __init__(self, source: Source) -> None:
            self.source = source

        @texts.cached("one:{user_id}")
        def load(self, user_id: int) -> str:
            return self.source.give(user_id)

        @texts.cached("class:{user_id}")
        @classmethod
        def of_class(cls, user_id: int) -> str:
            return f"{cls.__name__} {user_id}"

        @texts.cached("static:{user_id}")
        @staticmethod
        def static(user_id: int) -> str:
            return str(user_id)

    users = Users(Source())
    assert users.load(1) == users.load(user_id=1) == "(1,) #1"
    users.load.invalidate(1)
    assert Users.load(users, 1) == "(1,) #2"
    owner: Any
    for owner in (users, Users):
        assert owner.of_class(1) == "Users 1"
        assert owner.static(1) == "1"


def test_a_failure_is_its_callers_and_is_not_kept(texts: sync_client.Namespace[str]) -> None:
    failures = [RuntimeError("the source is down")]

    @texts.cached("{user_id}")
    def load(user_id: int) -> str:
        if failures:
            raise failures.pop()
        return "there"

    with pytest.raises(RuntimeError, match="down"):
        load(1)
    assert load(1) == "there"


def test_calls_may_be_limited_whether_they_are_kept_or_not(
    client: pantler.Client, texts: sync_client.Namespace[str]
) -> None:
    source = Source()
    hourly = pantler.RateLimitRule("fixed_window", limit=2, window=timedelta(hours=1))

    @client.rate_limited(hourly, subject=f"{texts.name}:{{user_id}}")
    @texts.cached("{user_id}")
    def load(user_id: int) -> str:
        return source.give(user_id)

    assert load(1) == load(1)
    with pytest.raises(pantler.RateLimited):
        load(1)
    assert len(source.threads) == 1


def test_only_plain_functions_are_taken(texts: sync_client.Namespace[str]) -> None:
    async def loading(user_id: int) -> str:
        return ""

    kept = pantler.AsyncClient().namespace("unused", codec=codecs.TEXT).cached("{user_id}")(loading)
    for function in (loading, kept):
        with pytest.raises(TypeError, match="is `async def`: for that decorate by an AsyncClient"):
            texts.cached("{user_id}")(function)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="brackets"):
        texts.cached(lambda: "")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give has no argument 'user'"):
        texts.cached("{user}")(Source().give)
