"""Many who wait at once in one worker: what they keep, and how soon a fill reaches them all."""

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from secrets import token_hex
from typing import NamedTuple

import psutil
import uvloop
from pantler_server.engines.cache import fill_token
from pantler_server.engines.cache.model import Hit, LeaseAsk, Miss, NewEntry
from prometheus_client import REGISTRY

from bench.engine import deadline, open_engine
from bench.report import Line, rounds
from bench.servers import NAMESPACE, VALUE, filled_server
from bench.serving import memory_bytes

ROUNDS = 5
WAITERS = 10_000
KEYS = 100
WAIT_MS = 50_000
POLL_S = 0.002
TIMEOUT_S = 10.0


class Wait(NamedTuple):
    """What so many waiters came to in one process."""

    kept_bytes: int
    answered_s: float
    """From the first fill to the last answer."""
    fetches: int


def waiters() -> Iterator[Line]:
    """The memory that waiting callers keep in the engine (gRPC keeps its own for each call), and
    what the fills of their keys come to."""
    spawn = multiprocessing.get_context("spawn")
    waits = []
    with filled_server() as serving:
        for _ in rounds(ROUNDS, "waiters"):
            with ProcessPoolExecutor(1, spawn) as process:  # a new one: its memory is the waiters'
                waits.append(process.submit(_wait, serving.redis_socket).result())
    kept = statistics.median(wait.kept_bytes for wait in waits)
    answered_s = statistics.median(wait.answered_s for wait in waits)
    crowd = f"{WAITERS:,} waiters on {KEYS} keys"
    yield Line(
        f"{crowd}: memory in the engine while they wait",
        f"{kept / 2**20:.1f} MiB, {kept / WAITERS / 2**10:.1f} KiB each",
    )
    yield Line(
        f"{crowd}: from the first fill to the last answer",
        f"{answered_s * 1000:.0f} ms, {max(wait.fetches for wait in waits)} fetches",
        wanted=f"{KEYS} fetches",
    )


def _wait(redis_socket: str) -> Wait:
    return uvloop.run(_wait_and_fill(redis_socket))


async def _wait_and_fill(redis_socket: str) -> Wait:
    async with open_engine(redis_socket) as engine:
        space = await engine.namespace(NAMESPACE)

        async def get(key: str) -> Hit | Miss:
            ask = LeaseAsk(WAIT_MS, WAIT_MS, token_hex(8))
            return await engine.cache.get(space, key, deadline(), ask)

        leased = {key: await get(key) for key in (token_hex(8) for _ in range(KEYS))}
        process = psutil.Process()
        before_bytes = memory_bytes(process)
        waiting: list[asyncio.Task[Hit | Miss]] = []
        for key in leased:  # in groups, as calls come: at once they would block the loop too long
            waiting += [asyncio.create_task(get(key)) for _ in range(WAITERS // KEYS)]
            await _until_waiting(len(waiting))
        kept_bytes = memory_bytes(process) - before_bytes
        began_s = time.monotonic()
        for key, found in leased.items():
            token = fill_token.read(found.fill_token)
            await engine.cache.set(space, NewEntry(key, VALUE, token=token), deadline())
        answers = await asyncio.gather(*waiting)
        answered_s = time.monotonic() - began_s
        assert all(isinstance(found, Hit) for found in answers)
        fetches = sum(found.lease is not None for found in (*leased.values(), *answers))
        return Wait(kept_bytes, answered_s, fetches)


async def _until_waiting(count: int) -> None:
    """Raises TimeoutError if they don't all wait in time."""
    async with asyncio.timeout(TIMEOUT_S):
        while REGISTRY.get_sample_value("pantler_cache_waiting") != count:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)  # a gauge has no event
