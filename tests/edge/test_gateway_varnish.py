"""The gateway behind a real Varnish: what it keeps, for how long, and what its purges do."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path

import pantler
import pytest
import pytest_asyncio
from pantler_server.engines.cdn import headers
from pantler_server.engines.cdn.tag import key_tag, namespace_tag, wire_tag
from werkzeug.http import parse_date

from tests.servers.http import Answer, ask
from tests.servers.pantler import PantlerServer
from tests.servers.valkey import ValkeyServer
from tests.servers.varnish import VCL, VarnishServer

pytestmark = pytest.mark.component("varnish")

CONFIG = """
namespaces:
  pages:
    http: {max_age: 1h, stale_while_revalidate: 1h}
    cdn: {targets: [varnish]}
    stale_while_revalidate: 1h
  brief: {http: {max_age: 1s, stale_while_revalidate: 1h, not_found_max_age: 1s}}
  strict: {http: {max_age: 1s, must_revalidate: true}}
  confused: {http: {max_age: 1s, must_revalidate: true, stale_while_revalidate: 1h}}
  short: {http: {}}
  atcdn: {http: {max_age: 0s, cdn_max_age: 1h}}
  longer: {http: {max_age: 1s, cdn_max_age: 1h}}
  personal: {http: {visibility: private}}
