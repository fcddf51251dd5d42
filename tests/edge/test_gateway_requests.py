"""The HTTP gateway, over sockets: odd requests get clear refusals."""

import asyncio

import pantler
import pytest

from tests.edge.answers import refused
from tests.servers.http import ask, send
from tests.servers.pantler import PantlerServer


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
        b"GET /v1/pages/a HTTP/1.1\r\n\r\n",
        b"GET /v1/pages/a HTTP/1.1\r\nHost: a b/c\r\n\r\n",
        b"GET /v1/pages/a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
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


@pytest.mark.parametrize("version", [b"", b" HTTP/0.9", b" HTTP/2.0"])
async def test_a_request_of_another_http_than_1_is_refused(
    client: pantler.AsyncClient, http: str, version: bytes
) -> None:
    await client.set("pages", "old", b"content")
    host, _, port = http.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /v1/pages/old%b\r\nHost: a\r\n\r\n" % version)
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


async def test_an_upgrade_that_is_not_taken_swallows_nothing(
    client: pantler.AsyncClient, http: str
) -> None:
    await client.set("pages", "old", b"first")
    upgrade = (
        b"GET /v1/pages/old HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    )
    answer = await send(http, upgrade + b"GET /v1/pages/other HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"first", "close")


@pytest.mark.parametrize("field", ["If-None-Match", "If-Match"])
async def test_conditions_of_many_lines_are_bounded(
    client: pantler.AsyncClient, http: str, field: str
) -> None:
    await client.set("pages", "many", b"content")
    head = "GET /v1/pages/many HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    for lines, status in ((2, {200, 412}), (3, {400})):
        asked = f"{field}: {',' * 8000}\r\n" * lines
        answer = await send(http, f"{head}{asked}\r\n".encode())
        assert answer.status in status
    assert f"{field} must be at most 16384 bytes" in refused(
        answer, 400, "ERROR_REASON_INVALID_FIELD"
    )


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
