"""Channels while Redis is cut off, paused, full, moved or replaced: nothing is lost in silence, and
nothing comes twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from pantler_server.core.config import Settings
from pantler_server.core.errors import (
    OutcomeUnknown,
    StoreError,
    StoreOutOfMemory,
    StoreUnavailable,
)
from pantler_server.core.namespace import Namespace
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.engines.pubsub import keys
from pantler_server.engines.pubsub.engine import PubSubEngine
from pantler_server.engines.pubsub.feed import SURE_S
from pantler_server.engines.pubsub.model import Gap, GapReason
from pantler_server.store.open import open_store

from tests.engines.listening import Heard, listening, publish, subscribed
from tests.failover.worker import FAILOVER_S
from tests.servers.cluster import ClusterGroup
from tests.servers.fault_proxy import FaultProxy
from tests.servers.sentinel import SERVICE, SentinelGroup
from tests.servers.valkey import ValkeyServer

FAST_S = 0.1


@asynccontextmanager
async def worker_of(
    *, history: bool = True, **config: object
) -> AsyncIterator[tuple[PubSubEngine, Namespace]]:
    """A worker's engine over a Redis, and a namespace."""
    store = open_store("state", RedisConfig.model_validate(config), None)
    await store.start()
    channels: dict[str, object] = {"history": {}} if history else {}
    settings = Settings.model_validate({"namespace_defaults": {"channels": channels}})
    namespaces = NamespaceEngine(store, store, settings)
    engine = PubSubEngine(store)
    engine.start()
    try:
        space = await namespaces.resolve("failover", asyncio.get_running_loop().time() + 5)
        yield engine, space
    finally:
        await engine.stop()
        await store.stop()


async def once_served(engine: PubSubEngine, space: Namespace, payload: str) -> int:
    """Publishes it when Redis answers again; its sequence."""
    async with asyncio.timeout(FAILOVER_S):
        while True:
            try:
                [sequence] = await publish(engine, space, "a", payload)
            except StoreUnavailable:
                await asyncio.sleep(0.05)
            else:
                return sequence


class Publishing:
    """Publishes numbers one after the other, each until it is acknowledged."""

    def __init__(self, engine: PubSubEngine, space: Namespace) -> None:
        self.sequences: dict[str, int] = {}
        """Of what was acknowledged at the first attempt."""
        self.count = 0
        self._engine = engine
        self._space = space
        self._task = asyncio.create_task(self._keep_publishing())

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def more(self, wanted: int) -> None:
        """Waits until so many more were acknowledged."""
        until = self.count + wanted
        async with asyncio.timeout(FAILOVER_S):
            while self.count < until:
                await asyncio.sleep(0.01)

    async def _keep_publishing(self) -> None:
        number = 0
        while True:
            payload, request_id, failed = str(number), uuid4().hex, False
            while True:
                try:
                    [sequence] = await publish(
                        self._engine, self._space, "a", payload, request_id=request_id
                    )
                except StoreError:
                    failed = True
                    await asyncio.sleep(0.02)
                else:
                    break
            if not failed:
                self.sequences[payload] = sequence
            self.count += 1
            number += 1
            await asyncio.sleep(0.002)


def check(heard: Heard, publishing: Publishing) -> None:
    """All that was acknowledged was given, but for what a gap stands for; nothing twice, and in
    order."""
    assert heard.sequences == sorted(set(heard.sequences))
    given = dict(zip(heard.payloads, heard.sequences, strict=True))
    began = before = heard.heartbeats[0]
    gaps = []  # from after what was given before it to what comes after it
    for event in heard.events:
        if isinstance(event, Gap):
            gaps.append((before, event.sequence))
        before = event.sequence
    for payload, sequence in publishing.sequences.items():
        if began < sequence <= before and payload not in given:
            assert any(first < sequence <= last for first, last in gaps), (payload, sequence, gaps)


