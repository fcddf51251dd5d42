"""Leases, tokens, conditions, Touch and Describe through a real channel: meanings and limits."""

from datetime import timedelta
from itertools import count
from typing import Any

import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from pantler.v1 import admin_pb2, admin_pb2_grpc, cache_pb2, cache_pb2_grpc
from pantler_server.engines.cache import fill_token

from tests.wire.test_cache_service import details, violations

_numbers = count()
LEASE = cache_pb2.LeaseRequest(ttl=timedelta(seconds=10))
MINUTE = timedelta(minutes=1)


@pytest.fixture
def cache(channel: grpc.aio.Channel) -> Any:
    return cache_pb2_grpc.CacheServiceStub(channel)


@pytest.fixture
def namespace() -> str:
    return f"leases{next(_numbers)}"


async def lease_of(cache: Any, namespace: str, key: str = "k", **said: Any) -> cache_pb2.Lease:
    lease = cache_pb2.LeaseRequest(ttl=timedelta(seconds=10), **said)
    request = cache_pb2.GetRequest(namespace=namespace, key=key, lease=lease)
    found = await cache.Get(request)
    assert found.miss.HasField("lease")
    assert found.miss.fill_token == found.miss.lease.token
    return found.miss.lease  # type: ignore[no-any-return]


async def test_a_lease_ends_with_the_fill(cache: Any, namespace: str) -> None:
    lease = await lease_of(cache, namespace)
    assert lease.expire_time.ToMilliseconds() > 0
    second = await cache.Get(cache_pb2.GetRequest(namespace=namespace, key="k", lease=LEASE))
    assert not second.miss.HasField("lease")
    stored = await cache.Set(
        cache_pb2.SetRequest(
            namespace=namespace,
            key="k",
            value=b"v",
            ttl=MINUTE,
            tags=["a", "b", "a"],
            fill_token=lease.token,
            request_id="r1",
        )
    )
    assert (stored.outcome, stored.visible) == (cache_pb2.SET_OUTCOME_STORED, True)
    hit = (await cache.Get(cache_pb2.GetRequest(namespace=namespace, key="k", lease=LEASE))).hit
    assert (hit.entry.version, list(hit.entry.tags)) == (stored.version, ["a", "b"])
    assert (hit.stale, hit.fill_token, hit.HasField("lease")) == (False, "", False)


async def test_a_lost_fill_and_a_failed_condition_are_answers(cache: Any, namespace: str) -> None:
    lease = await lease_of(cache, namespace)
    plain = await cache.Set(cache_pb2.SetRequest(namespace=namespace, key="k", value=b"plain"))
    unmet = cache_pb2.SET_OUTCOME_CONDITION_NOT_MET
    refused: list[tuple[dict[str, Any], int]] = [
        ({"fill_token": lease.token}, cache_pb2.SET_OUTCOME_FILL_LOST),
        ({"if_absent": True}, unmet),
        ({"if_version": plain.version + 1}, unmet),
    ]
    for said, outcome in refused:
        request = cache_pb2.SetRequest(namespace=namespace, key="k", value=b"other", **said)
        answer = await cache.Set(request)
        assert (answer.outcome, answer.version, answer.visible) == (outcome, 0, False)
        assert not answer.HasField("expire_time")
    request = cache_pb2.SetRequest(namespace=namespace, key="k", value=b"2", if_present=True)
    second = await cache.Set(request)
    assert second.outcome == cache_pb2.SET_OUTCOME_STORED
    request = cache_pb2.SetRequest(
        namespace=namespace, key="k", value=b"3", if_version=second.version
    )
    assert (await cache.Set(request)).outcome == cache_pb2.SET_OUTCOME_STORED


async def test_an_extended_lease_keeps_its_token(cache: Any, namespace: str) -> None:
    lease = await lease_of(cache, namespace)
    for name, key in ((namespace, "k"), ("", "")):
        request = cache_pb2.ExtendLeaseRequest(
            namespace=name, key=key, token=lease.token, ttl=MINUTE
        )
        extended = await cache.ExtendLease(request)
        gained = extended.expire_time.ToDatetime() - lease.expire_time.ToDatetime()
        assert timedelta(seconds=49) < gained < timedelta(seconds=55)
    await cache.Delete(cache_pb2.DeleteRequest(namespace=namespace, key="k"))
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await cache.ExtendLease(request)
    assert failed.value.code() is grpc.StatusCode.ABORTED
    info = details(failed.value)["ErrorInfo"]
    assert info.reason == "ERROR_REASON_LEASE_LOST"
    assert info.metadata["key"] == "k"


