"""CdnService through a real channel: the headers that it builds, what is fresh, what it refuses."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.json_format import ParseDict
from pantler.v1 import admin_pb2, admin_pb2_grpc, cdn_pb2_grpc
from pantler.v1 import cdn_pb2 as pb

from tests.servers.pantler import PantlerServer
from tests.wire.test_cache_service import details, violations

CONFIG = """
namespaces:
  pages: {http: {max_age: 60s, stale_while_revalidate: 1h, vary: [Accept-Language]}}
  plain: {}
"""
MOMENT = "1994-11-06T08:49:37.9Z"
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest_asyncio.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    config: Path = tmp_path_factory.mktemp("cdn") / "pantler.yaml"
    config.write_text(CONFIG)
    async with PantlerServer(config=config) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def open_channel(served: PantlerServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(served.address) as opened:
        yield opened


@pytest.fixture
def cdn(open_channel: grpc.aio.Channel) -> Any:
    return cdn_pb2_grpc.CdnServiceStub(open_channel)


def building(**fields: Any) -> pb.BuildHeadersRequest:
    return ParseDict(fields, pb.BuildHeadersRequest())


def checking(**fields: Any) -> pb.CheckFreshnessRequest:
    return ParseDict(fields, pb.CheckFreshnessRequest())


@pytest.mark.parametrize(
    ("policy", "control"),
    [
        ({}, "public"),
        ({"visibility": "CACHE_VISIBILITY_PUBLIC", "max_age": "60s"}, "public, max-age=60"),
        ({"max_age": "0.999s"}, "public, max-age=0"),
        (
            {"visibility": "CACHE_VISIBILITY_PRIVATE", "max_age": "60s", "immutable": True},
            "private, max-age=60, immutable",
        ),
        (
            {"max_age": "1s", "s_maxage": "315360000s", "must_revalidate": True},
            "public, max-age=1, s-maxage=315360000, must-revalidate",
        ),
        (
            {"stale_while_revalidate": "2s", "stale_if_error": "3s"},
            "public, stale-while-revalidate=2, stale-if-error=3",
        ),
        ({"no_store": True}, "no-store"),
        (
            {"no_store": True, "visibility": "CACHE_VISIBILITY_PRIVATE"},
            "private, no-store",
        ),
    ],
)
async def test_cache_control_says_the_policy(
    cdn: Any, policy: dict[str, Any], control: str
) -> None:
    answer = await cdn.BuildHeaders(building(policy=policy))
    assert dict(answer.headers) == {"Cache-Control": control}


async def test_all_headers_are_built_at_once(cdn: Any) -> None:
    request = building(
        policy={"cdn_max_age": "3600s", "must_revalidate": True, "vary": ["Accept", "Origin"]},
        etag="v7",
        weak=True,
        last_modified=MOMENT,
        tags=["product:7", "a, b"],
    )
    assert dict((await cdn.BuildHeaders(request)).headers) == {
        "Cache-Control": "public, must-revalidate",
        "CDN-Cache-Control": "max-age=3600, must-revalidate",
        "ETag": 'W/"v7"',
        "Last-Modified": DATE,
        "Vary": "Accept, Origin",
        "Cache-Tag": "product:7,a%2C%20b",
        "Surrogate-Key": "product:7 a%2C%20b",
        "xkey": "product:7 a%2C%20b",
    }


async def test_without_a_policy_nothing_is_said_of_keeping(cdn: Any) -> None:
    answer = await cdn.BuildHeaders(building(etag='W/"abc"'))
    assert dict(answer.headers) == {"ETag": 'W/"abc"'}
    assert not (await cdn.BuildHeaders(building())).headers


async def test_content_has_an_etag_of_its_own(cdn: Any) -> None:
    tags = []
    for content in (b"one", b"one", b"two", b""):
        answer = await cdn.BuildHeaders(pb.BuildHeadersRequest(content=content))
        tags.append(answer.headers["ETag"])
    assert tags[0] == tags[1]
    assert len({*tags}) == 3
    fresh = await cdn.CheckFreshness(checking(if_none_match=f'"x", {tags[0]}', etag=tags[0]))
    assert fresh.not_modified


async def test_a_namespaces_policy_is_taken(cdn: Any) -> None:
    answer = await cdn.BuildHeaders(building(namespace="pages"))
    assert dict(answer.headers) == {
        "Cache-Control": "public, max-age=60, stale-while-revalidate=3600",
        "Vary": "Accept-Language",
    }


async def test_a_namespace_without_a_policy_is_refused_and_not_created(
    cdn: Any, open_channel: grpc.aio.Channel
) -> None:
    for name in ("plain", "nobody"):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await cdn.BuildHeaders(building(namespace=name))
        assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        found = details(failed.value)
        assert found["ErrorInfo"].reason == "ERROR_REASON_NO_HTTP"
        assert found["ErrorInfo"].metadata["namespace"] == name
    admin: Any = admin_pb2_grpc.AdminServiceStub(open_channel)
    listed = await admin.ListNamespaces(admin_pb2.ListNamespacesRequest())
    assert "nobody" not in {one.name for one in listed.namespaces}


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"policy": {"max_age": "-1s"}}, {"policy.max_age"}),
        ({"policy": {"s_maxage": "315360000.1s"}}, {"policy.s_maxage"}),
        ({"policy": {"visibility": 7}}, {"policy.visibility"}),
        (
            {
                "policy": {
                    "visibility": "CACHE_VISIBILITY_PRIVATE",
                    "s_maxage": "0s",
                    "cdn_max_age": "1s",
                }
            },
            {"policy.s_maxage", "policy.cdn_max_age"},
        ),
        (
            {
                "policy": {
                    "no_store": True,
                    "max_age": "0s",
                    "stale_if_error": "1s",
                    "immutable": True,
                    "must_revalidate": True,
                    "vary": ["Accept"],
                }
            },
            {
                "policy.max_age",
                "policy.stale_if_error",
                "policy.immutable",
                "policy.must_revalidate",
            },
        ),
        ({"policy": {"vary": ["A"] * 17}}, {"policy.vary"}),
        (
            {"policy": {"vary": ["", "ok", "a b", "x\r\nSet-Cookie: a", "a\n", "é", "x" * 129]}},
            {f"policy.vary[{index}]" for index in (0, 2, 3, 4, 5, 6)},
        ),
        ({"policy": {}, "namespace": "pages"}, {"namespace"}),
        ({"namespace": "No!"}, {"namespace"}),
        ({"etag": ""}, {"etag"}),
        ({"etag": 'a"b'}, {"etag"}),
        ({"etag": "a\r\nSet-Cookie: b"}, {"etag"}),
        ({"etag": "é"}, {"etag"}),
        ({"etag": "x" * 1025}, {"etag"}),
        ({"weak": True}, {"weak"}),
        ({"last_modified": "1969-12-31T23:59:59Z"}, {"last_modified"}),
        ({"tags": ["", "a\nb", "x" * 257]}, {"tags[0]", "tags[1]", "tags[2]"}),
        ({"tags": [str(number) for number in range(65)]}, {"tags"}),
        ({"tags": [f"{number:02}" + "é" * 127 for number in range(11)]}, {"tags"}),
        (
            {"etag": "a b", "tags": [""], "policy": {"max_age": "-1s", "vary": ["a b"]}},
            {"etag", "tags[0]", "policy.max_age", "policy.vary[0]"},
        ),
    ],
)
async def test_what_can_be_no_header_is_refused_all_at_once(
    cdn: Any, fields: dict[str, Any], wrong: set[str]
) -> None:
    assert (await violations(cdn.BuildHeaders(building(**fields)))).keys() == wrong


async def test_a_time_that_is_none_is_refused(cdn: Any) -> None:
    for moment in ({"seconds": 253_402_300_800}, {"seconds": 1, "nanos": -1}):
        asked = pb.CheckFreshnessRequest(last_modified=moment)
        assert (await violations(cdn.CheckFreshness(asked))).keys() == {"last_modified"}


@pytest.mark.parametrize(
    ("fields", "not_modified"),
    [
        ({}, False),
        ({"if_none_match": '"b", W/"a"', "etag": "a"}, True),
        ({"if_none_match": '"b"', "etag": '"a"'}, False),
        ({"if_none_match": "*"}, True),
        ({"if_modified_since": DATE, "last_modified": MOMENT}, True),
        ({"if_modified_since": "Sunday, 06-Nov-94 08:49:37 GMT", "last_modified": MOMENT}, True),
        ({"if_modified_since": "Sun Nov  6 08:49:37 1994", "last_modified": MOMENT}, True),
        ({"if_modified_since": "soon", "last_modified": MOMENT}, False),
        ({"if_modified_since": DATE}, False),
        (
            {
                "if_none_match": '"b"',
                "etag": "a",
                "if_modified_since": DATE,
                "last_modified": MOMENT,
            },
            False,
        ),
        ({"if_none_match": "\r\n\x00", "etag": "a"}, False),
    ],
)
async def test_freshness_is_as_the_rfc_says(
    cdn: Any, fields: dict[str, Any], not_modified: bool
) -> None:
    answer = await cdn.CheckFreshness(checking(**fields))
    assert answer.not_modified is not_modified


async def test_conditions_of_no_browser_are_refused(cdn: Any) -> None:
    asked = checking(
        if_none_match='"a",' * 4097, if_modified_since="é" * 8193, etag='W/"', last_modified=MOMENT
    )
    assert (await violations(cdn.CheckFreshness(asked))).keys() == {
        "if_none_match",
        "if_modified_since",
        "etag",
    }
