"""TagService and InvalidationService through a real channel: each RPC, and what it refuses."""

import asyncio
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from pantler.v1 import (
    cache_pb2,
    cache_pb2_grpc,
    invalidation_pb2,
    invalidation_pb2_grpc,
    tag_pb2,
    tag_pb2_grpc,
)

from tests.servers.pantler import PantlerServer
from tests.wire.test_cache_service import details, violations

_numbers = count()
INVALIDATION = invalidation_pb2.DESCRIPTOR.services_by_name["InvalidationService"]
TAGS = tag_pb2.DESCRIPTOR.services_by_name["TagService"]


@pytest.fixture
def cache(channel: grpc.aio.Channel) -> Any:
    return cache_pb2_grpc.CacheServiceStub(channel)


@pytest.fixture
def invalidation(channel: grpc.aio.Channel) -> Any:
    return invalidation_pb2_grpc.InvalidationServiceStub(channel)


@pytest.fixture
def tags(channel: grpc.aio.Channel) -> Any:
    return tag_pb2_grpc.TagServiceStub(channel)


@pytest.fixture
def namespace() -> str:
    return f"invalidation{next(_numbers)}"


async def store(cache: Any, namespace: str, key: str = "k", **said: Any) -> None:
    await cache.Set(cache_pb2.SetRequest(namespace=namespace, key=key, value=b"v", **said))


async def missed(cache: Any, namespace: str, key: str = "k") -> "cache_pb2.MissReason | None":
    found = await cache.Get(cache_pb2.GetRequest(namespace=namespace, key=key))
    return found.miss.reason if found.HasField("miss") else None


async def test_soft_is_stale_for_those_who_accept_it(
    cache: Any, invalidation: Any, namespace: str
) -> None:
    await store(cache, namespace, tags=["t"])
    request = invalidation_pb2.InvalidateTagsRequest(namespace=namespace, tags=["t"])
    request.mode = invalidation_pb2.INVALIDATION_MODE_SOFT
    await invalidation.InvalidateTags(request)
    assert await missed(cache, namespace) == cache_pb2.MISS_REASON_HIDDEN_BY_TAG
    found = await cache.Get(
        cache_pb2.GetRequest(namespace=namespace, key="k", accept_stale=True, lease={})
    )
    assert found.hit.stale
    assert found.hit.lease.token == found.hit.fill_token != ""
    told = await cache.Describe(cache_pb2.DescribeRequest(namespace=namespace, key="k"))
    assert (told.stale, told.miss_cause) == (True, "t")


async def test_a_mode_that_is_not_said_is_hard(
    cache: Any, invalidation: Any, namespace: str
) -> None:
    await store(cache, namespace)
    answer = await invalidation.InvalidateNamespace(
        invalidation_pb2.InvalidateNamespaceRequest(namespace=namespace)
    )
    assert answer.version > 0
    found = await cache.Get(cache_pb2.GetRequest(namespace=namespace, key="k", accept_stale=True))
    assert found.miss.reason == cache_pb2.MISS_REASON_HIDDEN_BY_NAMESPACE


async def test_a_fill_that_is_hidden_is_told(cache: Any, invalidation: Any, namespace: str) -> None:
    token = (await cache.Get(cache_pb2.GetRequest(namespace=namespace, key="k"))).miss.fill_token
    await invalidation.InvalidateKeys(
        invalidation_pb2.InvalidateKeysRequest(namespace=namespace, keys=["p"], cascade=True)
    )
    entry = cache_pb2.BatchSetEntry(key="k", value=b"v", depends_on=["p"], fill_token=token)
    answer = await cache.BatchSet(cache_pb2.BatchSetRequest(namespace=namespace, entries=[entry]))
    [outcome] = answer.outcomes
    assert outcome.outcome == cache_pb2.SET_OUTCOME_STORED
    assert not outcome.visible
    assert outcome.version > 0
    assert await missed(cache, namespace) == cache_pb2.MISS_REASON_HIDDEN_BY_DEPENDENCY


