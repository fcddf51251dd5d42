"""The decorator `rate_limited`: whom a call is counted for, and the call under its permits."""

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from pantler.key_template import KeyTemplate, bound
from pantler.permits import Permits

P = ParamSpec("P")
T = TypeVar("T")


def limited(
    permits: Callable[[str], Permits], subject: str | Callable[..., str]
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """The decorator. `permits` gives those of a subject."""

    def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        awaited = map(inspect.iscoroutinefunction, (function, type(function).__call__))
        if not any(awaited):  # the latter of objects, as functions under `cached`
            raise TypeError(f"rate_limited is for `async def` functions, not for {function!r}")
        subject_of = subject if callable(subject) else _formatted(subject, function)

        @wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            async with permits(subject_of(*args, **kwargs)):
                return await function(*args, **kwargs)

        return call

    return decorate


def _formatted(template: str, function: Callable[..., object]) -> Callable[..., str]:
    """Puts the arguments of a call of the function into a template. Raises ValueError if this does
    not fit the function."""
    subject, arguments = KeyTemplate.of(function, template), bound(function)
    return lambda *args, **kwargs: subject(arguments(*args, **kwargs))
