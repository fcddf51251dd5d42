"""Batches of any size: split into calls, and what came of each key put together again."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pantler.errors import DeadlineExceeded, PantlerError, PartialFailure, Unavailable

MAX_BATCH_ITEMS = 1000  # of one call, by the server's contract

T = TypeVar("T")


async def in_parts(
    keys: Sequence[str],
    send: Callable[[Sequence[str]], Awaitable[Sequence[T | PantlerError | None]]],
) -> dict[str, T]:
    """What `send` gives for each key, without the keys that it gives None for.

    `keys` are distinct. `send` makes one call, for at most MAX_BATCH_ITEMS of them, and gives one
    result for each. The calls follow one another, and one that fails takes nothing from the others:
    its error is that of each of its keys. If the server is away or too slow, the calls that would
    follow are not made, and their keys have that error too. An error that all keys have in common
    is raised itself, anything less as PartialFailure.
    """
    results: dict[str, T] = {}
    errors: dict[str, PantlerError] = {}
    for start in range(0, len(keys), MAX_BATCH_ITEMS):
        part = keys[start : start + MAX_BATCH_ITEMS]
        try:
            came_of = await send(part)
        except (Unavailable, DeadlineExceeded) as exc:
            errors.update(dict.fromkeys(keys[start:], exc))  # the rest would wait for the same
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
