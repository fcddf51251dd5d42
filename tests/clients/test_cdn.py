"""CdnService through the Python SDK, against a real server and the stand-ins of vendors."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pantler
import pytest
import pytest_asyncio

from tests.servers.cloudflare import CloudflareServer
from tests.servers.fastly import FastlyServer
from tests.servers.pantler import PantlerServer
from tests.servers.vendor import Purge

_numbers = count()


@pytest_asyncio.fixture
async def client(
    cdn_server: PantlerServer, cloudflare: CloudflareServer, fastly: FastlyServer
) -> AsyncIterator[pantler.AsyncClient]:
    cloudflare.purges.clear()
    fastly.purges.clear()
    async with pantler.AsyncClient(cdn_server.address) as opened:
        yield opened


@pytest.fixture
def tag() -> str:
    """One that no other test uses."""
    return f"sdk-{next(_numbers)}"


async def test_headers_are_built_from_a_policy(client: pantler.AsyncClient) -> None:
    policy = pantler.CachePolicy(
        max_age=timedelta(minutes=1),
        s_maxage=timedelta(hours=1),
        cdn_max_age=timedelta(days=1),
        immutable=True,
        must_revalidate=True,
        stale_while_revalidate=timedelta(seconds=5),
        stale_if_error=timedelta(seconds=6),
        vary=["Accept-Language"],
    )
    changed = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
    headers = await client.build_headers(
        policy, etag="abc", weak=True, last_modified=changed, tags=["a", "b c"]
    )
    assert set(headers.pop("Cache-Control").replace(" ", "").split(",")) == {
        "public",
        "max-age=60",
        "s-maxage=3600",
        "immutable",
        "must-revalidate",
        "stale-while-revalidate=5",
        "stale-if-error=6",
    }
    assert "max-age=86400" in headers.pop("CDN-Cache-Control")
    assert headers == {
        "ETag": 'W/"abc"',
        "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT",
        "Vary": "Accept-Language",
        "Cache-Tag": "a,b%20c",
        "Surrogate-Key": "a b%20c",
        "xkey": "a b%20c",
    }
    private = pantler.CachePolicy(visibility="private", no_store=True)
    said = (await client.build_headers(private))["Cache-Control"]
    assert "no-store" in said
    assert "private" in said


async def test_headers_are_built_for_a_namespace(client: pantler.AsyncClient) -> None:
    one, other = [
        await client.build_headers(namespace="pages", content=content) for content in (b"a", b"b")
    ]
    assert "max-age=30" in one["Cache-Control"]
    assert one["ETag"] != other["ETag"]
    with pytest.raises(pantler.FailedPrecondition) as refused:
        await client.build_headers(namespace="users")
    assert refused.value.reason == "ERROR_REASON_NO_HTTP"


async def test_freshness_is_checked(client: pantler.AsyncClient) -> None:
    assert await client.check_freshness(if_none_match='"a", W/"b"', etag="b")
    assert not await client.check_freshness(if_none_match='"a"', etag="b")
    changed = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
    since = "Sunday, 06-Nov-94 08:49:37 GMT"
    assert await client.check_freshness(if_modified_since=since, last_modified=changed)
    later = changed + timedelta(seconds=1)
    assert not await client.check_freshness(if_modified_since=since, last_modified=later)


async def test_what_can_not_be_meant_is_not_sent(client: pantler.AsyncClient) -> None:
    with pytest.raises(TypeError, match="content or etag"):
        await client.build_headers(content=b"", etag="")
    with pytest.raises(ValueError, match="has no time zone"):
        await client.check_freshness(last_modified=datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="public or private"):
        await client.build_headers(pantler.CachePolicy(visibility="secret"))  # type: ignore[arg-type]
    several: list[dict[str, Any]] = [
        {},
        {"tags": ["a"], "everything": True},
        {"tags": ["a"], "urls": []},
    ]
    for wrong in several:
        with pytest.raises(TypeError, match="one of urls, tags and everything"):
            await client.purge(**wrong)
    with pytest.raises(TypeError, match="give several"):
        await client.purge(tags="a")
    with pytest.raises(TypeError, match="give several"):
        await client.purge(urls="https://a.example/")


async def test_edge_values_are_put_got_and_deleted(
    client: pantler.AsyncClient, cloudflare: CloudflareServer
) -> None:
    metadata: dict[str, Any] = {"n": 1, "f": 1.5, "list": [None, True, "a"], "nested": {"a": {}}}
    hour = timedelta(hours=1)
    await client.put_edge_value("cloudflare", "k", b"v\0", ttl=hour, metadata=metadata)
    found = await client.get_edge_value("cloudflare", "k")
    assert found is not None
    assert (found.value, found.metadata) == (b"v\0", metadata)
    assert isinstance(found.metadata["n"], int) if found.metadata else False
    assert found.expire_time is not None
    assert timedelta(minutes=59) < found.expire_time - datetime.now(UTC) <= hour
    await client.put_edge_value("cloudflare", "k", b"w")
    assert await client.get_edge_value("cloudflare", "k") == pantler.EdgeValue(b"w", None, None)
    for _ in range(2):
        await client.delete_edge_value("cloudflare", "k")
    assert await client.get_edge_value("cloudflare", "k") is None


async def test_errors_of_the_edge_are_typed(
    client: pantler.AsyncClient, cloudflare: CloudflareServer
) -> None:
    with pytest.raises(pantler.NotFound):
        await client.get_edge_value("nobody", "k")
    with pytest.raises(pantler.FailedPrecondition) as refused:
        await client.put_edge_value("fastly", "k", b"")
    assert refused.value.reason == "ERROR_REASON_NO_EDGE_STORE"
    cloudflare.fail(503, retry_after="9")
    with pytest.raises(pantler.Unavailable) as failed:
        await client.delete_edge_value("cloudflare", "k")
    assert failed.value.retry_after == timedelta(seconds=9)
    with pytest.raises(pantler.InvalidArgument) as wrong:
        await client.put_edge_value("cloudflare", "..", b"", ttl=timedelta(seconds=1))
    assert [one.path for one in wrong.value.violations] == ["key", "ttl"]


async def test_a_purge_reaches_all_targets_and_says_so(
    client: pantler.AsyncClient, cloudflare: CloudflareServer, fastly: FastlyServer, tag: str
) -> None:
    before = datetime.now(UTC)
    purge_id = await client.purge(tags=[tag], soft=True)
    status = await client.wait_purge(purge_id)
    assert status.done
    assert not status.pending
    assert status.failed == ()
    assert [(one.target, one.state, one.attempts) for one in status.receipts] == [
        ("cloudflare", "done", 1),
        ("fastly", "done", 1),
    ]
    for one in status.receipts:
        assert one.last_error == ""
        assert one.finish_time is not None
        assert one.finish_time >= status.create_time
    assert abs(status.create_time - before) < timedelta(seconds=5)
    assert cloudflare.purges == fastly.purges == [Purge(tags=(tag,), soft=True)]
    assert await client.get_purge(purge_id) == status


async def test_a_purge_of_one_target_leaves_the_other(
    client: pantler.AsyncClient, cloudflare: CloudflareServer, fastly: FastlyServer
) -> None:
    urls = ["https://shop.example/a", "https://shop.example/b?c=d"]
    await client.wait_purge(await client.purge(urls=urls, target="cloudflare"))
    await client.wait_purge(await client.purge(everything=True, target="cloudflare"))
    assert [set(one.urls) for one in cloudflare.purges] == [set(urls), set()]
    assert cloudflare.purges[1] == Purge(everything=True)
    assert fastly.purges == []


async def test_a_purge_that_a_target_refuses_says_why(
    client: pantler.AsyncClient, fastly: FastlyServer, tag: str
) -> None:
    right, fastly.token = fastly.token, "another"
    status = await client.wait_purge(await client.purge(tags=[tag]))
    fastly.token = right
    assert not status.done
    [refused] = status.failed
    assert (refused.target, refused.state) == ("fastly", "failed")
    assert refused.last_error == "401: Provided credentials are missing or invalid"


async def test_waiting_for_a_purge_has_an_end(
    client: pantler.AsyncClient, fastly: FastlyServer, tag: str
) -> None:
    fastly.goes_on.clear()
    purge_id = await client.purge(tags=[tag], target="fastly")
    with pytest.raises(pantler.DeadlineExceeded, match=f"{purge_id}.* is not over: fastly"):
        await client.wait_purge(purge_id, timeout=timedelta(milliseconds=300))
    fastly.goes_on.set()
    assert (await client.wait_purge(purge_id)).done


async def test_a_request_id_purges_once(
    client: pantler.AsyncClient, fastly: FastlyServer, tag: str
) -> None:
    first = await client.purge(tags=[tag], target="fastly", request_id=tag)
    assert await client.purge(tags=[tag], target="fastly", request_id=tag) == first
    await client.wait_purge(first)
    assert fastly.purged_tags == [tag]
    others = {await client.purge(tags=[tag], target="fastly") for _ in range(2)}
    assert len(others | {first}) == 3


async def test_a_purge_that_can_not_be_is_refused(client: pantler.AsyncClient) -> None:
    with pytest.raises(pantler.NotFound) as unknown:
        await client.purge(tags=["a"], target="nobody")
    assert unknown.value.reason == "ERROR_REASON_CDN_TARGET_UNKNOWN"
    with pytest.raises(pantler.NotFound) as none:
        await client.get_purge("nothing")
    assert none.value.reason == "ERROR_REASON_PURGE_UNKNOWN"
    with pytest.raises(pantler.InvalidArgument):
        await client.purge(tags=[])
    with pytest.raises(pantler.InvalidArgument):
        await client.purge(urls=["https://shop.example/\r\nHost: other"])


async def test_invalidations_name_their_purges(
    client: pantler.AsyncClient, fastly: FastlyServer, tag: str
) -> None:
    await client.set("pages", tag, b"v")
    invalidated = await client.invalidate_keys("pages", [tag])
    assert (invalidated.keys, invalidated.count) == ((tag,), 1)
    [purge_id] = invalidated.purge_ids
    status = await client.wait_purge(purge_id)
    assert [one.target for one in status.receipts] == ["fastly"]
    await client.set("pages", f"{tag}x", b"v")
    progress = [one async for one in client.invalidate_pattern("pages", f"{tag}*")]
    assert progress[-1].purge_id
    assert (await client.wait_purge(progress[-1].purge_id)).done
    assert (await client.invalidate_keys("plain", [tag])).purge_ids == ()
