"""The HTTP gateway, over sockets: the service behind it, as it is configured, counted and away."""

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio
import pantler
from pantler.v1 import admin_pb2, admin_pb2_grpc

from tests.edge.answers import refused
from tests.servers.http import ask
from tests.servers.pantler import PantlerServer
from tests.servers.valkey import ValkeyServer


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
