"""What docs/http.md shows, run as written."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pantler.v1 import errors_pb2
from pantler_server.core.cdn_config import HttpPolicy, NamespaceCdn
from pantler_server.engines.cdn.headers import MAX_TAG_HEADER_BYTES

from tests.docs.page import ROOT, Page, blocks, run
from tests.servers.pantler import PantlerServer

PAGE = Page("http.md")
[SETTINGS] = blocks("yaml", PAGE.text)
CURL, PANTLER = PAGE.commands("curl"), PAGE.commands(".venv/bin/pantler")
UNLIKE = {"etag", "date", "last-modified"}


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    config: Path = tmp_path_factory.mktemp("page") / "http.yaml"
    config.write_text(SETTINGS)
    async with PantlerServer(config=config) as running:
        yield running


def headers_of(answer: str) -> dict[str, str]:
    head, _, _ = answer.replace("\r\n", "\n").partition("\n\n")
    named = [line.partition(": ") for line in head.splitlines()[1:]]
    return {name.lower(): text for name, _, text in named}


@pytest.mark.component("curl")
async def test_the_page_is_fetched_and_renewed(server: PantlerServer) -> None:
    assert PANTLER[0][1:] == ["serve", "--config", "http.yaml"]  # as `server` is
    await run(PANTLER[1], server)

    def here(command: list[str]) -> list[str]:
        named = [word.replace("localhost:8080", server.http_address) for word in command]
        return [*named, "--silent", "--show-error"]

    whole, conditional = CURL
    answer = await run(here(whole), server)
    [shown] = blocks("http", PAGE.text)
    headers, expected = headers_of(answer), headers_of(shown)
    assert answer.splitlines()[0].strip() == shown.splitlines()[0]
    assert list(headers) == list(expected)
    for name in headers.keys() - UNLIKE:
        assert headers[name] == expected[name], name
    assert answer.endswith("\r\n\r\n<h1>Tea</h1>")
    assert shown.endswith("\n\n<h1>Tea</h1>\n")
    asked = [word.replace(expected["etag"], headers["etag"]) for word in conditional]
    assert asked != conditional
    renewed = await run(here(asked), server)
    assert renewed.startswith("HTTP/1.1 304 Not Modified\r\n")
    assert renewed.endswith("\r\n\r\n")


@pytest.mark.component("grpcurl")
async def test_the_grpcurl_calls_work(server: PantlerServer) -> None:
    built, of_namespace, fresh = [
        json.loads(await run(command, server)) for command in PAGE.commands("grpcurl")
    ]
    headers = built["headers"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', headers.pop("ETag"))
    assert headers == {
        "Cache-Control": "public, max-age=60",
        "CDN-Cache-Control": "max-age=3600",
        "Vary": "Accept-Language",
        "Last-Modified": "Fri, 06 Nov 2026 08:49:37 GMT",
        "Cache-Tag": "product:7",
        "Surrogate-Key": "product:7",
        "xkey": "product:7",
    }
    assert of_namespace["headers"] == {
        "Cache-Control": "public, max-age=60, stale-while-revalidate=3600",
        "ETag": 'W/"v7"',
    }
    assert fresh == {"notModified": True}


def test_the_reasons_of_the_page_are_those_of_the_api() -> None:
    named = set(re.findall(r"`(ERROR_REASON_\w+)`", PAGE.text))
    assert len(named) == 7
    assert named <= {*errors_pb2.ErrorReason.keys()}


def test_every_setting_of_http_is_in_the_configuration_page() -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    for name in HttpPolicy.model_fields:
        assert f"`http.{name}`" in text, name
    for name in NamespaceCdn.model_fields:
        assert f"`cdn.{name}`" in text, name
    assert f"{MAX_TAG_HEADER_BYTES:,}\nbytes" in PAGE.text


def test_the_metrics_of_the_gateway_are_documented() -> None:
    from pantler_server.edge import responses

    text = (ROOT / "docs/operations.md").read_text()
    assert f"`{responses._RESPONSES._name}_total`" in text
    assert f"`{responses._SECONDS._name}`" in text
