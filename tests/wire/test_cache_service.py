"""CacheService through a real channel: meanings, limits and error details."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import count
from typing import Any

import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status
from pantler.v1 import cache_pb2, cache_pb2_grpc

from tests.servers.pantler import PantlerServer

_numbers = count()
MAX_VALUE_BYTES = 4 << 20


@pytest.fixture
def cache(channel: grpc.aio.Channel) -> Any:
    return cache_pb2_grpc.CacheServiceStub(channel)


@pytest.fixture
def namespace() -> str:
    return f"wire{next(_numbers)}"


def details(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """The details of an error, by the name of their type."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it reads what both kinds have
    assert status is not None
    found: dict[str, Any] = {}
    for detail in status.details:
        kind = getattr(error_details_pb2, detail.type_url.rpartition(".")[2])
        message = kind()
        assert detail.Unpack(message)
        found[kind.DESCRIPTOR.name] = message
    return found


async def violations(call: Any) -> dict[str, str]:
    """The fields that an INVALID_ARGUMENT names."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    found = details(failed.value)
    assert found["ErrorInfo"].domain == "pantler.dev"
    assert found["ErrorInfo"].reason == "ERROR_REASON_INVALID_FIELD"
    return {one.field: one.description for one in found["BadRequest"].field_violations}


async def test_set_get_delete(cache: Any, namespace: str) -> None:
    stored = await cache.Set(
        cache_pb2.SetRequest(
            namespace=namespace,
            key="k",
            value=b"v",
            ttl=timedelta(minutes=5),
            content_type="text/plain",
        )
    )
    assert stored.outcome == cache_pb2.SET_OUTCOME_STORED
    entry = (await cache.Get(cache_pb2.GetRequest(namespace=namespace, key="k"))).hit.entry
    assert (entry.value, entry.content_type, entry.version) == (b"v", "text/plain", stored.version)
    assert entry.expire_time == stored.expire_time
    lived = entry.expire_time.ToDatetime() - entry.create_time.ToDatetime()
    assert lived == timedelta(minutes=5)
    assert (await cache.Delete(cache_pb2.DeleteRequest(namespace=namespace, key="k"))).deleted
    miss = await cache.Get(cache_pb2.GetRequest(namespace=namespace, key="k"))
    assert miss.miss.reason == cache_pb2.MISS_REASON_UNKNOWN


async def test_batches_answer_each_item_in_order(cache: Any, namespace: str) -> None:
    entries = [cache_pb2.BatchSetEntry(key=f"k{i}", value=b"v") for i in range(1000)]
    request = cache_pb2.BatchSetRequest(namespace=namespace, entries=entries)
    stored = await cache.BatchSet(request)
    assert [one.outcome for one in stored.outcomes] == [cache_pb2.SET_OUTCOME_STORED] * 1000
    keys = ["k999", "nothing", "k0"]
    found = await cache.BatchGet(cache_pb2.BatchGetRequest(namespace=namespace, keys=keys))
    assert [one.WhichOneof("outcome") for one in found.outcomes] == ["hit", "miss", "hit"]
    assert found.outcomes[0].hit.entry.version == stored.outcomes[999].version
    gone = await cache.BatchDelete(cache_pb2.BatchDeleteRequest(namespace=namespace, keys=keys))
    assert [one.deleted for one in gone.outcomes] == [True, False, True]


@pytest.mark.parametrize(
    ("name", "field"),
    [(name, "namespace") for name in ("", "Users", "-users", "a" * 64, "us ers", "us{er}s")],
)
async def test_a_namespace_out_of_range_is_refused(cache: Any, name: str, field: str) -> None:
    assert list(await violations(cache.Get(cache_pb2.GetRequest(namespace=name, key="k")))) == [
        field
    ]


@pytest.mark.parametrize("key", ["", "a" * 513, "é" * 257, "line\nbreak", "nul\0", "\x85"])
async def test_a_key_out_of_range_is_refused(cache: Any, namespace: str, key: str) -> None:
    for call in (
        cache.Get(cache_pb2.GetRequest(namespace=namespace, key=key)),
        cache.Set(cache_pb2.SetRequest(namespace=namespace, key=key)),
        cache.Delete(cache_pb2.DeleteRequest(namespace=namespace, key=key)),
    ):
        assert list(await violations(call)) == ["key"]


@pytest.mark.parametrize(
    "key", ["a" * 512, "é" * 256, "with space", "\u00a0", "日本語", "{tag}", "*"]
)
async def test_a_key_at_the_edge_of_its_range_works(cache: Any, namespace: str, key: str) -> None:
    await cache.Set(cache_pb2.SetRequest(namespace=namespace, key=key, value=key.encode()))
    found = await cache.Get(cache_pb2.GetRequest(namespace=namespace, key=key))
    assert found.hit.entry.value == key.encode()


@pytest.mark.parametrize(
    "ttl",
    [
        Duration(),
        Duration(seconds=-1),
        Duration(nanos=-1),
        Duration(seconds=86_400 * 30 + 1),
        Duration(seconds=315_576_000_000),
    ],
)
async def test_a_ttl_out_of_range_is_refused(cache: Any, namespace: str, ttl: Duration) -> None:
    request = cache_pb2.SetRequest(namespace=namespace, key="k", ttl=ttl)
    assert list(await violations(cache.Set(request))) == ["ttl"]


async def test_a_ttl_at_the_edge_of_its_range_works(cache: Any, namespace: str) -> None:
    for ttl in (Duration(nanos=1), Duration(seconds=86_400 * 30)):
        await cache.Set(cache_pb2.SetRequest(namespace=namespace, key="k", ttl=ttl))


async def test_a_value_over_the_limit_is_refused(cache: Any, namespace: str) -> None:
    request = cache_pb2.SetRequest(namespace=namespace, key="k", value=b"x" * MAX_VALUE_BYTES)
    await cache.Set(request)
    request.value += b"x"
    assert list(await violations(cache.Set(request))) == ["value"]
    found = await cache.Get(cache_pb2.GetRequest(namespace=namespace, key="k"))
    assert len(found.hit.entry.value) == MAX_VALUE_BYTES


async def test_all_that_is_wrong_is_said_at_once_and_nothing_is_stored(
    cache: Any, namespace: str
) -> None:
    entries = [
        cache_pb2.BatchSetEntry(key="good", value=b"v"),
        cache_pb2.BatchSetEntry(key="", value=b"x" * (MAX_VALUE_BYTES + 1)),
        cache_pb2.BatchSetEntry(key="k", ttl=Duration(), content_type="ü"),
    ]
    request = cache_pb2.BatchSetRequest(namespace=namespace, entries=entries)
    assert list(await violations(cache.BatchSet(request))) == [
        "entries[1].key",
        "entries[1].value",
        "entries[2].content_type",
        "entries[2].ttl",
    ]
    found = await cache.Get(cache_pb2.GetRequest(namespace=namespace, key="good"))
    assert found.HasField("miss")


@pytest.mark.parametrize("size", [0, 1001])
async def test_a_batch_out_of_range_is_refused(cache: Any, namespace: str, size: int) -> None:
    keys = ["k"] * size
    entries = [cache_pb2.BatchSetEntry(key="k")] * size
    assert list(
        await violations(cache.BatchGet(cache_pb2.BatchGetRequest(namespace=namespace, keys=keys)))
    ) == ["keys"]
    assert list(
        await violations(
            cache.BatchDelete(cache_pb2.BatchDeleteRequest(namespace=namespace, keys=keys))
        )
    ) == ["keys"]
    assert list(
        await violations(
            cache.BatchSet(cache_pb2.BatchSetRequest(namespace=namespace, entries=entries))
        )
    ) == ["entries"]


async def test_wrong_keys_of_a_batch_are_named_by_their_place(cache: Any, namespace: str) -> None:
    request = cache_pb2.BatchGetRequest(namespace=namespace, keys=["a", "", "b", "\n"])
    assert list(await violations(cache.BatchGet(request))) == ["keys[1]", "keys[3]"]


async def test_bytes_that_are_no_request_are_refused(channel: grpc.aio.Channel) -> None:
    call: Any = channel.unary_unary("/pantler.v1.CacheService/Get")
    for garbage in (b"\xff\xff\xff", b"\x0a\x02\xc3\x28"):  # no message; a string that is not UTF-8
        assert list(await violations(call(garbage))) == [""]


async def test_a_response_over_the_message_limit_is_refused(cache: Any, namespace: str) -> None:
    for index in range(5):
        value = b"x" * MAX_VALUE_BYTES
        await cache.Set(cache_pb2.SetRequest(namespace=namespace, key=f"k{index}", value=value))
    keys = [f"k{index}" for index in range(5)]
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await cache.BatchGet(cache_pb2.BatchGetRequest(namespace=namespace, keys=keys))
    assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    info = details(failed.value)["ErrorInfo"]
    assert info.reason == "ERROR_REASON_RESPONSE_TOO_LARGE"
    assert int(info.metadata["response_bytes"]) > int(info.metadata["max_message_bytes"])


async def test_foreign_data_is_a_failed_precondition(
    server: PantlerServer, cache: Any, namespace: str
) -> None:
    await cache.Set(cache_pb2.SetRequest(namespace=namespace, key="good", value=b"v"))
    await _redis(server, "RPUSH", f"{{{namespace}:0}}e:k", "theirs")
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await cache.Get(cache_pb2.GetRequest(namespace=namespace, key="k"))
    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    found = details(failed.value)
    assert found["ErrorInfo"].reason == "ERROR_REASON_WRONG_KIND"
    assert found["ErrorInfo"].metadata["key"] == "k"
    assert found["PreconditionFailure"].violations[0].subject == "k"
    batch = await cache.BatchGet(cache_pb2.BatchGetRequest(namespace=namespace, keys=["good", "k"]))
    assert batch.outcomes[0].HasField("hit")
    assert batch.outcomes[1].error.code == code_pb2.FAILED_PRECONDITION
    assert await _redis(server, "LLEN", f"{{{namespace}:0}}e:k") == 1


async def _redis(server: PantlerServer, *command: str) -> Any:
    from redis.asyncio import Redis

    path = (await server.wait_for("serving"))["redis"]
    async with Redis(unix_socket_path=path) as redis:
        return await redis.execute_command(*command)  # type: ignore[no-untyped-call]


async def test_errors_carry_the_callers_request_id(cache: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await cache.Get(cache_pb2.GetRequest(), metadata=(("x-request-id", "abc-123"),))
    assert details(failed.value)["RequestInfo"].request_id == "abc-123"


async def test_thousands_of_calls_at_once_are_taken(server: PantlerServer, namespace: str) -> None:
    """More than gRPC's own bounds on calls that it has not handed out, 1,000 and 3,000."""
    request = cache_pb2.GetRequest(namespace=namespace, key="k")
    async with AsyncExitStack() as stack:
        # Channels with an argument of their own share no connection.
        channels = [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(server.address, options=(("number", number),))
            )
            for number in range(8)
        ]
        stubs: list[Any] = [cache_pb2_grpc.CacheServiceStub(channel) for channel in channels]
        calls = [stub.Get(request, timeout=60) for stub in stubs for _ in range(700)]
        answers = await asyncio.gather(*calls)
    assert all(answer.HasField("miss") for answer in answers)


