"""What it costs a read that it is counted, so that hot keys are found."""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice

import uvloop
from pantler_server.core.config import Settings
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache.hot_keys.engine import HotKeys

from bench.engine import OpenEngine, deadline, open_engine
from bench.report import Line, rounds
from bench.sections.levels import keep, near
from bench.servers import KEYS, NAMESPACE, filled_server

ROUNDS = 60  # of each, in turn
READS = 5_000  # in a row, some 10 ms of those that the first level answers
COUNTED = list(islice(cycle(KEYS), READS))
BATCH = 100


class _Uncounted(HotKeys):
    """An engine has this in place of what counts, when it is measured without."""

    def count(self, space: Namespace, key: str) -> None: ...


def hot_keys() -> Iterator[Line]:
    """Counting alone, in a loop against the same loop without it, and as a part of a read that the
    first level answers. All of processor time, at the default ratio."""
    with filled_server() as serving:
        yield from uvloop.run(_lines(serving.redis_socket))


async def _lines(redis_socket: str) -> Sequence[Line]:
    settings = Settings.model_validate(near())
    async with open_engine(redis_socket, settings) as engine:
        space = await engine.namespace(NAMESPACE)
        for key in KEYS:
            await keep(engine, space, key)
        alone_us, batched_us = _alone_us(HotKeys(engine.store), space)
        with_us, without_us = await _read_us(engine, space)
    ratio = space.config.hot_keys.sample_ratio
    return (
        Line(
            f"Counting a read, {ratio:.0%} of them sampled, beyond the loop around it",
            f"{alone_us:.2f} µs",
            wanted="<= 1 µs",
        ),
        Line(f"Counting a key of a batch of {BATCH}", f"{batched_us:.2f} µs", wanted="<= 1 µs"),
        Line(
            "A hit in the first level, in the engine, counted, against one that is not",
            f"{with_us:.2f} µs",
            f"{without_us:.2f} µs",
            f"{with_us / without_us:.2f}",
        ),
    )


def _alone_us(counting: HotKeys, space: Namespace) -> tuple[float, float]:
    """Of a read, alone and in a batch."""
    batches = [COUNTED[begin : begin + BATCH] for begin in range(0, READS, BATCH)]

    def count_each() -> None:
        for key in COUNTED:
            counting.count(space, key)

    def count_none() -> None:
        for _ in COUNTED:
            pass

    def count_batches() -> None:
        for batch in batches:
            counting.count_many(space, batch)

    each, none, batched = _medians_s(count_each, count_none, count_batches)
    return (each - none) / READS * 1e6, batched / READS * 1e6


def _medians_s(*works: Callable[[], None]) -> list[float]:
    """Of each, measured in turn."""
    took_s: list[list[float]] = [[] for _ in works]
    for _ in rounds(ROUNDS, "hot-keys"):
        for work, times in zip(works, took_s, strict=True):
            began_s = time.process_time()
            work()
            times.append(time.process_time() - began_s)
    return [statistics.median(times) for times in took_s]


async def _read_us(engine: OpenEngine, space: Namespace) -> tuple[float, float]:
    """Of a hit in the first level, with and without counting."""
    took_s: dict[HotKeys, list[float]] = {
        engine.cache._hot_keys: [],  # no caller has use for it
        _Uncounted(engine.store): [],
    }
    for _ in rounds(ROUNDS, "hot-keys"):
        for counting, times in took_s.items():
            engine.cache._hot_keys = counting
            await asyncio.sleep(0.01)
            until, began_s = deadline(), time.process_time()
            for key in COUNTED:
                await engine.cache.get(space, key, until)
            times.append(time.process_time() - began_s)
    counted, uncounted = (statistics.median(times) / READS * 1e6 for times in took_s.values())
    return counted, uncounted
