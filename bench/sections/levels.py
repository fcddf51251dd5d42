"""The first level: what a hit costs, how soon it forgets, what it takes, what it is good for."""

import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

import psutil
import uvloop
from pantler.v1 import cache_pb2
from pantler_server.core.config import Settings
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import kept, keys
from pantler_server.engines.cache.first_level import OVERHEAD_BYTES
from pantler_server.engines.cache.model import Hit, NewEntry
from pantler_server.worker_process import GRPC_EXPERIMENTS
from redis import Redis
from rich.progress import track

from bench.engine import OpenEngine, deadline, open_engine
from bench.load import Target, calls_per_second
from bench.report import Line, console, rounds
from bench.sections.reads import paired
from bench.servers import KEYS, LOAD_CPU, NAMESPACE, SERVER_CPU, VALUE, bare_server, filled_server
from bench.serving import Serving, memory_bytes
from bench.workload import CLUSTER_22, CLUSTER_52, Operation, Workload

HITS = 2_000  # in a row, some 10 ms
CHANGES = 400
KEEP_S = 0.02  # until a reader that asks all the time has kept what is there
LAST = b"last"
OFFERED = 1_000_000
BOUND_BYTES = 256 << 20
BATCH = 1_000
OPERATIONS = 150_000  # of a workload; the first half fills the level
DELETES_PER_S = 500
SMALL_BYTES = 2 << 20  # of the level that a workload meets: one percent of its entries


def near(**said: object) -> dict[str, object]:
    """The configuration of a namespace with a first level."""
    return {"namespaces": {NAMESPACE: {"l1": {"ttl": "1h", "audit_ratio": 0, **said}}}}


@contextmanager
def _near_server() -> Iterator[Serving]:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(str(near()))
        file.flush()
        with filled_server("--config", file.name) as serving:
            yield serving


def l1_hit() -> Iterator[Line]:
    """A Get that the first level answers: through the whole server against a bare echo, as `get`
    has it; what Redis hears of it; and in the engine alone."""
    get = cache_pb2.GetRequest(namespace=NAMESPACE, key=KEYS[0])
    for label, experiments in (("", ""), (" with our gRPC settings", GRPC_EXPERIMENTS)):
        with _near_server() as serving, bare_server(serving.redis_socket, experiments) as bare:
            target = Target(serving.address, "pantler.v1.CacheService/Get", get)
            calls_per_second(target, 1, LOAD_CPU)  # it is kept from here on
            with Redis(unix_socket_path=serving.redis_socket) as redis:
                redis.config_resetstat()
                pantler, echo, ratio = paired(
                    f"l1-hit{label}", target, Target(bare, "bench.Bare/Echo", get)
                )
                reads = redis.info("commandstats").get("cmdstat_get", {"calls": 0})["calls"]
        yield Line(
            f"Get, hit in the first level, against a bare grpc.aio echo{label}",
            f"{pantler:,.0f}/s",
            f"{echo:,.0f}/s",
            f"{ratio:.2f}",
            "" if experiments else ">= 0.9",
        )
        yield Line(f"What Redis saw of these{label}", f"{reads} GETs", wanted="0")
    with filled_server() as serving:
        hit_us = uvloop.run(_hit_us(serving.redis_socket))
    yield Line("A hit in the first level, in the engine", f"{hit_us:.1f} µs", wanted="< 5 µs")


async def _hit_us(redis_socket: str) -> float:
    """The median of many runs of hits, of processor time."""
    async with open_engine(redis_socket, Settings.model_validate(near())) as engine:
        space = await engine.namespace(NAMESPACE)
        await keep(engine, space, KEYS[0])
        took_s = []
        for _ in rounds(100, "l1-hit"):
            await asyncio.sleep(0.01)
            until, began_s = deadline(), time.process_time()
            for _ in range(HITS):
                await engine.cache.get(space, KEYS[0], until)
            took_s.append(time.process_time() - began_s)
        stats, _, _ = await engine.cache.statistics(space, deadline())
        assert stats.l1_hits >= 100 * HITS
    return statistics.median(took_s) / HITS * 1e6


async def keep(engine: OpenEngine, space: Namespace, key: str) -> bytes:
    """Reads until the first level answers; the value."""
    while True:
        stats, _, _ = await engine.cache.statistics(space, deadline())
        answered = stats.l1_hits
        found = await engine.cache.get(space, key, deadline())
        if stats.l1_hits > answered:
            assert isinstance(found, Hit)
            return found.value
        await asyncio.sleep(0)