async def test_a_thousand_calls_at_once_are_answered(cache: Any, namespace: str) -> None:
    async def round_trip(index: int) -> bool:
        key, value = f"k{index}", str(index).encode()
        await cache.Set(cache_pb2.SetRequest(namespace=namespace, key=key, value=value))
        found = await cache.Get(cache_pb2.GetRequest(namespace=namespace, key=key))
        return bool(found.hit.entry.value == value)

    assert all(await asyncio.gather(*(round_trip(index) for index in range(1000))))


@pytest.mark.parametrize(
    ("method", "said", "path"),
    [
        ("BatchGet", {"keys": [""] * 1000}, "keys[0]"),
        ("BatchDelete", {"keys": ["\0"] * 1000}, "keys[0]"),
        ("Set", {"key": "k", "tags": ["\1"] * 64}, "tags[0]"),
        ("Set", {"key": "k", "tags": ["\1"] * 1_300_000}, "tags"),
        ("Set", {"key": "k", "depends_on": [""] * 1_300_000}, "depends_on"),
        ("BatchSet", {"entries": [{"key": "", "tags": [""] * 64}] * 1000}, "entries[0].key"),
    ],
)
async def test_very_much_that_is_wrong_is_refused_in_little_time_and_few_words(
    channel: grpc.aio.Channel, method: str, said: dict[str, Any], path: str
) -> None:
    stub: Any = cache_pb2_grpc.CacheServiceStub(channel)
    request = getattr(cache_pb2, f"{method}Request")(namespace="wrong", **said)
    wrong = await violations(getattr(stub, method)(request, timeout=5))
    assert next(iter(wrong)) == path
    assert len(wrong) <= 10
