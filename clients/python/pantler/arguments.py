"""Arguments that many methods take, looked at where they are given: what fails later names no
argument, or fails other callers."""

from collections.abc import Awaitable
from datetime import timedelta
from inspect import isawaitable
from typing import TypeVar

from pantler.batch import text

T = TypeVar("T")


def place(namespace: str, key: str) -> None:
    """Where an entry is. Raises TypeError or ValueError, with the name of the argument."""
    text(namespace, "namespace")
    text(key, "key")


def checked_ttl(ttl: timedelta | None) -> timedelta | None:
    """None stands for a default. Raises TypeError or ValueError."""
    if ttl is None:
        return None
    problem = f"ttl must be a timedelta above 0, as timedelta(minutes=5), not {ttl!r}"
    if not isinstance(ttl, timedelta):
        raise TypeError(problem)
    if ttl <= timedelta(0):
        raise ValueError(problem)
    return ttl


async def fetched(given: Awaitable[T]) -> T:
    """What a call of a fetch comes to. Raises TypeError if it can't be awaited."""
    if not isawaitable(given):
        raise TypeError(
            f"fetch must be async: it returned {type(given).__name__}, which can't be awaited"
        )
    return await given
