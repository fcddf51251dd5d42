"""CounterService through a real channel: what it answers, and what it refuses."""

from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from time import time
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf import descriptor_pb2
from google.protobuf.json_format import ParseDict
from pantler.v1 import counter_pb2 as pb
from pantler.v1 import counter_pb2_grpc
from redis.asyncio import Redis

from tests.servers.pantler import PantlerServer
from tests.wire.test_cache_service import details, violations

CONFIG = """
namespaces:
  short: {ttl: 1s, max_ttl: 1m, counter_ttl: 30s}
"""
MOST = 2**53 - 1

_numbers = count()


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """Pantler with a namespace whose counters expire."""
    config: Path = tmp_path_factory.mktemp("counters") / "pantler.yaml"
    config.write_text(CONFIG)
    async with PantlerServer(config=config) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def counters(server: PantlerServer) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(server.address) as opened:
        yield counter_pb2_grpc.CounterServiceStub(opened)


@pytest_asyncio.fixture(scope="module")
async def redis(server: PantlerServer) -> AsyncIterator[Redis]:
    """The embedded one."""
    path = (await server.wait_for("serving"))["redis"]
    async with Redis(unix_socket_path=path.removeprefix("unix:")) as opened:
        yield opened


@pytest.fixture
def namespace() -> str:
    """One that no other test uses."""
    return f"count{next(_numbers)}"


async def test_a_counter_is_incremented_read_and_reset(counters: Any, namespace: str) -> None:
    whose: dict[str, Any] = {"namespace": namespace, "counter": "visits"}
    first = await counters.Increment(pb.IncrementRequest(**whose))
    assert (first.value, first.applied, first.HasField("expire_time")) == (1, True, False)
    zero = await counters.Increment(pb.IncrementRequest(**whose, delta=0))
    assert (zero.value, zero.applied) == (1, True)
    denied = await counters.Increment(pb.IncrementRequest(**whose, delta=-2, floor=0))
    assert (denied.value, denied.applied) == (1, False)
    capped = await counters.Increment(pb.IncrementRequest(**whose, ceiling=0))
    assert (capped.value, capped.applied) == (1, False)
    lives = await counters.Increment(pb.IncrementRequest(**whose, ttl={"seconds": 3600}))
    assert 3590 < lives.expire_time.ToMicroseconds() / 1e6 - time() <= 3600.5
    asked: dict[str, Any] = {"namespace": namespace, "counters": ["nobody", "visits"]}
    for answer in (
        await counters.GetCounters(pb.GetCountersRequest(**asked)),
        await counters.ResetCounters(pb.ResetCountersRequest(**asked)),
    ):
        assert [(one.counter, one.value, one.found) for one in answer.counters] == [
            ("nobody", 0, False),
            ("visits", 2, True),
        ]
    again = await counters.GetCounters(pb.GetCountersRequest(**asked))
    assert [one.found for one in again.counters] == [False, False]


async def test_the_namespace_says_how_long_a_new_counter_lives(counters: Any) -> None:
    request = pb.IncrementRequest(namespace="short", counter=f"c{next(_numbers)}")
    answer = await counters.Increment(request)
    assert 25 < answer.expire_time.ToMicroseconds() / 1e6 - time() <= 30.5


async def test_a_request_id_counts_once(counters: Any, namespace: str) -> None:
    whose: dict[str, Any] = {"namespace": namespace, "counter": "c", "request_id": "id"}
    first = await counters.Increment(pb.IncrementRequest(**whose, delta=2))
    assert await counters.Increment(pb.IncrementRequest(**whose, delta=2)) == first
    refused = counters.Increment(pb.IncrementRequest(**whose, delta=3))
    assert list(await violations(refused)) == ["request_id"]


