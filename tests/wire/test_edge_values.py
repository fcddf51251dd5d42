"""Edge values through a real channel: what they answer, and what is refused."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict, ParseDict
from pantler.v1 import cdn_pb2 as pb
from pantler.v1 import cdn_pb2_grpc

from tests.servers.cloudflare import CloudflareServer, StoredValue
from tests.servers.pantler import PantlerServer
from tests.wire.test_cache_service import details, violations


@pytest_asyncio.fixture(scope="module")
async def vendor() -> AsyncIterator[CloudflareServer]:
    async with CloudflareServer() as running:
        yield running


@pytest.fixture
def cloudflare(vendor: CloudflareServer) -> CloudflareServer:
    """With nothing stored."""
    vendor.values.clear()
    return vendor


@pytest_asyncio.fixture(scope="module")
async def server(
    vendor: CloudflareServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[PantlerServer]:
    """Its targets: `edge` is the stand-in, `bare` is one without an edge store, `wrong` has a wrong
    token, `away` is not there."""
    wrong, away = vendor.target, vendor.target
    wrong["cloudflare"]["token"] = "wrong-token-of-the-test"
    away["cloudflare"]["api"] = "http://127.0.0.1:1"
    proxy = {"varnish": {"servers": ["http://127.0.0.1:1"]}}
    targets = {"edge": vendor.target, "bare": proxy, "wrong": wrong, "away": away}
    config: Path = tmp_path_factory.mktemp("edge") / "pantler.yaml"
    config.write_text(json.dumps({"cdn_targets": targets, "max_message_bytes": "32MiB"}))
    async with PantlerServer(config=config) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def cdn(server: PantlerServer) -> AsyncIterator[Any]:
    options = (("grpc.max_receive_message_length", -1),)
    async with grpc.aio.insecure_channel(server.address, options=options) as opened:
        yield cdn_pb2_grpc.CdnServiceStub(opened)


async def test_a_value_is_put_got_and_deleted(cdn: Any, cloudflare: CloudflareServer) -> None:
    metadata = {"text": "\u00e4", "n": 1, "f": 1.5, "list": [None, True, {}], "nested": {"a": {}}}
    put = pb.PutEdgeValueRequest(target="edge", key="a/b?c", value=b"\0\xff", metadata=metadata)
    put.ttl.FromSeconds(120)
    assert await cdn.PutEdgeValue(put) == pb.PutEdgeValueResponse()
    stored = cloudflare.values["a/b?c"]
    assert (stored.value, stored.metadata) == (b"\0\xff", metadata)
    found = await cdn.GetEdgeValue(pb.GetEdgeValueRequest(target="edge", key="a/b?c"))
    assert found.value.value == b"\0\xff"
    assert MessageToDict(found.value.metadata) == metadata
    assert 110 < found.value.expire_time.seconds - time.time() <= 120
    delete = pb.DeleteEdgeValueRequest(target="edge", key="a/b?c")
    for _ in range(2):
        assert await cdn.DeleteEdgeValue(delete) == pb.DeleteEdgeValueResponse()
    gone = await cdn.GetEdgeValue(pb.GetEdgeValueRequest(target="edge", key="a/b?c"))
    assert gone == pb.GetEdgeValueResponse()
    assert not gone.HasField("value")


async def test_what_is_not_there_is_unset(cdn: Any, cloudflare: CloudflareServer) -> None:
    await cdn.PutEdgeValue(pb.PutEdgeValueRequest(target="edge", key="k"))
    found = (await cdn.GetEdgeValue(pb.GetEdgeValueRequest(target="edge", key="k"))).value
    assert (found.value, found.HasField("expire_time"), found.HasField("metadata")) == (
        b"",
        False,
        False,
    )
    await cdn.PutEdgeValue(pb.PutEdgeValueRequest(target="edge", key="k", metadata={}))
    found = (await cdn.GetEdgeValue(pb.GetEdgeValueRequest(target="edge", key="k"))).value
    assert (found.HasField("metadata"), MessageToDict(found.metadata)) == (True, {})


async def test_a_value_as_large_as_may_be_comes_back(
    cdn: Any, cloudflare: CloudflareServer
) -> None:
    value = bytes(25 << 20)
    await cdn.PutEdgeValue(pb.PutEdgeValueRequest(target="edge", key="k", value=value))
    found = await cdn.GetEdgeValue(pb.GetEdgeValueRequest(target="edge", key="k"))
    assert found.value.value == value
    more = pb.PutEdgeValueRequest(target="edge", key="k", value=value + b"x")
    assert list(await violations(cdn.PutEdgeValue(more))) == ["value"]


async def test_part_of_a_second_of_a_ttl_counts_as_a_whole(
    cdn: Any, cloudflare: CloudflareServer
) -> None:
    put = pb.PutEdgeValueRequest(target="edge", key="k")
    put.ttl.FromMilliseconds(59_001)
    await cdn.PutEdgeValue(put)
    expires_s = cloudflare.values["k"].expires_s
    assert expires_s is not None
    assert 55 < expires_s - time.time() <= 60


WRONG: list[tuple[str, dict[str, Any], str]] = [
    *(
        (method, wrong, path)
        for method in ("PutEdgeValue", "GetEdgeValue", "DeleteEdgeValue")
        for wrong, path in (
            ({"target": ""}, "target"),
            ({"target": "x" * 129}, "target"),
            ({"target": "a\nb"}, "target"),
            ({"key": ""}, "key"),
            ({"key": "."}, "key"),
            ({"key": ".."}, "key"),
            ({"key": "a\r\nHost: other"}, "key"),
            ({"key": "x" * 513}, "key"),
        )
    ),
    ("PutEdgeValue", {"ttl": "59s"}, "ttl"),
    ("PutEdgeValue", {"ttl": "0s"}, "ttl"),
    ("PutEdgeValue", {"ttl": "-60s"}, "ttl"),
    ("PutEdgeValue", {"ttl": "315360001s"}, "ttl"),
    ("PutEdgeValue", {"metadata": {"a": "x" * 1017}}, "metadata"),
    ("PutEdgeValue", {"metadata": {"a": "\u00e4" * 509}}, "metadata"),
]


@pytest.mark.parametrize(("method", "wrong", "path"), WRONG, ids=lambda value: str(value)[:40])
async def test_a_wrong_request_is_refused_with_its_field(
    cdn: Any, cloudflare: CloudflareServer, method: str, wrong: dict[str, Any], path: str
) -> None:
    before = cloudflare.requests
    request = ParseDict({"target": "edge", "key": "k", **wrong}, getattr(pb, f"{method}Request")())
    assert list(await violations(getattr(cdn, method)(request))) == [path]
    assert cloudflare.requests == before


async def test_metadata_at_the_edge_of_its_range_works(
    cdn: Any, cloudflare: CloudflareServer
) -> None:
    for text in ("x" * 1016, "\u00e4" * 508):
        put = pb.PutEdgeValueRequest(target="edge", key="k", metadata={"a": text})
        await cdn.PutEdgeValue(put)
        assert cloudflare.values["k"].metadata == {"a": text}


async def test_all_that_is_wrong_is_said_at_once(cdn: Any) -> None:
    put = pb.PutEdgeValueRequest(key="..", metadata={"a": float("nan")})
    put.ttl.FromSeconds(1)
    assert list(await violations(cdn.PutEdgeValue(put))) == ["target", "key", "ttl", "metadata.a"]


def calls(cdn: Any, target: str) -> Iterator[Any]:
    """Of all three methods, each begun when it is its turn."""
    yield cdn.PutEdgeValue(pb.PutEdgeValueRequest(target=target, key="k", value=b"v"))
    yield cdn.GetEdgeValue(pb.GetEdgeValueRequest(target=target, key="k"))
    yield cdn.DeleteEdgeValue(pb.DeleteEdgeValueRequest(target=target, key="k"))


@pytest.mark.parametrize(
    ("target", "code", "reason", "said"),
    [
        (
            "nobody",
            grpc.StatusCode.NOT_FOUND,
            "CDN_TARGET_UNKNOWN",
            "no CDN target is called 'nobody'",
        ),
        (
            "bare",
            grpc.StatusCode.FAILED_PRECONDITION,
            "NO_EDGE_STORE",
            "CDN target 'bare' has no edge store",
        ),
        (
            "wrong",
            grpc.StatusCode.FAILED_PRECONDITION,
            "CDN_REFUSED",
            "CDN target 'wrong' refused: 403: Authentication error (10000)",
        ),
        (
            "away",
            grpc.StatusCode.UNAVAILABLE,
            "CDN_UNAVAILABLE",
            "CDN target 'away' did not serve: can't connect to 127.0.0.1:1: Connection refused",
        ),
    ],
)
async def test_a_target_that_does_not_serve_says_why(
    cdn: Any, cloudflare: CloudflareServer, target: str, code: Any, reason: str, said: str
) -> None:
    for call in calls(cdn, target):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call
        assert failed.value.code() is code
        info = details(failed.value)["ErrorInfo"]
        assert (info.reason, info.metadata["target"]) == (f"ERROR_REASON_{reason}", target)
        message = failed.value.details() or ""
        assert message.startswith(said)
        assert "token" not in message


async def test_a_vendor_that_asks_for_patience_is_passed_on(
    cdn: Any, cloudflare: CloudflareServer
) -> None:
    for call in calls(cdn, "edge"):
        cloudflare.fail(429, times=2, retry_after="17")  # a get is two requests
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        assert details(failed.value)["RetryInfo"].retry_delay.seconds == 17
        cloudflare.forgive()


async def test_the_deadline_of_the_call_holds(cdn: Any, cloudflare: CloudflareServer) -> None:
    cloudflare.goes_on.clear()
    began = time.monotonic()
    request = pb.GetEdgeValueRequest(target="edge", key="k")
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await cdn.GetEdgeValue(request, timeout=0.5)
    cloudflare.goes_on.set()
    assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "metadata",
    [
        *("text", [1], 1.5, {"a": "\ud800"}, {"\ud800": 1}),
        *(json.loads("[" * 50 + "]" * 50), {"a": json.loads("[" * 40 + "]" * 40)}),
    ],
)
async def test_metadata_that_others_put_does_not_hide_the_value(
    cdn: Any, cloudflare: CloudflareServer, metadata: Any
) -> None:
    cloudflare.values["k"] = StoredValue(b"v", None, metadata)
    found = await cdn.GetEdgeValue(pb.GetEdgeValueRequest(target="edge", key="k"))
    assert (found.value.value, found.value.HasField("metadata")) == (b"v", False)