async def test_a_walk_tells_its_progress(cache: Any, invalidation: Any, namespace: str) -> None:
    for index in range(30):
        await store(cache, namespace, f"k{index}")
    request = invalidation_pb2.InvalidatePatternRequest(namespace=namespace, pattern="k1*")
    told = [one async for one in invalidation.InvalidatePattern(request)]
    assert [one.done for one in told] == [*(False for _ in told[:-1]), True]
    assert told[-1].invalidated == 11
    assert told[-1].scanned == told[-1].total > 0
    assert len([key for one in told for key in one.examples]) == 10
    assert await missed(cache, namespace, "k1") == cache_pb2.MISS_REASON_UNKNOWN
    assert await missed(cache, namespace, "k2") is None


async def test_a_call_that_is_cancelled_stops_its_walk(
    cache: Any, invalidation: Any, namespace: str
) -> None:
    many = 100_000  # the walk tells its progress several times before it is done
    for first in range(0, many, 1000):
        entries = [
            cache_pb2.BatchSetEntry(key=f"k{first + index}", value=b"v") for index in range(1000)
        ]
        await cache.BatchSet(cache_pb2.BatchSetRequest(namespace=namespace, entries=entries))
    request = invalidation_pb2.InvalidatePatternRequest(namespace=namespace, pattern="k*")
    walk = invalidation.InvalidatePattern(request)
    removed = (await anext(aiter(walk))).invalidated
    walk.cancel()
    await asyncio.sleep(0.1)
    request.dry_run = True

    async def left() -> int:
        *_, last = [one async for one in invalidation.InvalidatePattern(request)]
        count: int = last.invalidated
        return count

    there = await left()
    assert 0 < there <= many - removed
    assert await left() == there, "nothing goes any more"


async def test_a_namespace_without_an_index_says_what_to_set(tags: Any, namespace: str) -> None:
    request = tag_pb2.ListTaggedKeysRequest(namespace=namespace, tag="t")
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await tags.ListTaggedKeys(request)
    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    found = details(failed.value)
    assert found["ErrorInfo"].reason == "ERROR_REASON_NO_TAG_INDEX"
    assert "tag_index" in (failed.value.details() or "")


def future(**ahead: int) -> Timestamp:
    moment = Timestamp()
    moment.FromDatetime(datetime.now(UTC) + timedelta(**ahead))
    return moment


LONG = "x" * 257
TOO_MANY = [f"t{index}" for index in range(1001)]


