"""Rate limits through the Python SDK, against a real server: what is decided, and by which rule."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pantler
import pytest

from tests.clients.rate_limits.rules import INLINE, SLOTS


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
    async with asyncio.timeout(20):  # a worker that hears nothing for a second asks Redis
        while (await client.acquire(subject, "api", cost=2)).source != "memory":
            await asyncio.sleep(0.01)
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