async def test_uniques_are_counted_and_merged(counters: Any, namespace: str) -> None:
    for day, members in (("mon", ["a", "b"]), ("tue", ["b", "c"])):
        added = await counters.AddUnique(
            pb.AddUniqueRequest(namespace=namespace, set=day, members=members)
        )
        assert added.changed
    both = await counters.CountUnique(
        pb.CountUniqueRequest(namespace=namespace, sets=["mon", "tue", "wed"])
    )
    assert both.count == 3
    merge: dict[str, Any] = {"namespace": namespace, "into": "week", "from": ["mon", "tue"]}
    assert (await counters.MergeUnique(pb.MergeUniqueRequest(**merge))).count == 3
    asked = pb.DeleteUniqueRequest(namespace=namespace, sets=["mon", "nobody", "tue", "mon"])
    assert list((await counters.DeleteUnique(asked)).deleted) == [True, False, True, False]
    left = pb.CountUniqueRequest(namespace=namespace, sets=["mon", "tue"])
    assert (await counters.CountUnique(left)).count == 0


COUNTERS: list[tuple[dict[str, Any], str]] = [
    ({"namespace": "Wrong"}, "namespace"),
    ({"counter": ""}, "counter"),
    ({"counter": "x" * 513}, "counter"),
    ({"counter": "a\nb"}, "counter"),
    ({"delta": MOST + 1}, "delta"),
    ({"delta": -(2**63)}, "delta"),
    ({"ceiling": MOST + 1}, "ceiling"),
    ({"floor": -MOST - 1}, "floor"),
    ({"floor": 2, "ceiling": 1}, "floor"),
    ({"ttl": "0s"}, "ttl"),
    ({"ttl": "-1s"}, "ttl"),
    ({"ttl": "61s"}, "ttl"),
    ({"request_id": "x" * 129}, "request_id"),
    ({"request_id": "a\tb"}, "request_id"),
]
UNIQUES: list[tuple[str, dict[str, Any], str]] = [
    ("AddUnique", {"set": "", "members": ["m"]}, "set"),
    ("AddUnique", {"set": "s", "members": []}, "members"),
    ("AddUnique", {"set": "s", "members": ["m"] * 1001}, "members"),
    ("AddUnique", {"set": "s", "members": ["m", ""]}, "members[1]"),
    ("AddUnique", {"set": "s", "members": ["m"], "ttl": "61s"}, "ttl"),
    ("AddUnique", {"set": "s", "members": ["m"], "namespace": ""}, "namespace"),
    ("CountUnique", {"sets": []}, "sets"),
    ("CountUnique", {"sets": ["s"] * 101}, "sets"),
    ("CountUnique", {"sets": ["s", "x" * 513]}, "sets[1]"),
    ("CountUnique", {"sets": ["s"], "namespace": ""}, "namespace"),
    ("MergeUnique", {"into": "", "from": ["s"]}, "into"),
    ("MergeUnique", {"into": "s", "from": []}, "from"),
    ("MergeUnique", {"into": "s", "from": ["s"] * 101}, "from"),
    ("MergeUnique", {"into": "s", "from": ["s", "a\0"]}, "from[1]"),
    ("MergeUnique", {"into": "s", "from": ["s"], "ttl": "0s"}, "ttl"),
    ("MergeUnique", {"into": "s", "from": ["s"], "namespace": ""}, "namespace"),
    ("DeleteUnique", {"sets": []}, "sets"),
    ("DeleteUnique", {"sets": ["s"] * 1001}, "sets"),
    ("DeleteUnique", {"sets": ["s", ""]}, "sets[1]"),
    ("DeleteUnique", {"sets": ["s"], "namespace": ""}, "namespace"),
    ("GetCounters", {"counters": []}, "counters"),
    ("GetCounters", {"counters": ["c"] * 1001}, "counters"),
    ("GetCounters", {"counters": ["c", ""]}, "counters[1]"),
    ("GetCounters", {"counters": ["c"], "namespace": ""}, "namespace"),
    ("ResetCounters", {"counters": []}, "counters"),
    ("ResetCounters", {"counters": ["c"] * 1001}, "counters"),
    ("ResetCounters", {"counters": ["c", "\x7f"]}, "counters[1]"),
    ("ResetCounters", {"counters": ["c"], "namespace": ""}, "namespace"),
]