async def test_a_failover_is_a_gap_and_all_else_comes_once() -> None:
    async with SentinelGroup() as group:
        config = {"nodes": group.addresses, "service": SERVICE}
        async with (
            worker_of(sentinel=config) as (one, space),
            worker_of(sentinel=config) as (other, _),
            listening(one, space, patterns=["*"], heartbeat_s=FAST_S) as heard,
        ):
            publishing = Publishing(other, space)
            await publishing.more(50)
            token = heard.sequences[10]
            primary = await group.primary()
            await primary.kill()
            await group.wait_for_new_primary(primary)
            await publishing.more(50)
            await heard.until(lambda: heard.gaps)
            await publishing.stop()
            [last] = await publish(other, space, "a", "last")
            await heard.until(lambda: last in heard.sequences)
            assert heard.gaps == [GapReason.FAILOVER]
            check(heard, publishing)
            async with listening(other, space, "a", resume_after=token) as resumed:
                await resumed.until(lambda: last in resumed.sequences)
                assert GapReason.FAILOVER in resumed.gaps
                check(resumed, publishing)
                at = resumed.sequences[-1]
            async with listening(one, space, "a", resume_after=at) as again:
                assert not again.gaps


@pytest.mark.parametrize("persistent", [False, True])
async def test_a_restarted_redis_is_a_gap_and_no_error(*, persistent: bool) -> None:
    written = ("--appendonly", "yes", "--appendfsync", "always") if persistent else ()
    async with (
        ValkeyServer(*written) as redis,
        worker_of(url=redis.url) as (one, space),
        listening(one, space, "a", heartbeat_s=FAST_S) as heard,
    ):
        first, last = await publish(one, space, "a", "first", "before")
        await heard.count(2)
        await redis.kill()
        with pytest.raises(StoreError):
            await publish(one, space, "a", "away")
        await redis.start()
        await heard.until(lambda: heard.gaps)
        after = await once_served(one, space, "after")
        await heard.count(3)
        assert heard.payloads == ["first", "before", "after"]
        assert heard.gaps == [GapReason.FAILOVER]
        assert after > last
        async with listening(one, space, "a", resume_after=first) as resumed:
            await resumed.payload("after")
            assert resumed.gaps == [GapReason.FAILOVER]
            assert resumed.payloads == (["before", "after"] if persistent else ["after"])


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("fault", ["cut", "stalled"])
async def test_a_connection_that_breaks_or_stalls(fault: str, *, history: bool) -> None:
    async with (
        ValkeyServer() as redis,
        FaultProxy(redis.port, mark=b"SUBSCRIBE") as proxy,
        worker_of(history=history, url=f"redis://127.0.0.1:{proxy.port}/0") as (one, space),
        worker_of(history=history, url=redis.url) as (other, _),
        listening(one, space, "a", heartbeat_s=FAST_S) as heard,
    ):
        await publish(other, space, "a", "first")
        await heard.count(1)
        if fault == "cut":
            proxy.refuse()
            proxy.cut()
        else:
            proxy.stall_marked()
        between = [str(number) for number in range(600)]
        await asyncio.gather(*(publish(other, space, "a", payload) for payload in between))
        if fault == "cut":
            await asyncio.sleep(0.2)
            proxy.restore()
        if not history:
            await heard.until(lambda: heard.gaps)
        await publish(other, space, "a", "last")
        await heard.payload("last")
        if history:
            assert sorted(heard.payloads) == sorted(["first", *between, "last"])
            assert heard.sequences == sorted(set(heard.sequences))
            assert not heard.gaps
        else:
            assert heard.gaps == [GapReason.DISCONNECTED]
            assert set(heard.payloads) == {"first", "last"}


async def test_after_a_stall_history_that_was_trimmed_meanwhile_is_a_gap() -> None:
    async with (
        ValkeyServer() as redis,
        FaultProxy(redis.port) as proxy,
        worker_of(url=f"redis://127.0.0.1:{proxy.port}/0") as (one, space),
        worker_of(url=redis.url) as (other, _),
        listening(one, space, "a", heartbeat_s=FAST_S) as heard,
    ):
        proxy.refuse()
        proxy.cut()
        *_, third, _, _ = await publish(other, space, "a", *"abcde")
        await redis.execute("XTRIM", keys.history(space), "MAXLEN", 2)
        proxy.restore()
        await heard.count(2)
        assert heard.payloads == ["d", "e"]
        [gap] = [event for event in heard.events if isinstance(event, Gap)]
        assert (gap.reason, gap.sequence) == (GapReason.HISTORY, third)


