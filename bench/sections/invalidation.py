"""What invalidation costs: those who invalidate, those who read meanwhile and later, and Redis."""

import asyncio
import multiprocessing
import os
import statistics
import time
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import NamedTuple, Self

import grpc
import uvloop
from pantler.v1 import cache_pb2, cache_pb2_grpc, invalidation_pb2, invalidation_pb2_grpc
from pantler_server.core.config import NamespaceConfig, Settings
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache.model import Miss, MissReason, NewEntry, SetResult
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from rich.progress import track

from bench.engine import OpenEngine, deadline, open_engine
from bench.load import Target
from bench.report import Line, console, rounds
from bench.sections.reads import paired
from bench.servers import KEYS, LOAD_CPU, NAMESPACE, VALUE, filled_server

BATCH = 1000  # entries, keys or tags that leave together
TIMEOUT_S = 300.0  # beyond what a call takes: only a defect meets it

COVERED = (10, 1000, 1_000_000)  # entries that a tag covers
ROUNDS = 9
CALLS = 100  # of InvalidateTags in a round: one takes a fraction of a millisecond
RAW_TTL_MS = 3_600_000  # of the keys that users set themselves: longer than the section takes

TAGGED = "tagged"
TAGS = tuple(f"tag:{number}" for number in range(5))

WALKED = 1_000_000  # entries under the pattern
PROBE = "probe"  # the key that the other client gets
PROBE_S = 0.002  # from one of its GETs to the next: 500/s, which are no load to Redis
QUIET_S = 5.0  # its GETs before the walks, 2,500

SPACES = 10  # in each of which so many are measured, since there is a bound for each:
MARKS = 9000  # of 10,000 label marks and 10,000 tombstones (functions/trim_*.lua)
INDEXED = 100_000  # entries
TAGGED_TOGETHER = 1000  # of them have the same tags
DECLARING = 20_000  # keys with declared dependencies
TOGETHER = 100  # calls under way


async def _fill(
    engine: OpenEngine, space: Namespace, what: str, count: int, tags: Sequence[str] = ()
) -> None:
    """Entries `what`:0 and on, with these tags."""
    for first in _batches(count, what):
        numbers = range(first, min(first + BATCH, count))
        new = [NewEntry(f"{what}:{number}", VALUE, tags=tuple(tags)) for number in numbers]
        await _set(engine, space, new)


async def _set(engine: OpenEngine, space: Namespace, new: Sequence[NewEntry]) -> None:
    results = await engine.cache.set_many(space, new, deadline())
    assert all(isinstance(one, SetResult) and one.visible for one in results)


def _batches(count: int, what: str) -> Iterable[int]:
    """Where each batch begins, with a bar on the terminal if there are many."""
    firsts = range(0, count, BATCH)
    if len(firsts) < 10:
        return firsts
    return track(firsts, f"{count:,} {what}", console=console, transient=True)


class Times(NamedTuple):
    """How long it took in each round (s) to invalidate what a tag covers."""

    pantler: list[float]
    """The median of its calls."""
    tag_set: list[float]
    """One deletion; of the most keys in one round alone, since they must be set anew each time."""


def invalidate_tags() -> Iterator[Line]:
    """InvalidateTags of tags that cover few entries and many, against what users write themselves:
    a set of keys for each tag, and DEL of its members."""
    with filled_server() as serving:
        times = uvloop.run(_times(serving.redis_socket))
    medians = {count: tuple(map(statistics.median, both)) for count, both in times.items()}
    for count, (ours, theirs) in medians.items():
        ratio = ours / theirs
        yield Line(
            f"InvalidateTags of {count:,} entries, in the engine, against SMEMBERS of as many keys "
            f"and DEL of {BATCH:,} at a time",
            _ms(ours),
            _ms(theirs),
            f"{ratio:.2f}" if ratio > 0.01 else f"1/{1 / ratio:,.0f}",
        )
    few, many = COVERED[0], COVERED[-1]
    in_turn = zip(times[many].pantler, times[few].pantler, strict=True)
    yield Line(
        f"InvalidateTags of {many:,} entries, against one of {few}",
        _ms(medians[many][0]),
        _ms(medians[few][0]),
        f"{statistics.median(one / other for one, other in in_turn):.2f}",
        "the same within noise",
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.{3 if seconds < 0.01 else 0}f} ms"


