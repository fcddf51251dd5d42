"""`pantler.fastapi`: an app behind uvicorn, and requests to it as browsers make them."""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Annotated, Any

import aiohttp
import pantler
import pytest
import pytest_asyncio
import uvicorn
from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pantler.fastapi import CachedRoute, PantlerClient, ResponseCache, get_client, pantler_lifespan
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.servers.pantler import PantlerServer
from tests.servers.valkey import free_port

_numbers = count()
NO_PARTS: list[str] = []


class App:
    """What the endpoints of `app_of` share with a test."""

    def __init__(self) -> None:
        self.computed: Counter[str] = Counter()
        self.background = 0
        self.delay_s = 0.0
        self.gate = asyncio.Event()
        self.gate.set()


@pytest.fixture
def namespace() -> str:
    return f"pages{next(_numbers)}"


@pytest.fixture
def app() -> App:
    return App()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def turn(self) -> int:
        return int(json.loads(self.body)["turn"])


class Browser:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(self, method: str, url: str, headers: dict[str, str] | None = None) -> Answer:
        async with self._session.request(method, url, headers=headers) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def get(self, url: str, headers: dict[str, str] | None = None) -> Answer:
        return await self.ask("GET", url, headers)


@asynccontextmanager
async def serving(asgi: Any) -> AsyncIterator[Browser]:
    """A browser, as it were, in front of an app behind uvicorn."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(asgi, log_config=None, ws="none"))
        running = asyncio.create_task(server.serve([listening]))
        while not server.started:
            await asyncio.sleep(0.005)
        port = listening.getsockname()[1]
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                yield Browser(session)
        finally:
            server.should_exit = True
            await running


def app_of(address: str, namespace: str, app: App) -> FastAPI:
    asgi = FastAPI(lifespan=pantler_lifespan(address))
    router = APIRouter(route_class=CachedRoute, prefix="/api")

    def cached(**given: Any) -> ResponseCache:
        return ResponseCache(namespace, ttl=timedelta(minutes=1), **given)

    @router.api_route("/users/{user_id}", methods=["GET", "HEAD", "POST"])
    @cached(tags=["user:{user_id}"])
    async def user(
        user_id: int, background: BackgroundTasks, part: Annotated[list[str], Query()] = NO_PARTS
    ) -> dict[str, Any]:
        def count() -> None:
            app.background += 1

        background.add_task(count)
        app.computed["user"] += 1
        await app.gate.wait()
        return {"id": user_id, "part": part, "turn": app.computed["user"]}

    @router.get("/plain")
    @cached(cache_control="public, max-age=60", vary=["Accept-Language"])
    def plain(lang: str = "") -> str:
        app.computed["plain"] += 1
        return str(app.computed["plain"])

    @router.get("/odd/{kind}")
    @cached(statuses=[410], max_body_bytes=1000)
    async def odd(kind: str) -> Response:
        app.computed[kind] += 1
        match kind:
            case "cookie":
                made: Response = JSONResponse({})
                made.set_cookie("session", "secret")
                return made
            case "streamed":
                return StreamingResponse(iter(["a", "b"]))
            case "large":
                return Response(b"x" * 1001)
            case "raised":
                await asyncio.sleep(app.delay_s)
                raise HTTPException(404)
            case "broken":
                await asyncio.sleep(app.delay_s)
                raise pantler.Unavailable("another Pantler is away")
            case "gone":
                return Response("gone", 410)
        headers = {
            "private": {"Cache-Control": "private, max-age=60"},
            "varied": {"Vary": "Cookie"},
        }
        return Response(kind, 404 if kind == "missing" else 200, headers.get(kind))

    @router.put("/users/{user_id}")
    async def rename(user_id: int, client: PantlerClient) -> None:
        await client.invalidate_tags(namespace, [f"user:{user_id}"])

    asgi.include_router(router)
    return asgi


@pytest_asyncio.fixture
async def browser(server: PantlerServer, namespace: str, app: App) -> AsyncIterator[Browser]:
    async with serving(app_of(server.address, namespace, app)) as opened:
        yield opened


async def test_a_response_is_kept_with_its_headers(browser: Browser, app: App) -> None:
    first = await browser.get("/api/users/1")
    second = await browser.get("/api/users/1")
    assert json.loads(first.body) == json.loads(second.body) == {"id": 1, "part": [], "turn": 1}
    for name in ("ETag", "Cache-Control", "Content-Type", "Content-Length"):
        assert first.headers[name] == second.headers[name]
    assert (second.headers["Cache-Control"], second.headers["Age"]) == ("no-cache", "0")
    assert not second.headers["ETag"].startswith("W/")
    assert "Age" not in first.headers
    assert app.background == 1


async def test_what_a_browser_has_is_not_sent_again(browser: Browser) -> None:
    etag = (await browser.get("/api/users/1")).headers["ETag"]
    for known in (etag, f'W/{etag}, "other"', "*"):
        answer = await browser.get("/api/users/1", headers={"If-None-Match": known})
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["ETag"] == etag
        assert answer.headers["Cache-Control"] == "no-cache"
        assert "Content-Type" not in answer.headers
    answer = await browser.get("/api/users/1", headers={"If-None-Match": '"other"'})
    assert answer.status == 200


async def test_head_is_answered_as_get_would_be(browser: Browser, app: App) -> None:
    head = await browser.ask("HEAD", "/api/users/1")
    got = await browser.get("/api/users/1")
    assert (head.status, head.body) == (200, b"")
    for name in ("ETag", "Content-Length", "Content-Type"):
        assert head.headers[name] == got.headers[name]
    assert int(head.headers["Content-Length"]) == len(got.body)
    assert app.computed["user"] == 1


async def test_of_many_who_ask_at_once_one_computes(browser: Browser, app: App) -> None:
    app.gate.clear()
    asking = [asyncio.create_task(browser.get("/api/users/1")) for _ in range(50)]
    await asyncio.sleep(0.5)
    app.gate.set()
    assert {(await one).turn for one in asking} == {1}
    assert app.computed["user"] == 1


async def test_each_path_and_query_has_its_own(browser: Browser, app: App) -> None:
    async def turn(url: str) -> int:
        return (await browser.get(url)).turn

    assert await turn("/api/users/1?part=a&x=1") == await turn("/api/users/1?x=1&part=a") == 1
    assert await turn("/api/users/1?part=a&part=b") == 2
    assert await turn("/api/users/1?part=b&part=a") == 3
    assert await turn("/api/users/2") == 4
    assert (await browser.ask("POST", "/api/users/2")).status == 200
    assert app.computed["user"] == 5


async def test_named_headers_of_the_request_are_told_apart(browser: Browser) -> None:
    async def asked(language: str) -> Answer:
        return await browser.get("/api/plain", headers={"Accept-Language": language})

    english, german, again = await asked("en"), await asked("de"), await asked("en")
    assert english.body == again.body != german.body
    assert (again.headers["Vary"], again.headers["Cache-Control"]) == (
        "accept-language",
        "public, max-age=60",
    )


async def test_a_tag_invalidates_what_has_it(browser: Browser, app: App) -> None:
    for _ in range(2):
        await browser.get("/api/users/1")
        await browser.get("/api/users/2")
    assert app.computed["user"] == 2
    assert (await browser.ask("PUT", "/api/users/1")).status == 200
    assert (await browser.get("/api/users/1")).turn == 3
    assert (await browser.get("/api/users/2")).turn == 2


async def test_tags_are_made_of_all_parameters_of_the_path(
    server: PantlerServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    turns = count()
    router = APIRouter(route_class=CachedRoute)

    @router.get("/users/{user_id}")
    @ResponseCache(namespace, tags=["{tenant}:{user_id}"])
    async def user(user_id: str) -> dict[str, int]:
        return {"turn": next(turns)}

    @router.get("/teams/{team_id}")
    @ResponseCache(namespace, tags=["team:{id}"])
    async def team(team_id: str) -> None: ...

    asgi = FastAPI(lifespan=pantler_lifespan(server.address))
    asgi.include_router(router, prefix="/{tenant}")
    async with pantler.AsyncClient(server.address) as client, serving(asgi) as browser:
        urls = ("/a:b/users/c", "/a/users/b:c")
        assert [(await browser.get(url)).turn for url in urls * 2] == [0, 1, 0, 1]
        await client.invalidate_tags(namespace, ["a:b:c"])
        assert [(await browser.get(url)).turn for url in urls] == [0, 2]
        long = f"/a/users/{'x' * 300}"
        assert [(await browser.get(long)).turn for _ in range(2)] == [3, 4]
        assert "'user_id' of the path makes no key" in caplog.text
        assert (await browser.get("/a/teams/1")).status == 500
    assert "'team:{id}': the path has no argument 'id'" in caplog.text


def test_tags_that_are_none_are_refused_at_once() -> None:
    for tags, error in ((["{a}{b}"], ValueError), (["{a"], ValueError), ("user", TypeError)):
        with pytest.raises(error, match=r"separate|expected|several"):
            ResponseCache("pages", tags=tags)


@pytest.mark.parametrize(
    "kind",
    ["cookie", "streamed", "large", "private", "varied", "missing", "raised", "broken"],
)
async def test_what_is_not_for_all_is_not_kept(
    browser: Browser, app: App, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [await browser.get(f"/api/odd/{kind}") for _ in range(3)]
    assert app.computed[kind] == 3
    assert len({(one.status, one.body) for one in answers}) == 1
    assert all("Set-Cookie" in one.headers for one in answers) == (kind == "cookie")
    assert not [one for one in caplog.records if one.name == "pantler"]


async def test_an_error_is_kept_if_it_is_asked_for(browser: Browser, app: App) -> None:
    assert [(await browser.get("/api/odd/gone")).status for _ in range(2)] == [410, 410]
    assert app.computed["gone"] == 1


async def test_requests_with_authorization_pass_by_the_cache(browser: Browser, app: App) -> None:
    for _ in range(2):
        await browser.get("/api/users/1", headers={"Authorization": "Bearer x"})
    assert app.computed["user"] == 2


async def test_without_pantler_all_is_computed(namespace: str, app: App) -> None:
    async with serving(app_of(f"127.0.0.1:{free_port()}", namespace, app)) as browser:
        turns = [(await browser.get("/api/users/1")).turn for _ in range(3)]
    assert turns == [1, 2, 3]


@pytest.mark.parametrize(("kind", "status"), [("raised", 404), ("broken", 500)])
async def test_requests_at_once_share_what_an_endpoint_raises(
    browser: Browser, app: App, kind: str, status: int
) -> None:
    app.delay_s = 0.3
    for most in (6, 12):  # each time the first, one of those that came meanwhile, and late ones
        async with asyncio.timeout(5):  # and not 40 times 0.3 s
            answers = await asyncio.gather(*(browser.get(f"/api/odd/{kind}") for _ in range(40)))
        assert {answer.status for answer in answers} == {status}
        assert app.computed[kind] <= most


@pytest_asyncio.fixture(scope="module")
async def revalidating(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    config = tmp_path_factory.mktemp("revalidating") / "pantler.yaml"
    config.write_text(
        "namespaces: {revalidated: {stale_while_revalidate: 1h}, looked_into: {tag_index: true}}\n"
    )
    async with PantlerServer(config=config) as server:
        yield server


async def test_a_stale_response_is_given_while_it_is_computed_anew(
    revalidating: PantlerServer, app: App
) -> None:
    client = pantler.AsyncClient(revalidating.address)
    async with client, serving(app_of(revalidating.address, "revalidated", app)) as browser:
        etag = (await browser.get("/api/users/1")).headers["ETag"]
        await client.invalidate_tags("revalidated", ["user:1"], soft=True)
        assert (await browser.get("/api/users/1")).headers["ETag"] == etag
        async with asyncio.timeout(10):
            while (await browser.get("/api/users/1")).headers["ETag"] == etag:
                await asyncio.sleep(0.02)
        assert app.computed["user"] == 2


@pytest.mark.parametrize("kind", ["returned", "raised"])
async def test_a_refresh_that_fails_leaves_the_stale_response(
    revalidating: PantlerServer, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    computed = count(1)
    asgi = FastAPI(lifespan=pantler_lifespan(revalidating.address))
    asgi.router.route_class = CachedRoute

    @asgi.get("/{kind}")
    @ResponseCache("revalidated", ttl=timedelta(minutes=1), tags=["kind:{kind}"])
    async def page(kind: str) -> Response:
        if next(computed) == 1:
            return Response("well")
        if kind == "raised":
            raise HTTPException(500)
        return Response("broken", 500)

    async with pantler.AsyncClient(revalidating.address) as client, serving(asgi) as browser:
        assert (await browser.get(f"/{kind}")).body == b"well"
        await client.invalidate_tags("revalidated", [f"kind:{kind}"], soft=True)
        for _ in range(3):
            assert (await browser.get(f"/{kind}")).body == b"well"
            async with asyncio.timeout(10):
                while "gave nothing that may be kept" not in caplog.text:
                    await asyncio.sleep(0.02)
    assert next(computed) == 3


async def test_that_a_response_is_not_kept_is_known_for_seconds(
    revalidating: PantlerServer,
) -> None:
    """Also where its request is cancelled as soon as that is stored."""
    asking: list[asyncio.Task[Any]] = []

    class Cancelling(pantler.Hook):
        def begin(self, operation: str, namespace: str, address: str) -> Any:
            return operation

        def end(self, token: Any, outcome: str, error: BaseException | None) -> None:
            if token == "batch_set":
                asking[0].cancel()

    async def broken(request: Request) -> Response:
        return Response("broken", 500)

    client = pantler.AsyncClient(revalidating.address, hooks=[Cancelling()])
    async with client:
        scope = {
            "type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [],
            "state": {"pantler": client},
        }  # fmt: skip
        cache = ResponseCache("looked_into", ttl=timedelta(minutes=1), tags=["all"])
        asking.append(asyncio.create_task(cache.handler(broken)(Request(scope))))
        with pytest.raises(asyncio.CancelledError):
            await asking[0]
        [found] = [one async for one in client.tagged_keys("looked_into", "all")]
        entry = await client.get("looked_into", found.key)
    assert entry is not None
    assert entry.expire_time is not None
    assert entry.expire_time - datetime.now(UTC) < timedelta(seconds=6)


async def test_an_app_of_starlette_caches_too(server: PantlerServer, namespace: str) -> None:
    turns = count()
    cache = ResponseCache(namespace, tags=["all"])

    async def home(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"home {next(turns)}")

    def plain(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"plain {next(turns)}")

    async def forget(request: Request) -> PlainTextResponse:
        await (await get_client(request)).invalidate_tags(namespace, ["all"])
        return PlainTextResponse("")

    routes = [
        Route("/", cache.endpoint(home)),
        Route("/plain", cache.endpoint(plain)),
        Route("/forget", forget),
    ]
    asgi = Starlette(routes=routes, lifespan=pantler_lifespan(server.address))
    async with serving(asgi) as browser:
        texts = [(await browser.get(url)).body for url in ("/", "/", "/plain", "/plain")]
        assert texts == [b"home 0", b"home 0", b"plain 1", b"plain 1"]
        await browser.get("/forget")
        assert (await browser.get("/")).body == b"home 2"


async def test_an_app_without_a_client_is_told_so() -> None:
    with pytest.raises(RuntimeError, match="lifespan=pantler_lifespan"):
        await get_client(Request({"type": "http"}))
