"""Batches of any size: split into calls, and what came of each key put together again."""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from pantler.errors import (
    AWAY,
    InvalidArgument,
    NotReplicated,
    PantlerError,
    PartialFailure,
)

MAX_BATCH_ITEMS = 1000  # of one call, by the server's contract

MAX_BATCH_BYTES = (
    4 << 20
)  # of the values of one call, well below the server's default for a message

_ITEM = re.compile(r"^(\w+)\[(\d+)\]")

T = TypeVar("T")


def text(value: str, name: str) -> str:
    """An argument that is text. Raises TypeError or ValueError, with its name."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} {value!r} is not Unicode text: it has half a character") from None
    return value


def listed(texts: Iterable[str], name: str = "key or tag") -> list[str]:
    """Keys or tags. A single one would be taken for its letters."""
    if isinstance(texts, str | bytes):
        raise TypeError(f"give several, as [{texts!r}], not one")
    given = list(texts)
    for one in given:
        if not (type(one) is str and one.isascii()):
            text(one, f"each {name}")
    return given


def several(texts: Iterable[str]) -> dict[str, int]:
    """Keys or tags, each once, and where it first stood."""
    places: dict[str, int] = {}
    for place, text in enumerate(listed(texts)):
        places.setdefault(text, place)
    return places


@contextmanager
def as_given(places: Sequence[int]) -> Iterator[None]:
    """Errors of a call name its items by where they stand in what the caller gave."""

    def given(item: re.Match[str]) -> str:
        return f"{item[1]}[{places[int(item[2])]}]"

    try:
        yield
    except InvalidArgument as exc:
        exc.violations = tuple(
            replace(violation, path=_ITEM.sub(given, violation.path))
            for violation in exc.violations
        )
        if exc.violations:
            exc.args = ("; ".join(f"{one.path} {one.description}" for one in exc.violations),)
        raise


def parts_of(
    keys: Sequence[str], bytes_of: Callable[[str], int] | None = None
) -> Iterator[Sequence[str]]:
    """The keys in parts that one call may carry, by their number and the bytes that they stand for.
    One that is too large is a part of its own."""
    start, size = 0, 0
    for index, key in enumerate(keys):
        more = 0 if bytes_of is None else bytes_of(key)
        full = index - start == MAX_BATCH_ITEMS or size + more > MAX_BATCH_BYTES
        if full and index > start:
            yield keys[start:index]
            start, size = index, 0
        size += more
    if keys:
        yield keys[start:]


async def in_parts(
    places: Mapping[str, int],
    send: Callable[[Sequence[str]], Awaitable[Sequence[T | PantlerError | None]]],
    bytes_of: Callable[[str], int] | None = None,
) -> dict[str, T]:
    """What `send` gives for each key, without the keys that it gives None for.

    `places` has the keys, and where the caller gave each. `send` makes one call, for a part of
    them, and gives one result for each. The calls follow one another, and one that fails takes
    nothing from the others: its error is that of each of its keys. If the server is away or too
    slow, the calls that would follow are not made, and their keys have that error too. An error
    that all keys have in common is raised itself, anything less as PartialFailure.
    """
    keys = list(places)
    results: dict[str, T] = {}
    errors: dict[str, PantlerError] = {}
    asked = 0
    for part in parts_of(keys, bytes_of):
        rest = keys[asked:]
        asked += len(part)
        try:
            with as_given([places[key] for key in part]):
                came_of = await send(part)
        except NotReplicated as exc:  # the server is there, and this part was done
            errors.update(dict.fromkeys(part, exc))
            continue
        except AWAY as exc:
            errors.update(dict.fromkeys(rest, exc))  # they would wait for the same
            break
        except PantlerError as exc:
            errors.update(dict.fromkeys(part, exc))
            continue
        for key, result in zip(part, came_of, strict=True):
            if isinstance(result, PantlerError):
                errors[key] = result
            elif result is not None:
                results[key] = result
    if errors:
        first = next(iter(errors.values()))
        if len(errors) == len(keys) and all(error is first for error in errors.values()):
            raise first
        raise PartialFailure(results, errors)
    return results
