"""Slots through the Python SDK: held by a block for as long as it runs, against a real server."""

import asyncio
from datetime import timedelta

import pantler
import pytest

from tests.clients.rate_limits.rules import INLINE, SLOTS
from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer


async def test_a_slot_is_renewed_and_released_by_hand(
    client: pantler.AsyncClient, subject: str
) -> None:
    held = await client.acquire(subject, SLOTS)
    assert (held.slot_expires_after, held.remaining) == (timedelta(minutes=1), 0)
    assert held.slot_id in repr(held)
    assert await client.renew_slot(subject, SLOTS, held.slot_id) == timedelta(minutes=1)
    await client.release_slot(subject, SLOTS, held.slot_id)
    assert await client.peek(subject, SLOTS)
    for call in (client.renew_slot, client.release_slot):
        with pytest.raises(pantler.SlotNotHeld):
            await call(subject, SLOTS, held.slot_id)


async def test_no_more_than_the_limit_run_at_once_in_all_clients(
    limits: PantlerServer, client: pantler.AsyncClient, subject: str
) -> None:
    running = most = done = 0

    async with pantler.AsyncClient(limits.address) as other:

        async def work(caller: pantler.AsyncClient) -> None:
            nonlocal running, most, done
            async with caller.slot(subject, "two", wait=timedelta(seconds=20)):
                running += 1
                most = max(most, running)
                await asyncio.sleep(0.05)
                running -= 1
                done += 1

        await asyncio.gather(*(work(one) for one in (client, other) for _ in range(4)))
    assert (most, done) == (2, 8)
    assert (await client.peek(subject, "two", cost=2)).allowed


async def test_a_slot_is_kept_for_as_long_as_its_block_runs(
    client: pantler.AsyncClient, subject: str
) -> None:
    async with client.slot(subject, "reports") as held:
        assert held.slot_id
        for _ in range(20):
            with pytest.raises(pantler.RateLimited):
                async with client.slot(subject, "reports"):
                    pass
            await asyncio.sleep(0.1)  # 2 s in all, where a slot expires after 0.6 s
    async with client.slot(subject, "reports"):
        pass


async def test_a_slot_is_given_up_when_the_block_fails(
    client: pantler.AsyncClient, subject: str
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with client.slot(subject, SLOTS):
            _ = 1 // 0
    assert await client.peek(subject, SLOTS)

    @client.rate_limited(SLOTS, subject="{user}")
    async def report(user: str) -> bool:
        return bool(await client.peek(user, SLOTS))

    assert [await report(subject) for _ in range(2)] == [False, False]


async def test_a_lost_slot_cancels_its_block(client: pantler.AsyncClient, subject: str) -> None:
    async def hold() -> None:
        async with client.slot(subject, "reports"):
            holding.set()
            await asyncio.Event().wait()

    holding = asyncio.Event()
    task = asyncio.create_task(hold())
    await holding.wait()
    await client.reset(subject, "reports")
    async with client.slot(subject, "reports"):
        with pytest.raises(pantler.SlotNotHeld) as lost:
            await asyncio.wait_for(task, 5)
        assert lost.value.reason == "ERROR_REASON_SLOT_NOT_HELD"
        assert not await client.peek(subject, "reports")  # that of the other is not released


async def test_a_block_that_was_cancelled_for_its_slot_may_go_on(
    client: pantler.AsyncClient, subject: str
) -> None:
    async def lose() -> None:
        async with client.slot(subject, "reports"):
            await client.reset(subject, "reports")
            await asyncio.sleep(5)

    with pytest.raises(pantler.SlotNotHeld):
        await lose()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_cancelled_block_gives_its_slot_back(
    client: pantler.AsyncClient, subject: str
) -> None:
    async def hold() -> None:
        async with client.slot(subject, SLOTS):
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    while await client.peek(subject, SLOTS):
        pass
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with client.slot(subject, SLOTS, wait=timedelta(seconds=5)):
        pass


async def test_a_slot_whose_caller_was_cancelled_is_given_back(
    limits: PantlerServer, client: pantler.AsyncClient, subject: str
) -> None:
    """The answer is on its way when the caller goes."""

    async def hold() -> None:
        async with there.slot(subject, SLOTS):
            raise AssertionError

    async with (
        FaultProxy(int(limits.address.rpartition(":")[2])) as proxy,
        pantler.AsyncClient(f"127.0.0.1:{proxy.port}") as there,
    ):
        await there.get("any", "key")  # opens the connection that acquires go through
        proxy.hold_replies()
        task = asyncio.create_task(hold())
        while await client.peek(subject, SLOTS):
            pass
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        proxy.restore()
        async with client.slot(subject, SLOTS, wait=timedelta(seconds=5)):
            pass


async def test_a_slot_outlives_a_connection_but_not_its_own_time(
    limits: PantlerServer, subject: str
) -> None:
    rule = pantler.RateLimitRule("concurrency", limit=1, window=timedelta(seconds=2))
    loop = asyncio.get_running_loop()
    stalled_at = 0.0

    async def lose() -> None:
        nonlocal stalled_at
        async with there.slot(subject, rule):
            proxy.stall()
            stalled_at = loop.time()
            await asyncio.sleep(10)

    async with (
        FaultProxy(int(limits.address.rpartition(":")[2])) as proxy,
        pantler.AsyncClient(f"127.0.0.1:{proxy.port}") as there,
    ):
        async with there.slot(subject, rule):
            for _ in range(5):
                proxy.cut()
                await asyncio.sleep(0.5)
        with pytest.raises(pantler.SlotNotHeld, match="no renewal came through"):
            await lose()
        assert 1 < loop.time() - stalled_at < 5
        proxy.restore()


async def test_a_slot_that_can_not_be_released_expires_by_itself(
    limits: PantlerServer,
    client: pantler.AsyncClient,
    subject: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        FaultProxy(int(limits.address.rpartition(":")[2])) as proxy,
        pantler.AsyncClient(f"127.0.0.1:{proxy.port}") as there,
        there.slot(subject, "reports"),
    ):
        proxy.refuse()
        proxy.cut()
    assert f"slot of {subject!r} not released: " in caplog.text
    async with client.slot(subject, "reports", wait=timedelta(seconds=5)):
        pass


async def test_a_shadow_that_would_have_denied_gives_no_slot(
    client: pantler.AsyncClient, subject: str
) -> None:
    async with (
        client.slot(subject, "trial-slots") as first,
        client.slot(subject, "trial-slots") as second,
    ):
        assert first.slot_id
        assert (second.allowed, second.slot_id) == (True, "")


async def test_a_rule_without_slots_is_refused(client: pantler.AsyncClient, subject: str) -> None:
    with pytest.raises(ValueError, match="a rule of sliding_window_log has no slots"):
        client.slot(subject, INLINE)
    with pytest.raises(ValueError, match="'api' is not of concurrency"):
        async with client.slot(subject, "api"):
            pass
    assert (await client.peek(subject, "api", cost=10)).allowed, "nothing was taken"


async def test_a_slot_is_good_for_one_block(client: pantler.AsyncClient, subject: str) -> None:
    slot = client.slot(subject, "two")
    async with slot:
        with pytest.raises(RuntimeError, match="good for one block"):
            async with slot:
                pass
