"""What docs/levels.md shows, run as written, and what it says of options and metrics."""

import asyncio
import re
import shlex
import sys
from pathlib import Path

import aiohttp
import pantler
from pantler_server.core.config import FirstLevelConfig
from pantler_server.engines.cache import auditor, stats  # noqa: F401 - they register theirs
from prometheus_client import REGISTRY

from tests.docs.page import ROOT, blocks
from tests.servers.pantler import PantlerServer

TEXT = (ROOT / "docs/levels.md").read_text()


async def test_the_configuration_switches_it_on(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    [yaml] = blocks("yaml", TEXT)
    config.write_text(yaml)
    [command] = blocks("sh", TEXT)
    _, *words = shlex.split(command)
    check = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pantler_server", *words),
        stdout=asyncio.subprocess.DEVNULL,
        cwd=tmp_path,
    )
    assert await check.wait() == 0
    async with (
        PantlerServer(config=config) as server,
        pantler.AsyncClient(server.address) as client,
        aiohttp.ClientSession(f"http://{server.http_address}") as http,
    ):
        await client.set("users", "42", b"Ada")
        async with asyncio.timeout(10):
            while "pantler_l1_hits_total" not in await (await http.get("/metrics")).text():
                await client.get("users", "42")


def test_every_option_is_documented() -> None:
    for name in FirstLevelConfig.model_fields:
        assert f"| `{name}` |" in TEXT, name


def test_the_metrics_are_there() -> None:
    there = {family.name for family in REGISTRY.collect()}
    said = set(re.findall(r"`(pantler_l1_\w+?)(?:_total)?`", TEXT))
    assert said == {"pantler_l1_hits", "pantler_l1_audits", "pantler_l1_stale_seconds"}
    assert said <= there