async def test_a_released_lease_is_given_again(cache: Any, namespace: str) -> None:
    lease = await lease_of(cache, namespace)
    request = cache_pb2.ReleaseLeaseRequest(
        namespace=namespace, key="k", token=lease.token, failed=True
    )
    assert (await cache.ReleaseLease(request)).released
    assert not (await cache.ReleaseLease(request)).released
    await lease_of(cache, namespace)


async def test_the_same_holder_gets_the_same_lease(cache: Any, namespace: str) -> None:
    first = await lease_of(cache, namespace, holder_id="me")
    assert await lease_of(cache, namespace, holder_id="me") == first


async def test_a_batch_gives_and_takes_leases(cache: Any, namespace: str) -> None:
    await cache.Set(cache_pb2.SetRequest(namespace=namespace, key="there", value=b"v"))
    keys = ["a", "there", "b"]
    found = await cache.BatchGet(
        cache_pb2.BatchGetRequest(namespace=namespace, keys=keys, lease=LEASE)
    )
    tokens = {
        key: outcome.miss.lease.token
        for key, outcome in zip(keys, found.outcomes, strict=True)
        if outcome.HasField("miss")
    }
    assert list(tokens) == ["a", "b"]
    await cache.Delete(cache_pb2.DeleteRequest(namespace=namespace, key="b"))
    entries = [
        cache_pb2.BatchSetEntry(key=key, value=b"v", fill_token=token, sliding=True, tags=["t"])
        for key, token in tokens.items()
    ]
    stored = await cache.BatchSet(cache_pb2.BatchSetRequest(namespace=namespace, entries=entries))
    assert [(one.outcome, one.visible, one.version > 0) for one in stored.outcomes] == [
        (cache_pb2.SET_OUTCOME_STORED, True, True),
        (cache_pb2.SET_OUTCOME_FILL_LOST, False, False),
    ]


async def test_touch_and_delete_by_version(cache: Any, namespace: str) -> None:
    touch = cache_pb2.TouchRequest(namespace=namespace, key="k", ttl=MINUTE)
    missing = await cache.Touch(touch)
    assert (missing.found, missing.HasField("expire_time")) == (False, False)
    stored = await cache.Set(cache_pb2.SetRequest(namespace=namespace, key="k", value=b"v"))
    touched = await cache.Touch(touch)
    assert touched.found
    entry = (await cache.Get(cache_pb2.GetRequest(namespace=namespace, key="k"))).hit.entry
    assert entry.expire_time == touched.expire_time
    delete = cache_pb2.DeleteRequest(namespace=namespace, key="k", if_version=stored.version + 1)
    assert not (await cache.Delete(delete)).deleted
    delete.if_version = stored.version
    assert (await cache.Delete(delete)).deleted


async def test_describe_tells_all_but_the_value(cache: Any, namespace: str) -> None:
    describe = cache_pb2.DescribeRequest(namespace=namespace, key="k")
    unknown = await cache.Describe(describe)
    assert unknown == cache_pb2.DescribeResponse(miss_reason=cache_pb2.MISS_REASON_UNKNOWN)
    stored = await cache.Set(
        cache_pb2.SetRequest(
            namespace=namespace,
            key="k",
            value=b"12345",
            ttl=MINUTE,
            sliding=True,
            tags=["t"],
            depends_on=["other"],
            content_type="text/plain",
        )
    )
    told = await cache.Describe(describe)
    assert told.found
    assert told.miss_reason == cache_pb2.MISS_REASON_UNSPECIFIED
    assert (told.version, told.expire_time) == (stored.version, stored.expire_time)
    assert told.expire_time.ToDatetime() - told.create_time.ToDatetime() == MINUTE
    assert abs(told.drop_time.ToDatetime() - told.expire_time.ToDatetime()) < timedelta(seconds=1)
    assert (told.ttl.ToTimedelta(), told.sliding, told.value_bytes) == (MINUTE, True, 5)
    assert (told.content_type, list(told.tags), list(told.depends_on)) == (
        "text/plain",
        ["t"],
        ["other"],
    )
    assert not told.HasField("lease_expire_time")
    await cache.Delete(cache_pb2.DeleteRequest(namespace=namespace, key="k"))
    deleted = await cache.Describe(describe)
    assert deleted.miss_reason == cache_pb2.MISS_REASON_DELETED
    assert deleted.HasField("miss_time")


