"""The decorator `rate_limited`: whom a call is counted for, and the call under its permits."""

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from string import Formatter
from typing import Any, ParamSpec, TypeVar

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
    """Puts the arguments of a call of the function into a template. Raises ValueError if this names
    one that the function has not."""
    signature = inspect.signature(function)
    for _, field, _, _ in Formatter().parse(template):
        if field is not None:
            name = field.partition(".")[0].partition("[")[0]
            if name not in signature.parameters:
                raise ValueError(f"{template!r}: {function.__qualname__} has no argument {name!r}")

    def subject_of(*args: object, **kwargs: object) -> str:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        return template.format_map(call.arguments)

    return subject_of
