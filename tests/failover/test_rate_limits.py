"""Rate limits over a Redis that loses replies, is away, hangs, or fails over; what was allowed is
counted, and printed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from pantler_server.core.config import Settings
from pantler_server.core.errors import (
    OutcomeUnknown,
    SlotNotHeld,
    StoreError,
    StoreOutOfMemory,
    StoreUnavailable,
)
from pantler_server.core.rate_limit import Algorithm, OnUnavailable, Rule
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.rate_limit import metrics, scripts
from pantler_server.engines.rate_limit.engine import RateLimitEngine
from pantler_server.engines.rate_limit.limit import Limit
from pantler_server.engines.rate_limit.model import Check, Source
from pantler_server.store.open import open_store

from tests.servers.cluster import ClusterGroup
from tests.servers.fault_proxy import FaultProxy
from tests.servers.sentinel import SERVICE, SentinelGroup
from tests.servers.valkey import ValkeyServer

HOUR_MS = 3_600_000
LIMIT = 30

MODES: list[OnUnavailable | None] = [None, *OnUnavailable]
# The others go the same way through the engine, and are run with the slow tests.
ALGORITHMS = [
    one
    if one in (Algorithm.GCRA, Algorithm.CONCURRENCY)
    else pytest.param(one, marks=pytest.mark.slow)
    for one in Algorithm
]


@asynccontextmanager
async def workers_over(count: int, **config: object) -> AsyncIterator[list[RateLimitEngine]]:
    """Engines of so many workers over a Redis, each of which has seen the others."""
    stores = [open_store("state", RedisConfig.model_validate(config), None) for _ in range(count)]
    await asyncio.gather(*(store.start() for store in stores))
    workers = [RateLimitEngine(store, Settings()) for store in stores]
    for worker in workers:
        worker.start()
    try:
        async with asyncio.timeout(10):
            while {worker._fallback.workers.count for worker in workers} != {count}:
                await asyncio.sleep(0.05)
            while any(worker._denials._subscription.sure_at < 0 for worker in workers):
                await asyncio.sleep(0.05)
        yield workers
    finally:
        for worker in workers:
            await worker.stop()
        await asyncio.gather(*(store.stop() for store in stores))


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


def a_check(
    algorithm: Algorithm, mode: OnUnavailable | None = None, cost: int = 1, subject: str = ""
) -> Check:
    """Of a subject for each mode, if none is named: the mode does not tell rules apart."""
    rule = Rule(algorithm, LIMIT, HOUR_MS, on_unavailable=mode)
    return Check(Limit(rule), subject or f"user:{mode}", cost)


async def allowed_by(workers: Sequence[RateLimitEngine], check: Check, calls: int) -> int:
    """How many of so many calls to each worker are allowed."""
    decisions = [
        await worker.acquire(check, "", soon()) for _ in range(calls) for worker in workers
    ]
    return sum(one.allowed for one in decisions)


async def until_redis_decides(worker: RateLimitEngine, seconds: float = 20.0) -> None:
    check = a_check(Algorithm.GCRA, subject="probe")
    async with asyncio.timeout(seconds):
        while True:
            try:
                await worker.peek(check, soon(1))
                return
            except StoreError:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_repeat_after_a_lost_reply_takes_once(algorithm: Algorithm) -> None:
    async with (
        ValkeyServer() as redis,
        FaultProxy(redis.port) as proxy,
        workers_over(1, url=f"redis://127.0.0.1:{proxy.port}") as [worker],
    ):
        check = a_check(algorithm, cost=10)
        await worker.peek(check, soon())  # Redis knows the script from now on
        proxy.hold_replies()
        lost = asyncio.create_task(worker.acquire(check, "id", soon(3)))
        async with asyncio.timeout(3):
            while not await redis.execute("EXISTS", check.place):
                await asyncio.sleep(0.01)
        proxy.cut()  # the reply is lost; the worker repeats the call, since it has an id
        proxy.restore()
        first = await lost
        assert await worker.acquire(check, "id", soon()) == first
        assert first.allowed
        assert (await worker.peek(check, soon())).remaining == LIMIT - 10


async def test_without_a_request_id_a_lost_reply_is_said_to_be_unknown() -> None:
    async with (
        ValkeyServer() as redis,
        FaultProxy(redis.port) as proxy,
        workers_over(1, url=f"redis://127.0.0.1:{proxy.port}") as [worker],
    ):
        check = a_check(Algorithm.TOKEN_BUCKET, cost=10)
        await worker.peek(check, soon())  # Redis knows the script from now on
        proxy.hold_replies()
        lost = asyncio.create_task(worker.acquire(check, "", soon(3)))
        async with asyncio.timeout(3):
            while not await redis.execute("EXISTS", check.place):
                await asyncio.sleep(0.01)
        proxy.cut()
        proxy.restore()
        with pytest.raises(OutcomeUnknown):
            await lost
        await until_redis_decides(worker)
        assert (await worker.peek(check, soon())).remaining == LIMIT - 10, "it was taken"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_what_is_allowed_while_redis_is_away(algorithm: Algorithm) -> None:
    async with ValkeyServer() as redis, workers_over(3, url=redis.url) as workers:
        before = {mode: await allowed_by(workers, a_check(algorithm, mode), 5) for mode in MODES}
        assert set(before.values()) == {15}
        await redis.kill()
        away: dict[OnUnavailable | None, int] = {}
        for mode in OnUnavailable:
            away[mode] = await allowed_by(workers, a_check(algorithm, mode), 20)
            seen = await workers[0].peek(a_check(algorithm, mode), soon())
            assert seen.source is Source.FALLBACK
        with pytest.raises(StoreUnavailable):
            await workers[0].acquire(a_check(algorithm), "", soon())
        assert away[OnUnavailable.OPEN] == 60
        assert away[OnUnavailable.CLOSED] == 0
        assert away[OnUnavailable.LOCAL] == LIMIT, "10 by each of 3 workers"
        await redis.start()  # with nothing in it: nothing was written down
        for worker in workers:
            await until_redis_decides(worker)
        after = {mode: await allowed_by(workers, a_check(algorithm, mode), 20) for mode in MODES}
        print(f"{algorithm}: allowed before {before}, away {away}, after {after}")
        assert set(after.values()) == {LIMIT}


@pytest.mark.parametrize(("patience_s", "pause_s"), [(5.0, 0.001), (0.1, 0.2)])
async def test_a_redis_that_hangs_holds_up_few_of_those_that_can_do_without_it(
    patience_s: float, pause_s: float
) -> None:
    async with (
        ValkeyServer() as redis,
        FaultProxy(redis.port) as proxy,
        workers_over(1, url=f"redis://127.0.0.1:{proxy.port}") as [worker],
    ):
        check = a_check(Algorithm.GCRA, OnUnavailable.OPEN)
        await worker.acquire(check, "", soon())
        proxy.stall()
        loop = asyncio.get_running_loop()
        slow = 0
        for _ in range(20):
            began = loop.time()
            decision = await worker.acquire(check, "", soon(patience_s))
            assert decision.source is Source.FALLBACK
            slow += loop.time() - began > min(patience_s, 1.0) / 2  # `command_timeout` is 1 s
            await asyncio.sleep(pause_s)
        assert slow <= 3
        proxy.restore()
        await until_redis_decides(worker)
        async with asyncio.timeout(5):
            while (await worker.acquire(check, "", soon())).source is Source.FALLBACK:
                await asyncio.sleep(0.01)


async def test_a_caller_in_a_hurry_gets_the_fallback_and_leaves_others_to_redis() -> None:
    async with (
        ValkeyServer() as redis,
        FaultProxy(redis.port) as proxy,
        workers_over(1, url=f"redis://127.0.0.1:{proxy.port}") as [worker],
    ):
        check = a_check(Algorithm.GCRA, OnUnavailable.LOCAL)
        await worker.acquire(check, "", soon())
        proxy.stall()
        hurried = await worker.acquire(check, "", soon(0.02))
        assert hurried.source is Source.FALLBACK
        proxy.restore()
        async with asyncio.timeout(0.5):  # as soon as Redis says anything
            while (await worker.acquire(check, "", soon())).source is Source.FALLBACK:
                await asyncio.sleep(0.001)


async def test_slots_that_a_worker_gave_without_redis_are_its_own() -> None:
    async with ValkeyServer() as redis, workers_over(2, url=redis.url) as [one, other]:
        await redis.kill()
        local = a_check(Algorithm.CONCURRENCY, OnUnavailable.LOCAL)
        held = [await one.acquire(local, "", soon()) for _ in range(LIMIT)]
        assert [slot.allowed for slot in held].count(True) == LIMIT // 2
        await one.renew_slot(local, held[0].slot, soon())
        with pytest.raises(SlotNotHeld):
            await other.renew_slot(local, held[0].slot, soon())
        await one.release_slot(local, held[0].slot, soon())
        with pytest.raises(SlotNotHeld):
            await one.release_slot(local, held[0].slot, soon())
        assert (await one.acquire(local, "", soon())).allowed
        assert not (await one.acquire(local, "", soon())).allowed
        free = a_check(Algorithm.CONCURRENCY, OnUnavailable.OPEN)
        slot = (await one.acquire(free, "", soon())).slot
        await other.renew_slot(free, slot, soon())
        await other.release_slot(free, slot, soon())


async def test_slots_that_are_held_when_redis_goes_are_renewed_by_open_rules_only() -> None:
    async with ValkeyServer() as redis, workers_over(1, url=redis.url) as [worker]:
        checks = [a_check(Algorithm.CONCURRENCY, mode) for mode in MODES]
        slots = [(await worker.acquire(check, "", soon())).slot for check in checks]
        await redis.kill()
        for check, slot in zip(checks, slots, strict=True):
            if check.limit.rule.on_unavailable is OnUnavailable.OPEN:
                await worker.renew_slot(check, slot, soon())
            else:
                with pytest.raises(StoreError):
                    await worker.renew_slot(check, slot, soon())


async def test_a_full_redis_is_as_one_that_is_away() -> None:
    async with ValkeyServer() as redis, workers_over(1, url=redis.url) as [worker]:
        await redis.execute("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreOutOfMemory):
            await worker.acquire(a_check(Algorithm.GCRA), "", soon())
        allowed = {
            mode: await allowed_by([worker], a_check(Algorithm.GCRA, mode), LIMIT + 5)
            for mode in OnUnavailable
        }
        assert allowed[OnUnavailable.OPEN] == LIMIT + 5
        assert allowed[OnUnavailable.LOCAL] == LIMIT
        assert allowed[OnUnavailable.CLOSED] == 0
        await redis.execute("CONFIG", "SET", "maxmemory", 0)
        assert (await worker.acquire(a_check(Algorithm.GCRA), "", soon())).source is Source.REDIS


async def test_what_was_taken_is_given_back_though_the_callers_time_is_up() -> None:
    async with ClusterGroup() as group:
        nodes = group.addresses[:2]
        async with workers_over(1, cluster={"nodes": nodes}) as [worker]:
            owners: dict[int, Check] = {}
            for number in range(100):
                check = a_check(Algorithm.GCRA, cost=7, subject=f"user:{number}")
                owners.setdefault(group.owner(scripts.slot_of(check)).port, check)
            first, *_, last = owners.values()
            await worker.acquire_all([first, last], "", soon())
            hangs = group.owner(scripts.slot_of(last))
            hangs.pause()
            try:
                with pytest.raises(StoreError):
                    await worker.acquire_all([first, last], "", soon(0.3))
                cancelled = asyncio.create_task(worker.acquire_all([first, last], "", soon(0.3)))
                await asyncio.sleep(0.1)
                cancelled.cancel()
                async with asyncio.timeout(5):
                    while (await worker.peek(first, soon())).remaining != LIMIT - 7:
                        await asyncio.sleep(0.05)
            finally:
                hangs.resume()


async def test_what_can_not_be_given_back_is_counted() -> None:
    def lost() -> float:
        [family] = metrics.NOT_GIVEN_BACK.collect()
        return next(one.value for one in family.samples if one.name.endswith("_total"))

    async with (
        ClusterGroup() as group,
        workers_over(1, cluster={"nodes": group.addresses[:2]}) as [worker],
    ):
        owners: dict[int, Check] = {}
        for number in range(100):
            check = a_check(Algorithm.GCRA, subject=f"user:{number}")
            owners.setdefault(group.owner(scripts.slot_of(check)).port, check)
        checks = list(owners.values())[:2]
        await worker.acquire_all(checks, "", soon())
        before, nodes = lost(), [group.owner(scripts.slot_of(check)) for check in checks]
        nodes[1].pause()
        try:
            asking = asyncio.create_task(worker.acquire_all(checks, "", soon(0.3)))
            await asyncio.sleep(0.1)
            nodes[0].pause()  # it has taken its part, and answers no more
            with pytest.raises(StoreError):
                await asking
            async with asyncio.timeout(10):
                while lost() == before:
                    await asyncio.sleep(0.05)
            assert lost() == before + 1
        finally:
            for node in nodes:
                node.resume()


async def test_a_worker_that_starts_during_an_outage_shares_with_those_of_its_machine() -> None:
    redis = ValkeyServer()
    store = open_store("state", RedisConfig(url=redis.url), None)
    await store.start()
    alone = RateLimitEngine(store, Settings(workers=3))
    alone.start()
    check = a_check(Algorithm.FIXED_WINDOW, OnUnavailable.LOCAL)
    assert await allowed_by([alone], check, LIMIT) == LIMIT // 3
    await alone.stop()
    await store.stop()


async def test_what_is_allowed_over_a_failover() -> None:
    """A promoted replica may lack the newest writes, so up to twice the limit; in between it is as
    the rules say."""
    async with SentinelGroup() as group:
        sentinel = {"nodes": group.addresses, "service": SERVICE}
        async with workers_over(2, sentinel=sentinel) as workers:
            totals: dict[OnUnavailable | None, int] = {}

            async def ask(mode: OnUnavailable | None, stop: asyncio.Event) -> None:
                check = a_check(Algorithm.SLIDING_WINDOW_LOG, mode)
                totals[mode] = 0
                while not stop.is_set():
                    for worker in workers:
                        try:
                            decision = await worker.acquire(check, "", soon(1))
                            totals[mode] += decision.allowed
                        except StoreError:
                            assert mode is None
                    await asyncio.sleep(0.05)

            stop = asyncio.Event()
            asking = [asyncio.create_task(ask(mode, stop)) for mode in MODES]
            await asyncio.sleep(0.3)
            old = await group.primary()
            await old.kill()
            await group.wait_for_new_primary(old)
            for worker in workers:
                await until_redis_decides(worker)
            await asyncio.sleep(0.5)
            stop.set()
            await asyncio.gather(*asking)
            print(f"allowed over a failover, of a limit of {LIMIT}: {totals}")
            assert LIMIT <= totals[None] <= 2 * LIMIT
            assert LIMIT <= totals[OnUnavailable.CLOSED] <= 2 * LIMIT
            assert LIMIT <= totals[OnUnavailable.LOCAL] <= 3 * LIMIT
            assert totals[OnUnavailable.OPEN] > LIMIT


async def all_allowed(worker: RateLimitEngine, checks: Sequence[Check], request_id: str) -> bool:
    """Whether an AcquireAll is allowed; not so if it fails."""
    try:
        decisions = await worker.acquire_all(checks, request_id, soon(2))
    except StoreError:
        return False
    return all(one.allowed for one in decisions)


@pytest.mark.parametrize("mode", [None, OnUnavailable.CLOSED])
async def test_what_was_taken_on_a_cluster_is_given_back_if_a_later_slot_is_away(
    mode: OnUnavailable | None,
) -> None:
    async with (
        ClusterGroup() as group,
        workers_over(1, cluster={"nodes": group.addresses[:2]}) as [worker],
    ):
        owners: dict[int, Check] = {}
        for number in range(100):
            check = a_check(Algorithm.GCRA, mode, cost=7, subject=f"user:{number}")
            owners.setdefault(group.owner(scripts.slot_of(check)).port, check)
        checks = list(owners.values())
        assert len(checks) == 3
        decisions = await worker.acquire_all(checks, "", soon())
        assert [one.remaining for one in decisions] == [LIMIT - 7] * 3
        await group.owner(scripts.slot_of(checks[-1])).kill()
        for request_id in ("", "id"):
            assert not await all_allowed(worker, checks, request_id)
            for check in checks[:-1]:
                assert (await worker.peek(check, soon())).remaining == LIMIT - 7
        async with asyncio.timeout(20):  # until the replica is promoted
            while not await all_allowed(worker, checks, "id"):
                await asyncio.sleep(0.1)
        for check in checks[:-1]:
            left = (await worker.peek(check, soon())).remaining
            assert left == LIMIT - 14, "the repeat took what had been given back"


async def test_memory_is_not_trusted_while_the_word_of_resets_can_not_be_heard() -> None:
    async with (
        ValkeyServer() as redis,
        FaultProxy(redis.port, mark=b"SUBSCRIBE") as proxy,
        workers_over(1, url=f"redis://127.0.0.1:{proxy.port}") as [deaf],
        workers_over(1, url=redis.url) as [other],
    ):
        check = a_check(Algorithm.GCRA, cost=LIMIT)
        await deaf.acquire(check, "", soon())
        await deaf.acquire(check, "", soon())
        assert (await deaf.acquire(check, "", soon())).source is Source.MEMORY
        proxy.stall_marked(replies_only=True)
        loop = asyncio.get_running_loop()
        await other.reset(check, soon())
        reset_at = loop.time()
        while not (await deaf.acquire(check, "", soon())).allowed:
            await asyncio.sleep(0.005)
        assert loop.time() - reset_at < 1.5
