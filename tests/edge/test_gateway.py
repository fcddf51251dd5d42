"""The HTTP gateway, over sockets: what it answers, and that odd requests get clear refusals."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pantler
import pytest
from pantler.v1 import admin_pb2, admin_pb2_grpc
from redis.asyncio import Redis
from werkzeug.http import parse_date

from tests.servers.http import Answer, ask, send
from tests.servers.pantler import PantlerServer
from tests.servers.valkey import ValkeyServer

TAGS = {"cache-tag", "surrogate-key", "xkey"}


def refused(answer: Answer, status: int, reason: str) -> str:
    """The message of a refusal that nobody may keep."""
    assert answer.status == status, answer
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    assert not TAGS & answer.headers.keys()
    error = json.loads(answer.body)["error"]
    assert error["reason"] == reason
    return str(error["message"])


@pytest.fixture
def http(gateway: PantlerServer) -> str:
    return gateway.http_address


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


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a/b/c", "a/b/c"),
        ("a/b/c", "a%2Fb/c"),
        ("a//b/", "a//b/"),
        ("/a", "/a"),
        ("a b", "a%20b"),
        ("a+b", "a+b"),
        ("100%", "100%25"),
        ("%41", "%2541"),
        ("é€😀", "%C3%A9%e2%82%ac%F0%9F%98%80"),
        ("a?b#c", "a%3Fb%23c?d#"),
        ("...", "..."),
        (".well-known/x", ".well-known/x"),
        ("a/..b/c.", "a/..b/c."),
        ("{a}|\\^`", "{a}|\\^`"),
        ("user:1", "user:1"),
        ("x" * 512, "x" * 512),
    ],
)
async def test_a_key_is_what_the_path_says_once_unescaped(
    client: pantler.AsyncClient, http: str, key: str, path: str
) -> None:
    if "#" in path:
        path = path.removesuffix("#")
    await client.set("pages", key, key.encode())
    answer = await ask(http, f"/v1/pages/{path}")
    assert (answer.status, answer.body) == (200, key.encode())


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/", "/v1/NAMESPACE/KEY"),
        ("/v1//k", "namespace"),
        ("/v1/pages", "/v1/NAMESPACE/KEY"),
        ("/v1/pages/", "/v1/NAMESPACE/KEY"),
        ("/v1/pages?k", "/v1/NAMESPACE/KEY"),
        ("/v1/Pages/k", "namespace"),
        ("/v1/" + "x" * 64 + "/k", "namespace"),
        ("/v1/pages%2Fa/k", "namespace"),
        ("/v1/../etc/passwd", "namespace"),
        ("/v1/%2e%2e/k", "namespace"),
        ("/v1/pages/.", "`.` or `..`"),
        ("/v1/pages/..", "`.` or `..`"),
        ("/v1/pages/../plain/k", "`.` or `..`"),
        ("/v1/pages/a/./b", "`.` or `..`"),
        ("/v1/pages/a/..", "`.` or `..`"),
        ("/v1/pages/%2e%2E/plain/k", "`.` or `..`"),
        ("/v1/pages/..%2f..%2fetc%2fpasswd", "`.` or `..`"),
        ("/v1/pages/a%2F%2e", "`.` or `..`"),
        ("/v1/pages/%", "escape"),
        ("/v1/pages/%4", "escape"),
        ("/v1/pages/%zz", "escape"),
        ("/v1/pages/%u0041", "escape"),
        ("/v1/pages/%ff", "UTF-8"),
        ("/v1/pages/%c0%ae%c0%ae/x", "UTF-8"),
        ("/v1/pages/%ed%a0%80", "UTF-8"),
        ("/v1/pages/%00", "control"),
        ("/v1/pages/a%0d%0aSet-Cookie:%20a=b", "control"),
        ("/v1/pages/%7f", "control"),
        ("/v1/pages/%c2%85", "control"),
        ("/v1/pages/a#b", "escape"),
        ("/v1/pages/" + "x" * 513, "512"),
        ("/v1/pages/" + "%C3%A9" * 257, "512"),
    ],
)
async def test_a_path_that_names_no_key_is_refused(http: str, path: str, said: str) -> None:
    assert said in refused(await ask(http, path), 400, "BAD_PATH")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /v1/pages/\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /v1/pages/é HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
        b"GET /v1/pages/a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/pages/a\x00b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/pages/a\x07b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/pages/a HTTP/1.1\r\nHost: a\r\nX\x00Y: b\r\n\r\n",
        b'GET /v1/pages/a HTTP/1.1\r\nHost: a\r\nIf-None-Match: "\x00"\r\n\r\n',
        b"GET /v1/pages/a HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET ftp://a/v1/pages/a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET a:80/v1/pages/a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http:///v1/pages/a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"BREW /v1/pages/a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /v1/pages/%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 9000),
        b"GET /v1/pages/k?%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 9000),
        b"GET /v1/pages/a HTTP/1.1\r\nHost: a\r\nIf-None-Match: %b\r\n\r\n" % (b'"a",' * 3000),
        b"GET /v1/pages/a HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"X: y\r\n" * 200),
        (
            b"GET /v1/pages/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_closed(
    http: str, request_bytes: bytes
) -> None:
    answer = await send(http, request_bytes)
    assert "malformed" in refused(answer, 400, "BAD_REQUEST")


@pytest.mark.parametrize("version", [b"", b" HTTP/0.9"])
async def test_a_request_older_than_http_1_is_refused(
    client: pantler.AsyncClient, http: str, version: bytes
) -> None:
    await client.set("pages", "old", b"content")
    host, _, port = http.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /v1/pages/old%b\r\n\r\n" % version)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    assert b" 400 Bad Request\r\n" in answer
    assert b"content" not in answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    "framed",
    [
        b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"Content-Encoding: br\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nno chunk\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\naGET / HTTP/1.1\r\n\r\n",
        b"Content-Length: 5\r\n\r\nGET /GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_a_body_is_passed_over_and_ends_the_connection(
    client: pantler.AsyncClient, http: str, framed: bytes
) -> None:
    await client.set("pages", "body", b"here")
    answer = await send(http, b"GET /v1/pages/body HTTP/1.1\r\nHost: a\r\n" + framed)
    assert answer.status in (200, 400)
    assert b"HTTP/1" not in answer.body, "what is within or behind the body was answered"


async def test_odd_requests_leave_the_service_as_it_was(
    client: pantler.AsyncClient, gateway: PantlerServer
) -> None:
    await client.set("pages", "after", b"well")
    assert (await ask(gateway.http_address, "/v1/pages/after")).body == b"well"
    odd = [one for one in gateway.events if "text" in one or one.get("event") == "defect"]
    assert not odd


async def test_one_connection_takes_refusals_and_answers_in_turn(
    client: pantler.AsyncClient, http: str
) -> None:
    await client.set("pages", "turn", b"last")
    paths = ("/v1/pages/%zz", "/v1/nobody/k", "/v1/pages/turn")
    requests = [f"GET {path} HTTP/1.1\r\nHost: a\r\n" for path in paths]
    answer = await send(
        http, ("\r\n".join((*requests[:2], requests[2] + "Connection: close\r\n\r\n"))).encode()
    )
    assert answer.status == 400
    assert b"HTTP/1.1 404 Not Found\r\n" in answer.body
    assert answer.body.endswith(b"\r\n\r\nlast")


async def test_an_absolute_target_is_as_good_as_its_path(
    client: pantler.AsyncClient, http: str
) -> None:
    await client.set("pages", "absolute", b"here")
    for scheme in ("http", "HTTPS"):
        target = f"{scheme}://other.example/v1/pages/absolute"
        assert (await ask(http, target)).body == b"here"
    refused(await ask(http, "*", method="OPTIONS"), 404, "NOT_FOUND")


async def test_queries_are_ignored(client: pantler.AsyncClient, http: str) -> None:
    await client.set("pages", "query", b"same")
    for query in ("?", "?a=b", "?/../%zz", "?a=%00&b"):
        assert (await ask(http, f"/v1/pages/query{query}")).body == b"same"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PURGE", "TRACE"])
async def test_other_methods_are_refused(http: str, method: str) -> None:
    answer = await ask(http, "/v1/pages/k", method=method)
    refused(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "GET, HEAD"


async def test_what_is_not_served_says_what_to_do(http: str) -> None:
    for name in ("plain", "nobody"):
        message = refused(await ask(http, f"/v1/{name}/k"), 404, "ERROR_REASON_NO_HTTP")
        assert "set its `http`" in message
    refused(await ask(http, "/v2/pages/k"), 404, "NOT_FOUND")


async def test_a_missing_key_may_be_kept_for_a_moment(http: str) -> None:
    plain = await ask(http, "/v1/pages/missing")
    assert (plain.status, plain.headers["cache-control"]) == (404, "public, max-age=5")
    assert not TAGS & plain.headers.keys()
    assert json.loads(plain.body)["error"]["reason"] == "NOT_FOUND"
    personal = await ask(http, "/v1/personal/missing")
    assert personal.headers["cache-control"] == "private, max-age=60"
    tagged = await ask(http, "/v1/short/mis%20sing")
    assert (tagged.status, tagged.headers["vary"]) == (404, "Accept")
    assert tagged.headers["xkey"] == "pantler:short pantler:short/mis%20sing"
    assert "max-age" not in (await ask(http, "/v1/unkept/k")).headers["cache-control"]
    asked = {"If-None-Match": "*", "If-Modified-Since": plain.headers["date"]}
    assert (await ask(http, "/v1/pages/missing", asked)).status == 404


async def test_a_policy_bounds_how_long_a_response_may_be_kept(
    client: pantler.AsyncClient, http: str
) -> None:
    await client.set("short", "k", b"v", tags=["t"])
    first = await ask(http, "/v1/short/k")
    assert first.headers["age"] == "0"
    grace = "stale-while-revalidate=30"
    assert first.headers["cache-control"] == f"public, max-age=5, s-maxage=20, {grace}"
    assert first.headers["cdn-cache-control"] == f"max-age=60, {grace}"
    assert first.headers["cache-tag"] == "pantler:short,pantler:short/k,t"
    assert first.headers["vary"] == "Accept"
    await asyncio.sleep(1.1)  # Age is counted in seconds
    later = await ask(http, "/v1/short/k")
    age = int(later.headers["age"])
    assert age >= 1
    lifetimes = f"max-age={age + 5}, s-maxage={age + 20}"
    assert later.headers["cache-control"] == f"public, {lifetimes}, {grace}"
    assert later.headers["cdn-cache-control"] == f"max-age={age + 60}, {grace}"


async def test_no_response_outlives_its_entry(client: pantler.AsyncClient, http: str) -> None:
    await client.set("personal", "k", b"v", ttl=timedelta(seconds=7))
    answer = await ask(http, "/v1/personal/k")
    assert answer.headers["cache-control"] == "private, max-age=7"


async def test_a_stale_entry_is_given_with_nothing_left(
    client: pantler.AsyncClient, http: str
) -> None:
    await client.set("gracious", "k", b"v")
    await client.invalidate_keys("gracious", ["k"], soft=True)
    answer = await ask(http, "/v1/gracious/k")
    assert (answer.status, answer.body) == (200, b"v")
    assert answer.headers["cache-control"] == f"public, max-age={answer.headers['age']}"
    await client.invalidate_keys("gracious", ["k"])
    assert (await ask(http, "/v1/gracious/k")).status == 404


async def test_what_is_not_to_be_kept_has_no_tags(client: pantler.AsyncClient, http: str) -> None:
    await client.set("unkept", "k", b"v", tags=["t"])
    answer = await ask(http, "/v1/unkept/k")
    assert answer.headers["cache-control"] == "no-store"
    assert not TAGS & answer.headers.keys()
    await client.set(
        "pages", "many", b"v", tags=[f"{number:02}" + "é" * 127 for number in range(11)]
    )
    many = await ask(http, "/v1/pages/many")
    assert (many.status, many.headers["cache-control"]) == (200, "no-store")
    assert not TAGS & many.headers.keys()


async def test_who_has_the_newest_gets_304(client: pantler.AsyncClient, http: str) -> None:
    await client.set("short", "cond", b"content", content_type="text/plain", tags=["t"])
    whole = await ask(http, "/v1/short/cond")
    etag, changed = whole.headers["etag"], whole.headers["last-modified"]
    for asked in (
        {"If-None-Match": etag},
        {"If-None-Match": f'"x", W/{etag}'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": changed},
        {"If-None-Match": etag, "If-Modified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"},
    ):
        for method in ("GET", "HEAD"):
            answer = await ask(http, "/v1/short/cond", asked, method=method)
            assert (answer.status, answer.reason, answer.body) == (304, "Not Modified", b"")
            # RFC 9110 section 15.4.5, and what brings a kept response up to date
            assert answer.headers.keys() == {
                *("date", "etag", "cache-control", "cdn-cache-control", "vary", "age"),
                *TAGS,
                *("server", "connection"),
            }
            for name in ("etag", "vary", *TAGS):
                assert answer.headers[name] == whole.headers[name]
    for asked in (
        {"If-None-Match": '"x"'},
        {"If-None-Match": '"x"', "If-Modified-Since": changed},
        {"If-Modified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"},
        {"If-Modified-Since": "never"},
    ):
        answer = await ask(http, "/v1/short/cond", asked)
        assert (answer.status, answer.body) == (200, b"content")


async def test_who_asks_for_what_is_gone_gets_412(client: pantler.AsyncClient, http: str) -> None:
    await client.set("pages", "match", b"v")
    whole = await ask(http, "/v1/pages/match")
    etag = whole.headers["etag"]
    long_ago = "Sun, 06 Nov 1994 08:49:37 GMT"
    for asked in (
        {"If-Match": '"x"'},
        {"If-Match": f"W/{etag}"},
        {"If-Unmodified-Since": long_ago},
    ):
        refused(await ask(http, "/v1/pages/match", asked), 412, "PRECONDITION_FAILED")
    for asked in ({"If-Match": f'"x", {etag}'}, {"If-Match": "*", "If-Unmodified-Since": long_ago}):
        assert (await ask(http, "/v1/pages/match", asked)).body == b"v"
    both = {"If-Match": etag, "If-None-Match": etag}
    assert (await ask(http, "/v1/pages/match", both)).status == 304


async def test_conditions_in_several_lines_are_one_list(
    client: pantler.AsyncClient, http: str
) -> None:
    await client.set("pages", "lines", b"v")
    etag = (await ask(http, "/v1/pages/lines")).headers["etag"]
    lines = f'If-None-Match: "x"\r\nIf-None-Match: {etag}\r\n'
    head = "GET /v1/pages/lines HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    assert (await send(http, f"{head}{lines}\r\n".encode())).status == 304


async def test_every_write_has_an_etag_of_its_own(client: pantler.AsyncClient, http: str) -> None:
    tags = set()
    for _ in range(3):
        await client.set("pages", "again", b"the same")
        tags.add((await ask(http, "/v1/pages/again")).headers["etag"])
    assert len(tags) == 3


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


async def test_responses_are_counted(http: str) -> None:
    async def count(name: str) -> float:
        text = (await ask(http, "/metrics")).body.decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    async def wait_for(name: str, least: float) -> None:
        async with asyncio.timeout(5):  # counts are handed on twice a second
            while await count(name) < least:
                await asyncio.sleep(0.1)

    teapots = 'pantler_http_responses_total{status="405"}'
    refusals, seconds = await count(teapots), await count("pantler_http_seconds_count")
    for _ in range(3):
        await ask(http, "/v1/pages/k", method="POST")
    await wait_for(teapots, refusals + 3)
    await wait_for("pantler_http_seconds_count", seconds + 3)


async def names(server: PantlerServer) -> set[str]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        admin: Any = admin_pb2_grpc.AdminServiceStub(channel)
        listed = await admin.ListNamespaces(admin_pb2.ListNamespacesRequest())
        return {one.name for one in listed.namespaces}


async def test_a_crawler_creates_no_namespace(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text("namespace_defaults: {http: {}}\nnamespaces: {named: {http: null}}\n")
    async with PantlerServer(config=config) as server:
        http = server.http_address
        answer = await ask(http, "/v1/crawled/k")
        assert (answer.status, answer.headers["cache-control"]) == (404, "public, max-age=5")
        refused(await ask(http, "/v1/named/k"), 404, "ERROR_REASON_NO_HTTP")
        assert await names(server) == {"named"}
        async with pantler.AsyncClient(server.address) as client:
            await client.set("crawled", "k", b"v")
        assert (await ask(http, "/v1/crawled/k")).body == b"v"
        assert await names(server) == {"crawled", "named"}


async def test_a_strict_server_knows_what_is_configured(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text(
        "strict_namespaces: true\nnamespace_defaults: {http: {}}\nnamespaces: {named: {}}\n"
    )
    async with PantlerServer(config=config) as server:
        answer = await ask(server.http_address, "/v1/nobody/k")
        message = refused(answer, 404, "ERROR_REASON_NAMESPACE_UNKNOWN")
        assert "add it under `namespaces`" in message
        assert (await ask(server.http_address, "/v1/named/k")).headers["cache-control"] == (
            "public, max-age=5"
        )


async def test_a_reload_changes_what_is_told(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text("namespaces: {pages: {http: {max_age: 1m}}}\n")
    async with (
        PantlerServer(config=config) as server,
        pantler.AsyncClient(server.address) as client,
    ):
        await client.set("pages", "k", b"v")
        before = await ask(server.http_address, "/v1/pages/k")
        assert before.headers["cache-control"] == "public, max-age=60"
        for text, changed in (
            ("namespaces: {pages: {http: {max_age: 2m}}}\n", "http.max_age"),
            ("namespaces: {pages: {}}\n", "http"),
        ):
            lines = len(server.events)
            config.write_text(text)
            async with grpc.aio.insecure_channel(server.address) as channel:
                admin: Any = admin_pb2_grpc.AdminServiceStub(channel)
                await admin.ReloadConfig(admin_pb2.ReloadConfigRequest())
            await server.wait_for("configuration reloaded", after=lines)
            answer = await ask(server.http_address, "/v1/pages/k")
            if changed == "http.max_age":
                assert answer.headers["cache-control"].startswith("public, max-age=12")
        refused(answer, 404, "ERROR_REASON_NO_HTTP")


async def test_redis_that_is_away_or_slow_is_told(tmp_path: Path) -> None:
    async with ValkeyServer() as valkey:
        config = tmp_path / "pantler.yaml"
        config.write_text(
            f"redis: {{url: '{valkey.url}', command_timeout: 10s}}\n"
            "default_deadline: 500ms\nnamespaces: {pages: {http: {}}}\n"
        )
        async with (
            PantlerServer(config=config) as server,
            pantler.AsyncClient(server.address) as client,
        ):
            http = server.http_address
            await client.set("pages", "k", b"v")
            assert (await ask(http, "/v1/pages/k")).status == 200
            valkey.pause()
            try:
                slow = await ask(http, "/v1/pages/k")
            finally:
                valkey.resume()
            refused(slow, 504, "ERROR_REASON_DEADLINE_EXCEEDED")
            await valkey.kill()
            async with asyncio.timeout(10):  # until the worker has noticed
                while (away := await ask(http, "/v1/pages/k")).status == 504:
                    await asyncio.sleep(0.05)
            refused(away, 503, "ERROR_REASON_STORE_UNAVAILABLE")
            assert away.headers["retry-after"] == "1"
            await valkey.start()
            async with asyncio.timeout(10):
                while (back := await ask(http, "/v1/pages/k")).status == 503:
                    await asyncio.sleep(0.05)
            assert back.status == 404
