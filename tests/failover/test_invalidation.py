"""Invalidations across another primary, a restart, and a Cluster that loses one: what is kept, and
what the documentation says is not."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from pantler_server.core.errors import (
    InvalidFields,
    NotReplicated,
    OutcomeUnknown,
    StoreOutOfMemory,
    StoreUnavailable,
)
from pantler_server.engines.cache import failover, keys
from pantler_server.engines.cache.failover import LOOK_INTERVAL_S
from pantler_server.engines.cache.invalidation.model import Dependent
from pantler_server.engines.cache.model import Miss, NewEntry
from pantler_server.store.store import Store

from tests.engines.caller import FILL_LOST, STORED, Caller, value
from tests.event_loop import waits
from tests.failover.worker import caller_of
from tests.servers.cluster import ClusterGroup
from tests.servers.sentinel import SERVICE, SentinelGroup
from tests.servers.valkey import ValkeyServer

INVALIDATE: dict[str, Callable[[Caller], Awaitable[object]]] = {
    "delete": lambda caller: caller.delete("k"),
    "key": lambda caller: caller.invalidate_keys("k"),
    "soft key": lambda caller: caller.invalidate_keys("k", soft=True),
    "tag": lambda caller: caller.invalidate_tags("t"),
    "soft tag": lambda caller: caller.invalidate_tags("t", soft=True),
    "namespace": lambda caller: caller.invalidate_namespace(),
    "age": lambda caller: by_age(caller),
    "dependency": lambda caller: caller.invalidate_keys("parent", cascade=True),
    "declared dependency": lambda caller: caller.invalidate_keys("other parent", cascade=True),
}


async def by_age(caller: Caller) -> None:
    entry = (await caller.describe("k")).entry
    assert entry is not None
    await caller.invalidate_older_than(entry.created_us + 1)


async def prepare(caller: Caller) -> None:
    await caller.set("k", tags=("t",), depends_on=("parent",))
    await caller.declare("k", "other parent")


@asynccontextmanager
async def redis_with_a_snapshot() -> AsyncIterator[ValkeyServer]:
    """It comes back from a kill with what it had when it was last told to SAVE."""
    async with ValkeyServer("--dbfilename", "dump.rdb") as redis:
        yield redis


async def back_to_the_snapshot(redis: ValkeyServer) -> None:
    await redis.kill()
    await redis.start()


@pytest.mark.parametrize("by", INVALIDATE)
async def test_what_a_restart_forgot_is_invalidated_again(by: str) -> None:
    async with redis_with_a_snapshot() as redis, caller_of(url=redis.url) as (one, _):
        await prepare(one)
        await redis.execute("SAVE")
        await INVALIDATE[by](one)
        assert value(await one.get("k")) is None
        await back_to_the_snapshot(redis)
        await until_read(one)
        assert value(await one.get("k")) is None


async def test_what_was_refused_is_not_done_later() -> None:
    async with redis_with_a_snapshot() as redis, caller_of(url=redis.url) as (one, _):
        await prepare(one)
        await redis.execute("SAVE")
        to_come = time.time() + 1.5  # the clocks may differ by a second
        with pytest.raises(InvalidFields):
            await one.invalidate_older_than(round(to_come * 1e6))
        assert not await one.delete("k", if_version=7)
        await asyncio.sleep(to_come - time.time())  # it is no longer in the future
        await back_to_the_snapshot(redis)
        await until_read(one)
        assert value(await one.get("k")) == b"v"


async def test_what_one_call_did_is_repeated_though_another_was_refused() -> None:
    async with redis_with_a_snapshot() as redis, caller_of(url=redis.url) as (one, _):
        await prepare(one)
        described = (await one.describe("k")).entry
        assert described is not None
        await redis.execute("SAVE")
        done = await asyncio.gather(*(one.delete("k", described.version) for _ in range(3)))
        assert sorted(done) == [False, False, True]
        await back_to_the_snapshot(redis)
        await until_read(one)
        assert value(await one.get("k")) is None


async def test_a_version_that_was_deleted_takes_older_ones_along() -> None:
    async with redis_with_a_snapshot() as redis, caller_of(url=redis.url) as (one, _):
        await prepare(one)
        await redis.execute("SAVE")
        newer = await one.set("k", b"newer")
        assert await one.delete("k", newer.version)
        await back_to_the_snapshot(redis)
        await until_read(one)
        assert value(await one.get("k")) is None


async def test_a_delete_of_a_version_whose_answer_is_lost_is_repeated_for_that_version() -> None:
    async with redis_with_a_snapshot() as redis, caller_of(url=redis.url) as (one, _):
        for key in ("k", "other"):
            await one.set(key)
        described = (await one.describe("k")).entry
        assert described is not None
        await redis.execute("SAVE")
        redis.pause()
        deletes = (one.delete("k", described.version), one.delete("other", 7))
        lost = await asyncio.gather(*deletes, return_exceptions=True)
        assert {type(one) for one in lost} == {OutcomeUnknown}
        await back_to_the_snapshot(redis)
        await until_read(one)
        assert [value(await one.get(key)) for key in ("k", "other")] == [None, b"v"]


@pytest.mark.parametrize("by", ["tag", "namespace"])
async def test_a_burst_of_deletes_lets_no_mark_be_forgotten(
    by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failover, "MAX_EVENTS", 5)
    async with redis_with_a_snapshot() as redis, caller_of(url=redis.url) as (one, _):
        await prepare(one)
        await redis.execute("SAVE")
        await INVALIDATE[by](one)
        for index in range(10):
            await one.delete(f"other{index}")
        await back_to_the_snapshot(redis)
        await until_read(one)
        assert value(await one.get("k")) is None


async def test_of_more_than_there_is_room_for_the_newest_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failover, "MAX_EVENTS", 5)
    async with redis_with_a_snapshot() as redis, caller_of(url=redis.url) as (one, _):
        for index in range(7):
            await one.set(f"k{index}")
        await redis.execute("SAVE")
        for index in (0, *range(6), 0, 6):  # what is said again is new again
            await one.delete(f"k{index}")
        await back_to_the_snapshot(redis)
        await until_read(one)
        left = [index for index in range(7) if value(await one.get(f"k{index}"))]
        assert left == [1, 2]


@pytest.mark.slow
async def test_repeating_all_that_is_kept_leaves_the_event_loop_to_others() -> None:
    async with (
        redis_with_a_snapshot() as redis,
        caller_of(namespace={"partitions": 64}, url=redis.url) as (one, store),
    ):
        for key in ("first", "last"):
            await one.set(key)
        await redis.execute("SAVE")
        named = ["first", *(f"k{index}" for index in range(60_000)), "last"]
        deadline = asyncio.get_running_loop().time() + 60
        for first in range(0, len(named), 1000):
            await one.engine.delete_many(one.space, named[first : first + 1000], deadline)
        await back_to_the_snapshot(redis)
        async with waits() as waited:
            slots = {partition.slot for partition in one.space.partitions}
            async with asyncio.timeout(60):
                while not await all_served(one, store, slots):
                    await asyncio.sleep(0.02)
        assert max(waited) < 2  # a full garbage collection takes part of one
        assert [value(await one.get(key)) for key in ("first", "last")] == [None, None]


async def all_served(caller: Caller, store: Store, slots: set[int]) -> bool:
    await store.settle(slots, asyncio.get_running_loop().time() + 5)
    return not await unreadable(caller, [f"k{index}" for index in range(500)])


async def test_a_fill_floor_that_a_restart_forgot_is_raised_again() -> None:
    """Tokens are refused by another primary anyway; what the walk removed comes back, and the
    documentation says so."""
    async with redis_with_a_snapshot() as redis, caller_of(url=redis.url) as (one, _):
        await prepare(one)
        missed = await one.get("missed")
        assert isinstance(missed, Miss)
        await redis.execute("SAVE")
        await one.invalidate_pattern("*")
        await back_to_the_snapshot(redis)
        await until_read(one)
        assert await one.fill("missed", missed.fill_token) is FILL_LOST
        assert value(await one.get("k")) == b"v"


async def test_without_a_worker_that_remembers_it_what_was_lost_is_back() -> None:
    """The documentation admits it."""
    async with redis_with_a_snapshot() as redis:
        async with caller_of(url=redis.url) as (dying, _):
            await prepare(dying)
            await redis.execute("SAVE")
            await dying.invalidate_tags("t")
        await back_to_the_snapshot(redis)
        async with caller_of(url=redis.url) as (one, _):
            await until_read(one)
            assert value(await one.get("k")) == b"v"


async def test_another_worker_may_show_it_until_the_one_that_remembers_it_is_back() -> None:
    """The documentation admits it: and that one comes back without being called."""
    async with (
        redis_with_a_snapshot() as redis,
        caller_of(url=redis.url) as (one, _),
        caller_of(url=redis.url) as (other, _),
    ):
        await prepare(one)
        await redis.execute("SAVE")
        await one.invalidate_tags("t")
        await back_to_the_snapshot(redis)
        async with asyncio.timeout(2 + 2 * LOOK_INTERVAL_S):
            while True:
                try:
                    if value(await other.get("k")) is None:
                        break
                except StoreUnavailable:
                    pass
                await asyncio.sleep(0.01)


async def test_hide_all_hides_all_once() -> None:
    async with (
        redis_with_a_snapshot() as redis,
        caller_of(namespace={"on_failover": "hide_all"}, url=redis.url) as (one, _),
        caller_of(namespace={"on_failover": "hide_all"}, url=redis.url) as (other, _),
    ):
        await prepare(one)
        assert value(await other.get("k")) == b"v"
        await redis.execute("SAVE")
        await back_to_the_snapshot(redis)
        await until_read(other)
        assert value(await other.get("k")) is None
        await other.set("k", b"new")
        await until_read(one)
        assert value(await one.get("k")) == b"new", "it was hidden once, not by each worker"
        async with caller_of(namespace={"on_failover": "hide_all"}, url=redis.url) as (late, _):
            assert value(await late.get("k")) == b"new"


async def test_hide_all_holds_for_a_worker_that_comes_after_the_failover() -> None:
    async with redis_with_a_snapshot() as redis:
        async with caller_of(namespace={"on_failover": "hide_all"}, url=redis.url) as (one, _):
            await prepare(one)
            await redis.execute("SAVE")
        await back_to_the_snapshot(redis)
        async with caller_of(namespace={"on_failover": "hide_all"}, url=redis.url) as (late, _):
            assert value(await late.get("k")) is None


async def test_what_a_promoted_replica_lacks_is_invalidated_again() -> None:
    async with SentinelGroup() as group:
        config = {"nodes": group.addresses, "service": SERVICE}
        async with caller_of(sentinel=config) as (one, store):
            await prepare(one)
            primary = await group.primary()
            assert await primary.execute("WAIT", 1, 5_000) == 1
            [replica] = [server for server in group.servers if server is not primary]
            await cut_off(replica, primary)
            await one.invalidate_tags("t")
            await primary.kill()
            await group.wait_for_new_primary(primary)
            store.topology.suspect()
            await until_read(one)
            assert value(await one.get("k")) is None
            assert await replica.execute("ZCARD", keys.label_marks(one.space.partitions[0])) == 2


@pytest.mark.parametrize("by", INVALIDATE)
async def test_a_full_redis_still_invalidates(by: str) -> None:
    async with (
        ValkeyServer("--maxmemory-policy", "noeviction") as redis,
        caller_of(url=redis.url) as (one, _),
    ):
        await prepare(one)
        await redis.execute("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreOutOfMemory):
            await one.set("other")
        await INVALIDATE[by](one)
        assert value(await one.get("k")) is None


async def test_a_full_redis_takes_no_declaration_but_takes_them_back() -> None:
    async with (
        ValkeyServer("--maxmemory-policy", "noeviction") as redis,
        caller_of(url=redis.url) as (one, _),
    ):
        await one.declare("k", "a", "b")
        await redis.execute("CONFIG", "SET", "maxmemory", 1)
        for depends_on in (("c",), ("a", "c")):
            with pytest.raises(StoreOutOfMemory):
                await one.declare("k", *depends_on)
        with pytest.raises(StoreOutOfMemory):
            await one.declare("new", "a")
        for key in ("a", "b"):
            assert await one.dependents(key) == [Dependent("k", declared=True)]
        await one.declare("k", "b")
        assert await one.dependents("a") == []
        await one.declare("k")
        assert await one.dependents("b") == []


async def test_memory_pressure_loses_no_mark() -> None:
    limits = ("--maxmemory", "8mb", "--maxmemory-policy", "volatile-lfu")
    async with ValkeyServer(*limits) as redis, caller_of(url=redis.url) as (one, _):
        token = (await one.get("k")).fill_token
        await one.invalidate_tags(*(f"t{index}" for index in range(500)))
        for batch in range(12):
            fillers = [NewEntry(f"filler{batch}-{index}", b"x" * 1_000) for index in range(1_000)]
            deadline = asyncio.get_running_loop().time() + 10
            await one.engine.set_many(one.space, fillers, deadline)
        async with redis.client() as client:
            assert (await client.info("stats"))["evicted_keys"] > 4_000
        assert await one.fill("k", token, tags=("t499",)) is STORED
        assert value(await one.get("k")) is None


async def test_replicas_are_waited_for_and_missed() -> None:
    async with SentinelGroup() as group:
        config: dict[str, object] = {"nodes": group.addresses, "service": SERVICE}
        replicated: dict[str, object] = {"invalidation_replicas": 1}
        async with caller_of(namespace=replicated, sentinel=config) as (one, _):
            await prepare(one)
            await one.invalidate_tags("t")
            primary = await group.primary()
            [replica] = [server for server in group.servers if server is not primary]
            assert await replica.execute("ZCARD", keys.label_marks(one.space.partitions[0])) == 2
            await one.set("k", tags=("t",))
            await one.invalidate_keys("k")
        async with caller_of(namespace={"invalidation_replicas": 2}, sentinel=config) as (one, _):
            await one.set("k", tags=("t",))
            with pytest.raises(NotReplicated) as raised:
                await one.invalidate_tags("t")
            assert raised.value.metadata == {"wanted": "2", "reached": "1"}
            assert value(await one.get("k")) is None, "it took effect all the same"
            calls = [one.invalidate_tags(f"t{number}") for number in range(6)]
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(outcome, NotReplicated), "also of those that wait for others"


async def test_a_cluster_that_loses_a_primary_halfway_says_so_and_a_repeat_completes_it() -> None:
    async with ClusterGroup() as group:
        config = {"nodes": group.addresses[:2]}
        async with (
            caller_of(cluster=config) as (one, _),
            caller_of(cluster=config) as (other, store),
        ):
            named = [f"k{index}" for index in range(200)]
            for key in named:
                await one.set(key, tags=("t",))
            await asyncio.sleep(0.2)  # replication
            await group.primaries[1].kill()
            with pytest.raises(OutcomeUnknown, match="repeat"):  # the others have it
                await other.invalidate_tags("t")
            found = await readable(other, named)
            assert not found, "what can be read is hidden"
            await group.wait_for_promotion(group.replicas[1])
            await one.engine.stop()  # nobody but the caller is to repeat it
            await repeat(lambda: other.invalidate_tags("t"), store)
            async with asyncio.timeout(15):
                while await unreadable(other, named):
                    await asyncio.sleep(0.1)
            assert not await readable(other, named)


async def test_a_pattern_walk_that_loses_a_primary_says_so_and_a_repeat_completes_it() -> None:
    async with ClusterGroup() as group:
        config = {"nodes": group.addresses[:2]}
        async with caller_of(cluster=config) as (one, store):
            named = [f"k{index}" for index in range(200)]
            for key in named:
                await one.set(key)
            await asyncio.sleep(0.2)  # replication
            await group.primaries[1].kill()
            with pytest.raises(OutcomeUnknown, match="repeat"):
                await one.invalidate_pattern("*")
            await group.wait_for_promotion(group.replicas[1])
            await repeat(lambda: one.invalidate_pattern("*"), store)
            assert not await readable(one, named)


async def cut_off(replica: ValkeyServer, primary: ValkeyServer) -> None:
    """What the primary is told from now on, the replica never gets."""
    await primary.execute("ACL", "SETUSER", "default", "-psync", "-sync")
    await replica.execute("CLIENT", "KILL", "TYPE", "master")
    async with asyncio.timeout(5):
        while (await replica.execute("ROLE"))[3] == b"connected":
            await asyncio.sleep(0.01)


async def repeat(call: Callable[[], Awaitable[object]], store: Store) -> None:
    """As callers are told to after UNAVAILABLE."""
    async with asyncio.timeout(15):
        while True:
            try:
                await call()
                return
            except (StoreUnavailable, OutcomeUnknown):
                store.topology.suspect()
                await asyncio.sleep(0.1)


async def readable(caller: Caller, named: list[str]) -> list[str]:
    deadline = asyncio.get_running_loop().time() + 5
    outcomes = await caller.engine.get_many(caller.space, named, deadline)
    return [
        key
        for key, one in zip(named, outcomes, strict=True)
        if not isinstance(one, (Miss, Exception))
    ]


async def unreadable(caller: Caller, named: list[str]) -> bool:
    deadline = asyncio.get_running_loop().time() + 5
    outcomes = await caller.engine.get_many(caller.space, named, deadline)
    return any(isinstance(one, Exception) for one in outcomes)


async def until_read(caller: Caller) -> None:
    """Waits until Redis answers reads again, through which nothing is stored."""
    async with asyncio.timeout(15):
        while True:
            try:
                await caller.get("probe")
                return
            except StoreUnavailable:
                await asyncio.sleep(0.02)
