"""PublishEvent through a real channel: what it answers, and what it refuses."""

import re
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.struct_pb2 import Struct, Value
from pantler.v1 import cache_pb2, cache_pb2_grpc, invalidation_pb2, invalidation_pb2_grpc

from tests.servers.pantler import PantlerServer
from tests.wire.test_cache_service import details, violations

_ids = count()
SOFT = invalidation_pb2.INVALIDATION_MODE_SOFT
HARD = invalidation_pb2.INVALIDATION_MODE_HARD
RULES = """
events:
  - name: product-pages
    type: product.changed
    namespace: pages
    keys: ["product:{id}"]
    cascade: true
    tags: ["category:{category_ids}"]
  - name: price-lists
    type: product.changed
    when: {changed: [price, stock]}
    namespace: lists
    mode: soft
    all: true
  - name: sold-out
    type: product.changed
    when: {stock.left: 0}
    namespace: pages
    keys: ["shop:{stock.shop}"]
  - name: wide
    type: wide.changed
    namespace: wide
    keys: ["k0"]
    cascade: true
"""


def an_id() -> str:
    return f"event{next(_ids)}"


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """Pantler with event rules."""
    config: Path = tmp_path_factory.mktemp("events") / "pantler.yaml"
    config.write_text(RULES)
    async with PantlerServer(config=config) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def channel(server: PantlerServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.address) as opened:
        yield opened


@pytest.fixture
def cache(channel: grpc.aio.Channel) -> Any:
    return cache_pb2_grpc.CacheServiceStub(channel)


@pytest.fixture
def invalidation(channel: grpc.aio.Channel) -> Any:
    return invalidation_pb2_grpc.InvalidationServiceStub(channel)


def event(kind: str, fields: dict[str, Any] | None = None, **said: Any) -> Any:
    message = Struct()
    message.update(fields or {})
    return invalidation_pb2.PublishEventRequest(type=kind, fields=message, **said)


CHANGED = {"id": 7, "category_ids": ["a", "b"], "changed": "price"}


async def test_the_answer_says_what_each_rule_did(cache: Any, invalidation: Any) -> None:
    entries = [
        cache_pb2.BatchSetEntry(key="product:7", value=b"v"),
        cache_pb2.BatchSetEntry(key="teaser", value=b"v", depends_on=["product:7"]),
        cache_pb2.BatchSetEntry(key="list", value=b"v", tags=["category:b"]),
        cache_pb2.BatchSetEntry(key="product:8", value=b"v"),
    ]
    await cache.BatchSet(cache_pb2.BatchSetRequest(namespace="pages", entries=entries))
    answer = await invalidation.PublishEvent(event("product.changed", CHANGED))
    assert answer == invalidation_pb2.PublishEventResponse(
        outcomes=[
            invalidation_pb2.RuleOutcome(
                rule="product-pages",
                namespace="pages",
                mode=HARD,
                keys=["product:7"],
                cascaded=1,
                tags=["category:a", "category:b"],
            ),
            invalidation_pb2.RuleOutcome(
                rule="price-lists", namespace="lists", mode=SOFT, all=True
            ),
        ]
    )
    request = cache_pb2.BatchGetRequest(namespace="pages", keys=[one.key for one in entries])
    found = (await cache.BatchGet(request)).outcomes
    assert [one.WhichOneof("outcome") for one in found] == ["miss", "miss", "miss", "hit"]


async def test_an_id_that_comes_again_is_a_duplicate(cache: Any, invalidation: Any) -> None:
    event_id = an_id()
    first = await invalidation.PublishEvent(event("product.changed", CHANGED, event_id=event_id))
    assert not first.duplicate
    await cache.Set(cache_pb2.SetRequest(namespace="pages", key="product:7", value=b"v"))
    again = await invalidation.PublishEvent(event("product.changed", CHANGED, event_id=event_id))
    assert again.duplicate
    assert again.outcomes == first.outcomes
    found = await cache.Get(cache_pb2.GetRequest(namespace="pages", key="product:7"))
    assert found.HasField("hit")


async def test_a_type_without_a_rule_is_a_success(invalidation: Any) -> None:
    for kind in ("order.paid", "t" * 128):
        answer = await invalidation.PublishEvent(event(kind, {"a": 1}, event_id=an_id()))
        assert answer == invalidation_pb2.PublishEventResponse()


