"""How many calls a program makes in a second, from many coroutines or threads at once."""

import asyncio
import statistics
import threading
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple, TypeVar

from bench.report import rounds

K = TypeVar("K", bound=Hashable)
WARM_UP_S = 0.3  # connections are opened, and scripts loaded


class Rate(NamedTuple):
    """Calls a second, and how long one took."""

    per_second: float
    p50_ms: float
    p99_ms: float

    def __str__(self) -> str:
        return f"{self.per_second:,.0f}/s, p50 {self.p50_ms:.2f} ms, p99 {self.p99_ms:.2f} ms"


class Scale(NamedTuple):
    """How much is measured."""

    rounds: int = 5
    seconds: float = 1.0
    """Of a turn of each."""
    callers: int = 256
    crowd: int = 10_000
    """Callers of a stampede."""
    keys: int = 200_000
    """Of a workload."""


Turn = Callable[[float], Awaitable[Rate]]
"""Measures for so many seconds."""


async def interleaved(turns: Mapping[K, Turn], scale: Scale, what: str) -> dict[K, list[Rate]]:
    """Of each the rates, measured in turn after a warm-up."""
    found: dict[K, list[Rate]] = {name: [] for name in turns}
    for turn in turns.values():
        await turn(min(WARM_UP_S, scale.seconds))
    for _ in rounds(scale.rounds, what):
        for name, turn in turns.items():
            found[name].append(await turn(scale.seconds))
    return found


def median(rates: Sequence[Rate]) -> Rate:
    return Rate(*(statistics.median(column) for column in zip(*rates, strict=True)))


def ratio(ours: Sequence[Rate], theirs: Sequence[Rate]) -> float:
    """The median of those of the turns' calls a second."""
    pairs = zip(ours, theirs, strict=True)
    return statistics.median(one.per_second / other.per_second for one, other in pairs)


async def from_coroutines(
    call: Callable[[Any], Awaitable[object]],
    arguments: Sequence[object],
    callers: int,
    seconds: float,
) -> Rate:
    """Each coroutine goes through the arguments from a place of its own."""
    taken_s: list[float] = []
    began_s = time.perf_counter()

    async def caller(first: int) -> None:
        now = began_s
        for number in count(first):
            await call(arguments[number % len(arguments)])
            before, now = now, time.perf_counter()
            taken_s.append(now - before)
            if now - began_s >= seconds:
                return

    await asyncio.gather(*(caller(one * len(arguments) // callers) for one in range(callers)))
    return _rate(taken_s, time.perf_counter() - began_s)


def from_threads(
    call: Callable[[Any], object], arguments: Sequence[object], threads: int, seconds: float
) -> Rate:
    """As `from_coroutines`."""
    taken_s: list[float] = []
    began_s = time.perf_counter()

    def caller(first: int) -> None:
        now = began_s
        for number in count(first):
            call(arguments[number % len(arguments)])
            before, now = now, time.perf_counter()
            taken_s.append(now - before)
            if now - began_s >= seconds:
                return

    firsts = (one * len(arguments) // threads for one in range(threads))
    started = [threading.Thread(target=caller, args=(first,)) for first in firsts]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return _rate(taken_s, time.perf_counter() - began_s)


def _rate(taken_s: list[float], all_s: float) -> Rate:
    taken_s.sort()
    p50_s, p99_s = (taken_s[int(share * (len(taken_s) - 1))] for share in (0.5, 0.99))
    return Rate(len(taken_s) / all_s, p50_s * 1000, p99_s * 1000)
