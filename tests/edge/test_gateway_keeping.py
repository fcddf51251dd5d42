"""The HTTP gateway, over sockets: how long its responses may be kept, and who has the newest."""

import asyncio
import json
from datetime import timedelta

import pantler

from tests.edge.answers import TAGS, refused
from tests.servers.http import ask, send


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