@pytest.mark.parametrize(
    ("lease", "path"),
    [
        ({"ttl": Duration()}, "lease.ttl"),
        ({"ttl": Duration(seconds=-1)}, "lease.ttl"),
        ({"ttl": Duration(seconds=601)}, "lease.ttl"),
        ({"wait": Duration(nanos=-1)}, "lease.wait"),
        ({"wait": Duration(seconds=61)}, "lease.wait"),
        ({"wait": Duration(seconds=-315_576_000_000)}, "lease.wait"),
        ({"holder_id": "h" * 129}, "lease.holder_id"),
        ({"holder_id": "line\nbreak"}, "lease.holder_id"),
    ],
)
async def test_a_lease_request_out_of_range_is_refused(
    cache: Any, namespace: str, lease: dict[str, Any], path: str
) -> None:
    message = cache_pb2.LeaseRequest(**lease)
    for call in (
        cache.Get(cache_pb2.GetRequest(namespace=namespace, key="k", lease=message)),
        cache.BatchGet(cache_pb2.BatchGetRequest(namespace=namespace, keys=["k"], lease=message)),
    ):
        assert list(await violations(call)) == [path]
    await lease_of(cache, namespace)  # none was taken


async def test_a_lease_request_at_the_edge_of_its_range_works(cache: Any, namespace: str) -> None:
    for index, ttl in enumerate((Duration(nanos=1), Duration(seconds=600))):
        lease = cache_pb2.LeaseRequest(ttl=ttl, wait=timedelta(0), holder_id="é" * 64)
        request = cache_pb2.GetRequest(namespace=namespace, key=f"k{index}", lease=lease)
        assert (await cache.Get(request)).miss.HasField("lease")


async def test_a_wait_longer_than_the_deadline_ends_in_a_miss(cache: Any, namespace: str) -> None:
    await lease_of(cache, namespace)
    lease = cache_pb2.LeaseRequest(wait=timedelta(seconds=60))
    request = cache_pb2.GetRequest(namespace=namespace, key="k", lease=lease)
    found = await cache.Get(request, timeout=0.3)
    assert not found.miss.HasField("lease")
    assert found.miss.fill_token


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ({"fill_token": "garbage"}, "fill_token"),
        ({"fill_token": "QUFBQQ=="}, "fill_token"),
        ({"if_version": 0}, "if_version"),
        ({"if_absent": False}, "if_absent"),
        ({"if_present": False}, "if_present"),
        ({"request_id": "r" * 129}, "request_id"),
        ({"tags": [f"t{index}" for index in range(65)]}, "tags"),
        ({"tags": ["fine", ""]}, "tags[1]"),
        ({"tags": ["é" * 129]}, "tags[0]"),
        ({"tags": ["fine", "nul\0"]}, "tags[1]"),
        ({"depends_on": [""]}, "depends_on[0]"),
        ({"depends_on": ["k"]}, "depends_on[0]"),
        ({"depends_on": ["d" * 513]}, "depends_on[0]"),
        ({"depends_on": [f"k{index}" for index in range(65)]}, "depends_on"),
    ],
)
async def test_a_set_out_of_range_is_refused_and_stores_nothing(
    cache: Any, namespace: str, said: dict[str, Any], path: str
) -> None:
    request = cache_pb2.SetRequest(namespace=namespace, key="k", value=b"v", **said)
    assert list(await violations(cache.Set(request))) == [path]
    in_a_batch = {
        name: value
        for name, value in said.items()
        if name in cache_pb2.BatchSetEntry.DESCRIPTOR.fields_by_name
    }
    if in_a_batch:
        entries = [
            cache_pb2.BatchSetEntry(key="good", value=b"v"),
            cache_pb2.BatchSetEntry(key="k", value=b"v", **in_a_batch),
        ]
        batch = cache_pb2.BatchSetRequest(namespace=namespace, entries=entries)
        assert list(await violations(cache.BatchSet(batch))) == [f"entries[1].{path}"]
    found = await cache.BatchGet(cache_pb2.BatchGetRequest(namespace=namespace, keys=["k", "good"]))
    assert all(outcome.HasField("miss") for outcome in found.outcomes)


