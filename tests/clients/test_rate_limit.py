"""Rate limits through the Python SDK, against a real server."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pantler
import pytest
import pytest_asyncio

from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer

_numbers = count()
RULES = """
rate_limits:
  api: {algorithm: gcra, limit: 10, window: 1h, on_unavailable: local}
  paced: {algorithm: token_bucket, limit: 5, window: 1s, burst: 1}
  trial: {algorithm: fixed_window, limit: 1, calendar: year, time_zone: Europe/Berlin, shadow: true}
  reports: {algorithm: concurrency, limit: 1, window: 600ms}
  two: {algorithm: concurrency, limit: 2, window: 1m}
  trial-slots: {algorithm: concurrency, limit: 1, window: 600ms, shadow: true}
"""
INLINE = pantler.RateLimitRule("sliding_window_log", limit=2, window=timedelta(hours=1))
SLOTS = pantler.RateLimitRule("concurrency", limit=1, window=timedelta(minutes=1))


@pytest.fixture
def subject() -> str:
    return f"user:{next(_numbers)}"


@pytest_asyncio.fixture(scope="module")
async def limits(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """Pantler with rules."""
    config: Path = tmp_path_factory.mktemp("limits") / "pantler.yaml"
    config.write_text(RULES)
    async with PantlerServer(config=config) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def client(limits: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    async with pantler.AsyncClient(limits.address) as opened:
        yield opened


async def test_a_decision_is_true_if_it_is_allowed(
    client: pantler.AsyncClient, subject: str
) -> None:
    first = await client.acquire(subject, "api", cost=9)
    assert first
    assert (first.allowed, first.limit, first.remaining) == (True, 10, 1)
    assert (first.retry_after, first.source, first.shadow) == (timedelta(0), "redis", False)
    assert timedelta(minutes=53) < first.reset_after <= timedelta(minutes=54)
    denied = await client.acquire(subject, "api", cost=2)
    assert not denied
    assert timedelta(minutes=5) < denied.retry_after <= timedelta(minutes=6)
    assert (await client.acquire(subject, "api", cost=2)).source == "memory"
    assert repr(first) == "<Decision: allowed, 1 left>"
    assert repr(denied).startswith("<Decision: denied, 1 left, retry after 35")


async def test_a_request_id_takes_once(client: pantler.AsyncClient, subject: str) -> None:
    request_id = uuid4().hex
    first = await client.acquire(subject, "api", request_id=request_id)
    assert (await client.acquire(subject, "api", request_id=request_id)).allowed
    assert (await client.peek(subject, "api")).remaining == first.remaining == 9
    with pytest.raises(pantler.InvalidArgument) as refused:
        await client.acquire(subject, "api", cost=2, request_id=request_id)
    assert [one.path for one in refused.value.violations] == ["request_id"]


async def test_a_rule_may_come_with_the_call(client: pantler.AsyncClient, subject: str) -> None:
    assert [bool(await client.acquire(subject, INLINE)) for _ in range(3)] == [True, True, False]
    quota = pantler.RateLimitRule(
        "fixed_window", 7, calendar="month", time_zone="Asia/Tokyo", on_unavailable="closed"
    )
    assert (await client.acquire(subject, quota)).remaining == 6


async def test_peek_takes_nothing(client: pantler.AsyncClient, subject: str) -> None:
    for _ in range(3):
        assert (await client.peek(subject, INLINE, cost=2)).remaining == 2
    await client.acquire(subject, INLINE)
    assert not await client.peek(subject, INLINE, cost=2)


async def test_reset_and_refund_give_back(client: pantler.AsyncClient, subject: str) -> None:
    await client.acquire(subject, "api", cost=10)
    request_id = uuid4().hex
    for _ in range(2):
        refunded = await client.refund(subject, "api", cost=3, request_id=request_id)
        assert (refunded.limit, refunded.remaining) == (10, 3)
        assert timedelta(minutes=41) < refunded.reset_after <= timedelta(minutes=42)
    await client.reset(subject, "api")
    assert (await client.peek(subject, "api")).remaining == 10


async def test_acquire_all_takes_all_or_nothing(client: pantler.AsyncClient, subject: str) -> None:
    checks = [
        pantler.RateLimitCheck(subject, "api", cost=4),
        pantler.RateLimitCheck(subject, SLOTS),
        pantler.RateLimitCheck(subject, INLINE, cost=2),
    ]
    taken = await client.acquire_all(iter(checks))
    assert taken
    assert [one.remaining for one in taken.decisions] == [6, 0, 0]
    assert taken.decisions[1].slot_id
    await client.reset(subject, SLOTS)
    denied = await client.acquire_all(checks)
    assert not denied
    assert [one.allowed for one in denied.decisions] == [True, True, False]
    assert (await client.peek(subject, "api")).remaining == 6
    assert [one.source for one in (await client.acquire_all(checks)).decisions] == [
        "skipped",
        "skipped",
        "memory",
    ]


async def test_a_shadow_allows_and_tells_what_it_would_have_denied(
    client: pantler.AsyncClient, subject: str
) -> None:
    first, second = [await client.acquire(subject, "trial") for _ in range(2)]
    assert (first.allowed, first.shadow, first.retry_after) == (True, True, timedelta(0))
    assert (second.allowed, second.shadow, second.retry_after > timedelta(0)) == (True, True, True)
    assert "by a shadow" in repr(second)


async def test_the_rules_of_the_configuration_are_listed(client: pantler.AsyncClient) -> None:
    rules = await client.list_rules()
    assert list(rules) == ["api", "paced", "reports", "trial", "trial-slots", "two"]
    rule = pantler.RateLimitRule
    assert rules["api"] == rule("gcra", 10, timedelta(hours=1), on_unavailable="local")
    assert rules["paced"] == rule("token_bucket", 5, timedelta(seconds=1), burst=1)
    assert rules["trial"] == rule(
        "fixed_window", 1, calendar="year", time_zone="Europe/Berlin", shadow=True
    )


async def test_a_rule_that_is_not_there_is_said(client: pantler.AsyncClient, subject: str) -> None:
    with pytest.raises(pantler.NotFound, match="nowhere") as failed:
        await client.acquire(subject, "nowhere")
    assert failed.value.metadata == {"rule_name": "nowhere"}


async def test_what_is_out_of_range_is_refused(client: pantler.AsyncClient, subject: str) -> None:
    for cost in (0, -1):
        with pytest.raises(pantler.InvalidArgument, match="cost must be at least 1"):
            await client.acquire(subject, "api", cost=cost)
    wrong: Any = "leaky"
    with pytest.raises(ValueError, match=r"algorithm must be one of fixed_window, .*, not 'leaky'"):
        await client.peek(subject, pantler.RateLimitRule(wrong, 1))
    with pytest.raises(pantler.InvalidArgument) as refused:
        await client.acquire(subject, pantler.RateLimitRule("gcra", 0))
    assert [one.path for one in refused.value.violations] == ["rule.limit", "rule.window"]
    with pytest.raises(pantler.InvalidArgument, match="at most 10"):
        await client.acquire(subject, "api", cost=11)


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


async def test_a_function_is_called_only_if_it_is_allowed(
    client: pantler.AsyncClient, subject: str
) -> None:
    calls: list[str] = []

    @client.rate_limited("api", subject="{user}:{kind}", cost=5)
    async def search(user: str, text: str, kind: str = "all") -> str:
        """Searches."""
        calls.append(text)
        return text.upper()

    assert (search.__name__, search.__doc__) == ("search", "Searches.")
    assert await search(subject, "a") == "A"
    assert await search(user=subject, text="b") == "B"
    counted = f"{subject.replace(':', '%3A')}:all"
    with pytest.raises(pantler.RateLimited, match=f"'{counted}' is at its limit") as denied:
        await search(subject, "c")
    assert denied.value.retry_after == denied.value.decision.retry_after > timedelta(minutes=20)
    assert await search(subject, "d", kind="other") == "D"
    assert calls == ["a", "b", "d"]


async def test_subjects_do_not_run_into_each_other(
    client: pantler.AsyncClient, subject: str
) -> None:
    @client.rate_limited("api", subject="{user}:{kind}", cost=10)
    async def search(user: str, kind: str) -> None: ...

    await search(f"{subject}:2", "3")
    await search(subject, "2:3")
    for call in (search(f"{subject}:2", "3"), search(subject, "2:3")):
        with pytest.raises(pantler.RateLimited):
            await call


async def test_a_method_is_limited_too(client: pantler.AsyncClient, subject: str) -> None:
    class Tenant:
        def __init__(self, name: str) -> None:
            self.name = name

        @client.rate_limited(INLINE, subject="{self.name}")
        async def by_template(self) -> None: ...

        @client.rate_limited(INLINE, subject=lambda self, number: f"{self.name}/{number}")
        async def by_function(self, number: int) -> None: ...

    for call in (Tenant(subject).by_template, lambda: Tenant(subject).by_function(number=1)):
        await call()
        await call()
        with pytest.raises(pantler.RateLimited):
            await call()


async def test_a_decorator_that_could_never_work_is_refused_at_once(
    client: pantler.AsyncClient,
) -> None:
    async def search(user: str) -> None: ...

    def blocking(user: str) -> Any: ...

    for template in ("{id}", "{}", "{0}", "{user_id.name}"):
        with pytest.raises(ValueError, match=r"search has no argument"):
            client.rate_limited("api", subject=template)(search)
    with pytest.raises(ValueError, match=r"separate \{user\}"):
        client.rate_limited("api", subject="{user}{user}")(search)
    with pytest.raises(TypeError, match="is for `async def` functions"):
        client.rate_limited("api", subject="{user}")(blocking)


async def test_a_call_waits_until_its_permits_are_there(
    client: pantler.AsyncClient, subject: str
) -> None:
    @client.rate_limited("paced", subject="{user}", wait=timedelta(seconds=1))
    async def search(user: str) -> float:
        return asyncio.get_running_loop().time()

    first, second, third = [await search(subject) for _ in range(3)]
    assert 0.15 < second - first < 0.8
    assert 0.15 < third - second < 0.8


async def test_calls_that_wait_together_all_get_their_turn(
    client: pantler.AsyncClient, subject: str
) -> None:
    @client.rate_limited("paced", subject="{user}", wait=timedelta(seconds=10))
    async def search(user: str) -> None: ...

    await asyncio.gather(*(search(subject) for _ in range(6)))


async def test_a_call_that_would_wait_for_too_long_is_denied_at_once(
    client: pantler.AsyncClient, subject: str
) -> None:
    @client.rate_limited("api", subject=lambda: subject, cost=10, wait=timedelta(minutes=1))
    async def search() -> None: ...

    await search()
    began = asyncio.get_running_loop().time()
    with pytest.raises(pantler.RateLimited):
        await search()
    assert asyncio.get_running_loop().time() - began < 10


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