async def _times(redis_socket: str) -> dict[int, Times]:
    times = {count: Times([], []) for count in COVERED}
    async with open_engine(redis_socket) as engine:
        space = await engine.namespace(NAMESPACE)
        for count in COVERED:
            await _fill(engine, space, f"entries of {count}", count, [f"of {count}"])
        for _ in rounds(ROUNDS, "invalidate-tags"):
            for count, (ours, theirs) in times.items():
                ours.append(await _invalidation_s(engine, space, f"of {count}"))
                if count != COVERED[-1] or not theirs:
                    theirs.append(await asyncio.to_thread(_tag_set_s, redis_socket, count))
        for count in COVERED:
            for number in (0, count - 1):
                found = await engine.cache.get(space, f"entries of {count}:{number}", deadline())
                assert isinstance(found, Miss)
                assert found.reason is MissReason.HIDDEN_BY_TAG
    return times


async def _invalidation_s(engine: OpenEngine, space: Namespace, tag: str) -> float:
    took_s = []
    for _ in range(CALLS):
        began_s = time.perf_counter()
        await engine.cache.invalidation.invalidate_tags(space, [tag], deadline())
        took_s.append(time.perf_counter() - began_s)
    return statistics.median(took_s)


def _tag_set_s(redis_socket: str, count: int) -> float:
    """Sets so many keys and the set of them, then removes both; how long the second took (s)."""
    with Redis(unix_socket_path=redis_socket) as redis:
        for first in _batches(count, "keys"):
            keys = [f"raw:{number}" for number in range(first, min(first + BATCH, count))]
            pipeline = redis.pipeline(transaction=False)
            for key in keys:
                pipeline.set(key, VALUE, px=RAW_TTL_MS)
            pipeline.sadd("tag", *keys)
            pipeline.execute()
        began_s = time.perf_counter()
        doomed = [*redis.smembers("tag"), "tag"]
        for first in range(0, len(doomed), BATCH):
            redis.delete(*doomed[first : first + BATCH])
        return time.perf_counter() - began_s


def tagged_get() -> Iterator[Line]:
    """A Get that hits an entry with tags, through the whole server, against one that hits an entry
    without. It takes one round trip to Redis, as the other, until a label of the namespace is
    invalidated after the entry's fill began; then two."""
    tagged = cache_pb2.GetRequest(namespace=NAMESPACE, key=TAGGED)
    untagged = cache_pb2.GetRequest(namespace=NAMESPACE, key=KEYS[0])
    new = cache_pb2.SetRequest(namespace=NAMESPACE, key=TAGGED, value=VALUE, tags=TAGS)
    other = invalidation_pb2.InvalidateTagsRequest(namespace=NAMESPACE, tags=["other"])
    with filled_server() as serving, grpc.insecure_channel(serving.address) as channel:
        cache = cache_pb2_grpc.CacheServiceStub(channel)
        invalidation = invalidation_pb2_grpc.InvalidationServiceStub(channel)

        def line(situation: str) -> Line:
            assert cache.Get(tagged, timeout=TIMEOUT_S).hit.entry.value == VALUE
            ours, theirs, ratio = paired(
                f"tagged-get, {situation}",
                Target(serving.address, "pantler.v1.CacheService/Get", tagged),
                Target(serving.address, "pantler.v1.CacheService/Get", untagged),
            )
            return Line(
                f"Get, hit, of an entry with {len(TAGS)} tags, {situation}, against one without",
                f"{ours:,.0f}/s",
                f"{theirs:,.0f}/s",
                f"{ratio:.2f}",
                ">= 0.8",
            )

        cache.Set(new, timeout=TIMEOUT_S)
        yield line("no label invalidated since")
        invalidation.InvalidateTags(other, timeout=TIMEOUT_S)
        yield line("another tag invalidated since")