def l1_staleness() -> Iterator[Line]:
    """For how long another worker's first level answers what was changed, after the change has been
    acknowledged to who made it."""
    with filled_server() as serving:
        stale_s = uvloop.run(_stale_s(serving.redis_socket))
    bound = Settings.model_validate(near()).namespaces[NAMESPACE].l1
    assert bound is not None
    for what, times in stale_s.items():
        p50, p99 = (statistics.quantiles(times, n=100)[at - 1] * 1000 for at in (50, 99))
        yield Line(
            f"From the answer to {what} to another worker's last stale answer, {len(times)} times",
            f"p50 {p50:.2f} ms, p99 {p99:.2f} ms",
            f"bound {bound.max_staleness.total_seconds():.0f} s",
            wanted="p99 < 10 ms",
        )


async def _stale_s(redis_socket: str) -> dict[str, list[float]]:
    """By the change: for how long after each was acknowledged the reader, a process of its own,
    still answered what was there before."""
    times: dict[str, list[float]] = {"a Set": [], "InvalidateTags": []}
    changed: list[tuple[str, bytes, float]] = []  # what was done to which value, and until when
    with multiprocessing.get_context("spawn").Pool(1) as process:
        watching = process.apply_async(_watch, (redis_socket,))
        async with open_engine(redis_socket) as engine:
            space = await engine.namespace(NAMESPACE)

            async def set_k(value: bytes) -> None:
                await engine.cache.set(space, NewEntry("k", value, tags=("t",)), deadline())

            await asyncio.sleep(2)  # until the reader is there
            for number in rounds(CHANGES, "l1-staleness"):
                first, second = b"%d" % number, b"%d again" % number
                await set_k(first)
                await asyncio.sleep(KEEP_S)
                await set_k(second)
                changed.append(("a Set", first, time.perf_counter()))
                await asyncio.sleep(KEEP_S)
                await engine.cache.invalidation.invalidate_tags(space, ["t"], deadline())
                changed.append(("InvalidateTags", second, time.perf_counter()))
            await set_k(LAST)
        last_s = watching.get()
    for what, value, acknowledged_s in changed:
        if value in last_s:  # else the reader did not get to run
            times[what].append(max(0.0, last_s[value] - acknowledged_s))
    return times


def _watch(redis_socket: str) -> dict[bytes, float]:
    psutil.Process().cpu_affinity([SERVER_CPU])
    return uvloop.run(_last_s(redis_socket))


async def _last_s(redis_socket: str) -> dict[bytes, float]:
    """When each value was answered last, up to the last one."""
    last_s: dict[bytes, float] = {}
    async with open_engine(redis_socket, Settings.model_validate(near())) as engine:
        space = await engine.namespace(NAMESPACE)
        while LAST not in last_s:
            found = await engine.cache.get(space, "k", deadline())
            if isinstance(found, Hit):
                last_s[found.value] = time.perf_counter()
            await asyncio.sleep(0.0002)  # who never sleeps is made to wait where others want to run
        stats, _, _ = await engine.cache.statistics(space, deadline())
        assert stats.l1_hits > stats.hits / 2
    return last_s


def l1_memory() -> Iterator[Line]:
    """What a process grows by that is offered far more than the bound."""
    with filled_server() as serving:
        uvloop.run(_fill(serving.redis_socket))
        with multiprocessing.get_context("spawn").Pool(1) as process:
            grown, count = process.apply(_grown_bytes, (serving.redis_socket,))
    yield Line(
        f"Memory of a worker whose first level was offered {OFFERED:,} entries of {len(VALUE)} B, "
        f"of which {count:,} stayed, against its bound",
        f"{grown / 2**20:.0f} MiB",
        f"{BOUND_BYTES / 2**20:.0f} MiB",
        f"{grown / BOUND_BYTES:.2f}",
        "<= 1.1",
    )


def _batches(what: str) -> Iterator[Sequence[str]]:
    for first in track(range(0, OFFERED, BATCH), what, console=console, transient=True):
        yield [f"user:{number}" for number in range(first, first + BATCH)]


async def _fill(redis_socket: str) -> None:
    async with open_engine(redis_socket) as engine:
        space = await engine.namespace(NAMESPACE)
        for wanted in _batches("filling"):
            entries = [NewEntry(key, VALUE) for key in wanted]
            await engine.cache.set_many(space, entries, deadline())


def _grown_bytes(redis_socket: str) -> tuple[int, int]:
    return uvloop.run(_read_all(redis_socket))