@pytest.mark.parametrize("history", [False, True])
async def test_a_publish_whose_answer_is_lost_is_sent_once_by_its_request_id(
    *, history: bool
) -> None:
    async with (
        ValkeyServer() as redis,
        FaultProxy(redis.port) as proxy,
        worker_of(history=history, url=f"redis://127.0.0.1:{proxy.port}/0") as (one, space),
        worker_of(history=history, url=redis.url) as (other, _),
        listening(other, space, "a") as heard,
    ):
        await publish(one, space, "a", "first", request_id="first")  # Redis has the script
        proxy.hold_replies()
        with pytest.raises(OutcomeUnknown):
            await publish(one, space, "a", "unknown")  # with no id it is the caller's to decide
        repeated = asyncio.create_task(publish(one, space, "a", "x", request_id="id"))
        await heard.payload("x")
        proxy.restore()
        proxy.cut()
        [sequence] = await repeated
        assert await publish(one, space, "a", "x", request_id="id") == [sequence]
        await publish(other, space, "a", "last")
        await heard.payload("last")
        assert heard.payloads == ["first", "unknown", "x", "last"]
        assert heard.sequences[2] == sequence


async def test_a_full_redis_publishes_nothing_that_is_to_be_kept() -> None:
    async with (
        ValkeyServer("--maxmemory-policy", "noeviction") as redis,
        worker_of(url=redis.url) as (one, space),
        listening(one, space, "a") as heard,
    ):
        [before] = await publish(one, space, "a", "before")
        await redis.execute("CONFIG", "SET", "maxmemory", 1)
        for request_id in ("", "id"):
            with pytest.raises(StoreOutOfMemory):
                await publish(one, space, "a", "refused", request_id=request_id)
        async with listening(one, space, "a", resume_after=before):
            pass
        await redis.execute("DEL", keys.counts(space))  # an epoch can begin also now
        await heard.until(lambda: heard.gaps)
        with pytest.raises(StoreOutOfMemory):
            await publish(one, space, "a", "refused")
        await redis.execute("CONFIG", "SET", "maxmemory", 0)
        await publish(one, space, "a", "after", request_id="id")
        await heard.payload("after")
        assert heard.payloads == ["before", "after"]
        assert heard.gaps == [GapReason.FAILOVER]