@pytest.mark.parametrize(
    ("method", "said", "path"),
    [
        ("InvalidateKeys", {"keys": []}, "keys"),
        ("InvalidateKeys", {"keys": TOO_MANY}, "keys"),
        ("InvalidateKeys", {"keys": ["k", ""]}, "keys[1]"),
        ("InvalidateKeys", {"keys": ["k"], "mode": 7}, "mode"),
        ("InvalidateTags", {"tags": []}, "tags"),
        ("InvalidateTags", {"tags": TOO_MANY}, "tags"),
        ("InvalidateTags", {"tags": ["t", ""]}, "tags[1]"),
        ("InvalidateTags", {"tags": [LONG]}, "tags[0]"),
        ("InvalidateTags", {"tags": ["nul\0"]}, "tags[0]"),
        ("InvalidateTags", {"tags": ["t"], "mode": 7}, "mode"),
        ("InvalidateNamespace", {"mode": 7}, "mode"),
        ("InvalidateOlderThan", {}, "created_before"),
        ("InvalidateOlderThan", {"created_before": Timestamp()}, "created_before"),
        ("InvalidateOlderThan", {"created_before": future(days=1)}, "created_before"),
        (
            "InvalidateOlderThan",
            {"created_before": Timestamp(seconds=1, nanos=-1)},
            "created_before",
        ),
        ("InvalidateOlderThan", {"created_before": Timestamp(seconds=1), "mode": 7}, "mode"),
        ("InvalidatePattern", {"pattern": ""}, "pattern"),
        ("InvalidatePattern", {"pattern": "["}, "pattern"),
        ("InvalidatePattern", {"pattern": "x" * 513}, "pattern"),
        ("InvalidatePattern", {"pattern": "nul\0"}, "pattern"),
        ("DeclareDependencies", {"key": ""}, "key"),
        ("DeclareDependencies", {"key": "k", "depends_on": ["a", "k"]}, "depends_on[1]"),
        ("DeclareDependencies", {"key": "k", "depends_on": [""]}, "depends_on[0]"),
        ("DeclareDependencies", {"key": "k", "depends_on": TOO_MANY[:65]}, "depends_on"),
        ("ListDependents", {"key": ""}, "key"),
        ("ListDependents", {"key": "k", "page_size": 1001}, "page_size"),
        ("ListDependents", {"key": "k", "page_token": "garbage"}, "page_token"),
        ("AddTags", {"key": "", "tags": ["t"]}, "key"),
        ("AddTags", {"key": "k", "tags": []}, "tags"),
        ("AddTags", {"key": "k", "tags": [""]}, "tags[0]"),
        ("AddTags", {"key": "k", "tags": TOO_MANY[:65]}, "tags"),
        ("RemoveTags", {"key": "k", "tags": []}, "tags"),
        ("ListTags", {"key": ""}, "key"),
        ("ListTaggedKeys", {"tag": ""}, "tag"),
        ("ListTaggedKeys", {"tag": LONG}, "tag"),
        ("ListTaggedKeys", {"tag": "t", "page_size": 1001}, "page_size"),
    ],
)
async def test_what_is_out_of_range_is_refused_and_changes_nothing(
    cache: Any,
    invalidation: Any,
    tags: Any,
    namespace: str,
    method: str,
    said: dict[str, Any],
    path: str,
) -> None:
    await store(cache, namespace, tags=["t"])
    stub, messages = (
        (invalidation, invalidation_pb2)
        if method in INVALIDATION.methods_by_name
        else (tags, tag_pb2)
    )
    for name, wrong in ((namespace, path), ("No", "namespace")):
        call = getattr(stub, method)(getattr(messages, f"{method}Request")(namespace=name, **said))
        answer = anext(aiter(call)) if method == "InvalidatePattern" else call
        assert list(await violations(answer)) == [wrong]
    assert await missed(cache, namespace) is None


async def test_an_age_may_be_ahead_by_the_difference_of_clocks(
    invalidation: Any, namespace: str
) -> None:
    request = invalidation_pb2.InvalidateOlderThanRequest(namespace=namespace)
    request.created_before.FromMilliseconds(round(time.time() * 1000) + 300)
    await invalidation.InvalidateOlderThan(request)


def edited(token: str, old: str, new: str) -> str:
    text = urlsafe_b64decode(token).decode()
    assert old in text
    return urlsafe_b64encode(text.replace(old, new).encode()).decode()