async def _read_all(redis_socket: str) -> tuple[int, int]:
    """By how much this process grows, and how many entries are kept at the end."""
    settings = Settings.model_validate(near(max_bytes=BOUND_BYTES))
    async with open_engine(redis_socket, settings) as engine:
        space = await engine.namespace(NAMESPACE)
        await keep(engine, space, "user:0")
        before = memory_bytes(psutil.Process())
        for wanted in _batches("l1-memory"):
            await engine.cache.get_many(space, wanted, deadline())
        level = engine.cache._first_level.of(space)  # no caller has use for it
        assert level is not None
        level.kept.run_pending_tasks()
        return memory_bytes(psutil.Process()) - before, level.kept.count()


class Ratios(NamedTuple):
    """Shares of the reads that needed no Redis."""

    pantler: float
    lru: float


def l1_hit_ratio() -> Iterator[Line]:
    """How many reads a small first level answers of workloads like production's, against an LRU of
    as many bytes, counted alike. Both forget what is written."""
    for workload in (CLUSTER_52, CLUSTER_22):
        with filled_server() as serving:
            ratios = uvloop.run(_hit_ratios(serving.redis_socket, workload))
        yield Line(
            f"Hit ratio of a first level of {SMALL_BYTES / 2**20:.0f} MiB, {workload.name}, "
            "against an LRU",
            f"{ratios.pantler:.3f}",
            f"{ratios.lru:.3f}",
            f"{ratios.pantler / ratios.lru:.2f}",
        )

    with filled_server() as serving:
        share = uvloop.run(_share_while_deleting(serving.redis_socket))
    yield Line(
        f"Reads that a first level answers while {DELETES_PER_S} other keys a second are deleted",
        f"{share:.2f}",
    )


async def _share_while_deleting(redis_socket: str) -> float:
    """Of reads of entries that nobody changes: deletes write to the hash that has the marks."""
    settings = Settings.model_validate(near())
    async with (
        open_engine(redis_socket, settings) as reading,
        open_engine(redis_socket) as writing,
    ):
        space = await reading.namespace(NAMESPACE)
        other = await writing.namespace(NAMESPACE)
        for key in KEYS:
            await keep(reading, space, key)
        stats, _, _ = await reading.cache.statistics(space, deadline())
        hits, answered = stats.hits, stats.l1_hits
        until = time.perf_counter() + 3

        async def read(key: str) -> None:
            while time.perf_counter() < until:
                await reading.cache.get(space, key, deadline())
                await asyncio.sleep(0.002)

        async with asyncio.TaskGroup() as tasks:
            for key in KEYS[:20]:
                tasks.create_task(read(key))
            while time.perf_counter() < until:
                await writing.cache.delete(other, "another", deadline())
                await asyncio.sleep(1 / DELETES_PER_S)
    return (stats.l1_hits - answered) / (stats.hits - hits)


class _Lru:
    """What a first level would be if it dropped what was used longest ago."""

    def __init__(self) -> None:
        self._weights: OrderedDict[str, int] = OrderedDict()
        self._left = SMALL_BYTES

    def has(self, key: str) -> bool:
        if key not in self._weights:
            return False
        self._weights.move_to_end(key)
        return True

    def put(self, key: str, weight: int) -> None:
        self._weights[key] = weight
        self._left -= weight
        while self._left < 0:
            self._left += self._weights.popitem(last=False)[1]

    def forget(self, key: str) -> None:
        self._left += self._weights.pop(key, 0)


async def _hit_ratios(redis_socket: str, workload: Workload) -> Ratios:
    settings = Settings.model_validate(near(max_bytes=SMALL_BYTES))
    lru, stored = _Lru(), set[str]()
    reads = lru_hits = 0
    async with open_engine(redis_socket, settings) as engine:
        space = await engine.namespace(NAMESPACE)
        await keep(engine, space, KEYS[0])
        value = bytes(workload.value_bytes)
        packed_bytes = kept.KEPT.size + len(value)
        stats, _, _ = await engine.cache.statistics(space, deadline())
        draws = islice(workload.draws(seed=1), OPERATIONS)
        for done in rounds(OPERATIONS, workload.name):
            if done == OPERATIONS // 2:
                reads = lru_hits = 0
                before = stats.l1_hits
            operation, rank, _ = next(draws)
            key = workload.key(rank)
            found = None
            if operation is Operation.GET:
                reads += 1
                found = await engine.cache.get(space, key, deadline())
                if lru.has(key):
                    lru_hits += 1
                elif key in stored:
                    place = keys.place(space, key)[1]
                    lru.put(key, OVERHEAD_BYTES + len(place) + packed_bytes)
            if not isinstance(found, Hit):
                await engine.cache.set(space, NewEntry(key, value), deadline())
                stored.add(key)
                lru.forget(key)
    return Ratios((stats.l1_hits - before) / reads, lru_hits / reads)
