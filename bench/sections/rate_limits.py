"""Rate limits: what a call takes, what it costs Redis, and what is kept."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count, product
from operator import truediv

import uvloop
from limits import RateLimitItemPerHour
from limits.aio import strategies
from limits.aio.storage import RedisStorage
from pantler.v1 import cache_pb2, rate_limit_pb2
from pantler_server.core.config import Settings
from pantler_server.core.rate_limit import LISTED, MAX_LIMIT, MAX_LISTED, Algorithm
from pantler_server.engines.rate_limit.model import Check
from pantler_server.store.request import Script
from pantler_server.worker_process import GRPC_EXPERIMENTS
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from bench.engine import OpenLimits, deadline, open_limits
from bench.load import Target, calls_per_second
from bench.report import Line, rounds
from bench.sections.commands import PIPELINE, Cost, cost_of_scripts, median
from bench.sections.reads import paired
from bench.servers import KEYS, LOAD_CPU, NAMESPACE, bare_server, filled_server
from bench.serving import Serving

ROUNDS = 9
SUBJECTS = 20_000  # many, as in use: few would stay in the processor's nearest cache
TURN = 2000  # of them in turn with the reference: the machine's speed changes within a second
SCRIPT_ROUNDS = 3  # of all turns
ACQUIRES = 1000
CALLERS = 64  # coroutines, and connections of redis-py
CALLERS_S = 1.0  # of a turn of them
SHARED = 1000  # subjects that the callers take turns with
PER_HOUR = 10_000  # permits of each, so that none is denied
HITS = (10, 1_000, 10_000)
DENIED = "denied"
"""The rule that denies all but the first."""

_REFERENCE = Script.load("bench", "reference_limit.lua")


def rules(limit: int = MAX_LIMIT) -> dict[str, object]:
    """The configuration: for each algorithm a rule of its name that allows everything, and one that
    denies."""
    rules = {
        one.value: {
            "algorithm": one.value,
            "limit": min(limit, MAX_LISTED) if one in LISTED else limit,
            "window": "1h",
        }
        for one in Algorithm
    }
    rules[DENIED] = {"algorithm": "gcra", "limit": 1, "window": "24h"}
    return {"rate_limits": rules}


@contextmanager
def _limiting_server() -> Iterator[Serving]:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(str(rules()))
        file.flush()
        with filled_server("--config", file.name) as serving:
            yield serving


@asynccontextmanager
async def _open_limits(redis_socket: str, limit: int = MAX_LIMIT) -> AsyncIterator[OpenLimits]:
    settings = Settings.model_validate(rules(limit))
    async with open_limits(redis_socket, settings) as opened:
        yield opened


async def _acquire(opened: OpenLimits, rule: str, subject: str) -> None:
    engine = opened.engine
    decision = await engine.acquire(Check(engine.named(rule), subject, 1), "", deadline())
    assert decision.allowed


def acquire() -> Iterator[Line]:
    """An Acquire that is allowed, against a Get that hits, through the same server."""
    request = rate_limit_pb2.AcquireRequest(subject=KEYS[0], rule_name=Algorithm.GCRA.value)
    get = cache_pb2.GetRequest(namespace=NAMESPACE, key=KEYS[0])
    with _limiting_server() as serving:
        ours, gets, ratio = paired(
            "acquire",
            Target(serving.address, "pantler.v1.RateLimitService/Acquire", request),
            Target(serving.address, "pantler.v1.CacheService/Get", get),
        )
    yield Line(
        "Acquire of gcra, allowed, against a Get, hit",
        f"{ours:,.0f}/s",
        f"{gets:,.0f}/s",
        f"{ratio:.2f}",
        ">= 0.7",
    )


def denied() -> Iterator[Line]:
    """An Acquire that the worker denies from memory, through the whole server against a bare echo,
    as `get` has it; and what Redis hears of it."""
    request = rate_limit_pb2.AcquireRequest(subject=KEYS[0], rule_name=DENIED)
    for label, experiments in (("", ""), (" with our gRPC settings", GRPC_EXPERIMENTS)):
        with _limiting_server() as serving, bare_server(serving.redis_socket, experiments) as bare:
            target = Target(serving.address, "pantler.v1.RateLimitService/Acquire", request)
            calls_per_second(target, 1, LOAD_CPU)  # it is remembered from here on
            with Redis(unix_socket_path=serving.redis_socket) as redis:
                redis.config_resetstat()
                began_s = time.monotonic()
                pantler, echo, ratio = paired(
                    f"denied{label}", target, Target(bare, "bench.Bare/Echo", request)
                )
                took_s = time.monotonic() - began_s
                scripts = redis.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
        yield Line(
            f"Acquire, denied from memory, against a bare grpc.aio echo{label}",
            f"{pantler:,.0f}/s",
            f"{echo:,.0f}/s",
            f"{ratio:.2f}",
            "" if experiments else ">= 0.9",
        )
        yield Line(
            f"What Redis saw of these in {took_s:.0f} s{label}",
            f"{scripts} scripts",
            wanted="1 a second, by which workers are seen",
        )


def acquire_script() -> Iterator[Line]:
    """Redis's time for an Acquire, against that of a script that does one HMGET and one HSET; and
    what an Acquire makes Redis do."""
    with filled_server() as serving:
        costs = uvloop.run(_costs(serving.redis_socket))
        reads, calls = uvloop.run(_commands_per_acquire(serving.redis_socket))
    for algorithm, pairs in costs.items():
        ours, reference = (median(side) for side in zip(*pairs, strict=True))
        ratio = median([Cost(*map(truediv, *pair)) for pair in pairs])
        yield Line(
            f"Acquire of {algorithm}: in Redis, against a script of HMGET and HSET",
            f"{ours.mean:.1f} µs, p50 {ours.p50:.1f}",
            f"{reference.mean:.1f} µs, p50 {reference.p50:.1f}",
            f"{ratio.mean:.2f}, p50 {ratio.p50:.2f}",
            "<= 2" if algorithm in (Algorithm.TOKEN_BUCKET, Algorithm.GCRA) else "",
        )
    counts = ", ".join(f"{calls:.2f} {command}" for command, calls in calls.items())
    yield Line(
        f"Acquire of gcra: Redis's work for each of {ACQUIRES:,}",
        f"{reads:.2f} reads of the socket: {counts}",
        wanted="1 read",
    )


async def _costs(redis_socket: str) -> dict[Algorithm, list[tuple[Cost, Cost]]]:
    """Of each algorithm and of the reference, measured in turn."""
    found: dict[Algorithm, list[tuple[Cost, Cost]]] = {one: [] for one in Algorithm}
    turns = [range(first, first + TURN) for first in range(0, SUBJECTS, TURN)]
    async with (
        _open_limits(redis_socket) as opened,
        AsyncRedis(unix_socket_path=redis_socket) as redis,
    ):
        for turn in turns:  # the subjects are there from the start, and Redis knows the scripts
            for algorithm in Algorithm:
                await _acquire_each(opened, algorithm, turn)
            await _reference_each(opened, turn)
        for _ in rounds(SCRIPT_ROUNDS, "acquire-script"):
            for turn, (algorithm, pairs) in product(turns, found.items()):
                ours = await cost_of_scripts(redis, partial(_acquire_each, opened, algorithm, turn))
                reference = await cost_of_scripts(redis, partial(_reference_each, opened, turn))
                pairs.append((ours, reference))
    return found


async def _acquire_each(opened: OpenLimits, algorithm: Algorithm, turn: range) -> None:
    for first in turn[::PIPELINE]:
        subjects = [f"user:{number}" for number in range(first, first + PIPELINE)]
        await asyncio.gather(*(_acquire(opened, algorithm.value, one) for one in subjects))


async def _reference_each(opened: OpenLimits, turn: range) -> None:
    store, now_us = opened.store, time.time_ns() // 1000
    for first in turn[::PIPELINE]:
        places = [f"l{{reference:user:{one}}}" for one in range(first, first + PIPELINE)]
        requests = [
            _REFERENCE.request(store.slot_of(place), (place,), (1_000_000, now_us), "reference")
            for place in places
        ]
        await store.call_each(requests, deadline())


async def _commands_per_acquire(redis_socket: str) -> tuple[float, dict[str, float]]:
    """The reads of the socket, and the calls of each command, for each Acquire."""
    async with (
        _open_limits(redis_socket) as opened,
        AsyncRedis(unix_socket_path=redis_socket) as redis,
    ):
        await redis.config_resetstat()
        for number in range(ACQUIRES):
            await _acquire(opened, Algorithm.GCRA.value, KEYS[number % len(KEYS)])
        stats, commands = await redis.info("stats"), await redis.info("commandstats")
    calls = {
        name: commands.get(f"cmdstat_{name}", {"calls": 0})["calls"] / ACQUIRES
        for name in ("evalsha", "time", "get", "set")
    }
    return stats["total_reads_processed"] / ACQUIRES, calls


@dataclass(frozen=True, slots=True)
class Counterpart:
    """An algorithm, and what does the same in the package `limits`."""

    algorithm: Algorithm
    what: str
    limiter: Callable[[RedisStorage], strategies.RateLimiter]


COUNTERPARTS = (
    Counterpart(Algorithm.SLIDING_WINDOW_LOG, "moving window", strategies.MovingWindowRateLimiter),
    Counterpart(Algorithm.FIXED_WINDOW, "fixed window", strategies.FixedWindowRateLimiter),
    Counterpart(
        Algorithm.SLIDING_WINDOW_COUNTER,
        "sliding window counter",
        strategies.SlidingWindowCounterRateLimiter,
    ),
)


def limits() -> Iterator[Line]:
    """Decisions in one process from 64 coroutines, against the package `limits` with redis-py."""
    with filled_server() as serving:
        rates = uvloop.run(_decisions_per_second(serving.redis_socket))
    for one, pairs in rates.items():
        ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(us / them for us, them in pairs)
        yield Line(
            f"{one.algorithm}, {CALLERS} coroutines, against the {one.what} of `limits`",
            f"{ours:,.0f}/s",
            f"{theirs:,.0f}/s",
            f"{ratio:.1f}",
        )


async def _decisions_per_second(
    redis_socket: str,
) -> dict[Counterpart, list[tuple[float, float]]]:
    """Pantler's and those of `limits`, measured in turn."""
    found: dict[Counterpart, list[tuple[float, float]]] = {one: [] for one in COUNTERPARTS}
    async with (
        _open_limits(redis_socket, PER_HOUR) as opened,
        AsyncRedis(unix_socket_path=redis_socket) as redis,
    ):
        url = f"async+redis+unix://{redis_socket}"
        storage = RedisStorage(url, implementation="redispy", max_connections=CALLERS)
        limiters = {one: one.limiter(storage) for one in COUNTERPARTS}

        async def ours(algorithm: Algorithm, subject: str) -> None:
            await _acquire(opened, algorithm.value, subject)

        async def theirs(one: Counterpart, subject: str) -> None:
            item = RateLimitItemPerHour(PER_HOUR, namespace=one.algorithm)
            assert await limiters[one].hit(item, subject)

        for number in rounds(ROUNDS, "limits"):
            for one, pairs in found.items():
                us = await _calls_per_second(partial(ours, one.algorithm))
                them = await _calls_per_second(partial(theirs, one))
                if number:  # in the first, scripts are loaded and connections opened
                    pairs.append((us, them))
            await redis.flushdb()
    return found


