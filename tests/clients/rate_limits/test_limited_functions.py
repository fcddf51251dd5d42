"""Functions whose calls are limited, against a real server."""

import asyncio
from datetime import timedelta
from typing import Any

import pantler
import pytest

from tests.clients.rate_limits.rules import INLINE


async def test_a_function_is_called_only_if_it_is_allowed(
    client: pantler.AsyncClient, subject: str
) -> None:
    calls: list[str] = []

    @client.rate_limited("api", subject="{user}:{kind}", cost=5)
    async def search(user: str, text: str, kind: str = "all") -> str:
        """Searches."""
        calls.append(text)
        return text.upper()

    assert (search.__name__, search.__doc__) == ("search", "Searches.")
    assert await search(subject, "a") == "A"
    assert await search(user=subject, text="b") == "B"
    counted = f"{subject.replace(':', '%3A')}:all"
    with pytest.raises(pantler.RateLimited, match=f"'{counted}' is at its limit") as denied:
        await search(subject, "c")
    assert denied.value.retry_after == denied.value.decision.retry_after > timedelta(minutes=20)
    assert await search(subject, "d", kind="other") == "D"
    assert calls == ["a", "b", "d"]


async def test_subjects_do_not_run_into_each_other(
    client: pantler.AsyncClient, subject: str
) -> None:
    @client.rate_limited("api", subject="{user}:{kind}", cost=10)
    async def search(user: str, kind: str) -> None: ...

    await search(f"{subject}:2", "3")
    await search(subject, "2:3")
    for call in (search(f"{subject}:2", "3"), search(subject, "2:3")):
        with pytest.raises(pantler.RateLimited):
            await call


async def test_a_method_is_limited_too(client: pantler.AsyncClient, subject: str) -> None:
    class Tenant:
        def __init__(self, name: str) -> None:
            self.name = name

        @client.rate_limited(INLINE, subject="{self.name}")
        async def by_template(self) -> None: ...

        @client.rate_limited(INLINE, subject=lambda self, number: f"{self.name}/{number}")
        async def by_function(self, number: int) -> None: ...

    for call in (Tenant(subject).by_template, lambda: Tenant(subject).by_function(number=1)):
        await call()
        await call()
        with pytest.raises(pantler.RateLimited):
            await call()


async def test_a_decorator_that_could_never_work_is_refused_at_once(
    client: pantler.AsyncClient,
) -> None:
    async def search(user: str) -> None: ...

    def blocking(user: str) -> Any: ...

    for template in ("{id}", "{}", "{0}", "{user_id.name}"):
        with pytest.raises(ValueError, match=r"search has no argument"):
            client.rate_limited("api", subject=template)(search)
    with pytest.raises(ValueError, match=r"separate \{user\}"):
        client.rate_limited("api", subject="{user}{user}")(search)
    with pytest.raises(TypeError, match="is for `async def` functions"):
        client.rate_limited("api", subject="{user}")(blocking)


async def test_a_call_waits_until_its_permits_are_there(
    client: pantler.AsyncClient, subject: str
) -> None:
    @client.rate_limited("paced", subject="{user}", wait=timedelta(seconds=1))
    async def search(user: str) -> float:
        return asyncio.get_running_loop().time()

    first, second, third = [await search(subject) for _ in range(3)]
    assert 0.15 < second - first < 0.8
    assert 0.15 < third - second < 0.8


async def test_calls_that_wait_together_all_get_their_turn(
    client: pantler.AsyncClient, subject: str
) -> None:
    @client.rate_limited("paced", subject="{user}", wait=timedelta(seconds=10))
    async def search(user: str) -> None: ...

    await asyncio.gather(*(search(subject) for _ in range(6)))


async def test_a_call_that_would_wait_for_too_long_is_denied_at_once(
    client: pantler.AsyncClient, subject: str
) -> None:
    @client.rate_limited("api", subject=lambda: subject, cost=10, wait=timedelta(minutes=1))
    async def search() -> None: ...

    await search()
    began = asyncio.get_running_loop().time()
    with pytest.raises(pantler.RateLimited):
        await search()
    assert asyncio.get_running_loop().time() - began < 10
