"""Cloudflare's cache and Workers KV, against the stand-in that checks every request."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import pytest_asyncio
from pantler_server.cdns.open import Targets
from pantler_server.cdns.target import (
    Batch,
    EdgeStore,
    EdgeValue,
    Target,
    TargetFailed,
    TargetRefused,
)
from pantler_server.core.errors import CdnTargetUnknown, NoEdgeStore

from tests.cdns.targets import settings, targets
from tests.cdns.test_http_template import Recorder
from tests.servers.cloudflare import CloudflareServer, StoredValue
from tests.servers.vendor import Purge


@pytest_asyncio.fixture
async def cloudflare() -> AsyncIterator[CloudflareServer]:
    async with CloudflareServer() as running:
        yield running


@pytest_asyncio.fixture
async def opened(cloudflare: CloudflareServer) -> AsyncIterator[Targets]:
    running = targets(edge=cloudflare.target)
    yield running
    await running.stop()


@pytest.fixture
def target(opened: Targets) -> Target:
    return opened.of("edge")


@pytest.fixture
def store(opened: Targets) -> EdgeStore:
    return opened.edge_store("edge")


async def test_tags_urls_and_everything_are_purged(
    target: Target, cloudflare: CloudflareServer
) -> None:
    tags = [f"t{number}" for number in range(target.limits.tags_per_request)]
    urls = [f"https://shop.example/{n}?a=b,c" for n in range(target.limits.urls_per_request)]
    await target.purge(Batch(tags=tags))
    await target.purge(Batch(urls=urls))
    await target.purge(Batch(everything=True))
    assert cloudflare.purges == [
        Purge(tags=tuple(tags)),
        Purge(urls=tuple(urls)),
        Purge(everything=True),
    ]


async def test_a_soft_purge_only_makes_stale(target: Target, cloudflare: CloudflareServer) -> None:
    assert target.can_soft
    await target.purge(Batch(tags=["a"], soft=True))
    await target.purge(Batch(urls=["https://shop.example/"], soft=True))
    await target.purge(Batch(everything=True, soft=True))
    assert cloudflare.purges == [
        Purge(tags=("a",), soft=True),
        Purge(urls=("https://shop.example/",), soft=True),
        Purge(everything=True, soft=True),
    ]


@pytest.mark.parametrize(
    ("plan", "rate", "burst", "urls"),
    [
        ("free", 5 / 60, 25, 100),
        ("pro", 5, 25, 100),
        ("business", 10, 50, 100),
        ("enterprise", 50, 500, 500),
    ],
)
async def test_the_limits_are_those_of_the_plan(
    plan: str, rate: float, burst: int, urls: int
) -> None:
    limits = targets(edge=CloudflareServer(plan=plan).target).of("edge").limits
    assert (limits.requests_per_second, limits.burst) == (rate, burst)
    assert (limits.tags_per_request, limits.urls_per_request) == (100, urls)


async def test_the_configuration_may_say_another_rate() -> None:
    config = {**CloudflareServer().target, "max_requests_per_second": 2.5}
    limits = targets(edge=config).of("edge").limits
    assert (limits.requests_per_second, limits.burst) == (2.5, 3)


async def test_a_wrong_token_is_refused_and_not_told(
    target: Target, cloudflare: CloudflareServer
) -> None:
    cloudflare.token = "another"
    with pytest.raises(TargetRefused) as refused:
        await target.purge(Batch(tags=["a"]))
    assert str(refused.value) == "403: Authentication error (10000)"
    assert cloudflare.purges == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 520])
async def test_what_may_pass_is_a_failure(
    target: Target, cloudflare: CloudflareServer, status: int
) -> None:
    cloudflare.fail(status, retry_after="7")
    with pytest.raises(TargetFailed) as failed:
        await target.purge(Batch(tags=["a"]))
    assert str(failed.value) == f"{status}: it was told to fail"
    assert failed.value.retry_after_s == 7
    await target.purge(Batch(tags=["a"]))
    assert cloudflare.purged_tags == ["a"]


@pytest.mark.parametrize("status", [301, 400, 401, 404, 405, 413, 422])
async def test_what_will_not_pass_is_a_refusal(
    target: Target, cloudflare: CloudflareServer, status: int
) -> None:
    cloudflare.fail(status)
    with pytest.raises(TargetRefused) as refused:
        await target.purge(Batch(tags=["a"]))
    assert str(refused.value) == f"{status}: it was told to fail"


async def test_a_success_is_what_the_envelope_says(
    target: Target, cloudflare: CloudflareServer
) -> None:
    cloudflare.fail(200)  # with success: false
    with pytest.raises(TargetRefused, match="200: it was told to fail"):
        await target.purge(Batch(tags=["a"]))


def at(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("0", 0, 0),
        ("120", 120, 120),
        (" 5 ", 5, 5),
        ("99999999999999999999", 3600, 3600),
        ("date:30", 28, 30),
        ("date:-30", 0, 0),
        ("date:86400", 3600, 3600),
        ("Fri, 31 Dec 99999999999 23:59:59 GMT", 0, 0),
        ("soon", 0, 0),
        ("-3", 0, 0),
        ("1.5", 0, 0),
    ],
)
async def test_retry_after_is_seconds_or_a_date(
    target: Target, cloudflare: CloudflareServer, said: str, least: float, most: float
) -> None:
    cloudflare.fail(429, retry_after=at(float(said[5:])) if said.startswith("date:") else said)
    with pytest.raises(TargetFailed) as failed:
        await target.purge(Batch(tags=["a"]))
    assert least <= failed.value.retry_after_s <= most


async def test_a_target_that_hangs_fails_in_time(cloudflare: CloudflareServer) -> None:
    opened = targets(edge={**cloudflare.target, "timeout": "200ms"})
    cloudflare.goes_on.clear()
    began = time.monotonic()
    with pytest.raises(TargetFailed, match=r"^no answer within 200ms$"):
        await opened.of("edge").purge(Batch(tags=["a"]))
    assert time.monotonic() - began < 2
    await opened.stop()


async def test_a_target_that_is_away_fails_and_is_found_again(
    target: Target, cloudflare: CloudflareServer
) -> None:
    await target.purge(Batch(tags=["a"]))
    await cloudflare.stop()
    where = f"127.0.0.1:{cloudflare.port}"
    with pytest.raises(TargetFailed, match=f"^can't connect to {where}: Connection refused$"):
        await target.purge(Batch(tags=["b"]))
    await cloudflare.start()
    await target.purge(Batch(tags=["c"]))
    assert cloudflare.purged_tags == ["a", "c"]


async def test_a_connection_that_was_idle_for_too_long_is_no_failure(
    target: Target, cloudflare: CloudflareServer
) -> None:
    await target.purge(Batch(tags=["a"]))
    await cloudflare.stop()  # and with it the connection, of which the target has not heard
    await cloudflare.start()
    await target.purge(Batch(tags=["b"]))
    assert cloudflare.purged_tags == ["a", "b"]


async def test_nothing_is_sent_once_the_worker_stops(
    opened: Targets, target: Target, cloudflare: CloudflareServer
) -> None:
    await target.purge(Batch(tags=["a"]))
    await opened.stop()
    with pytest.raises(TargetFailed, match=r"^the worker stops$"):
        await target.purge(Batch(tags=["b"]))
    assert cloudflare.requests == 1


VALUES: list[tuple[str, bytes, dict[str, Any] | None]] = [
    ("plain", b"value", None),
    ("empty", b"", None),
    ("empty with metadata", b"", {"a": 1}),
    ("a/../b?c#d%2e&e", b"\0\xff\r\n--\r\n", {"text": '\u00e4\n"', "list": [1, None, True]}),
    ("\u00e4\u20ac\U0001f642", b"x", {}),
    ("k" * 512, b"x" * 100_000, {"a": "x" * 1000}),
]


@pytest.mark.parametrize(("key", "value", "metadata"), VALUES, ids=lambda value: str(value)[:20])
async def test_an_edge_value_comes_back_as_it_was_put(
    store: EdgeStore,
    cloudflare: CloudflareServer,
    key: str,
    value: bytes,
    metadata: dict[str, Any] | None,
) -> None:
    await store.put(key, value, None, metadata)
    assert list(cloudflare.values) == [key]
    assert await store.get(key) == EdgeValue(value, None, metadata)
    await store.delete(key)
    assert await store.get(key) is None
    assert cloudflare.values == {}
    await store.delete(key)


async def test_an_edge_value_says_when_it_expires(
    store: EdgeStore, cloudflare: CloudflareServer
) -> None:
    await store.put("k", b"v", 60, None)
    await store.put("m", b"v", 3600, {"a": 1})
    for key, ttl_s in (("k", 60), ("m", 3600)):
        found = await store.get(key)
        assert found is not None
        assert found.expires_s is not None
        assert ttl_s - 5 <= found.expires_s - time.time() <= ttl_s


async def test_a_namespace_that_is_not_there_is_refused_and_not_taken_for_a_miss(
    cloudflare: CloudflareServer,
) -> None:
    config = cloudflare.target
    config["cloudflare"]["kv_namespace"] = "another"
    opened = targets(edge=config)
    store = opened.edge_store("edge")
    for call in (store.get("k"), store.delete("k"), store.put("k", b"v", None, None)):
        with pytest.raises(TargetRefused, match=r"^404: .*namespace not found.* \(10013\)$"):
            await call
    await opened.stop()


async def test_a_value_from_elsewhere_may_have_any_metadata(
    store: EdgeStore, cloudflare: CloudflareServer
) -> None:
    await store.put("k", b"v", None, {"a": 1})
    cloudflare.values["k"] = StoredValue(b"v", None, ["a", "list"])
    assert await store.get("k") == EdgeValue(b"v", None, None)


async def test_an_answer_of_too_many_levels_is_none_of_its_api(
    cloudflare: CloudflareServer,
) -> None:
    async with Recorder() as other:
        other.text = "[" * 60_000
        running = targets(
            edge={"cloudflare": {**cloudflare.target["cloudflare"], "api": other.url}}
        )
        with pytest.raises(TargetFailed, match="not one of Cloudflare's API"):
            await running.of("edge").purge(Batch(tags=["a"]))
        await running.stop()


async def test_a_value_that_is_too_large_is_not_cut(
    store: EdgeStore, cloudflare: CloudflareServer
) -> None:
    cloudflare.values["k"] = StoredValue(bytes(25 << 20), None, None)
    found = await store.get("k")
    assert found is not None
    assert len(found.value) == 25 << 20
    cloudflare.values["k"] = StoredValue(bytes((25 << 20) + 1), None, None)
    with pytest.raises(TargetFailed, match="longer than a value may be"):
        await store.get("k")


async def test_the_edge_store_fails_as_the_cache_does(
    store: EdgeStore, cloudflare: CloudflareServer
) -> None:
    for call in (store.get("k"), store.delete("k"), store.put("k", b"v", None, {"a": 1})):
        cloudflare.fail(503, times=2, retry_after="3")  # a get is two requests
        with pytest.raises(TargetFailed) as failed:
            await call
        assert failed.value.retry_after_s == 3
        cloudflare.forgive()
    cloudflare.token = "another"
    with pytest.raises(TargetRefused, match=r"^403: Authentication error \(10000\)$"):
        await store.get("k")


async def test_a_reload_keeps_what_is_configured_as_before(cloudflare: CloudflareServer) -> None:
    opened = targets(edge=cloudflare.target, other=cloudflare.target)
    edge, other, store = opened.of("edge"), opened.of("other"), opened.edge_store("other")
    changed = {**cloudflare.target, "timeout": "1s"}
    opened.apply(settings(third=cloudflare.target, edge=cloudflare.target, other=changed))
    assert opened.names() == ("third", "edge", "other")
    assert opened.of("edge") is edge
    assert opened.of("other") is not other
    assert opened.edge_store("other") is not store
    await other.purge(Batch(tags=["a"]))  # who has it may go on
    opened.apply(settings(edge=cloudflare.target))
    with pytest.raises(CdnTargetUnknown):
        opened.of("other")
    with pytest.raises(CdnTargetUnknown):
        opened.edge_store("other")
    assert opened.of("edge") is edge
    await opened.stop()


async def test_a_target_without_an_edge_store_says_so(cloudflare: CloudflareServer) -> None:
    bare = cloudflare.target
    del bare["cloudflare"]["account"], bare["cloudflare"]["kv_namespace"]
    proxy = {"varnish": {"servers": ["http://127.0.0.1:1"]}}
    opened = targets(edge=bare, proxy=proxy)
    for name in ("edge", "proxy"):
        with pytest.raises(NoEdgeStore):
            opened.edge_store(name)


async def test_the_stand_in_takes_nothing_that_is_not_documented(
    target: Target, cloudflare: CloudflareServer
) -> None:
    for batch, said in (
        (Batch(tags=["a b"]), "'a b' is not a tag"),
        (Batch(tags=["x"] * 101), "tags must be a list of 1 to 100"),
        (Batch(urls=["shop.example"]), "'shop.example' is not a URL"),
    ):
        with pytest.raises(TargetRefused, match=said):
            await target.purge(batch)
    assert cloudflare.purges == []
    assert len(cloudflare.violations) == 3  # which would fail this test
    cloudflare.violations.clear()
