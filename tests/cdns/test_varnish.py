"""Varnish targets, against real servers with the VCL that users get as the example."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from typing import Self

import pytest
import pytest_asyncio
from aiohttp import web
from pantler_server.cdns.target import Batch, Target, TargetFailed, TargetRefused
from pantler_server.core.config import Settings
from pantler_server.engines.cdn.url import entry_urls
from pydantic import ValidationError

from tests.cdns.targets import targets
from tests.servers.valkey import free_port
from tests.servers.varnish import VCL, VarnishServer

pytestmark = pytest.mark.component("varnish")

_paths = count()


class Pages:
    """A site whose pages say how often each was asked for. `/tagged/A+B/…` has the tags A and B."""

    async def __aenter__(self) -> Self:
        self.port = free_port()
        self._asked = 0
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self._asked += 1
        headers = {"Cache-Control": "max-age=60, stale-while-revalidate=60"}
        parts = request.path.split("/")
        if parts[1] == "tagged":
            headers["xkey"] = parts[2].replace("+", " ")
        return web.Response(text=str(self._asked), headers=headers)


@pytest_asyncio.fixture(scope="module")
async def pages() -> AsyncIterator[Pages]:
    async with Pages() as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def servers(pages: Pages) -> AsyncIterator[tuple[VarnishServer, VarnishServer]]:
    backend = f"127.0.0.1:{pages.port}"
    async with VarnishServer(backend) as first, VarnishServer(backend) as second:
        yield first, second


@pytest_asyncio.fixture
async def target(servers: tuple[VarnishServer, VarnishServer]) -> AsyncIterator[Target]:
    opened = targets(edge={"varnish": {"servers": [one.url for one in servers]}})
    yield opened.of("edge")
    await opened.stop()


def page(tags: str = "") -> str:
    """One that nobody has asked for."""
    return f"/tagged/{tags}/{next(_paths)}" if tags else f"/{next(_paths)}"


async def is_kept(server: VarnishServer, path: str) -> bool:
    """Whether it has a page; it has it then."""
    return (await server.get(path)).headers["x-cache"] == "HIT"


async def keep(server: VarnishServer, *paths: str) -> None:
    """Has it keep pages."""
    for path in paths:
        await server.get(path)
        assert await is_kept(server, path)


async def test_tags_are_purged_from_every_server(
    target: Target, servers: tuple[VarnishServer, VarnishServer]
) -> None:
    one, both, other = page("a"), page("b+a"), page("c")
    for server in servers:
        await keep(server, one, both, other)
    await target.purge(Batch(tags=["a", "nobody%20has", "x" * 700]))
    for server in servers:
        assert [await is_kept(server, path) for path in (one, both, other)] == [False, False, True]


async def test_as_many_tags_as_it_takes_fit_a_line(
    target: Target, servers: tuple[VarnishServer, VarnishServer]
) -> None:
    last = page("last")
    await keep(servers[0], last)
    room = target.limits.tag_bytes_per_request - len(" last")
    tags = ["x" * 99] * (room // 100)
    tags.append("y" * (room - len(" ".join(tags)) - 1))
    tags.append("last")
    assert len(" ".join(tags)) == target.limits.tag_bytes_per_request
    await target.purge(Batch(tags=tags))
    assert not await is_kept(servers[0], last)


async def test_a_soft_purge_serves_stale_once(
    target: Target, servers: tuple[VarnishServer, VarnishServer]
) -> None:
    tagged, named = page("soft"), page()
    for server in servers:
        await keep(server, tagged, named)
    before = [(await servers[0].get(path)).body for path in (tagged, named)]
    await target.purge(Batch(tags=["soft"], soft=True))
    await target.purge(Batch(urls=[f"http://pantler.example{named}"], soft=True))
    stale = [(await servers[0].get(path)).body for path in (tagged, named)]
    assert stale == before
    async with asyncio.timeout(10):
        for path, old in zip((tagged, named), before, strict=True):
            while (await servers[0].get(path)).body == old:
                await asyncio.sleep(0.01)


async def test_a_url_is_purged_and_no_other(
    target: Target, servers: tuple[VarnishServer, VarnishServer]
) -> None:
    path = page()
    paths = [path, f"{path}?a=1", f"{path}?a=2", f"{path}/%C3%A4"]
    await keep(servers[1], *paths)
    for host in ("other.example", "pantler.example:8443"):
        await target.purge(Batch(urls=[f"https://{host}{path}"]))
    assert await is_kept(servers[1], path)
    await target.purge(Batch(urls=[f"https://pantler.example{path}?a=1#part"]))
    await target.purge(Batch(urls=[f"https://pantler.example{path}/\u00e4"]))
    assert [await is_kept(servers[1], one) for one in paths] == [True, False, True, False]


async def test_the_url_of_an_entry_is_purged_as_visitors_ask_for_it(
    target: Target, servers: tuple[VarnishServer, VarnishServer]
) -> None:
    path = f"{page()}/a/b%20%25%C3%BC"
    await keep(servers[0], path)
    template = f"http://Pantler.Example:80{path.partition('/a/')[0]}/{{key}}"
    await target.purge(Batch(urls=[*entry_urls([template], "a/b %\u00fc")]))
    assert not await is_kept(servers[0], path)


async def test_everything_is_purged(
    target: Target, servers: tuple[VarnishServer, VarnishServer]
) -> None:
    paths = [page(), page("a")]
    for server in servers:
        await keep(server, *paths)
    await target.purge(Batch(everything=True))
    for server in servers:
        assert [await is_kept(server, path) for path in paths] == [False, False]


async def test_one_server_that_is_away_fails_it_all_until_it_is_back(
    pages: Pages, servers: tuple[VarnishServer, VarnishServer]
) -> None:
    path = page("a")
    async with VarnishServer(f"127.0.0.1:{pages.port}") as third:
        opened = targets(edge={"varnish": {"servers": [third.url, servers[0].url]}})
        target = opened.of("edge")
        await target.purge(Batch(tags=["a"]))
        await keep(servers[0], path)
        await third.kill()
        with pytest.raises(TargetFailed, match=f"^{third.address}: can't connect to "):
            await target.purge(Batch(tags=["a"]))
        assert not await is_kept(servers[0], path)  # it did not wait for the other
        await third.start()
        await target.purge(Batch(tags=["a"]))
        third.pause()
        with pytest.raises(TargetFailed, match=f"^{third.address}: no answer within 2s$"):
            await target.purge(Batch(tags=["a"]))
        third.resume()
        await target.purge(Batch(tags=["a"]))
        await opened.stop()


async def test_a_server_that_does_not_let_us_is_named(
    pages: Pages, servers: tuple[VarnishServer, VarnishServer]
) -> None:
    closed = VCL.read_text().replace('    "127.0.0.1";\n    "::1";\n', '    "192.0.2.1";\n')
    async with VarnishServer(f"127.0.0.1:{pages.port}", vcl=closed) as strict:
        opened = targets(edge={"varnish": {"servers": [servers[0].url, strict.url]}})
        target = opened.of("edge")
        path = page("a")
        await keep(servers[0], path)
        for batch in (Batch(tags=["a"]), Batch(everything=True), Batch(urls=["http://a.example/"])):
            with pytest.raises(TargetRefused) as refused:
                await target.purge(batch)
            assert str(refused.value) == f"{strict.address}: 405: Not allowed to purge"
        assert not await is_kept(servers[0], path)
        away = targets(
            edge={"varnish": {"servers": [strict.url, f"http://127.0.0.1:{free_port()}"]}}
        )
        with pytest.raises(TargetFailed):  # which is repeated, so that it is purged once it is back
            await away.of("edge").purge(Batch(tags=["a"]))
        await away.stop()
        await opened.stop()


async def test_a_vcl_that_knows_urls_alone_has_not_purged_tags(pages: Pages) -> None:
    plain = """vcl 4.1;
