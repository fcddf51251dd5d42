"""A real Envoy in front of a real service, from deploy/envoy as users get it, with its README."""

import asyncio
import shlex
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.docs.page import ROOT, blocks
from tests.servers.envoy import EXAMPLE, LISTENER, EnvoyServer
from tests.servers.pantler import PantlerServer

pytestmark = pytest.mark.component("envoy")

CONFIG = ROOT / "deploy/envoy/pantler.yaml"
README = (ROOT / "deploy/envoy/README.md").read_text()
SERVICE = "                      rate_limit_service:\n"
DENY = "                      failure_mode_deny: "

# A busy machine may take longer than the example allows.
PATIENT = {"  timeout: 0.1s": "  timeout: 5s", "connect_timeout: 0.25s": "connect_timeout: 5s"}

_queries = count()


@pytest_asyncio.fixture(scope="module")
async def upstream() -> AsyncIterator[str]:
    """The address of a service that answers everything with its path."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.path)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"{host}:{port}"
    await runner.cleanup()


@pytest_asyncio.fixture
async def pantler() -> AsyncIterator[PantlerServer]:
    async with PantlerServer(config=CONFIG) as running:
        yield running


@pytest_asyncio.fixture
async def envoy(upstream: str, pantler: PantlerServer) -> AsyncIterator[EnvoyServer]:
    async with EnvoyServer(upstream, pantler.address, change=PATIENT) as running:
        yield running


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def search(
    http: aiohttp.ClientSession, envoy: EnvoyServer, client: str
) -> aiohttp.ClientResponse:
    """Each with another query, which the limit leaves out of account."""
    url = f"{envoy.url}/search?q={next(_queries)}"
    async with http.get(url, headers={"x-client": client}) as answer:
        await answer.read()
        return answer


async def test_a_client_is_refused_and_let_in_again_when_it_was_told(
    http: aiohttp.ClientSession, envoy: EnvoyServer
) -> None:
    for remaining in ("2", "1", "0"):
        answer = await search(http, envoy, "alice")
        assert answer.status == 200
        assert answer.headers["x-ratelimit-limit"] == "30"
        assert answer.headers["x-ratelimit-remaining"] == remaining
    refused = await search(http, envoy, "alice")
    assert refused.status == 429
    assert refused.headers["x-envoy-ratelimited"] == "true"
    assert refused.headers.getall("x-ratelimit-remaining") == ["0"]
    assert (await search(http, envoy, "bob")).status == 200
    async with http.get(f"{envoy.url}/about", headers={"x-client": "alice"}) as answer:
        assert (answer.status, await answer.text()) == (200, "/about")
    await asyncio.sleep(int(refused.headers["retry-after"]))
    assert (await search(http, envoy, "alice")).status == 200


async def test_a_client_has_one_limit_for_all_paths(
    http: aiohttp.ClientSession, envoy: EnvoyServer
) -> None:
    codes = []
    for number in range(11):
        url = f"{envoy.url}/{number}"
        async with http.get(url, headers={"x-client": "alice"}) as answer:
            codes.append(answer.status)
    assert codes == [200] * 10 + [429]
    async with http.get(envoy.url) as answer:
        assert answer.status == 200, "who names no client makes no descriptor"
        assert "x-ratelimit-limit" not in answer.headers


async def test_envoy_makes_headers_of_its_own_instead(
    upstream: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    config = tmp_path / "pantler.yaml"
    domain = "  - domain: edge\n"
    assert domain in CONFIG.read_text()
    config.write_text(CONFIG.read_text().replace(domain, f"{domain}    response_headers: false\n"))
    own = "                      enable_x_ratelimit_headers: DRAFT_VERSION_03\n"
    async with (
        PantlerServer(config=config) as pantler,
        EnvoyServer(upstream, pantler.address, change=PATIENT | {SERVICE: own + SERVICE}) as envoy,
    ):
        answer = await search(http, envoy, "alice")
        assert answer.headers.getall("x-ratelimit-limit") == ["30, 60;w=60, 30;w=60"]
        assert answer.headers.getall("x-ratelimit-remaining") == ["2"]


@pytest.mark.parametrize(("deny", "code"), [("false", 200), ("true", 500)])
async def test_without_pantler_envoy_decides(
    upstream: str, http: aiohttp.ClientSession, deny: str, code: int
) -> None:
    async with PantlerServer(config=CONFIG) as pantler:
        change = PATIENT | {f"{DENY}false": f"{DENY}{deny}"}
        async with EnvoyServer(upstream, pantler.address, change=change) as envoy:
            codes = [(await search(http, envoy, "alice")).status for _ in range(4)]
            assert codes == [200] * 3 + [429]
            await pantler.stop()
            assert [(await search(http, envoy, "alice")).status for _ in range(4)] == [code] * 4
            assert (await envoy.stats("ratelimit"))["cluster.service.ratelimit.error"] == 4


async def test_the_readme_works(upstream: str, http: aiohttp.ClientSession) -> None:
    commands = map(shlex.split, "".join(blocks("sh", README)).splitlines())
    serve, start, curl = commands
    assert serve[:2] == [".venv/bin/pantler", "serve"]
    assert start == [".venv/bin/envoy", "--config-path", str(EXAMPLE.relative_to(ROOT))]
    [_, _, _, header, url] = curl
    assert curl[:3] == ["curl", "-i", "-H"]
    name, _, value = header.partition(": ")
    port = LISTENER.rpartition(":")[2]
    async with (
        PantlerServer(*serve[2:], folder=ROOT) as pantler,
        EnvoyServer(upstream, pantler.address, change=PATIENT) as envoy,
    ):
        url = url.replace(f"http://localhost:{port}", envoy.url)
        for code in (200, 200, 200, 429):
            async with http.get(url, headers={name: value}) as answer:
                assert answer.status == code
        [shown] = blocks("http", README)
        first, *rest = shown.splitlines()
        assert first == f"HTTP/1.1 {answer.status} {answer.reason}"
        for line in rest:
            name, _, value = line.partition(": ")
            assert answer.headers[name] == value