class Waits(NamedTuple):
    """How long GETs of another client took (s)."""

    p50: float
    p99: float
    calls: int

    def __str__(self) -> str:
        return f"p50 {self.p50 * 1000:.2f} ms, p99 {self.p99 * 1000:.2f} ms"


def pattern() -> Iterator[Line]:
    """InvalidatePattern through the whole server, of a pattern that no key matches and of one that
    all match, while another client of the same Redis does a GET from time to time."""
    with filled_server() as serving, grpc.insecure_channel(serving.address) as channel:
        uvloop.run(_fill_walked(serving.redis_socket))
        stub = invalidation_pb2_grpc.InvalidationServiceStub(channel)
        walks = []
        with OtherClient(serving.redis_socket) as client:
            quiet_s = time.monotonic()
            time.sleep(QUIET_S)
            for glob in ("other:*", "page:*"):
                began_s = time.monotonic()
                request = invalidation_pb2.InvalidatePatternRequest(
                    namespace=NAMESPACE, pattern=glob
                )
                *_, last = stub.InvalidatePattern(request, timeout=TIMEOUT_S)
                walks.append((began_s, time.monotonic(), last))
        assert [last.invalidated for _, _, last in walks] == [0, WALKED]
        quiet = client.waits(quiet_s, walks[0][0])
    for began_s, ended_s, last in walks:
        walk = (
            f"InvalidatePattern over {last.total:,} keys, of which it removes {last.invalidated:,}"
        )
        waits = client.waits(began_s, ended_s)
        yield Line(walk, f"{last.total / (ended_s - began_s):,.0f} keys/s")
        yield Line(
            f"{walk}: GETs of another client meanwhile ({waits.calls:,}), against none under way",
            str(waits),
            str(quiet),
            f"p99 {waits.p99 / quiet.p99:.1f}",
            "p99 < 5 ms",
        )


async def _fill_walked(redis_socket: str) -> None:
    async with open_engine(redis_socket) as engine:
        await _fill(engine, await engine.namespace(NAMESPACE), "page", WALKED)


class OtherClient:
    """A process with a connection of its own, that does a GET each PROBE_S while the block
    lasts. It is on the processor of the load."""

    def __init__(self, redis_socket: str) -> None:
        spawn = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
        self._stop = spawn.Event()
        self._pipe, self._theirs = spawn.Pipe()
        self._process = spawn.Process(
            target=_get_often, args=(redis_socket, self._stop, self._theirs)
        )
        self._took_s: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        self._process.start()
        self._theirs.close()  # else nobody would learn that the process has failed
        self._pipe.recv()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._took_s = self._pipe.recv()
        self._process.join()

    def waits(self, began_s: float, ended_s: float) -> Waits:
        """Those that were due in a time, of the monotonic clock, which processes share."""
        took_s = [took for due, took in self._took_s if began_s <= due < ended_s]
        cuts = statistics.quantiles(took_s, n=100)
        return Waits(cuts[49], cuts[98], len(took_s))


def _get_often(redis_socket: str, stop: Event, results: Connection) -> None:
    """Sends, when it begins, that it does, and at last when each GET was due and how long it
    took."""
    os.sched_setaffinity(0, {LOAD_CPU})
    took_s = []
    with Redis(unix_socket_path=redis_socket) as redis:
        redis.set(PROBE, VALUE)
        results.send(None)
        due_s = time.monotonic()
        while not stop.is_set():
            due_s += PROBE_S
            left_s = due_s - time.monotonic()
            # What a slow answer keeps from being sent in time has waited as well; what an inexact
            # sleep keeps has not.
            began_s = due_s
            if left_s > 0:
                time.sleep(left_s)
                began_s = time.monotonic()
            redis.get(PROBE)
            took_s.append((due_s, time.monotonic() - began_s))
    results.send(took_s)


