"""The cache engine, on every topology."""

import asyncio
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from pantler_server.core.errors import (
    OutcomeUnknown,
    ServiceError,
    StoreUnavailable,
    WrongKind,
)
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import keys
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.model import Hit, Miss, MissReason, NewEntry, SetResult
from pantler_server.engines.cache.stats import CacheStats
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.store.request import Argument, Request, pack
from pantler_server.store.store import Store

from tests.engines.conftest import Deadline


def new(key: str, value: bytes = b"v", ttl_ms: int | None = None, kind: str = "") -> NewEntry:
    return NewEntry(key, value, ttl_ms, kind)


async def raw(store: Store, space: Namespace, key: str, *command: Argument) -> Any:
    """A command on an entry's place, given after its first word."""
    partition, place = keys.place(space, key)
    packed = pack(command[0], place, *command[1:])
    request = Request(partition.slot, (packed,), key, repeatable=False)
    [reply] = await store.call(request, asyncio.get_running_loop().time() + 5)
    return reply


async def miss_reason(engine: CacheEngine, space: Namespace, key: str) -> MissReason:
    found = await engine.get(space, key, asyncio.get_running_loop().time() + 5)
    assert isinstance(found, Miss)
    return found.reason


async def lose_marks(store: Store, space: Namespace, key: str) -> None:
    partition, _ = keys.place(space, key)
    request = Request(partition.slot, (pack("DEL", keys.marks(partition)),), key, repeatable=False)
    await store.call(request, asyncio.get_running_loop().time() + 5)


async def test_get_gives_what_set_stored(
    engine: CacheEngine, space: Namespace, deadline: Deadline
) -> None:
    before_us = time.time_ns() // 1_000
    stored = await engine.set(space, new("k", b"\x00value\xff", 60_000, "image/png"), deadline())
    found = await engine.get(space, "k", deadline())
    assert isinstance(found, Hit)
    assert (found.value, found.content_type) == (b"\x00value\xff", "image/png")
    assert (found.version, found.expires_us) == (stored.version, stored.expires_us)
    assert found.expires_us - found.created_us == 60_000_000
    assert abs(found.created_us - before_us) < 5_000_000


async def test_an_unset_key_is_a_miss(
    engine: CacheEngine, space: Namespace, deadline: Deadline
) -> None:
    assert await miss_reason(engine, space, "nothing") is MissReason.UNKNOWN


async def test_an_empty_value_is_a_value(
    engine: CacheEngine, space: Namespace, deadline: Deadline
) -> None:
    await engine.set(space, new("k", b""), deadline())
    found = await engine.get(space, "k", deadline())
    assert isinstance(found, Hit)
    assert found.value == b""


async def test_a_value_of_4_mib_comes_back_whole(
    engine: CacheEngine, space: Namespace, deadline: Deadline
) -> None:
    value = bytes(range(256)) * (4 << 12)
    await engine.set(space, new("k", value), deadline())
    found = await engine.get(space, "k", deadline())
    assert isinstance(found, Hit)
    assert found.value == value


async def test_each_set_of_a_key_has_another_version(
    engine: CacheEngine, space: Namespace, deadline: Deadline
) -> None:
    versions = {(await engine.set(space, new("k"), deadline())).version for _ in range(50)}
    assert len(versions) == 50
    assert all(0 < version < 1 << 63 for version in versions)


async def test_set_keeps_its_ttl_in_redis(
    engine: CacheEngine, store: Store, space: Namespace, deadline: Deadline
) -> None:
    await engine.set(space, new("short", ttl_ms=5_000), deadline())
    await engine.set(space, new("default"), deadline())
    assert 4_000 < await raw(store, space, "short", "PTTL") <= 5_000
    assert 3_590_000 < await raw(store, space, "default", "PTTL") <= 3_600_000


async def test_set_over_an_entry_takes_the_new_ttl(
    engine: CacheEngine, store: Store, space: Namespace, deadline: Deadline
) -> None:
    await engine.set(space, new("k", ttl_ms=900_000), deadline())
    await engine.set(space, new("k", ttl_ms=5_000), deadline())
    assert await raw(store, space, "k", "PTTL") <= 5_000


async def test_marks_never_expire(
    engine: CacheEngine, store: Store, space: Namespace, deadline: Deadline
) -> None:
    await engine.set(space, new("k"), deadline())
    partition, _ = keys.place(space, "k")
    request = Request(partition.slot, (pack("PTTL", keys.marks(partition)),), "k", repeatable=True)
    assert await store.call(request, deadline()) == [-1]


async def test_an_entry_is_gone_after_its_ttl(
    engine: CacheEngine, space: Namespace, deadline: Deadline
) -> None:
    await engine.set(space, new("k", ttl_ms=30), deadline())
    await asyncio.sleep(0.1)
    assert await miss_reason(engine, space, "k") is MissReason.UNKNOWN


