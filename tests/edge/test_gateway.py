"""The HTTP gateway, over sockets: what it gives of an entry, and of a record."""

import json
from datetime import timedelta
from typing import Any

import pantler
from redis.asyncio import Redis
from werkzeug.http import parse_date

from tests.edge.answers import refused
from tests.servers.http import ask
from tests.servers.pantler import PantlerServer


async def test_an_entry_is_given_with_all_that_is_known_of_it(
    client: pantler.AsyncClient, http: str
) -> None:
    await client.set(
        "pages",
        "whole",
        b"<p>",
        content_type="text/html; charset=utf-8",
        tags=["a, b", "c"],
        ttl=timedelta(minutes=2),
    )
    answer = await ask(http, "/v1/pages/whole")
    assert (answer.status, answer.reason, answer.body) == (200, "OK", b"<p>")
    headers = dict(answer.headers)
    for name in ("date", "last-modified"):
        assert parse_date(headers.pop(name)) is not None
    etag = headers.pop("etag")
    assert etag.startswith('"')
    assert headers == {
        "cache-control": "public, max-age=120",
        "age": "0",
        "content-type": "text/html; charset=utf-8",
        "content-length": "3",
        "x-content-type-options": "nosniff",
        "cache-tag": "a%2C%20b,c",
        "surrogate-key": "a%2C%20b c",
        "xkey": "a%2C%20b c",
        "server": "pantler",
        "connection": "close",
    }


async def test_head_is_get_without_the_content(client: pantler.AsyncClient, http: str) -> None:
    await client.set("pages", "head", b"content", tags=["a"])
    got, head = await ask(http, "/v1/pages/head"), await ask(http, "/v1/pages/head", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    unchanging = {**got.headers, "date": "", "age": ""}
    assert {**head.headers, "date": "", "age": ""} == unchanging
    assert head.headers["content-length"] == "7"


async def test_what_has_no_content_type_is_bytes(client: pantler.AsyncClient, http: str) -> None:
    await client.set("pages", "bytes", b"<script>")
    answer = await ask(http, "/v1/pages/bytes")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_an_empty_value_is_given(client: pantler.AsyncClient, http: str) -> None:
    await client.set("pages", "empty", b"", content_type="text/plain")
    answer = await ask(http, "/v1/pages/empty")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")
    assert answer.headers["content-type"] == "text/plain"


async def test_a_record_is_given_as_json(client: pantler.AsyncClient, http: str) -> None:
    answer = await ask(http, "/v1/people/p000")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.body)["age"] == 30
    assert answer.headers["cache-control"] == "public, max-age=60"
    asked = {"If-None-Match": answer.headers["etag"]}
    assert (await ask(http, "/v1/people/p000", asked)).status == 304
    entry = await client.get("people", "p000")
    assert entry is not None
    assert entry.value == answer.body


async def test_that_there_is_no_record_is_404(http: str) -> None:
    for _ in range(2):  # the second from the cache
        answer = await ask(http, "/v1/people/nobody")
        assert (answer.status, answer.headers["cache-control"]) == (404, "public, max-age=5")


async def test_an_origin_that_fails_is_told(http: str) -> None:
    refused(await ask(http, "/v1/gone/k"), 502, "ERROR_REASON_ORIGIN_NOT_READY")
    away = await ask(http, "/v1/away/k")
    refused(away, 503, "ERROR_REASON_ORIGIN_UNAVAILABLE")
    assert away.headers["retry-after"] == "1"
    refused(await ask(http, "/v1/ids/no-number"), 400, "ERROR_REASON_INVALID_FIELD")


async def test_damaged_data_is_a_defect_and_foreign_data_is_told(
    client: pantler.AsyncClient, gateway: PantlerServer
) -> None:
    http = gateway.http_address
    await client.set("pages", "damaged", b"v", content_type="text/plain")
    path = (await gateway.wait_for("serving"))["redis"].removeprefix("unix:")
    async with Redis(unix_socket_path=path) as redis:
        place = "{pages:0}e:damaged"
        raw: Any = await redis.get(place)
        await redis.set(place, raw.replace(b"text/plain", b"\xff" * 10))
        before = len(gateway.events)
        refused(await ask(http, "/v1/pages/damaged"), 500, "ERROR_REASON_INTERNAL")
        await gateway.wait_for("defect", after=before)
        await redis.set("{pages:0}e:foreign", b"of somebody else")
        refused(await ask(http, "/v1/pages/foreign"), 500, "ERROR_REASON_WRONG_KIND")
        await redis.delete(place, "{pages:0}e:foreign")
