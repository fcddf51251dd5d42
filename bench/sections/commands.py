"""What calls cost Redis, by its own count: INFO commandstats and latencystats."""

import statistics
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from operator import truediv
from typing import NamedTuple

import uvloop
from pantler_server.engines.cache import entry, keys
from pantler_server.engines.cache.model import Condition, LeaseAsk, NewEntry, SetResult
from pantler_server.store.request import Script
from redis.asyncio import Redis

from bench.engine import OpenEngine, deadline, open_engine
from bench.report import Line, rounds
from bench.servers import KEYS, NAMESPACE, VALUE, filled_server

ROUNDS = 9
SET_KEYS = 20_000  # many, as in use: few would stay in the processor's nearest cache
TURN = 2000  # of them in turn with the reference: the machine's speed changes within a second
PIPELINE = 100  # of them leave together
GETS = 1000
LEASE_MS = 60_000  # longer than the time between two turns

_REFERENCE = Script.load("bench", "reference.lua")


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to set. Each has a namespace of its own, so that no other's events weigh on it."""

    namespace: str
    what: str
    ttl_ms: int | None = None
    condition: Condition | None = None
    leased: bool = False
    wanted: str = ""


KINDS = (
    Kind("plain", "Set", wanted="<= 2"),
    Kind("short", "Set for less than 60 s, which leaves a tombstone", ttl_ms=30_000),
    Kind("present", "Set with if_present", condition=Condition.PRESENT),
    Kind("leased", "Set while leases are about", leased=True),
)


class Cost(NamedTuple):
    """Redis's time for one call of a script (µs)."""

    mean: float
    p50: float


def set_script() -> Iterator[Line]:
    """Redis's time for the script of a Set, against that of a script that does one HMGET and one
    SET … PX of as many bytes."""
    with filled_server() as serving:
        costs = uvloop.run(_costs(serving.redis_socket))
    for kind, pairs in costs.items():
        ours, reference = (median(side) for side in zip(*pairs, strict=True))
        ratio = median([Cost(*map(truediv, *pair)) for pair in pairs])
        yield Line(
            f"{kind.what}: in Redis, against a script of HMGET and SET … PX",
            f"{ours.mean:.1f} µs, p50 {ours.p50:.1f}",
            f"{reference.mean:.1f} µs, p50 {reference.p50:.1f}",
            f"{ratio.mean:.2f}, p50 {ratio.p50:.2f}",
            kind.wanted,
        )


def median(costs: Sequence[Cost]) -> Cost:
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


async def _costs(redis_socket: str) -> dict[Kind, list[tuple[Cost, Cost]]]:
    """Of each kind and of the reference, measured in turn."""
    found: dict[Kind, list[tuple[Cost, Cost]]] = {kind: [] for kind in KINDS}
    turns = [range(first, first + TURN) for first in range(0, SET_KEYS, TURN)]
    async with open_engine(redis_socket) as engine, Redis(unix_socket_path=redis_socket) as redis:
        for turn in turns:  # the keys are there from the start, and Redis knows the scripts
            for kind in KINDS:
                await _set(engine, replace(kind, condition=None), turn)
            await _set_reference(engine, turn)
        for _ in rounds(ROUNDS, "set-script"):
            for turn, (kind, pairs) in product(turns, found.items()):
                ours = await cost_of_scripts(redis, partial(_set, engine, kind, turn))
                reference = await cost_of_scripts(redis, partial(_set_reference, engine, turn))
                pairs.append((ours, reference))
    return found


async def cost_of_scripts(redis: Redis, run: Callable[[], Awaitable[None]]) -> Cost:
    return await cost_of(redis, "evalsha", run)


async def cost_of(redis: Redis, command: str, run: Callable[[], Awaitable[None]]) -> Cost:
    """Of each call of a command while something runs."""
    await redis.config_resetstat()
    await run()
    counts = (await redis.info("commandstats"))[f"cmdstat_{command}"]
    spread = (await redis.info("latencystats"))[f"latency_percentiles_usec_{command}"]
    return Cost(counts["usec_per_call"], spread["p50"])


async def _set(engine: OpenEngine, kind: Kind, turn: range) -> None:
    space = await engine.namespace(kind.namespace)
    if kind.leased:
        ask = LeaseAsk(LEASE_MS, 0, "bench")
        await engine.cache.get(space, "leased", deadline(), ask)
    for first in turn[::PIPELINE]:
        new = [
            NewEntry(f"user:{number}", VALUE, kind.ttl_ms, condition=kind.condition)
            for number in range(first, first + PIPELINE)
        ]
        results = await engine.cache.set_many(space, new, deadline())
        assert all(isinstance(one, SetResult) and one.version for one in results)


async def _set_reference(engine: OpenEngine, turn: range) -> None:
    space = await engine.namespace("reference")
    value = bytes(entry.HEADER_BYTES) + VALUE
    for first in turn[::PIPELINE]:
        requests = []
        for number in range(first, first + PIPELINE):
            partition, place = keys.place(space, f"user:{number}")
            operands = (place, keys.marks(partition)), (value, space.ttl_ms + space.grace_ms)
            requests.append(_REFERENCE.request(partition.slot, *operands, "reference"))
        await engine.store.call_each(requests, deadline())


def round_trips() -> Iterator[Line]:
    """What Redis does for a Get that hits an entry without tags. Commands that leave together are
    one read of its socket."""
    with filled_server() as serving:
        per_get, reads = uvloop.run(_commands_per_get(serving.redis_socket))
    counts = ", ".join(f"{count:.2f} {command}" for command, count in per_get.items())
    yield Line(
        f"Get, hit, no tags: Redis's work for each of {GETS:,}",
        f"{reads:.2f} reads of the socket: {counts}",
        wanted="1 read, no evalsha",
    )


async def _commands_per_get(redis_socket: str) -> tuple[dict[str, float], float]:
    """The calls of each command, and the reads of the socket, for each Get."""
    async with open_engine(redis_socket) as engine, Redis(unix_socket_path=redis_socket) as redis:
        space = await engine.namespace(NAMESPACE)
        await redis.config_resetstat()
        for number in range(GETS):
            await engine.cache.get(space, KEYS[number % len(KEYS)], deadline())
        stats, commands = await redis.info("stats"), await redis.info("commandstats")
    calls = {
        name: commands.get(f"cmdstat_{name}", {"calls": 0})["calls"] / GETS
        for name in ("get", "hget", "time", "evalsha")
    }
    return calls, stats["total_reads_processed"] / GETS
