"""Envoy's RateLimitService through a real channel: what each part of a domain comes to."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pantler.v1 import admin_pb2, admin_pb2_grpc, rate_limit_pb2, rate_limit_pb2_grpc
from pantler_server.core.rate_limit import Algorithm
from pantler_server.generated.rls_pb2 import RateLimitRequest, RateLimitResponse

from tests.servers.pantler import PantlerServer
from tests.wire.test_cache_service import violations

Ask = Callable[..., Awaitable[RateLimitResponse]]

OK, OVER = RateLimitResponse.OK, RateLimitResponse.OVER_LIMIT
HOUR, WEEK, MONTH, YEAR = map(
    RateLimitResponse.RateLimit.Unit.Value, ("HOUR", "WEEK", "MONTH", "YEAR")
)
YEAR_S = 365 * 86_400
SERVICE = "envoy.service.ratelimit.v3.RateLimitService"
MANY = (1 << 32) - 1

DOMAINS = """
rate_limits:
  shared: {algorithm: gcra, limit: 100, window: 1h, burst: 3}
  trial: {algorithm: fixed_window, limit: 1, calendar: year, shadow: true}
envoy_domains:
  - domain: edge
    descriptors:
      - {key: three, rate_limit: {unit: year, requests_per_unit: 3, name: three}}
      - {key: ten, rate_limit: {unit: week, requests_per_unit: 10, unit_multiplier: 2}}
      - {key: rule, rate_limit: {rule: shared}}
      - {key: trial, rate_limit: {rule: trial}}
      - {key: rule-on-trial, shadow_mode: true, rate_limit: {rule: shared}}
      - {key: shadow, shadow_mode: true, rate_limit: {unit: year, requests_per_unit: 3}}
      - {key: free, rate_limit: {unlimited: true}}
      - {key: vip, rate_limit: {unlimited: true, replaces: [{name: three}]}}
      - {key: listed}
      - {key: path, value: "/shared/*", share_threshold: true,
         rate_limit: {unit: year, requests_per_unit: 1}}
      - {key: path, value: "/apart/*", rate_limit: {unit: year, requests_per_unit: 1}}
      - {key: gcra, rate_limit: {unit: year, requests_per_unit: 3, algorithm: gcra}}
      - {key: token_bucket, rate_limit: {unit: year, requests_per_unit: 9, algorithm: token_bucket,
         burst: 3}}
      - {key: sliding_window_log, rate_limit: {unit: year, requests_per_unit: 3,
         algorithm: sliding_window_log}}
      - {key: sliding_window_counter, rate_limit: {unit: year, requests_per_unit: 3,
         algorithm: sliding_window_counter}}
      - {key: concurrency, rate_limit: {unit: year, requests_per_unit: 3, algorithm: concurrency}}
  - domain: quiet
    response_headers: false
    descriptors:
      - {key: three, rate_limit: {unit: year, requests_per_unit: 3}}
