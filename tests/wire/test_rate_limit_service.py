"""RateLimitService through a real channel: what it answers, and what it refuses."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.json_format import ParseDict
from pantler.v1 import rate_limit_pb2 as pb
from pantler.v1 import rate_limit_pb2_grpc

from tests.servers.pantler import PantlerServer
from tests.wire.test_cache_service import details, violations

CONFIG = """
rate_limits:
  api: {algorithm: gcra, limit: 10, window: 1h}
  trial: {algorithm: token_bucket, limit: 1, window: 1h, shadow: true}
  daily: {algorithm: fixed_window, limit: 3, calendar: day, time_zone: Asia/Kolkata,
          on_unavailable: closed}
  jobs: {algorithm: concurrency, limit: 2, window: 30s}
"""
GCRA = {"algorithm": "ALGORITHM_GCRA", "limit": 10, "window": "60s"}

_subjects = count()


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """Pantler with rules."""
    config: Path = tmp_path_factory.mktemp("limits") / "pantler.yaml"
    config.write_text(CONFIG)
    async with PantlerServer(config=config) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def limits(server: PantlerServer) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(server.address) as opened:
        yield rate_limit_pb2_grpc.RateLimitServiceStub(opened)


@pytest.fixture
def subject() -> str:
    """One that no other test uses."""
    return f"user:{next(_subjects)}"


async def refused(call: Any, code: grpc.StatusCode, reason: str) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    assert failed.value.code() is code
    assert details(failed.value)["ErrorInfo"].reason == f"ERROR_REASON_{reason}"
    return failed.value


async def test_a_decision_says_all_of_it(limits: Any, subject: str) -> None:
    ask = pb.AcquireRequest(subject=subject, rule_name="api", cost=7)
    first = await limits.Acquire(ask)
    assert (first.allowed, first.limit, first.remaining) == (True, 10, 3)
    assert first.HasField("retry_after")
    assert first.retry_after.ToSeconds() == 0
    assert first.reset_after.ToSeconds() == 7 * 360
    assert first.source == pb.DECISION_SOURCE_REDIS
    denied = await limits.Acquire(ask)
    assert (denied.allowed, denied.limit, denied.remaining) == (False, 10, 3)
    assert 4 * 360 - 5 <= denied.retry_after.ToSeconds() <= 4 * 360
    assert not denied.shadow
    assert not denied.slot_id
    again = await limits.Acquire(ask)
    assert again.source == pb.DECISION_SOURCE_MEMORY
    peeked = await limits.Peek(pb.PeekRequest(subject=subject, rule_name="api", cost=3))
    assert (peeked.allowed, peeked.remaining) == (True, 3)
    assert peeked.source == pb.DECISION_SOURCE_REDIS


async def test_a_shadow_allows_what_it_would_have_denied(limits: Any, subject: str) -> None:
    ask = pb.AcquireRequest(subject=subject, rule_name="trial")
    first, second = await limits.Acquire(ask), await limits.Acquire(ask)
    assert first.allowed
    assert first.shadow
    assert first.retry_after.ToSeconds() == 0
    assert second.allowed
    assert second.shadow
    assert second.retry_after.ToSeconds() > 0


async def test_a_slot_is_renewed_released_and_then_not_held(limits: Any, subject: str) -> None:
    whose: dict[str, Any] = {"subject": subject, "rule_name": "jobs"}
    held = await limits.Acquire(pb.AcquireRequest(**whose, cost=2))
    assert held.slot_expires_after.ToSeconds() == 30
    slot: dict[str, Any] = {**whose, "slot_id": held.slot_id}
    renewed = await limits.RenewSlot(pb.RenewSlotRequest(**slot))
    assert renewed.slot_expires_after.ToSeconds() == 30
    assert not (await limits.Acquire(pb.AcquireRequest(**whose))).allowed
    await limits.ReleaseSlot(pb.ReleaseSlotRequest(**slot))
    for call in (
        limits.ReleaseSlot(pb.ReleaseSlotRequest(**slot)),
        limits.RenewSlot(pb.RenewSlotRequest(**slot)),
    ):
        await refused(call, grpc.StatusCode.ABORTED, "SLOT_NOT_HELD")
    assert (await limits.Acquire(pb.AcquireRequest(**whose))).allowed


async def test_acquire_all_takes_from_all_or_none(limits: Any, subject: str) -> None:
    def ask(cost: int) -> pb.AcquireAllRequest:
        checks = [
            pb.RateLimitCheck(subject=subject, rule_name="api", cost=cost),
            pb.RateLimitCheck(subject=subject, rule_name="jobs"),
            pb.RateLimitCheck(subject=subject, rule=ParseDict(GCRA, pb.RateLimitRule())),
        ]
        return pb.AcquireAllRequest(checks=checks)

    first = await limits.AcquireAll(ask(6))
    assert first.allowed
    assert [one.remaining for one in first.decisions] == [4, 1, 9]
    assert [bool(one.slot_id) for one in first.decisions] == [False, True, False]
    denied = await limits.AcquireAll(ask(6))
    assert not denied.allowed
    assert [one.allowed for one in denied.decisions] == [False, True, True]
    assert [one.slot_id for one in denied.decisions] == ["", "", ""]
    skipped = await limits.AcquireAll(ask(6))
    assert not skipped.allowed
    assert [one.source for one in skipped.decisions] == [
        pb.DECISION_SOURCE_MEMORY,
        pb.DECISION_SOURCE_SKIPPED,
        pb.DECISION_SOURCE_SKIPPED,
    ]
    assert (await limits.AcquireAll(ask(4))).allowed


async def test_refund_and_reset_give_back(limits: Any, subject: str) -> None:
    ask = pb.AcquireRequest(subject=subject, rule_name="daily", cost=3)
    assert (await limits.Acquire(ask)).allowed
    assert not (await limits.Acquire(ask)).allowed
    back = await limits.Refund(pb.RefundRequest(subject=subject, rule_name="daily", cost=2))
    assert (back.limit, back.remaining) == (3, 2)
    assert back.reset_after.ToSeconds() > 0
    whole = pb.RefundRequest(subject=subject, rule_name="daily", cost=100)
    assert (await limits.Refund(whole)).remaining == 3, "of a rule that has been lowered, say"
    assert (await limits.Acquire(ask)).allowed
    await limits.Reset(pb.ResetRequest(subject=subject, rule_name="daily"))
    assert (await limits.Acquire(ask)).allowed


async def test_rules_are_listed_as_they_were_configured(limits: Any) -> None:
    listed = (await limits.ListRules(pb.ListRulesRequest())).rules
    assert [one.name for one in listed] == ["api", "daily", "jobs", "trial"]
    rules = {one.name: one.rule for one in listed}
    assert rules["daily"].calendar == pb.CALENDAR_PERIOD_DAY
    assert rules["daily"].time_zone == "Asia/Kolkata"
    assert not rules["daily"].HasField("window")
    assert rules["daily"].on_unavailable == pb.ON_UNAVAILABLE_CLOSED
    assert rules["trial"].shadow
    assert rules["jobs"].algorithm == pb.ALGORITHM_CONCURRENCY
    assert rules["jobs"].window.ToSeconds() == 30


RULES: list[tuple[dict[str, Any], str]] = [
    ({**GCRA, "limit": 0}, "rule.limit"),
    ({**GCRA, "limit": -1}, "rule.limit"),
    ({**GCRA, "limit": 10**12 + 1}, "rule.limit"),
    ({**GCRA, "algorithm": "ALGORITHM_SLIDING_WINDOW_LOG", "limit": 10**6 + 1}, "rule.limit"),
    ({**GCRA, "algorithm": "ALGORITHM_UNSPECIFIED"}, "rule.algorithm"),
    ({**GCRA, "algorithm": 77}, "rule.algorithm"),
    ({**GCRA, "window": "0s"}, "rule.window"),
    ({**GCRA, "window": "-1s"}, "rule.window"),
    ({**GCRA, "window": "0.0005s"}, "rule.window"),
    ({**GCRA, "window": "1.0005s"}, "rule.window"),
    ({**GCRA, "window": f"{367 * 86400}s"}, "rule.window"),
    ({"algorithm": "ALGORITHM_GCRA", "limit": 1}, "rule.window"),
    ({**GCRA, "burst": -1}, "rule.burst"),
    ({**GCRA, "limit": 1, "window": "31536000s", "burst": 101}, "rule.burst"),
    ({**GCRA, "algorithm": "ALGORITHM_FIXED_WINDOW", "burst": 1}, "rule.burst"),
    ({**GCRA, "calendar": "CALENDAR_PERIOD_DAY"}, "rule.calendar"),
    ({**GCRA, "calendar": 77}, "rule.calendar"),
    ({**GCRA, "time_zone": "Europe/Berlin"}, "rule.time_zone"),
    ({**GCRA, "on_unavailable": 77}, "rule.on_unavailable"),
    (
        {
            "algorithm": "ALGORITHM_FIXED_WINDOW",
            "limit": 1,
            "calendar": "CALENDAR_PERIOD_DAY",
            "time_zone": "Mars/Phobos",
        },
        "rule.time_zone",
    ),
    (
        {**GCRA, "algorithm": "ALGORITHM_FIXED_WINDOW", "calendar": "CALENDAR_PERIOD_DAY"},
        "rule.window",
    ),
]


@pytest.mark.parametrize(("rule", "path"), RULES, ids=lambda value: str(value))
async def test_a_wrong_rule_is_refused_with_its_field(
    rule: dict[str, Any], path: str, limits: Any, subject: str
) -> None:
    message = ParseDict(rule, pb.RateLimitRule())
    for method, request in (
        ("Acquire", pb.AcquireRequest),
        ("Peek", pb.PeekRequest),
        ("Refund", pb.RefundRequest),
        ("Reset", pb.ResetRequest),
    ):
        call = getattr(limits, method)(request(subject=subject, rule=message))
        assert path in await violations(call)
    checks = [
        pb.RateLimitCheck(subject=subject, rule_name="api"),
        pb.RateLimitCheck(subject=subject, rule=message),
    ]
    call = limits.AcquireAll(pb.AcquireAllRequest(checks=checks))
    assert f"checks[1].{path}" in await violations(call)
    peeked = await limits.Peek(pb.PeekRequest(subject=subject, rule_name="api"))
    assert peeked.remaining == 10


REQUESTS: list[tuple[dict[str, Any], str]] = [
    ({"subject": "", "rule_name": "api"}, "subject"),
    ({"subject": "a\nb", "rule_name": "api"}, "subject"),
    ({"subject": "x" * 513, "rule_name": "api"}, "subject"),
    ({"subject": "u"}, "rule_name"),
    ({"subject": "u", "rule_name": "api", "cost": 11}, "cost"),
    ({"subject": "u", "rule_name": "api", "cost": -1}, "cost"),
    ({"subject": "u", "rule_name": "api", "cost": 0}, "cost"),
    ({"subject": "u", "rule": {**GCRA, "burst": 3}, "cost": 4}, "cost"),
    ({"subject": "u", "rule_name": "api", "request_id": "x" * 129}, "request_id"),
    ({"subject": "u", "rule_name": "api", "request_id": "a\tb"}, "request_id"),
]


@pytest.mark.parametrize(("request_", "path"), REQUESTS, ids=lambda value: str(value)[:40])
async def test_a_wrong_request_is_refused_with_its_field(
    request_: dict[str, Any], path: str, limits: Any
) -> None:
    call = limits.Acquire(ParseDict(request_, pb.AcquireRequest()))
    assert path in await violations(call)


async def test_more_cost_than_the_rule_ever_gives_says_how_much_that_is(
    limits: Any, subject: str
) -> None:
    call = limits.Acquire(pb.AcquireRequest(subject=subject, rule_name="api", cost=11))
    assert "must be at most 10" in (await violations(call))["cost"]


async def test_an_unknown_rule_is_not_found(limits: Any, subject: str) -> None:
    whose: dict[str, Any] = {"subject": subject, "rule_name": "nobody"}
    for call in (
        limits.Acquire(pb.AcquireRequest(**whose)),
        limits.AcquireAll(pb.AcquireAllRequest(checks=[pb.RateLimitCheck(**whose)])),
        limits.Peek(pb.PeekRequest(**whose)),
        limits.Reset(pb.ResetRequest(**whose)),
        limits.Refund(pb.RefundRequest(**whose)),
        limits.RenewSlot(pb.RenewSlotRequest(**whose, slot_id="s")),
        limits.ReleaseSlot(pb.ReleaseSlotRequest(**whose, slot_id="s")),
    ):
        error = await refused(call, grpc.StatusCode.NOT_FOUND, "RATE_LIMIT_RULE_UNKNOWN")
        assert details(error)["ErrorInfo"].metadata["rule_name"] == "nobody"


async def test_names_that_are_too_long_are_cut_off_in_what_is_said(
    limits: Any, subject: str
) -> None:
    long = "x" * 1_000_000
    named = limits.Acquire(pb.AcquireRequest(subject=subject, rule_name=long))
    await refused(named, grpc.StatusCode.NOT_FOUND, "RATE_LIMIT_RULE_UNKNOWN")
    daily = {"algorithm": "ALGORITHM_FIXED_WINDOW", "limit": 1, "calendar": "CALENDAR_PERIOD_DAY"}
    rule = ParseDict({**daily, "time_zone": long}, pb.RateLimitRule())
    call = limits.Acquire(pb.AcquireRequest(subject=subject, rule=rule))
    assert len((await violations(call))["rule.time_zone"]) < 200


async def test_what_a_rule_can_not_do_is_refused(limits: Any, subject: str) -> None:
    for call, path in (
        (limits.Refund(pb.RefundRequest(subject=subject, rule_name="jobs")), "rule_name"),
        (
            limits.RenewSlot(pb.RenewSlotRequest(subject=subject, rule_name="api", slot_id="s")),
            "rule_name",
        ),
        (
            limits.ReleaseSlot(
                pb.ReleaseSlotRequest(
                    subject=subject, rule=ParseDict(GCRA, pb.RateLimitRule()), slot_id="s"
                )
            ),
            "rule",
        ),
        (limits.ReleaseSlot(pb.ReleaseSlotRequest(subject=subject, rule_name="jobs")), "slot_id"),
        (limits.AcquireAll(pb.AcquireAllRequest()), "checks"),
        (
            limits.AcquireAll(
                pb.AcquireAllRequest(
                    checks=[pb.RateLimitCheck(subject=str(n), rule_name="api") for n in range(101)]
                )
            ),
            "checks",
        ),
        (
            limits.AcquireAll(
                pb.AcquireAllRequest(
                    checks=[pb.RateLimitCheck(subject=subject, rule_name="api")] * 2
                )
            ),
            "checks[1]",
        ),
    ):
        assert path in await violations(call)


async def test_decisions_are_counted_by_rule(
    server: PantlerServer, limits: Any, subject: str
) -> None:
    async def counted() -> dict[str, float]:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://{server.http_address}/metrics") as answer,
        ):
            lines = (await answer.text()).splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("pantler_rate_limit"))
        return {name: float(value) for name, value in pairs}

    await asyncio.sleep(1.5)  # counts are handed on once a second: also those of other tests
    before = await counted()
    for cost in (1, 7, 1, 5, 5):
        await limits.Acquire(pb.AcquireRequest(subject=subject, rule_name="api", cost=cost))
    more = {
        'pantler_rate_limit_decisions_total{outcome="allowed",rule="api"}': 2,
        'pantler_rate_limit_decisions_total{outcome="near_limit",rule="api"}': 1,
        'pantler_rate_limit_decisions_total{outcome="denied",rule="api"}': 2,
        'pantler_rate_limit_unasked_total{by="memory",rule="api"}': 1,
    }
    await asyncio.sleep(1.5)
    after = await counted()
    assert {series: after[series] - before.get(series, 0) for series in more} == more
