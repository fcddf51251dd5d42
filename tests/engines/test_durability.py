"""What a write that waits in Redis survives, and where writes can't wait."""

import asyncio

import pytest
from pantler_server.core.errors import OriginNotReady, OutcomeUnknown, StoreUnavailable
from pantler_server.core.origin_config import WriteBehindConfig
from pantler_server.core.redis_config import EmbeddedRedis, RedisConfig
from pantler_server.engines.cache.record import durability
from pantler_server.engines.cache.record.durability import Ability, Safekeeping, problem_of
from pantler_server.store.embedded import EmbeddedValkey
from pantler_server.store.open import open_store
from redis.asyncio import Redis

from tests.engines.behind import UPSERT, soon, worker_on
from tests.engines.people import People
from tests.servers.redis_7_0 import redis_7_0
from tests.servers.valkey import ValkeyServer

APPEND_ONLY = ("--appendonly", "yes", "--appendfsync")
WELL = Ability("noeviction", keeps_file=True, always_syncs=False, can_wait=True)


@pytest.mark.parametrize(
    ("ability", "wanted", "problem"),
    [
        (WELL, {}, ""),
        (WELL._replace(policy="volatile-lru"), {}, ""),
        (WELL._replace(policy="allkeys-lfu"), {}, "allkeys-lfu"),
        (WELL._replace(policy="allkeys-lfu"), {"fsync": False}, "allkeys-lfu"),
        (WELL._replace(keeps_file=False), {}, "appendonly"),
        (WELL._replace(keeps_file=False), {"fsync": False}, ""),
        (WELL._replace(can_wait=False), {}, "7.2"),
        (WELL._replace(can_wait=False, always_syncs=True), {}, ""),
        (WELL._replace(can_wait=False), {"fsync": False, "replicas": 1}, ""),
    ],
)
def test_what_a_redis_must_be_able_to_do(
    ability: Ability, wanted: dict[str, object], problem: str
) -> None:
    found = problem_of(ability, WriteBehindConfig.model_validate(wanted))
    assert (problem in found) if problem else not found


async def calls(server: ValkeyServer, command: str) -> int:
    """How often a server was given a command."""
    stats = await server.execute("INFO", "commandstats")
    of_command = stats.get(f"cmdstat_{command}")
    return 0 if of_command is None else int(of_command["calls"])


async def test_nothing_waits_where_it_may_be_evicted(
    origin: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durability, "LOOK_AGAIN_S", 0.0)
    async with (
        ValkeyServer("--maxmemory-policy", "allkeys-lru") as server,
        worker_on(origin, {"url": server.url}) as worker,
    ):
        with pytest.raises(OriginNotReady, match="allkeys-lru"):
            await worker.put("ann", UPSERT, name="Ann")
        assert "allkeys-lru" in await worker.durability.problem(worker.space, soon())
        assert await worker.log_length() == 0
        await server.execute("CONFIG", "SET", "maxmemory-policy", "noeviction")
        await worker.put("ann", UPSERT, name="Ann")
        assert await worker.durability.problem(worker.space, soon()) == ""


async def test_nothing_waits_where_there_is_no_file_unless_that_is_wanted(
    origin: People,
) -> None:
    async with ValkeyServer() as server:
        async with worker_on(origin, {"url": server.url}, fsync=True) as worker:
            with pytest.raises(OriginNotReady, match="appendonly"):
                await worker.put("ann", UPSERT, name="Ann")
        async with worker_on(origin, {"url": server.url}, fsync=False) as worker:
            await worker.put("ann", UPSERT, name="Ann")


@pytest.mark.parametrize("policy", ["everysec", "always"])
async def test_an_acknowledged_write_outlives_the_server(origin: People, policy: str) -> None:
    async with (
        ValkeyServer(*APPEND_ONLY, policy) as server,
        worker_on(origin, {"url": server.url}, fsync=True) as worker,
    ):
        await worker.put("ann", UPSERT, name="Ann")
        assert await calls(server, "waitaof") == (policy == "everysec")
        await server.kill()
        await server.start()
        async with asyncio.timeout(5):
            while not worker.store.available:
                await asyncio.sleep(0.01)
        assert await worker.log_length() == 1
        before = await worker.redis("XRANGE", worker.space.partitions[0].tag + b"q", "-", "+")
        await worker.put("ann", UPSERT, name="Anna")
        after = await worker.redis("XRANGE", worker.space.partitions[0].tag + b"q", "-", "+")
        given = [int(name.partition(b"-")[0]) for name, _ in after]
        assert len(before) == 1
        assert given[1] > given[0] + 1_000_000  # what the old one may have given is left out
        await worker.flush()
        assert (origin.rows())["ann"]["name"] == "Anna"


async def test_a_redis_that_reads_its_file_is_away_and_not_without_one(origin: People) -> None:
    async with (
        # It answers every 1,024 commands of its file, of which each takes 20 us.
        ValkeyServer(*APPEND_ONLY, "always", "--key-load-delay", "20") as server,
        worker_on(origin, {"url": server.url}, fsync=True) as worker,
    ):
        async with server.client() as client, client.pipeline(transaction=False) as pipeline:
            for number in range(50_000):
                pipeline.set(f"k{number}", "")
            await pipeline.execute()
        await server.kill()
        starting = asyncio.create_task(server.start())
        store = open_store("cache", RedisConfig.model_validate({"url": server.url}), None)
        await store.start()
        another = Safekeeping(store)  # of a worker that has just been started
        refused = 0
        while not starting.done():
            try:
                await another.require(worker.space, worker.space.partitions, soon())
            except StoreUnavailable:
                refused += 1
            await asyncio.sleep(0.001)
        await starting
        await another.require(worker.space, worker.space.partitions, soon())
        await store.stop()
        assert refused > 0