"""

_numbers = count()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("envoy") / "pantler.yaml"
    path.write_text(DOMAINS)
    return path


@pytest_asyncio.fixture(scope="module")
async def server(config: Path) -> AsyncIterator[PantlerServer]:
    async with PantlerServer(config=config) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def channel(server: PantlerServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.address) as opened:
        yield opened


@pytest.fixture
def who() -> str:
    """A value that no other test has."""
    return f"w{next(_numbers)}"


def asking(channel: grpc.aio.Channel) -> Ask:
    """Asks about descriptors: messages, or texts `key=value,key=value`."""
    call: Any = channel.unary_unary(
        f"/{SERVICE}/ShouldRateLimit",
        request_serializer=RateLimitRequest.SerializeToString,
        response_deserializer=RateLimitResponse.FromString,
    )

    async def ask(*about: Any, domain: str = "edge", hits: int = 0) -> RateLimitResponse:
        request = RateLimitRequest(domain=domain, hits_addend=hits)
        for one in about:
            request.descriptors.append(descriptor(one) if isinstance(one, str) else one)
        answer: RateLimitResponse = await call(request)
        return answer

    return ask


@pytest.fixture
def ask(channel: grpc.aio.Channel) -> Ask:
    return asking(channel)


def descriptor(text: str, hits: int | None = None, **said: Any) -> RateLimitRequest.Descriptor:
    entries = [dict(zip(("key", "value"), one.split("="), strict=True)) for one in text.split(",")]
    message = RateLimitRequest.Descriptor(**said)
    for entry in entries:
        message.entries.add(**entry)
    if hits is not None:
        message.hits_addend.value = hits
    return message


def codes(answer: RateLimitResponse) -> list[int]:
    return [status.code for status in answer.statuses]


def left(answer: RateLimitResponse) -> list[int]:
    return [status.limit_remaining for status in answer.statuses]


def headers(answer: RateLimitResponse) -> dict[str, str]:
    return {header.key: header.value for header in answer.response_headers_to_add}


async def test_a_limit_lets_pass_what_it_says(ask: Ask, who: str) -> None:
    for remaining in (2, 1, 0):
        answer = await ask(f"three={who}")
        assert (answer.overall_code, codes(answer), left(answer)) == (OK, [OK], [remaining])
    answer = await ask(f"three={who}")
    assert (answer.overall_code, codes(answer), left(answer)) == (OVER, [OVER], [0])
    [status] = answer.statuses
    limit = status.current_limit
    assert (limit.requests_per_unit, limit.unit, limit.name) == (3, YEAR, "three")
    assert not limit.HasField("unit_multiplier")
    assert 0 < status.duration_until_reset.seconds <= YEAR_S
    assert not status.duration_until_reset.nanos
    assert (await ask(f"three={who}-other")).overall_code == OK


@pytest.mark.parametrize("key", ["three", *sorted(set(Algorithm) - {Algorithm.FIXED_WINDOW})])
async def test_every_algorithm_will_do(ask: Ask, who: str, key: str) -> None:
    assert [(await ask(f"{key}={who}")).overall_code for _ in range(4)] == [OK, OK, OK, OVER]


async def test_a_window_of_several_units_is_told(ask: Ask, who: str) -> None:
    [status] = (await ask(f"ten={who}")).statuses
    limit = status.current_limit
    assert (limit.requests_per_unit, limit.unit, limit.unit_multiplier.value) == (10, WEEK, 2)


async def test_a_call_takes_from_all_limits_or_from_none(ask: Ask, who: str) -> None:
    assert left(await ask(f"three={who}", f"ten={who}", hits=3)) == [0, 7]
    answer = await ask(f"ten={who}", f"three={who}")
    assert (answer.overall_code, codes(answer), left(answer)) == (OVER, [OK, OVER], [7, 0])
    assert left(await ask(f"ten={who}")) == [6]


async def test_what_is_not_looked_at_says_nothing(ask: Ask, who: str) -> None:
    await ask(f"three={who}", hits=3)
    await ask(f"three={who}")
    answer = await ask(f"ten={who}", f"three={who}")  # denied from memory
    assert codes(answer) == [OK, OVER]
    assert not answer.statuses[0].HasField("current_limit")


async def test_what_meets_no_limit_passes(ask: Ask, who: str) -> None:
    answer = await ask(f"unheard-of={who}", f"listed={who}", f"three={who},more=x")
    assert answer.overall_code == OK
    assert list(answer.statuses) == [RateLimitResponse.DescriptorStatus(code=OK)] * 3
    assert headers(answer) == {}
    unknown = await ask(f"three={who}", domain="unheard-of", hits=100)
    assert list(unknown.statuses) == [RateLimitResponse.DescriptorStatus(code=OK)]


async def test_descriptors_that_are_alike_are_added_up(ask: Ask, who: str) -> None:
    assert left(await ask(f"three={who}", f"three={who}")) == [1, 1]
    assert codes(await ask(f"three={who}", f"three={who}")) == [OVER, OVER]


async def test_a_rule_counts_what_calls_that_name_it_count(
    ask: Ask, channel: grpc.aio.Channel, who: str
) -> None:
    limits: Any = rate_limit_pb2_grpc.RateLimitServiceStub(channel)
    assert left(await ask(f"rule={who}")) == [2]
    subject = f'[["rule","{who}"]]'
    request = rate_limit_pb2.AcquireRequest(subject=subject, rule_name="shared")
    assert (await limits.Acquire(request)).remaining == 1
    answer = await ask(f"rule={who}")
    assert left(answer) == [0]
    limit = answer.statuses[0].current_limit
    assert (limit.requests_per_unit, limit.unit) == (100, HOUR)


@pytest.mark.parametrize("key", ["shadow", "trial", "rule-on-trial"])
async def test_a_shadow_denies_nothing_and_shows_no_client(ask: Ask, who: str, key: str) -> None:
    answers = [await ask(f"{key}={who}", f"ten={who}") for _ in range(4)]
    assert [answer.overall_code for answer in answers] == [OK] * 4
    assert left(answers[-1]) == [0, 6]
    assert headers(answers[-1])["x-ratelimit-limit"] == "10"
    never = await ask(f"{key}={who}", f"ten={who}", hits=5)
    assert (codes(never), left(never)) == ([OK, OK], [0, 1])


async def test_a_shadow_counts(server: PantlerServer, ask: Ask, who: str) -> None:
    async def denied() -> float:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{server.http_address}/metrics") as answer,
        ):
            text = await answer.text()
        label = 'outcome="shadow_denied",rule="edge.shadow"'
        [value] = re.findall(rf"pantler_rate_limit_decisions_total{{{label}}} (.*)", text)
        return float(value)

    await asyncio.sleep(1.5)  # counts are handed on once a second: also those of other tests
    before = await denied()
    await ask(f"shadow={who}", hits=3)
    await ask(f"shadow={who}")
    await asyncio.sleep(1.5)
    assert await denied() == before + 1


async def test_no_limit_is_told_as_the_most(ask: Ask, who: str) -> None:
    answer = await ask(f"free={who}", hits=1000)
    [status] = answer.statuses
    assert (status.code, status.limit_remaining) == (OK, MANY)
    assert not status.HasField("current_limit")
    assert headers(answer) == {}


async def test_what_another_limit_replaces_does_not_count(ask: Ask, who: str) -> None:
    answer = await ask(f"three={who}", f"vip={who}", hits=100)
    assert (codes(answer), left(answer)) == ([OK, OK], [0, MANY])
    assert not answer.statuses[0].HasField("current_limit")
    assert left(await ask(f"three={who}")) == [2]


async def test_values_are_counted_together_only_where_they_are_shared(ask: Ask, who: str) -> None:
    shared = [(await ask(f"path=/shared/{who}{n}")).overall_code for n in range(2)]
    assert shared == [OK, OVER]
    apart = [(await ask(f"path=/apart/{who}{n}")).overall_code for n in range(2)]
    assert apart == [OK, OK]


async def test_a_limit_that_comes_with_a_descriptor_is_taken(ask: Ask, who: str) -> None:
    def limited(requests: int, unit: int = MONTH, units: int | None = None) -> Any:
        message = descriptor(f"three={who}", limit={"requests_per_unit": requests, "unit": unit})
        if units is not None:
            message.limit.unit_multiplier.value = units
        return message

    answer = await ask(limited(1), limited(2), limited(2, units=3), f"three={who}")
    assert left(answer) == [0, 1, 1, 2]
    limit = answer.statuses[2].current_limit
    assert (limit.requests_per_unit, limit.unit, limit.unit_multiplier.value) == (2, MONTH, 3)
    assert codes(await ask(limited(1), limited(2))) == [OVER, OK]
    never = await ask(limited(0))
    assert (never.overall_code, left(never)) == (OVER, [0])
    assert headers(never)["x-ratelimit-limit"] == "0"
    assert int(headers(never)["retry-after"]) > 0
    unknown = await ask(limited(0), domain="unheard-of")
    assert codes(unknown) == [OK]


async def test_hits_are_those_of_the_descriptor_or_of_the_request(ask: Ask, who: str) -> None:
    answer = await ask(f"three={who}", descriptor(f"ten={who}", hits=5), hits=2)
    assert left(answer) == [1, 5]


async def test_no_hits_only_look(ask: Ask, who: str) -> None:
    look = descriptor(f"three={who}", hits=0)
    assert left(await ask(look, hits=3)) == [3]
    await ask(f"three={who}", hits=2)
    assert codes(await ask(look)) == [OK]
    await ask(f"three={who}")
    answer = await ask(look, f"ten={who}")
    assert (answer.overall_code, codes(answer)) == (OVER, [OVER, OK])
    assert left(await ask(f"ten={who}")) == [9], "what is refused takes nothing"


async def test_what_is_under_way_at_once_is_limited(ask: Ask, who: str) -> None:
    ended = descriptor(f"concurrency={who}", hits=1, is_negative_hits=True)
    assert left(await ask(f"concurrency={who}", hits=2)) == [1]
    assert codes(await ask(f"concurrency={who}")) == [OK]
    assert codes(await ask(f"concurrency={who}")) == [OVER]
    assert left(await ask(ended)) == [1], "a part of what was taken first"
    assert codes(await ask(f"concurrency={who}")) == [OK]
    for remaining in (1, 2, 3, 3):
        assert left(await ask(ended)) == [remaining]


async def test_negative_hits_are_given_back(ask: Ask, who: str) -> None:
    await ask(f"three={who}", hits=3)
    back = descriptor(f"three={who}", hits=2, is_negative_hits=True)
    answer = await ask(back, f"ten={who}")
    assert (codes(answer), left(answer)) == ([OK, OK], [2, 9])
    back.hits_addend.value = 1 << 60
    assert left(await ask(back)) == [3]


@pytest.mark.parametrize("key", ["three", "shadow"])
async def test_hits_that_do_not_fit_in_take_what_is_left(ask: Ask, who: str, key: str) -> None:
    await ask(f"{key}={who}")
    answer = await ask(f"{key}={who}", f"ten={who}", hits=3)
    assert left(answer)[0] == 0
    assert left(await ask(descriptor(f"{key}={who}", hits=0))) == [0]
    expected = {"three": (OVER, 9), "shadow": (OK, 6)}
    assert (answer.overall_code, left(await ask(f"ten={who}"))[0]) == expected[key]


@pytest.mark.parametrize("before", [0, 2])
async def test_more_than_a_limit_can_have_takes_all_of_it_and_nothing_else(
    ask: Ask, who: str, before: int
) -> None:
    if before:
        await ask(f"three={who}", hits=before)
    answer = await ask(f"ten={who}", f"three={who}", hits=4)
    assert (answer.overall_code, codes(answer), left(answer)) == (OVER, [OK, OVER], [0, 0])
    assert not answer.statuses[0].HasField("current_limit")
    assert answer.statuses[1].duration_until_reset.seconds > 0
    looks = [descriptor(f"{key}={who}", hits=0) for key in ("ten", "three")]
    assert left(await ask(*looks)) == [10, 0]
    huge = await ask(descriptor(f"three={who}-huge", hits=(1 << 64) - 1))
    assert huge.overall_code == OVER


async def test_headers_tell_of_the_limit_that_is_nearest(ask: Ask, who: str) -> None:
    told = headers(await ask(f"ten={who}", f"three={who}", f"free={who}", f"listed={who}"))
    assert told.pop("x-ratelimit-reset").isdigit()
    assert told == {"x-ratelimit-limit": "3", "x-ratelimit-remaining": "2"}
    await ask(f"three={who}", hits=2)
    told = headers(await ask(f"three={who}", f"ten={who}"))
    assert (told["x-ratelimit-limit"], told["x-ratelimit-remaining"]) == ("3", "0")
    assert 0 < int(told["x-ratelimit-reset"]) <= YEAR_S
    assert told["retry-after"] == told["x-ratelimit-reset"]
    await ask(f"ten={who}", hits=10)
    look = [descriptor(f"{key}={who}", hits=0) for key in ("ten", "three")]
    assert headers(await ask(*look))["x-ratelimit-limit"] == "3", "the last that is over"


async def test_a_domain_may_leave_headers_out(ask: Ask, who: str) -> None:
    for code in (OK, OVER):
        answer = await ask(f"three={who}", domain="quiet", hits=3)
        assert (answer.overall_code, headers(answer)) == (code, {})


async def test_what_is_wrong_is_named(ask: Ask) -> None:
    assert await violations(ask("a=b", domain="")) == {"domain": "must not be empty"}
    for number in (0, 101):
        said = await violations(ask(*[f"a={n}" for n in range(number)]))
        assert said == {"descriptors": "must have 1 to 100 items"}
    empty, wrong = RateLimitRequest.Descriptor(), descriptor("a=b", limit={"requests_per_unit": 1})
    long = descriptor("a=b", limit={"unit": WEEK, "unit_multiplier": {"value": 53}})
    assert await violations(ask(empty, "a=b", wrong, long)) == {
        "descriptors[0].entries": "must not be empty",
        "descriptors[2].limit.unit": (
            "must be one of SECOND, MINUTE, HOUR, DAY, MONTH, YEAR, WEEK"
        ),
        "descriptors[3].limit.unit_multiplier": "must give a window of up to 366 days",
    }


async def test_the_service_is_known_to_health(channel: grpc.aio.Channel) -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_domains_can_be_reloaded(tmp_path: Path, who: str) -> None:
    file = tmp_path / "pantler.yaml"
    limit = "{unit: year, requests_per_unit: 2}"
    domain = "envoy_domains: [{domain: edge, descriptors: [{key: k, rate_limit: LIMIT}]}]\n"
    rules = "rate_limits: {r: {algorithm: fixed_window, limit: LIMIT, window: 1h}}\n"
    file.write_text(domain.replace("LIMIT", limit))
    async with (
        PantlerServer(config=file) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        ask, admin = asking(channel), admin_pb2_grpc.AdminServiceStub(channel)
        reload: Any = admin.ReloadConfig

        async def change(text: str) -> None:
            file.write_text(text)
            await reload(admin_pb2.ReloadConfigRequest())

        assert codes(await ask("k=1", hits=2)) == [OK]
        assert codes(await ask("k=1")) == [OVER]
        await change(domain.replace("LIMIT", limit.replace("2", "5")))
        assert left(await ask("k=1")) == [2], "what was taken still counts"
        await change(domain.replace("LIMIT", "{rule: r}") + rules.replace("LIMIT", "7"))
        assert left(await ask("k=1")) == [6]
        await change(domain.replace("LIMIT", "{rule: r}") + rules.replace("LIMIT", "8"))
        assert left(await ask("k=1")) == [6], "a rule that changes is taken up here too"
        await change("{}")
        assert left(await ask("k=1", hits=100)) == [0]
        assert codes(await ask("k=1", hits=100)) == [OK]


async def test_without_redis_the_call_fails_unless_the_limit_says_more(tmp_path: Path) -> None:
    file = tmp_path / "pantler.yaml"
    file.write_text("""
redis: {url: "redis://127.0.0.1:1"}
envoy_domains:
  - domain: edge
    descriptors:
      - {key: strict, rate_limit: {unit: year, requests_per_unit: 2}}
      - {key: open, rate_limit: {unit: year, requests_per_unit: 2, on_unavailable: open}}
""")
    async with (
        PantlerServer(config=file) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        ask = asking(channel)
        look, look_open = (descriptor(f"{key}=1", hits=0) for key in ("strict", "open"))
        for about in (("open=1", "strict=1"), (look, look_open)):
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await ask(*about)
            assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        assert codes(await ask("open=1", look_open)) == [OK, OK]
        assert codes(await ask("unheard-of=1")) == [OK]