def mark_memory() -> Iterator[Line]:
    """What Redis keeps for invalidations: marks, tombstones, indexes, and what was declared."""
    with filled_server() as serving:
        kept = uvloop.run(_kept(serving.redis_socket))
    for what, each_bytes in kept.items():
        yield Line(f"Memory in Redis of {what}", f"{each_bytes:.0f} B")


async def _kept(redis_socket: str) -> dict[str, float]:
    """How many bytes each takes."""
    settings = Settings(namespaces={"indexed": NamespaceConfig(tag_index=True)})
    async with (
        open_engine(redis_socket, settings) as engine,
        AsyncRedis(unix_socket_path=redis_socket) as redis,
    ):

        async def grown(work: Awaitable[None]) -> int:
            before = await _used(redis)
            await work
            return await _used(redis) - before

        spaces = [await engine.namespace(f"marks{number}") for number in range(SPACES)]
        tags = await grown(_mark(engine, spaces))
        tombstones = await grown(_bury(engine, spaces))
        plain = await grown(_fill_tagged(engine, await engine.namespace("plain")))
        indexed = await grown(_fill_tagged(engine, await engine.namespace("indexed")))
        declared = await grown(_declare(engine, spaces[0]))
    per_label = INDEXED * len(TAGS)
    return {
        f"a tag's mark, by a name of {len(_tag(0))} B": tags / (SPACES * MARKS),
        f"a tombstone, by a key of {len(_key(0))} B": tombstones / (SPACES * MARKS),
        f"an index's member, for each entry and tag, by a key of {len(_key(0))} B": (
            (indexed - plain) / per_label
        ),
        f"a declared dependency, of {len(TAGS)} for a key of {len(_key(0))} B": (
            declared / (DECLARING * len(TAGS))
        ),
    }


async def _used(redis: AsyncRedis) -> int:
    """What Redis has allocated, without the buffers of its clients (bytes)."""
    memory = await redis.info("memory")
    return int(memory["used_memory"]) - int(memory["mem_clients_normal"])


def _tag(number: int) -> str:
    return f"product:{number:06}"


def _key(number: int) -> str:
    return f"user:{number:06}"


async def _mark(engine: OpenEngine, spaces: Sequence[Namespace]) -> None:
    """Leaves the marks of tags."""
    for space in spaces:
        for first in range(0, MARKS, BATCH):
            tags = [_tag(number) for number in range(first, first + BATCH)]
            await engine.cache.invalidation.invalidate_tags(space, tags, deadline())


async def _bury(engine: OpenEngine, spaces: Sequence[Namespace]) -> None:
    """Leaves tombstones."""
    for space in spaces:
        for first in range(0, MARKS, BATCH):
            keys = [_key(number) for number in range(first, first + BATCH)]
            await engine.cache.delete_many(space, keys, deadline())


async def _fill_tagged(engine: OpenEngine, space: Namespace) -> None:
    for first in _batches(INDEXED, "entries with tags"):
        group = first // TAGGED_TOGETHER * len(TAGS)
        tags = tuple(_tag(group + number) for number in range(len(TAGS)))
        numbers = range(first, first + BATCH)
        await _set(engine, space, [NewEntry(_key(number), VALUE, tags=tags) for number in numbers])


async def _declare(engine: OpenEngine, space: Namespace) -> None:
    """Declares of each key that it depends on some others, as TAGGED_TOGETHER do."""
    for first in _batches(DECLARING, "keys with dependencies"):
        group = first // TAGGED_TOGETHER * len(TAGS)
        others = [f"of:{_key(group + number)}" for number in range(len(TAGS))]
        for some in range(first, first + BATCH, TOGETHER):
            await asyncio.gather(
                *(
                    engine.cache.invalidation.declare_dependencies(
                        space, _key(number), others, deadline()
                    )
                    for number in range(some, some + TOGETHER)
                )
            )