backend default { .host = "127.0.0.1"; .port = "8080"; }
sub vcl_recv { if (req.method == "PURGE") { return (purge); } }
sub vcl_deliver {
    set resp.http.x-cache = "MISS";
    if (obj.hits > 0) { set resp.http.x-cache = "HIT"; }
}
"""
    async with VarnishServer(f"127.0.0.1:{pages.port}", vcl=plain) as server:
        opened = targets(edge={"varnish": {"servers": [server.url]}})
        target, path = opened.of("edge"), page("a")
        await keep(server, path)
        for batch in (Batch(tags=["a"]), Batch(tags=["a"], soft=True), Batch(everything=True)):
            with pytest.raises(TargetRefused, match="its VCL purges URLs alone") as refused:
                await target.purge(batch)
            assert refused.value.of_rights
        assert await is_kept(server, path)
        await target.purge(Batch(urls=[f"http://pantler.example{path}"]))
        assert not await is_kept(server, path)
        await opened.stop()


@pytest.mark.parametrize("tag", ["a\r\nHost: other", "a\nxkey-purge: b", "\u00e4", "a\0b"])
async def test_no_tag_becomes_another_header(
    target: Target, servers: tuple[VarnishServer, VarnishServer], tag: str
) -> None:
    """Tags are encoded before; but were they not."""
    with pytest.raises(TargetRefused, match="a header of the request would be malformed"):
        await target.purge(Batch(tags=[tag]))


@pytest.mark.parametrize(
    "server", ["http://a/path", "http://a?b", "http://user@a", "a:6081", "http://", "http://a:x"]
)
def test_a_server_is_a_scheme_and_a_host(server: str) -> None:
    config = {"cdn_targets": {"edge": {"varnish": {"servers": [server]}}}}
    with pytest.raises(ValidationError):
        Settings.model_validate(config)