async def test_a_page_token_is_good_for_its_list_only(
    tmp_path: Any,
) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text("namespaces: {indexed: {tag_index: true}, other: {tag_index: true}}\n")
    async with (
        PantlerServer(config=config) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        cache = cache_pb2_grpc.CacheServiceStub(channel)
        for name in ("indexed", "other"):
            for key in ("a", "b", "c"):
                await store(cache, name, key, tags=["t", "u"], depends_on=["p", "q"])

        def tagged(token: str, namespace: str = "indexed", tag: str = "t") -> Any:
            request = tag_pb2.ListTaggedKeysRequest(
                namespace=namespace, tag=tag, page_size=2, page_token=token
            )
            return tag_pb2_grpc.TagServiceStub(channel).ListTaggedKeys(request)

        def dependents(token: str, key: str = "p") -> Any:
            request = invalidation_pb2.ListDependentsRequest(
                namespace="indexed", key=key, page_size=2, page_token=token
            )
            return invalidation_pb2_grpc.InvalidationServiceStub(channel).ListDependents(request)

        token = (await tagged("")).next_page_token
        assert len((await tagged(token)).keys) == 1
        of_dependents = (await dependents("")).next_page_token
        assert len((await dependents(of_dependents)).dependents) == 1
        for call in (
            tagged(token, namespace="other"),
            tagged(token, tag="u"),
            tagged(of_dependents),
            dependents(token),
            dependents(of_dependents, key="q"),
            tagged(token + "="),
            tagged(token + "!"),
            tagged(edited(token, " 0 ", " 999999 ")),
            tagged(edited(token, " 0 ", " \u0660 ")),
            tagged(edited(token, " 0 ", " 00 ")),
            tagged(edited(token, " 0 ", " -1 ")),
        ):
            assert list(await violations(call)) == ["page_token"]


CALLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "TagService/AddTags": ({"key": "k", "tags": ["u"]}, {"found": True, "visible": True}),
    "TagService/ListTags": ({"key": "k"}, {"found": True, "tags": ["t", "u"]}),
    "TagService/RemoveTags": ({"key": "k", "tags": ["u"]}, {"found": True}),
    "TagService/ListTaggedKeys": ({"tag": "t"}, {"keys": [{"key": "k"}]}),
    "InvalidationService/DeclareDependencies": ({"key": "d", "depends_on": ["k"]}, {}),
    "InvalidationService/ListDependents": (
        {"key": "k"},
        {"dependents": [{"key": "d", "declared": True}]},
    ),
    "InvalidationService/InvalidateOlderThan": ({"created_before": "2020-01-01T00:00:00Z"}, {}),
    "InvalidationService/InvalidateTags": ({"tags": ["nobody"], "mode": "SOFT"}, {}),
    "InvalidationService/InvalidatePattern": (
        {"pattern": "k", "dry_run": True},
        {"invalidated": "1", "examples": ["k"], "done": True},
    ),
    "InvalidationService/InvalidateKeys": (
        {"keys": ["k"], "cascade": True},
        {"invalidated": ["k", "d"]},
    ),
    "InvalidationService/InvalidateNamespace": ({}, {}),
    "InvalidationService/PublishEvent": (
        {"type": "user.renamed", "fields": {"user": {"id": 7}}, "event_id": "1"},
        {
            "outcomes": [
                {
                    "rule": "renamed",
                    "namespace": "indexed",
                    "mode": "INVALIDATION_MODE_HARD",
                    "keys": ["user:7"],
                }
            ]
        },
    ),
}


@pytest.mark.component("grpcurl")
async def test_every_rpc_answers_through_grpcurl(tmp_path: Any) -> None:
    config = tmp_path / "pantler.yaml"
    rule = "{name: renamed, type: user.renamed, namespace: indexed, keys: ['user:{user.id}']}"
    config.write_text(f"namespaces: {{indexed: {{tag_index: true}}}}\nevents: [{rule}]\n")
    async with PantlerServer(config=config) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            await store(cache_pb2_grpc.CacheServiceStub(channel), "indexed", tags=["t"])
        documented = {
            f"{service.name}/{method}"
            for service in (TAGS, INVALIDATION)
            for method in service.methods_by_name
        }
        assert documented == {*CALLS, "InvalidationService/WatchInvalidations"}  # test_watch.py
        for name, (said, answer) in CALLS.items():
            if said.get("mode") == "SOFT":
                said = {**said, "mode": "INVALIDATION_MODE_SOFT"}
            if not name.endswith("PublishEvent"):  # the rules name the namespace
                said = {"namespace": "indexed", **said}
            body = json.dumps(said)
            process = await asyncio.create_subprocess_exec(
                "grpcurl",
                "-plaintext",
                "-d",
                body,
                server.address,
                f"pantler.v1.{name}",
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, error = await process.communicate()
            assert process.returncode == 0, error.decode()
            told = json.loads(out)
            assert answer.items() <= told.items(), name
            if name.endswith("InvalidateNamespace"):
                assert int(told["version"]) > 0