cdn_targets: {varnish: {varnish: {servers: ["http://127.0.0.1:1"]}}}
"""

_numbers = count()


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    config: Path = tmp_path_factory.mktemp("varnish") / "pantler.yaml"
    config.write_text(CONFIG)
    async with PantlerServer(config=config) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def client(server: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    async with pantler.AsyncClient(server.address) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module")
async def varnish(server: PantlerServer) -> AsyncIterator[VarnishServer]:
    async with VarnishServer(server.http_address) as running:
        yield running


@pytest.fixture
def key() -> str:
    """One that no other test uses."""
    return f"k{next(_numbers)}"


def seen(answer: Answer) -> tuple[str, bytes]:
    """Whether it was kept, and the content."""
    assert answer.status == 200, answer
    return answer.headers["x-cache"], answer.body


async def refreshed(varnish: VarnishServer, path: str, body: bytes) -> None:
    """Waits until it gives this content: it is fetched beside the callers."""
    async with asyncio.timeout(10):
        while (await varnish.get(path)).body != body:
            await asyncio.sleep(0.02)


async def not_modified(server: PantlerServer) -> float:
    """How often the gateway answered with 304, once that has been handed on."""
    await asyncio.sleep(0.7)
    text = (await ask(server.http_address, "/metrics")).body.decode()
    name = 'pantler_http_responses_total{status="304"} '
    return sum(float(line[len(name) :]) for line in text.splitlines() if line.startswith(name))


async def test_what_is_kept_is_a_hit_and_ages_on(
    client: pantler.AsyncClient, varnish: VarnishServer, key: str
) -> None:
    await client.set("pages", key, b"one")
    await asyncio.sleep(1.1)  # Age is counted in seconds
    path = f"/v1/pages/{key}"
    first = await varnish.get(path)
    assert seen(first) == ("MISS", b"one")
    assert int(first.headers["age"]) >= 1
    await client.set("pages", key, b"two")
    await asyncio.sleep(1.1)
    again = await varnish.get(path)
    assert seen(again) == ("HIT", b"one")
    assert int(again.headers["age"]) >= int(first.headers["age"]) + 1
    assert again.headers["cache-control"].startswith("public, max-age=3600,")


async def test_tags_are_kept_from_browsers(
    client: pantler.AsyncClient, varnish: VarnishServer, key: str
) -> None:
    await client.set("pages", key, b"v", tags=["t"])
    answer = await varnish.get(f"/v1/pages/{key}")
    assert not {"xkey", "surrogate-key", "cache-tag", "cdn-cache-control"} & answer.headers.keys()


async def test_a_browser_that_has_the_newest_gets_304_from_varnish(
    client: pantler.AsyncClient, varnish: VarnishServer, key: str
) -> None:
    await client.set("pages", key, b"one")
    path = f"/v1/pages/{key}"
    etag = (await varnish.get(path)).headers["etag"]
    answer = await varnish.get(path, {"If-None-Match": etag})
    assert (answer.status, answer.headers["x-cache"], answer.body) == (304, "HIT", b"")
    assert answer.headers["etag"] == etag
    since = {"If-Modified-Since": (await varnish.get(path)).headers["last-modified"]}
    assert (await varnish.get(path, since)).status == 304
    assert (await varnish.get(path, {"If-None-Match": '"other"'})).status == 200


async def test_what_has_become_stale_is_renewed_by_a_304_of_pantler(
    client: pantler.AsyncClient, server: PantlerServer, varnish: VarnishServer, key: str
) -> None:
    await client.set("pages", key, b"one")
    path = f"/v1/pages/{key}"
    assert seen(await varnish.get(path)) == ("MISS", b"one")
    before = await not_modified(server)
    soft = await varnish.purge(path, {"soft-purge": "1"})
    assert (soft.status, soft.reason) == (200, "Purged 1")
    assert seen(await varnish.get(path)) == ("HIT", b"one")  # and asks beside
    assert await not_modified(server) == before + 1
    assert seen(await varnish.get(path)) == ("HIT", b"one")
    assert await not_modified(server) == before + 1, "it was not renewed"


async def test_in_its_grace_it_is_given_while_it_is_fetched_anew(
    client: pantler.AsyncClient, varnish: VarnishServer, key: str
) -> None:
    await client.set("brief", key, b"one")
    path = f"/v1/brief/{key}"
    assert seen(await varnish.get(path)) == ("MISS", b"one")
    await client.set("brief", key, b"two")
    await asyncio.sleep(1.5)  # past max-age, by Varnish's clock
    assert seen(await varnish.get(path)) == ("HIT", b"one")
    await refreshed(varnish, path, b"two")


@pytest.mark.parametrize("failure", ["redis is away", "pantler is away"])
async def test_in_its_grace_it_is_given_while_the_backend_fails(
    tmp_path: Path, key: str, failure: str
) -> None:
    config = tmp_path / "pantler.yaml"
    path = f"/v1/brief/{key}"
    async with ValkeyServer() as valkey:
        config.write_text(f"redis: {{url: '{valkey.url}'}}\ndefault_deadline: 500ms\n{CONFIG}")
        async with (
            PantlerServer(config=config) as pantler_server,
            VarnishServer(pantler_server.http_address) as varnish,
        ):
            async with pantler.AsyncClient(pantler_server.address) as client:
                await client.set("brief", key, b"one")
            assert seen(await varnish.get(path)) == ("MISS", b"one")
            await asyncio.sleep(1.5)  # past max-age, by Varnish's clock
            if failure == "redis is away":
                await valkey.kill()
                await failing(pantler_server.http_address, path)
            else:
                await pantler_server.stop()
            for _ in range(10):
                assert seen(await varnish.get(path)) == ("HIT", b"one")
                await asyncio.sleep(0.05)  # for the request beside, which fails


async def failing(address: str, path: str) -> None:
    """Waits until the gateway says that Redis is away."""
    async with asyncio.timeout(10):
        while (await ask(address, path)).status != 503:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("space", ["strict", "confused"])
async def test_what_must_be_asked_for_again_is(
    client: pantler.AsyncClient, varnish: VarnishServer, key: str, space: str
) -> None:
    path = f"/v1/{space}/{key}"
    await client.set(space, key, b"one")
    assert seen(await varnish.get(path)) == ("MISS", b"one")
    await client.set(space, key, b"two")
    await asyncio.sleep(1.5)  # past max-age, by Varnish's clock
    assert seen(await varnish.get(path)) == ("MISS", b"two")


async def test_without_a_grace_nothing_is_given_past_its_lifetime(
    client: pantler.AsyncClient, varnish: VarnishServer, key: str
) -> None:
    entry, missing = f"/v1/short/{key}", f"/v1/brief/missing-{key}"
    await client.set("short", key, b"one", ttl=timedelta(seconds=2))
    assert seen(await varnish.get(entry)) == ("MISS", b"one")
    assert (await varnish.get(missing)).status == 404
    await client.set("brief", f"missing-{key}", b"here")
    await asyncio.sleep(2.5)
    assert (await varnish.get(entry)).status == 404
    assert seen(await varnish.get(missing)) == ("MISS", b"here")


@pytest.mark.parametrize("tag", ["prices", "a b, é", "{namespace}", "{key}"])
async def test_a_purge_by_tag_has_it_fetched_anew(
    client: pantler.AsyncClient, varnish: VarnishServer, key: str, tag: str
) -> None:
    await client.set("pages", key, b"one", tags=["prices", "a b, é"])
    path = f"/v1/pages/{key}"
    assert seen(await varnish.get(path)) == ("MISS", b"one")
    wire = {"{namespace}": namespace_tag("pages"), "{key}": key_tag("pages", key)}
    await client.set("pages", key, b"two", tags=["prices"])
    assert seen(await varnish.get(path)) == ("HIT", b"one")
    purged = await varnish.purge("/", {"xkey-purge": f"other {wire.get(tag) or wire_tag(tag)}"})
    assert purged.status == 200
    assert int(purged.reason.removeprefix("Purged ")) >= 1
    assert seen(await varnish.get(path)) == ("MISS", b"two")


async def test_a_soft_purge_by_tag_serves_stale_while_it_refreshes(
    client: pantler.AsyncClient, varnish: VarnishServer, key: str
) -> None:
    await client.set("pages", key, b"one", tags=[f"tag:{key}"])
    path = f"/v1/pages/{key}"
    assert seen(await varnish.get(path)) == ("MISS", b"one")
    await client.set("pages", key, b"two", tags=[f"tag:{key}"])
    purged = await varnish.purge("/", {"xkey-softpurge": f"tag:{key}"})
    assert (purged.status, purged.reason) == (200, "Purged 1")
    assert seen(await varnish.get(path)) == ("HIT", b"one")
    await refreshed(varnish, path, b"two")


async def test_that_there_is_no_entry_is_kept_and_purged_by_its_key(
    client: pantler.AsyncClient, varnish: VarnishServer, key: str
) -> None:
    path = f"/v1/pages/{key}"
    for kept in ("MISS", "HIT"):
        answer = await varnish.get(path)
        assert (answer.status, answer.headers["x-cache"]) == (404, kept)
    await client.set("pages", key, b"here")
    assert (await varnish.purge("/", {"xkey-purge": f"pantler:pages/{key}"})).reason == "Purged 1"
    assert seen(await varnish.get(path)) == ("MISS", b"here")


async def test_a_url_and_everything_can_be_purged(
    client: pantler.AsyncClient, varnish: VarnishServer, key: str
) -> None:
    await client.set("pages", key, b"v")
    path = f"/v1/pages/{key}"
    await varnish.get(path)
    assert (await varnish.purge(path, {"Host": "other.example"})).reason == "Purged 0"
    assert (await varnish.purge(path, {"Host": "PANTLER.example"})).reason == "Purged 1"
    assert seen(await varnish.get(path)) == ("MISS", b"v")
    everything = await varnish.purge("/", {"purge-all": "1"})
    assert (everything.status, everything.reason) == (200, "Purged all")
    assert seen(await varnish.get(path)) == ("MISS", b"v")
    assert seen(await varnish.get(path)) == ("HIT", b"v")


async def test_a_purge_of_a_url_waits_for_what_is_being_fetched(key: str) -> None:
    """Else the answer to an older request would be kept behind the purge."""
    asked, answered = asyncio.Semaphore(0), asyncio.Semaphore(1)
    bodies = iter([b"first", b"older", b"newest"])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                body = next(bodies)
                asked.release()
                await answered.acquire()
                head = "Cache-Control: max-age=1, stale-while-revalidate=3600"
                writer.write(
                    f"HTTP/1.1 200 OK\r\n{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                )
                writer.write(body)
        writer.close()

    backend = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = backend.sockets[0].getsockname()
    async with backend, VarnishServer(f"{host}:{port}") as varnish:
        path = f"/{key}"
        assert seen(await varnish.get(path)) == ("MISS", b"first")
        await asked.acquire()
        await asyncio.sleep(1.5)  # past max-age, by Varnish's clock
        assert seen(await varnish.get(path)) == ("HIT", b"first")
        async with asyncio.timeout(10):
            await asked.acquire()  # beside, for what it gives late
        purge = asyncio.create_task(varnish.purge(path))
        await asyncio.sleep(0.3)
        assert not purge.done()
        answered.release()
        assert (await purge).status == 200
        answered.release()
        assert seen(await varnish.get(path)) == ("MISS", b"newest")


async def test_the_longest_tags_pass_and_purge(
    server: PantlerServer, client: pantler.AsyncClient, varnish: VarnishServer, key: str
) -> None:
    room = headers.MAX_TAG_HEADER_BYTES - len(f"pantler:pages pantler:pages/{key}")
    tags = [f"{number:02}".ljust(room // 32 - 1, "x") for number in range(31)]
    tags.append("y" * (room - sum(len(tag) + 1 for tag in tags) - 1))
    await client.set("pages", key, b"one", tags=tags)
    path = f"/v1/pages/{key}"
    assert [seen(await varnish.get(path))[0] for _ in range(2)] == ["MISS", "HIT"]
    assert (await ask(server.http_address, path)).headers["xkey"].endswith(" ".join(tags))
    purged = await varnish.purge("/", {"xkey-purge": " ".join(tags)})
    assert purged.reason == f"Purged {len(tags)}"
    assert seen(await varnish.get(path)) == ("MISS", b"one")


async def test_a_lifetime_for_cdns_alone_is_heeded(
    client: pantler.AsyncClient, varnish: VarnishServer, key: str
) -> None:
    await client.set("atcdn", key, b"v")
    path = f"/v1/atcdn/{key}"
    assert [seen(await varnish.get(path))[0] for _ in range(2)] == ["MISS", "HIT"]
    assert (await varnish.get(path)).headers["cache-control"].startswith("public, max-age=")


async def test_where_cdns_keep_it_longer_browsers_get_it_fresh(
    client: pantler.AsyncClient, varnish: VarnishServer, key: str
) -> None:
    await client.set("longer", key, b"v")
    await asyncio.sleep(1.1)  # Age is counted in seconds
    path = f"/v1/longer/{key}"
    first = await varnish.get(path)
    await asyncio.sleep(2.1)
    later = await varnish.get(path)
    assert seen(later) == ("HIT", b"v")
    for answer in (first, later):
        age = int(answer.headers["age"])
        assert age >= 1
        assert answer.headers["cache-control"] == f"public, max-age={age + 1}"
        told = parse_date(answer.headers["date"])
        assert told is not None
        assert abs(told.timestamp() - time.time()) < 4
    assert later.headers["date"] != first.headers["date"]
    assert "x-age-here" not in later.headers


async def test_what_is_stale_in_pantler_or_for_browsers_alone_is_not_kept(
    client: pantler.AsyncClient, varnish: VarnishServer, key: str
) -> None:
    await client.set("personal", key, b"v")
    assert [seen(await varnish.get(f"/v1/personal/{key}"))[0] for _ in range(2)] == ["MISS", "MISS"]
    await client.set("pages", key, b"v")
    await client.invalidate_keys("pages", [key], soft=True)
    path = f"/v1/pages/{key}"
    assert [seen(await varnish.get(path)) for _ in range(2)] == [("MISS", b"v"), ("MISS", b"v")]


async def test_nothing_is_kept_past_its_entry(
    client: pantler.AsyncClient, varnish: VarnishServer, key: str
) -> None:
    await client.set("brief", key, b"v", ttl=timedelta(milliseconds=900))
    path = f"/v1/brief/{key}"
    assert [seen(await varnish.get(path))[0] for _ in range(2)] == ["MISS", "MISS"]


async def test_strangers_may_not_purge(
    server: PantlerServer, client: pantler.AsyncClient, key: str
) -> None:
    text = VCL.read_text()
    narrow = text.replace('    "127.0.0.1";\n    "::1";\n', '    "192.0.2.1";\n')
    assert narrow != text
    await client.set("pages", key, b"v", tags=["t"])
    async with VarnishServer(server.http_address, vcl=narrow) as varnish:
        path = f"/v1/pages/{key}"
        assert seen(await varnish.get(path)) == ("MISS", b"v")
        for place, asked in (
            (path, {}),
            ("/", {"xkey-purge": "t"}),
            ("/", {"xkey-softpurge": "t"}),
            ("/", {"purge-all": "1"}),
        ):
            assert (await varnish.purge(place, asked)).status == 405
        assert seen(await varnish.get(path)) == ("HIT", b"v")