async def test_jitter_shortens_ttls_within_its_share(
    engine: CacheEngine, namespaces: NamespaceEngine, deadline: Deadline
) -> None:
    jittered = await namespaces.resolve("jittered", deadline())
    many = [new(f"k{index}") for index in range(300)]
    await engine.set_many(jittered, many, deadline())
    found = await engine.get_many(jittered, [one.key for one in many], deadline())
    ttls_ms = [(one.expires_us - one.created_us) / 1000 for one in found if isinstance(one, Hit)]
    assert len(ttls_ms) == 300
    assert all(50_000 <= ttl_ms <= 100_000 for ttl_ms in ttls_ms)
    assert max(ttls_ms) - min(ttls_ms) > 30_000


async def test_delete_says_whether_there_was_an_entry(
    engine: CacheEngine, space: Namespace, deadline: Deadline
) -> None:
    await engine.set(space, new("k"), deadline())
    assert await engine.delete(space, "k", deadline()) is True
    assert await engine.delete(space, "k", deadline()) is False
    assert await miss_reason(engine, space, "k") is MissReason.UNKNOWN


async def test_batches_answer_in_the_order_asked(
    engine: CacheEngine, namespaces: NamespaceEngine, space: Namespace, deadline: Deadline
) -> None:
    spread = await namespaces.resolve("spread", deadline())
    for namespace in (space, spread):
        wanted = [f"k{index}" for index in range(200)]
        stored = await engine.set_many(
            namespace, [new(key, key.encode()) for key in wanted[::2]], deadline()
        )
        assert all(isinstance(one, SetResult) for one in stored)
        found = await engine.get_many(namespace, [*reversed(wanted), "k0", "k0"], deadline())
        assert values(found) == [
            *(key.encode() if int(key[1:]) % 2 == 0 else None for key in reversed(wanted)),
            b"k0",
            b"k0",
        ]
        deleted = await engine.delete_many(namespace, wanted, deadline())
        assert deleted == [index % 2 == 0 for index in range(200)]


def values(found: Sequence[Hit | Miss | ServiceError]) -> list[bytes | None]:
    return [one.value if isinstance(one, Hit) else None for one in found]


async def test_of_two_entries_with_one_key_the_later_stays(
    engine: CacheEngine, space: Namespace, deadline: Deadline
) -> None:
    for _ in range(20):
        await engine.set_many(
            space, [new("k", str(index).encode()) for index in range(50)], deadline()
        )
        found = await engine.get(space, "k", deadline())
        assert isinstance(found, Hit)
        assert found.value == b"49"


async def test_lost_marks_hide_every_entry_of_the_partition(
    engine: CacheEngine, store: Store, space: Namespace, deadline: Deadline
) -> None:
    await engine.set(space, new("k"), deadline())
    await lose_marks(store, space, "k")
    assert await miss_reason(engine, space, "k") is MissReason.HIDDEN_BY_NAMESPACE
    assert await engine.delete(space, "k", deadline()) is False

    await engine.set(space, new("k"), deadline())
    await lose_marks(store, space, "k")
    await engine.set(space, new("k", b"again"), deadline())  # a new generation
    found = await engine.get(space, "k", deadline())
    assert isinstance(found, Hit)
    assert found.value == b"again"


async def test_a_new_generation_does_not_revive_old_entries(
    engine: CacheEngine, store: Store, space: Namespace, deadline: Deadline
) -> None:
    partition, _ = keys.place(space, "old")
    neighbour = next(key for key in map(str, count()) if keys.place(space, key)[0] == partition)
    await engine.set(space, new("old"), deadline())
    await lose_marks(store, space, "old")
    await engine.set(space, new(neighbour), deadline())
    assert await miss_reason(engine, space, "old") is MissReason.HIDDEN_BY_NAMESPACE
    assert isinstance(await engine.get(space, neighbour, deadline()), Hit)


async def test_data_of_another_type_is_refused_and_left_alone(
    engine: CacheEngine, store: Store, space: Namespace, deadline: Deadline
) -> None:
    await raw(store, space, "k", "RPUSH", "theirs")
    for attempt in (
        engine.get(space, "k", deadline()),
        engine.set(space, new("k"), deadline()),
        engine.delete(space, "k", deadline()),
    ):
        await expect_wrong_kind(attempt)
    assert await raw(store, space, "k", "LLEN") == 1


async def test_a_string_that_is_no_entry_is_refused_and_left_alone(
    engine: CacheEngine, store: Store, space: Namespace, deadline: Deadline
) -> None:
    await raw(store, space, "k", "SET", "theirs")
    for attempt in (
        engine.get(space, "k", deadline()),
        engine.set(space, new("k"), deadline()),
        engine.delete(space, "k", deadline()),
    ):
        await expect_wrong_kind(attempt)
    assert await raw(store, space, "k", "GET") == b"theirs"