async def written(redis: Redis) -> set[bytes]:
    """The counters, uniques and answers of the namespace `short`."""
    return {key async for key in redis.scan_iter(b"[sur]{short:*")}


@pytest.mark.parametrize(("wrong", "path"), COUNTERS, ids=lambda value: str(value)[:40])
async def test_a_wrong_increment_is_refused_with_its_field(
    wrong: dict[str, Any], path: str, counters: Any, redis: Redis
) -> None:
    before = await written(redis)
    right = {"namespace": "short", "counter": "refused", "request_id": "refused"}
    call = counters.Increment(ParseDict({**right, **wrong}, pb.IncrementRequest()))
    assert list(await violations(call)) == [path]
    assert await written(redis) == before


@pytest.mark.parametrize(("method", "wrong", "path"), UNIQUES, ids=lambda value: str(value)[:40])
async def test_a_wrong_request_is_refused_with_its_field(
    method: str, wrong: dict[str, Any], path: str, counters: Any, redis: Redis
) -> None:
    before = await written(redis)
    request = ParseDict({"namespace": "short", **wrong}, getattr(pb, f"{method}Request")())
    assert list(await violations(getattr(counters, method)(request))) == [path]
    assert await written(redis) == before


async def test_what_is_no_counter_is_of_the_wrong_kind(
    counters: Any, redis: Redis, namespace: str
) -> None:
    whose: dict[str, Any] = {"namespace": namespace, "counter": "c"}
    await counters.Increment(pb.IncrementRequest(**whose))
    [place] = [key async for key in redis.scan_iter(f"s{{{namespace}:0}}*")]
    await redis.set(place, "text")
    asked: dict[str, Any] = {"namespace": namespace, "counters": ["c"]}
    for call in (
        counters.Increment(pb.IncrementRequest(**whose)),
        counters.GetCounters(pb.GetCountersRequest(**asked)),
        counters.ResetCounters(pb.ResetCountersRequest(**asked)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call
        assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        info = details(failed.value)["ErrorInfo"]
        assert (info.reason, info.metadata["key"]) == ("ERROR_REASON_WRONG_KIND", "c")
    assert await redis.get(place) == b"text"


async def test_what_is_no_set_of_uniques_is_not_deleted(
    counters: Any, redis: Redis, namespace: str
) -> None:
    await counters.AddUnique(pb.AddUniqueRequest(namespace=namespace, set="s", members=["m"]))
    await redis.set(f"u{{{namespace}:0}}foreign", "text")
    asked = pb.DeleteUniqueRequest(namespace=namespace, sets=["s", "foreign"])
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await counters.DeleteUnique(asked)
    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    info = details(failed.value)["ErrorInfo"]
    assert (info.reason, info.metadata["key"]) == ("ERROR_REASON_WRONG_KIND", "foreign")
    assert await redis.exists(f"u{{{namespace}:0}}s", f"u{{{namespace}:0}}foreign") == 2


def test_only_what_a_repeat_loses_nothing_of_is_idempotent() -> None:
    levels = descriptor_pb2.MethodOptions.IdempotencyLevel
    methods = pb.DESCRIPTOR.services_by_name["CounterService"].methods
    assert {
        method.name: levels.Name(method.GetOptions().idempotency_level) for method in methods
    } == {
        "Increment": "IDEMPOTENCY_UNKNOWN",
        "GetCounters": "NO_SIDE_EFFECTS",
        "ResetCounters": "IDEMPOTENCY_UNKNOWN",
        "AddUnique": "IDEMPOTENT",
        "CountUnique": "NO_SIDE_EFFECTS",
        "MergeUnique": "IDEMPOTENT",
        "DeleteUnique": "IDEMPOTENT",
    }
