"""Fastly, against the stand-in that checks every request."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pantler_server.cdns.target import Batch, Target, TargetFailed, TargetRefused

from tests.cdns.targets import targets
from tests.cdns.test_http_template import Recorder
from tests.servers.fastly import FastlyServer
from tests.servers.vendor import Purge


@pytest_asyncio.fixture
async def fastly() -> AsyncIterator[FastlyServer]:
    async with FastlyServer() as running:
        yield running


@pytest_asyncio.fixture
async def target(fastly: FastlyServer) -> AsyncIterator[Target]:
    running = targets(edge=fastly.target)
    yield running.of("edge")
    await running.stop()


async def test_tags_urls_and_everything_are_purged(target: Target, fastly: FastlyServer) -> None:
    keys = tuple(f"{number}-{'k' * 1000}" for number in range(target.limits.tags_per_request))
    await target.purge(Batch(tags=keys))
    await target.purge(Batch(urls=["https://Shop.example:8443/a%2Fb?c=d&e=%20#part"]))
    await target.purge(Batch(urls=["http://shop.example"]))
    await target.purge(Batch(everything=True))
    assert fastly.purges == [
        Purge(tags=keys),
        Purge(urls=("Shop.example:8443/a%2Fb?c=d&e=%20",)),
        Purge(urls=("shop.example/",)),
        Purge(everything=True),
    ]
    assert (target.limits.tags_per_request, target.limits.urls_per_request) == (256, 1)


async def test_purges_are_soft_where_that_can_be(target: Target, fastly: FastlyServer) -> None:
    assert target.can_soft
    await target.purge(Batch(tags=["a", "b"], soft=True))
    await target.purge(Batch(urls=["https://shop.example/"], soft=True))
    await target.purge(Batch(everything=True, soft=True))
    assert [purge.soft for purge in fastly.purges] == [True, True, False]


async def test_a_wrong_token_is_refused_and_not_told(target: Target, fastly: FastlyServer) -> None:
    fastly.token = "another"
    for batch in (Batch(tags=["a"]), Batch(everything=True), Batch(urls=["https://a.example/"])):
        with pytest.raises(TargetRefused) as refused:
            await target.purge(batch)
        assert str(refused.value) == "401: Provided credentials are missing or invalid"
    assert fastly.purges == []


async def test_failures_and_refusals_are_told_apart(target: Target, fastly: FastlyServer) -> None:
    for status in (500, 503, 408):
        fastly.fail(status)
        with pytest.raises(TargetFailed) as failed:
            await target.purge(Batch(tags=["a"]))
        assert str(failed.value) == f"{status}: it was told to fail"
        assert failed.value.retry_after_s == 0
    for status in (302, 400, 404):
        fastly.fail(status)
        with pytest.raises(TargetRefused, match=f"^{status}: it was told to fail$"):
            await target.purge(Batch(tags=["a"]))


async def test_who_answers_in_its_place_has_purged_nothing(fastly: FastlyServer) -> None:
    async with Recorder() as portal:
        portal.text = "<html>sign in</html>"
        running = targets(edge={"fastly": {**fastly.target["fastly"], "api": portal.url}})
        for batch in (
            Batch(tags=["a"]),
            Batch(everything=True),
            Batch(urls=["https://a.example/"]),
        ):
            with pytest.raises(TargetFailed, match=r"^200: the answer is not one of Fastly's API$"):
                await running.of("edge").purge(batch)
        await running.stop()


async def test_as_many_and_as_long_tags_as_it_takes_are_purged(
    target: Target, fastly: FastlyServer
) -> None:
    tags = [f"{number:04}" + "x" * 1020 for number in range(256)]
    await target.purge(Batch(tags=tags))
    assert fastly.purged_tags == tags


async def test_too_many_requests_wait_for_the_next_window(
    target: Target, fastly: FastlyServer
) -> None:
    fastly.reset_after_s = 90
    fastly.fail(429)
    with pytest.raises(TargetFailed) as failed:
        await target.purge(Batch(tags=["a"]))
    assert 88 <= failed.value.retry_after_s <= 90
    fastly.fail(429, retry_after="5")
    with pytest.raises(TargetFailed) as failed:
        await target.purge(Batch(tags=["a"]))
    assert failed.value.retry_after_s == 5


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/a b",
        "https://shop.example/\r\nHost: other",
        "https://shop.example/\0",
        "ftp://shop.example/",
        "//shop.example/",
        "/path",
        "https://",
        "https:///path",
        "https://user:password@shop.example/",
        "https://shop.example\\@other/",
        "",
    ],
)
async def test_what_is_no_url_is_not_sent(target: Target, fastly: FastlyServer, url: str) -> None:
    with pytest.raises(TargetRefused, match="is not an absolute URL"):
        await target.purge(Batch(urls=[url]))
    assert fastly.requests == 0


async def test_a_url_is_sent_in_ascii(target: Target, fastly: FastlyServer) -> None:
    await target.purge(Batch(urls=["https://b\u00fccher.example/\u00e4?\u00fc=1"]))
    assert fastly.purged_urls == ["xn--bcher-kva.example/%C3%A4?%C3%BC=1"]