async def expect_wrong_kind(attempt: Any) -> None:
    with pytest.raises(WrongKind) as refused:
        await attempt
    assert refused.value.key == "k"


async def test_foreign_data_spoils_only_its_own_item_of_a_batch(
    engine: CacheEngine, store: Store, space: Namespace, deadline: Deadline
) -> None:
    await raw(store, space, "list", "RPUSH", "theirs")
    await raw(store, space, "text", "SET", "theirs")
    wanted = ["a", "list", "b", "text"]
    stored = await engine.set_many(space, [new(key) for key in wanted], deadline())
    assert [type(one) for one in stored] == [SetResult, WrongKind, SetResult, WrongKind]
    found = await engine.get_many(space, wanted, deadline())
    assert [type(one) for one in found] == [Hit, WrongKind, Hit, WrongKind]
    assert [str(one.key) for one in found if isinstance(one, WrongKind)] == ["list", "text"]
    deleted = await engine.delete_many(space, wanted, deadline())
    assert [one if isinstance(one, bool) else type(one) for one in deleted] == [
        True,
        WrongKind,
        True,
        WrongKind,
    ]


async def test_scripts_survive_a_script_flush(
    engine: CacheEngine, store: Store, space: Namespace, deadline: Deadline
) -> None:
    await engine.set(space, new("k"), deadline())
    await store.ask_primaries((pack("SCRIPT", "FLUSH"),), deadline())
    stored = await engine.set_many(space, [new(f"k{i}") for i in range(100)], deadline())
    assert all(isinstance(one, SetResult) for one in stored)
    await store.ask_primaries((pack("SCRIPT", "FLUSH"),), deadline())
    assert await engine.delete(space, "k", deadline()) is True


async def test_concurrent_callers_get_their_own_answers(
    engine: CacheEngine, space: Namespace, deadline: Deadline
) -> None:
    async def round_trip(index: int) -> bool:
        key, value = f"k{index}", f"v{index}".encode()
        await engine.set(space, new(key, value), deadline())
        found = await engine.get(space, key, deadline())
        return isinstance(found, Hit) and found.value == value

    assert all(await asyncio.gather(*(round_trip(index) for index in range(1000))))


async def test_a_cancelled_call_leaves_the_others_their_answers(
    engine: CacheEngine, space: Namespace, deadline: Deadline
) -> None:
    await engine.set_many(space, [new(f"k{i}", str(i).encode()) for i in range(100)], deadline())
    calls = [asyncio.create_task(engine.get(space, f"k{i}", deadline())) for i in range(100)]
    await asyncio.sleep(0)
    for call in calls[::3]:
        call.cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for index, answer in enumerate(answers):
        if index % 3:
            assert isinstance(answer, Hit)
            assert answer.value == str(index).encode()


async def test_a_write_out_of_time_is_never_said_to_be_undone_when_it_was_done(
    engine: CacheEngine, space: Namespace, deadline: Deadline
) -> None:
    loop = asyncio.get_running_loop()
    for index in range(200):
        key = f"k{index}"
        try:
            await engine.set(space, new(key), loop.time() + (index - 100) * 1e-5)
        except OutcomeUnknown:
            continue
        except StoreUnavailable:
            await asyncio.sleep(0.01)
            assert await miss_reason(engine, space, key) is MissReason.UNKNOWN
        else:
            assert isinstance(await engine.get(space, key, deadline()), Hit)


async def test_replica_reads_find_what_was_replicated(
    engine: CacheEngine, namespaces: NamespaceEngine, deadline: Deadline
) -> None:
    replicated = await namespaces.resolve("replicated", deadline())
    await engine.set(replicated, new("k"), deadline())
    async with asyncio.timeout(10):
        while not isinstance(await engine.get(replicated, "k", deadline()), Hit):
            await asyncio.sleep(0.01)


async def test_statistics_count_and_estimate(
    engine: CacheEngine, space: Namespace, stats: CacheStats, deadline: Deadline
) -> None:
    await engine.set_many(space, [new(f"k{i}", b"x" * 1000) for i in range(900)], deadline())
    await engine.get_many(space, ["k0", "k1", "nothing"], deadline())
    await engine.delete(space, "k0", deadline())
    await stats.flush()
    worker, deployment, size = await engine.statistics(space, deadline())
    assert worker.values() == deployment.values()
    assert (worker.hits, worker.misses_unknown, worker.sets, worker.deletes) == (2, 1, 900, 1)
    assert sum(worker.values()) == 2 + 1 + 900 + 1
    assert size is not None
    assert 300 < size.entries < 2700
    assert 1000 < size.memory_bytes / size.entries < 2000