async def test_writes_at_one_time_wait_together(origin: People) -> None:
    async with (
        ValkeyServer(*APPEND_ONLY, "everysec") as server,
        worker_on(origin, {"url": server.url}, fsync=True) as worker,
    ):
        await asyncio.gather(*(worker.put(f"k{number}", UPSERT) for number in range(100)))
        assert 1 <= await calls(server, "waitaof") <= 3


async def test_a_write_that_is_not_on_disk_in_time_is_repeated_with_its_id(
    origin: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pantler_server.store.replication.FSYNC_TIMEOUT_S", 0.3)
    async with (
        ValkeyServer(*APPEND_ONLY, "no") as server,
        worker_on(origin, {"url": server.url, "command_timeout": "300ms"}, fsync=True) as worker,
    ):
        with pytest.raises(OutcomeUnknown, match="request id"):
            await worker.put("ann", UPSERT, "id1", name="Ann")
        assert await worker.log_length() == 1
        await server.execute("CONFIG", "SET", "appendfsync", "always")
        await worker.put("ann", UPSERT, "id1", name="Ann")
        assert await worker.log_length() == 1


async def test_a_write_that_no_replica_has_is_repeated_with_its_id(origin: People) -> None:
    async with (
        ValkeyServer("--repl-diskless-sync-delay", "0") as server,
        worker_on(
            origin, {"url": server.url, "command_timeout": "300ms"}, fsync=False, replicas=1
        ) as worker,
    ):
        with pytest.raises(OutcomeUnknown, match="request id"):
            await worker.put("ann", UPSERT, "id1", name="Ann")
        async with ValkeyServer("--replicaof", f"127.0.0.1 {server.port}") as replica:
            async with asyncio.timeout(10):
                while (await replica.execute("ROLE"))[3] != b"connected":
                    await asyncio.sleep(0.01)
            await worker.put("ann", UPSERT, "id1", name="Ann")
            assert await worker.log_length() == 1


async def test_the_origin_gets_nothing_that_a_failover_may_lose(origin: People) -> None:
    async with (
        ValkeyServer("--repl-diskless-sync-delay", "0") as server,
        worker_on(
            origin, {"url": server.url, "command_timeout": "300ms"}, fsync=False, replicas=1
        ) as worker,
    ):
        with pytest.raises(OutcomeUnknown):
            await worker.put("ann", UPSERT, "id1", name="Ann")
        assert (await worker.flush(1)).remaining == 1
        assert (origin.rows()) == {}
        assert "not as safe" in (await worker.backlog()).last_error
        async with ValkeyServer("--replicaof", f"127.0.0.1 {server.port}") as replica:
            async with asyncio.timeout(10):
                while (await replica.execute("ROLE"))[3] != b"connected":
                    await asyncio.sleep(0.01)
            assert (await worker.flush()).remaining == 0
        assert (origin.rows())["ann"]["name"] == "Ann"


async def test_a_write_that_both_have_to_keep_waits_for_both(origin: People) -> None:
    async with (
        ValkeyServer(*APPEND_ONLY, "everysec", "--repl-diskless-sync-delay", "0") as server,
        ValkeyServer("--replicaof", f"127.0.0.1 {server.port}") as replica,
        worker_on(origin, {"url": server.url}, fsync=True, replicas=1) as worker,
    ):
        async with asyncio.timeout(10):
            while (await replica.execute("ROLE"))[3] != b"connected":
                await asyncio.sleep(0.01)
        await worker.put("ann", UPSERT, name="Ann")
        assert await calls(server, "waitaof") == 1
        assert await calls(server, "wait") == 1


@pytest.mark.component("redis-server")
async def test_redis_7_0_must_sync_always(origin: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durability, "LOOK_AGAIN_S", 0.0)
    async with (
        redis_7_0() as server,
        worker_on(origin, {"url": server.url}, fsync=True) as worker,
    ):
        await server.execute("CONFIG", "SET", "appendonly", "yes")
        with pytest.raises(OriginNotReady, match="appendfsync always"):
            await worker.put("ann", UPSERT, name="Ann")
        await server.execute("CONFIG", "SET", "appendfsync", "always")
        await worker.put("ann", UPSERT, name="Ann")


@pytest.mark.parametrize(("always", "expected"), [(True, "always"), (False, "everysec")])
async def test_the_embedded_server_syncs_always_where_writes_wait(
    tmp_path_factory: pytest.TempPathFactory, always: bool, expected: str
) -> None:
    directory = tmp_path_factory.mktemp("data")
    embedded = EmbeddedValkey(EmbeddedRedis(directory=directory), fsync_always=always)
    await embedded.start()
    try:
        async with Redis(unix_socket_path=str(embedded.socket), protocol=3) as client:
            assert await client.config_get("appendfsync") == {"appendfsync": expected}
    finally:
        await embedded.stop()
        embedded.close()
