"""What docs/edge-values.md shows, run as written, at a stand-in for Cloudflare."""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from tests.docs.page import Page, blocks, run
from tests.servers.cloudflare import CloudflareServer
from tests.servers.pantler import PantlerServer

PAGE = Page("edge-values.md")
GRPCURL, PANTLER = PAGE.commands("grpcurl"), PAGE.commands(".venv/bin/pantler")


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """With the configuration of the page, but for where Cloudflare's API is, and its token: from
    the environment."""
    [text] = blocks("yaml", PAGE.text)
    [variable] = [word for word in PAGE.text.split("`") if word.startswith("PANTLER_")]
    settings = yaml.safe_load(text)
    async with CloudflareServer(plan="free") as cloudflare:
        settings["cdn_targets"]["cloudflare"]["cloudflare"]["api"] = cloudflare.api
        config: Path = tmp_path_factory.mktemp("edge") / "pantler.yaml"
        config.write_text(yaml.safe_dump(settings))
        async with PantlerServer(config=config, env={variable: cloudflare.token}) as running:
            yield running


def test_every_rpc_is_shown() -> None:
    assert [command[-1].rpartition("/")[2] for command in GRPCURL] == [
        "PutEdgeValue",
        "GetEdgeValue",
        "DeleteEdgeValue",
    ]


async def test_the_command_line_works(server: PantlerServer) -> None:
    serve, *calls = PANTLER
    assert serve[1:] == ["serve", "--config", "edge.yaml"]  # as `server` is
    outputs = [await run(command, server) for command in calls]
    assert outputs == ["stored\n", "Sale until Sunday", "deleted\n"]


@pytest.mark.component("grpcurl")
async def test_the_grpcurl_calls_work(server: PantlerServer) -> None:
    put, got, deleted = [json.loads(await run(command, server)) for command in GRPCURL]
    assert put == deleted == {}
    assert got["value"].pop("expireTime")
    assert got == {"value": {"value": "MTIuNTA=", "metadata": {"currency": "EUR"}}}


async def test_the_lines_of_python_work(server: PantlerServer) -> None:
    [program] = blocks("python", PAGE.text)
    placed = program.replace("localhost:50051", server.address)
    assert placed != program
    output = await run([sys.executable, "-c", placed], server)
    assert output == "b'12.50' {'currency': 'EUR'}\n"