@pytest.mark.parametrize(
    ("asked", "path", "said"),
    [
        (event(""), "type", "must not be empty"),
        (event("t" * 129), "type", "must be at most 128 bytes without control characters"),
        (event("a\nb"), "type", "must be at most 128 bytes without control characters"),
        (event("t", event_id="x" * 129), "event_id", "must be at most 128 bytes"),
        (event("t", event_id="nul\0"), "event_id", "must be at most 128 bytes"),
        (event("t", {"a": "x" * (64 << 10)}), "fields", "must be at most 65536 bytes, not 655"),
        (event("product.changed", {"id": 7}), "fields.category_ids", "must be set: event rule 'pr"),
        (
            event("product.changed", {"id": 2**53, "category_ids": []}),
            "fields.id",
            "must be a whole number below 2^53, or text: event rule 'product-pages' needs it",
        ),
        (
            event("product.changed", {"id": [], "category_ids": [[], ["a"], [{}]]}),
            "fields.category_ids[2][0]",
            "must be text, a whole number, true or false, not an object",
        ),
        (
            event("product.changed", {"id": 1, "category_ids": [str(n) for n in range(1000)]}),
            "fields.category_ids",
            "must give at most 1000 keys and tags, not 1001",
        ),
    ],
)
async def test_what_is_out_of_range_is_refused_and_changes_nothing(
    cache: Any, invalidation: Any, asked: Any, path: str, said: str
) -> None:
    await cache.Set(cache_pb2.SetRequest(namespace="pages", key="product:7", value=b"v"))
    [(refused, description)] = (await violations(invalidation.PublishEvent(asked))).items()
    assert refused == path
    assert description.startswith(said)
    found = await cache.Get(cache_pb2.GetRequest(namespace="pages", key="product:7"))
    assert found.HasField("hit")


async def test_every_rule_is_looked_at_before_the_first_is_applied(
    cache: Any, invalidation: Any
) -> None:
    await cache.Set(cache_pb2.SetRequest(namespace="pages", key="product:7", value=b"v"))
    sold_out = {**CHANGED, "stock": {"left": 0}}
    refused = await violations(invalidation.PublishEvent(event("product.changed", sold_out)))
    assert refused == {"fields.stock.shop": "must be set: event rule 'sold-out' needs it"}
    found = await cache.Get(cache_pb2.GetRequest(namespace="pages", key="product:7"))
    assert found.HasField("hit")


async def test_an_id_is_not_for_another_event(invalidation: Any) -> None:
    event_id = an_id()
    await invalidation.PublishEvent(event("product.changed", CHANGED, event_id=event_id))
    other = event("product.changed", {**CHANGED, "id": 8}, event_id=event_id)
    assert await violations(invalidation.PublishEvent(other)) == {
        "event_id": "had another type or other fields within the last 10 minutes: use a new one"
    }


async def test_a_value_of_no_kind_is_one_that_is_not_there(invalidation: Any) -> None:
    asked = event("product.changed", {"category_ids": []})
    asked.fields.fields["id"].CopyFrom(Value())
    assert list(await violations(invalidation.PublishEvent(asked))) == ["fields.id"]


async def test_a_rule_that_fails_is_named(invalidation: Any) -> None:
    for index in range(101):
        await invalidation.DeclareDependencies(
            invalidation_pb2.DeclareDependenciesRequest(
                namespace="wide", key=f"k{index + 1}", depends_on=[f"k{index}"]
            )
        )
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await invalidation.PublishEvent(event("wide.changed"))
    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    info = details(failed.value)["ErrorInfo"]
    assert info.reason == "ERROR_REASON_CASCADE_TOO_WIDE"
    assert info.metadata["rule"] == "wide"


async def test_events_are_counted_by_rule_and_never_by_type(
    server: PantlerServer, invalidation: Any
) -> None:
    async def counted() -> dict[str, float]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{server.http_address}/metrics") as answer,
        ):
            found = re.findall(r'pantler_events_total\{rule="(.*)"\} (.*)', await answer.text())
        return {rule: float(value) for rule, value in found}

    before = await counted()
    event_id = an_id()
    for kind in ("product.changed", "product.changed", "unheard-of"):
        await invalidation.PublishEvent(event(kind, CHANGED, event_id=event_id))
    after = await counted()
    grown = {rule: after[rule] - before.get(rule, 0.0) for rule in after}
    assert {rule: by for rule, by in grown.items() if by} == {
        "product-pages": 1.0,
        "price-lists": 1.0,
        "(duplicate)": 1.0,
        "(none)": 1.0,
    }
