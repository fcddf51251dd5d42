"""Purge and GetPurge through a real channel, and what invalidations say of their purges."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.json_format import ParseDict
from pantler.v1 import (
    cache_pb2,
    cache_pb2_grpc,
    cdn_pb2,
    cdn_pb2_grpc,
    invalidation_pb2,
    invalidation_pb2_grpc,
    record_pb2,
    record_pb2_grpc,
)

from tests.engines.purging import PATIENCE_S
from tests.servers.fastly import FastlyServer
from tests.servers.pantler import PantlerServer
from tests.wire.test_cache_service import details, violations


@pytest_asyncio.fixture(scope="module")
async def fastly() -> AsyncIterator[FastlyServer]:
    async with FastlyServer() as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def server(
    fastly: FastlyServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[PantlerServer]:
    """Its target is `edge`; invalidations of `shop` purge it."""
    config: Path = tmp_path_factory.mktemp("purges") / "pantler.yaml"
    with closing(sqlite3.connect(config.with_name("people.db"))) as table:
        table.execute("CREATE TABLE people (id TEXT PRIMARY KEY, name TEXT)")
    url = f"sqlite:///{config.with_name('people.db')}"
    cdn = {"targets": ["edge"]}
    document = {
        "cdn_targets": {"edge": fastly.target},
        "namespaces": {
            "shop": {"cdn": cdn},
            "people": {"cdn": cdn, "origin": {"sql": {"url": url, "table": "people"}}},
        },
        "events": [{"name": "sold", "type": "sold", "namespace": "shop", "tags": ["sold"]}],
    }
    config.write_text(json.dumps(document))
    async with PantlerServer(config=config) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def channel(server: PantlerServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.address) as opened:
        yield opened


@pytest.fixture(scope="module")
def cdn(channel: grpc.aio.Channel) -> Any:
    return cdn_pb2_grpc.CdnServiceStub(channel)


@pytest.fixture(scope="module")
def invalidation(channel: grpc.aio.Channel) -> Any:
    return invalidation_pb2_grpc.InvalidationServiceStub(channel)


async def until_done(cdn: Any, purge_id: str) -> cdn_pb2.GetPurgeResponse:
    assert purge_id
    async with asyncio.timeout(PATIENCE_S):
        while True:
            told: cdn_pb2.GetPurgeResponse = await cdn.GetPurge(
                cdn_pb2.GetPurgeRequest(purge_id=purge_id)
            )
            if all(one.state != cdn_pb2.PURGE_STATE_PENDING for one in told.receipts):
                return told
            await asyncio.sleep(0.02)


async def test_a_purge_has_a_receipt(cdn: Any, fastly: FastlyServer) -> None:
    request = ParseDict(
        {"tags": {"tags": ["a b", "ü"]}, "requestId": "wire-1", "target": "edge"},
        cdn_pb2.PurgeRequest(),
    )
    first, again = [await cdn.Purge(request) for _ in range(2)]
    assert (first.duplicate, again.duplicate) == (False, True)
    assert first.purge_id == again.purge_id
    told = await until_done(cdn, first.purge_id)
    [receipt] = told.receipts
    assert (receipt.target, receipt.state, receipt.attempts, receipt.last_error) == (
        "edge",
        cdn_pb2.PURGE_STATE_DONE,
        1,
        "",
    )
    assert receipt.finish_time.ToMilliseconds() >= told.create_time.ToMilliseconds() > 0
    assert {"a%20b", "%C3%BC"} <= {*fastly.purged_tags}


@pytest.mark.parametrize(
    ("said", "paths"),
    [
        ({}, ["what"]),
        ({"all": False}, ["all"]),
        ({"tags": {}}, ["tags.tags"]),
        ({"tags": {"tags": ["a", ""]}}, ["tags.tags[1]"]),
        ({"tags": {"tags": ["a\r\nX: y"]}}, ["tags.tags[0]"]),
        ({"tags": {"tags": ["x" * 257]}}, ["tags.tags[0]"]),
        ({"tags": {"tags": [str(n) for n in range(1001)]}}, ["tags.tags"]),
        ({"urls": {}}, ["urls.urls"]),
        ({"urls": {"urls": ["https://a.example/"] * 1001}}, ["urls.urls"]),
        ({"urls": {"urls": ["/path"]}}, ["urls.urls[0]"]),
        ({"urls": {"urls": ["https://a.example/", "ftp://a.example/"]}}, ["urls.urls[1]"]),
        ({"urls": {"urls": ["https://"]}}, ["urls.urls[0]"]),
        ({"urls": {"urls": ["https://a.example:x/"]}}, ["urls.urls[0]"]),
        ({"urls": {"urls": ["https://[::1/"]}}, ["urls.urls[0]"]),
        ({"urls": {"urls": ["https://u:p@a.example/"]}}, ["urls.urls[0]"]),
        ({"urls": {"urls": ["https://a.example\\@evil.example/x"]}}, ["urls.urls[0]"]),
        ({"urls": {"urls": ["https://a.example/a\\b"]}}, ["urls.urls[0]"]),
        ({"urls": {"urls": ["https://a%2eexample/"]}}, ["urls.urls[0]"]),
        ({"urls": {"urls": ["https://a.example/ b"]}}, ["urls.urls[0]"]),
        ({"urls": {"urls": ["https://a.example/\r\nX: y"]}}, ["urls.urls[0]"]),
        ({"urls": {"urls": ["https://a.example/ü"]}}, ["urls.urls[0]"]),
        ({"urls": {"urls": ["https://a.example/" + "x" * 2048]}}, ["urls.urls[0]"]),
        ({"all": True, "requestId": "x" * 129}, ["request_id"]),
        ({"requestId": "a\nb", "target": "a\nb"}, ["target", "request_id", "what"]),
    ],
)
async def test_what_is_wrong_is_named_and_purges_nothing(
    cdn: Any, fastly: FastlyServer, said: dict[str, Any], paths: list[str]
) -> None:
    before = fastly.requests
    found = await violations(cdn.Purge(ParseDict(said, cdn_pb2.PurgeRequest())))
    assert list(found) == paths
    assert fastly.requests == before


async def test_no_password_of_a_url_is_told(cdn: Any) -> None:
    found = await violations(
        cdn.Purge(cdn_pb2.PurgeRequest(urls={"urls": ["https://u:the-secret@a.example/"]}))
    )
    assert found == {"urls.urls[0]": "must have no user and no password"}


async def test_urls_are_purged_as_visitors_ask_for_them(cdn: Any, fastly: FastlyServer) -> None:
    urls = ["http://Shop.example:80/a/../b/%7e", "http://shop.example/b/~#part"]
    answer = await cdn.Purge(cdn_pb2.PurgeRequest(urls={"urls": urls}))
    await until_done(cdn, answer.purge_id)
    assert [one.urls for one in fastly.purges if one.urls] == [("shop.example/b/~",)]


@pytest.mark.parametrize("target", ["nowhere", "EDGE", "../edge", "x" * 128])
async def test_an_unknown_target_is_not_found(cdn: Any, target: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await cdn.Purge(cdn_pb2.PurgeRequest(target=target, all=True))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert "CDN_TARGET_UNKNOWN" in str(details(refused.value))


@pytest.mark.parametrize("purge_id", ["nothing", "x" * 128, "*", "}q:edge"])
async def test_an_unknown_purge_is_not_found(cdn: Any, purge_id: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await cdn.GetPurge(cdn_pb2.GetPurgeRequest(purge_id=purge_id))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert "PURGE_UNKNOWN" in str(details(refused.value))


@pytest.mark.parametrize("purge_id", ["", "x" * 129, "a\nb"])
async def test_a_malformed_id_is_refused(cdn: Any, purge_id: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await cdn.GetPurge(cdn_pb2.GetPurgeRequest(purge_id=purge_id))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("namespace", ["shop", "other"])
async def test_invalidations_name_their_purges(
    cdn: Any, invalidation: Any, channel: grpc.aio.Channel, namespace: str
) -> None:
    cache: Any = cache_pb2_grpc.CacheServiceStub(channel)
    await cache.Set(cache_pb2.SetRequest(namespace=namespace, key="k", value=b"v"))
    named: list[str] = []
    requests: list[tuple[str, Any]] = [
        ("InvalidateTags", invalidation_pb2.InvalidateTagsRequest(tags=["t"])),
        ("InvalidateKeys", invalidation_pb2.InvalidateKeysRequest(keys=["a"])),
        ("InvalidateNamespace", invalidation_pb2.InvalidateNamespaceRequest()),
    ]
    for method, request in requests:
        request.namespace = namespace
        named.append((await getattr(invalidation, method)(request)).purge_id)
    older = invalidation_pb2.InvalidateOlderThanRequest(namespace=namespace)
    older.created_before.FromMilliseconds(1000)
    named.append((await invalidation.InvalidateOlderThan(older)).purge_id)
    await cache.Set(cache_pb2.SetRequest(namespace=namespace, key="k", value=b"v"))
    pattern = invalidation_pb2.InvalidatePatternRequest(namespace=namespace, pattern="k*")
    named += [told.purge_id async for told in invalidation.InvalidatePattern(pattern) if told.done]
    if namespace == "other":
        assert named == [""] * 5
        return
    assert len({*named}) == 5
    for purge_id in named:
        await until_done(cdn, purge_id)


async def test_an_event_names_its_purges(cdn: Any, invalidation: Any) -> None:
    request = invalidation_pb2.PublishEventRequest(type="sold", event_id="wire-sold")
    for _ in range(2):
        [outcome] = (await invalidation.PublishEvent(request)).outcomes
        [purge_id] = outcome.purge_ids
        await until_done(cdn, purge_id)


async def test_writes_of_records_purge_their_keys(
    channel: grpc.aio.Channel, fastly: FastlyServer
) -> None:
    records: Any = record_pb2_grpc.RecordServiceStub(channel)
    upsert, insert = record_pb2.WRITE_OPERATION_UPSERT, record_pb2.WRITE_OPERATION_INSERT

    async def purged() -> set[str]:
        async with asyncio.timeout(PATIENCE_S):
            while not fastly.purges:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # whatever else there is, it comes now
        keys = {tag for one in fastly.purges for tag in one.tags}
        fastly.purges.clear()
        return {key.removeprefix("pantler:people/") for key in keys}

    fastly.purges.clear()
    await records.PutRecord(
        record_pb2.PutRecordRequest(
            namespace="people", key="ada", operation=upsert, fields={"name": "Ada"}
        )
    )
    assert await purged() == {"ada"}
    batch = record_pb2.BatchPutRecordsRequest(namespace="people")
    batch.writes.add(key="ada", operation=insert, fields={"name": "A"})  # it is there
    batch.writes.add(key="bob", operation=insert, fields={"name": "Bob"})
    await records.BatchPutRecords(batch)
    assert await purged() == {"bob"}
    await records.DeleteRecord(record_pb2.DeleteRecordRequest(namespace="people", key="bob"))
    assert await purged() == {"bob"}


async def test_the_metrics_tell_what_purges_come_to(
    cdn: Any, server: PantlerServer, fastly: FastlyServer
) -> None:
    answer = await cdn.Purge(cdn_pb2.PurgeRequest(all=True))
    await until_done(cdn, answer.purge_id)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{server.http_address}/metrics") as response,
    ):
        text = await response.text()
    for name in (
        'pantler_purges_waiting{target="edge"}',
        'pantler_purges_waiting_age_seconds{target="edge"}',
        'pantler_purge_requests_total{outcome="ok",target="edge"}',
    ):
        assert name in text
    assert any(one.everything for one in fastly.purges)