async def test_a_token_of_another_key_or_namespace_is_refused(cache: Any, namespace: str) -> None:
    lease = await lease_of(cache, namespace)
    elsewhere = f"{namespace}-other"
    for name, key in ((namespace, "other"), (elsewhere, "k")):
        request = cache_pb2.SetRequest(namespace=name, key=key, value=b"v", fill_token=lease.token)
        assert list(await violations(cache.Set(request))) == ["fill_token"]
        named: dict[str, Any] = {"namespace": name, "key": key, "token": lease.token}
        release = cache_pb2.ReleaseLeaseRequest(**named)
        assert list(await violations(cache.ReleaseLease(release))) == ["token"]
        extend = cache_pb2.ExtendLeaseRequest(**named)
        assert list(await violations(cache.ExtendLease(extend))) == ["token"]
    await cache.ExtendLease(cache_pb2.ExtendLeaseRequest(token=lease.token))  # it still holds


async def test_a_fill_token_is_no_lease(cache: Any, namespace: str) -> None:
    miss = (await cache.Get(cache_pb2.GetRequest(namespace=namespace, key="k"))).miss
    for token in (miss.fill_token, "garbage", ""):
        named: dict[str, Any] = {"namespace": namespace, "key": "k", "token": token}
        release = cache_pb2.ReleaseLeaseRequest(**named)
        assert list(await violations(cache.ReleaseLease(release))) == ["token"]
        extend = cache_pb2.ExtendLeaseRequest(**named)
        assert list(await violations(cache.ExtendLease(extend))) == ["token"]


async def test_a_token_that_nobody_gave_is_refused_and_makes_no_namespace(
    cache: Any, channel: grpc.aio.Channel, namespace: str
) -> None:
    token = fill_token.read((await lease_of(cache, namespace)).token)
    assert token is not None
    for place in (b"", b"\xff\xfe", b"{BAD NS!:0}e:k", b"{n:0}e:", b"{" + b"n" * 5000 + b":0}e:k"):
        request = cache_pb2.ExtendLeaseRequest(token=token._replace(place=place).write())
        assert list(await violations(cache.ExtendLease(request))) == ["token"]
    admin: Any = admin_pb2_grpc.AdminServiceStub(channel)
    listed = await admin.ListNamespaces(admin_pb2.ListNamespacesRequest())
    assert not [one.name for one in listed.namespaces if len(one.name) > 63 or "!" in one.name]


async def test_an_extension_out_of_range_is_refused(cache: Any, namespace: str) -> None:
    lease = await lease_of(cache, namespace)
    for ttl in (Duration(), Duration(seconds=601), Duration(seconds=-1)):
        request = cache_pb2.ExtendLeaseRequest(token=lease.token, ttl=ttl)
        assert list(await violations(cache.ExtendLease(request))) == ["ttl"]


async def test_a_condition_that_contradicts_the_token_is_refused(
    cache: Any, namespace: str
) -> None:
    lease = await lease_of(cache, namespace)
    named: dict[str, Any] = {
        "namespace": namespace,
        "key": "k",
        "value": b"v",
        "fill_token": lease.token,
    }
    contradictions: list[tuple[str, Any]] = [("if_present", True), ("if_version", 7)]
    for name, value in contradictions:
        request = cache_pb2.SetRequest(**named, **{name: value})
        assert list(await violations(cache.Set(request))) == [name]
    request = cache_pb2.SetRequest(**named, if_absent=True)
    assert (await cache.Set(request)).outcome == cache_pb2.SET_OUTCOME_STORED


async def test_a_request_id_with_another_request_is_refused(cache: Any, namespace: str) -> None:
    request = cache_pb2.SetRequest(namespace=namespace, key="k", value=b"v", request_id="r1")
    first = await cache.Set(request)
    assert await cache.Set(request) == first
    request.value = b"other"
    assert list(await violations(cache.Set(request))) == ["request_id"]


async def test_touch_and_delete_out_of_range_are_refused(cache: Any, namespace: str) -> None:
    for ttl in (Duration(), Duration(seconds=-1), Duration(seconds=86_400 * 30 + 1)):
        touch = cache_pb2.TouchRequest(namespace=namespace, key="k", ttl=ttl)
        assert list(await violations(cache.Touch(touch))) == ["ttl"]
    delete = cache_pb2.DeleteRequest(namespace=namespace, key="k", if_version=0)
    assert list(await violations(cache.Delete(delete))) == ["if_version"]


async def test_every_method_refuses_a_wrong_key(cache: Any, namespace: str) -> None:
    for method, kind in (
        (cache.Touch, cache_pb2.TouchRequest),
        (cache.Describe, cache_pb2.DescribeRequest),
        (cache.ReleaseLease, cache_pb2.ReleaseLeaseRequest),
    ):
        assert list(await violations(method(kind(namespace=namespace, key="")))) == ["key"]
        assert list(await violations(method(kind(namespace="Upper", key="k")))) == ["namespace"]