async def _calls_per_second(call: Callable[[str], Awaitable[None]]) -> float:
    numbers = count()
    until = time.perf_counter() + CALLERS_S

    async def caller() -> None:
        while time.perf_counter() < until:
            await call(f"user:{next(numbers) % SHARED}")

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return next(numbers) / CALLERS_S


def limit_memory() -> Iterator[Line]:
    """What Redis keeps of a subject: of a log for each hit, of the others in all."""
    with filled_server() as serving:
        of_log, of_each = uvloop.run(_bytes_kept(serving.redis_socket))
    counter = of_each[Algorithm.SLIDING_WINDOW_COUNTER]
    for hits, kept in of_log.items():
        yield Line(
            f"Memory of a hit in a sliding_window_log of {hits:,}, against a whole "
            "sliding_window_counter",
            f"{kept / hits:.1f} B",
            f"{counter} B",
        )
    for algorithm, kept in of_each.items():
        yield Line(f"Memory of a subject with {HITS[0]} hits, {algorithm}", f"{kept} B")


async def _bytes_kept(redis_socket: str) -> tuple[dict[int, int], dict[Algorithm, int]]:
    """Of logs by their hits, and of each algorithm with the fewest of these."""
    async with (
        _open_limits(redis_socket) as opened,
        AsyncRedis(unix_socket_path=redis_socket) as redis,
    ):

        async def kept(algorithm: Algorithm, hits: int) -> int:
            subject = f"user:{hits}"
            for _ in range(hits):
                await _acquire(opened, algorithm.value, subject)
            place = opened.engine.named(algorithm.value).place(subject)
            return await redis.memory_usage(place, samples=0) or 0

        of_log = {hits: await kept(Algorithm.SLIDING_WINDOW_LOG, hits) for hits in HITS}
        of_each = {
            one: of_log[HITS[0]]
            if one is Algorithm.SLIDING_WINDOW_LOG
            else await kept(one, HITS[0])
            for one in Algorithm
        }
    return of_log, of_each