async def test_a_full_redis_sends_what_needs_no_memory() -> None:
    async with (
        ValkeyServer("--maxmemory-policy", "noeviction") as redis,
        worker_of(history=False, url=redis.url) as (one, space),
        listening(one, space, "a") as heard,
    ):
        await redis.execute("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreOutOfMemory):
            await publish(one, space, "a", "refused", request_id="id")
        await publish(one, space, "a", "sent")
        await heard.count(1)
        assert heard.payloads == ["sent"]


@pytest.mark.parametrize("history", [False, True])
async def test_without_the_right_to_publish_nothing_happens(*, history: bool) -> None:
    async with ValkeyServer() as redis:
        rights = ("on", ">secret", "~*", "+@all")
        await redis.execute("ACL", "SETUSER", "limited", *rights, "resetchannels")
        url = f"redis://limited:secret@127.0.0.1:{redis.port}/0"
        async with worker_of(history=history, url=url) as (one, space):
            for request_id in ("", "id"):
                with pytest.raises(StoreUnavailable):
                    await publish(one, space, "a", "x", request_id=request_id)
            with pytest.raises(StoreUnavailable):
                await anext(subscribed(one, space, "a", wait_s=0.3))
            left = await redis.execute("EXISTS", keys.answer(space, "id"), keys.history(space))
            assert left == 0 or await redis.execute("XLEN", keys.history(space)) == 0
            assert not await redis.execute("EXISTS", keys.answer(space, "id"))
            await redis.execute("ACL", "SETUSER", "limited", "&pantler:channel:*")
            [first] = await publish(one, space, "a", "x", request_id="id")
            await redis.execute("ACL", "SETUSER", "limited", "resetchannels")
            with pytest.raises(StoreUnavailable):
                await publish(one, space, "a", "x")
            await redis.execute("ACL", "SETUSER", "limited", "&pantler:channel:*")
            [second] = await publish(one, space, "a", "x")
            assert second == (first + 1 if history else 0)
        async with worker_of(history=history, url=url) as (one, space):
            async with listening(one, space, "a") as heard:
                with pytest.raises(StoreUnavailable):  # a pattern takes the right to all channels
                    await anext(subscribed(one, space, patterns=["a*"], wait_s=0.3))
                await heard.until(lambda: history or heard.gaps)
                await publish(one, space, "a", "x")
                await heard.count(1)
            await redis.execute("ACL", "SETUSER", "limited", "allchannels")
            async with listening(one, space, patterns=["a*"]) as heard:
                await publish(one, space, "a", "x")
                await heard.count(1)


@pytest.mark.parametrize("history", [False, True])
async def test_a_paused_redis_stops_the_heartbeats(*, history: bool) -> None:
    async with (
        ValkeyServer() as redis,
        worker_of(history=history, url=redis.url) as (one, space),
        listening(one, space, "a", heartbeat_s=FAST_S) as heard,
    ):
        redis.pause()
        await asyncio.sleep(SURE_S + 0.3)
        before = len(heard.events)
        await asyncio.sleep(0.4)
        assert len(heard.events) == before
        redis.resume()
        await heard.until(lambda: len(heard.events) > before + 2)
        assert heard.gaps == ([] if history else [GapReason.DISCONNECTED])


async def test_a_subscription_does_not_begin_while_redis_is_away() -> None:
    async with ValkeyServer() as redis, worker_of(url=redis.url) as (one, space):
        await redis.kill()
        with pytest.raises(StoreUnavailable):
            await anext(subscribed(one, space, "a", wait_s=0.3))
        assert not one._subscribers
        await redis.start()
        await once_served(one, space, "before")
        async with listening(one, space, "a") as heard:
            await publish(one, space, "a", "x")
            await heard.count(1)
            assert not heard.gaps


@pytest.mark.slow
async def test_of_a_cluster_the_new_primary_is_followed() -> None:
    """A primary is killed, and then the slot moved to another."""
    async with ClusterGroup() as group:
        config = {"nodes": group.addresses[:2]}
        async with (
            worker_of(cluster=config) as (one, space),
            worker_of(cluster=config) as (other, _),
            listening(one, space, "a", heartbeat_s=FAST_S) as heard,
        ):
            slot = keys.partition(space).slot
            publishing = Publishing(other, space)
            await publishing.more(30)
            index = group.primaries.index(group.owner(slot))
            await group.owner(slot).kill()
            await group.wait_for_promotion(group.replicas[index])
            await publishing.more(30)
            await publishing.stop()
            [last] = await publish(other, space, "a", "last")
            await heard.until(lambda: last in heard.sequences)
            assert heard.gaps == [GapReason.FAILOVER]
            check(heard, publishing)


@pytest.mark.slow
async def test_a_slot_that_moves_is_a_gap() -> None:
    async with ClusterGroup() as group:
        config = {"nodes": group.addresses[:2]}
        async with (
            worker_of(cluster=config) as (one, space),
            worker_of(cluster=config) as (other, _),
            listening(one, space, "a", heartbeat_s=FAST_S) as heard,
        ):
            slot = keys.partition(space).slot
            publishing = Publishing(other, space)
            await publishing.more(30)
            source = group.owner(slot)
            target = next(server for server in group.primaries if server is not source)
            await group.begin_move(slot, target)
            await migrate(source, target, slot)
            await group.end_move(slot, target)
            await publishing.more(30)
            await publishing.stop()
            [last] = await publish(other, space, "a", "last")
            await heard.until(lambda: last in heard.sequences)
            assert heard.gaps == [GapReason.FAILOVER]
            check(heard, publishing)


async def migrate(source: ValkeyServer, target: ValkeyServer, slot: int) -> None:
    while places := await source.execute("CLUSTER", "GETKEYSINSLOT", slot, 100):
        words: list[Any] = ["MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *places]
        await source.execute(*words)
