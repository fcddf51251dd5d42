"""What docs/cdn.md shows, run as written, through a real Varnish."""

import asyncio
import json
import shlex
from pathlib import Path

import pytest
import yaml
from pantler_server.core.config import Settings
from pantler_server.engines.cdn import drain, scripts

from tests.docs.page import ROOT, Page, blocks, run
from tests.servers.pantler import PantlerServer
from tests.servers.varnish import VCL, VarnishServer

PAGE = Page("cdn.md")
[SETTINGS] = blocks("yaml", PAGE.text)


class Shop:
    """Pantler, with Varnish in front of its gateway."""

    def __init__(self, server: PantlerServer, varnish: VarnishServer) -> None:
        self.server = server
        self.varnish = varnish

    async def run(self, command: list[str]) -> str:
        words = [word.replace("localhost:6081", self.varnish.address) for word in command]
        if words[0] == "curl":
            words += ["--silent", "--show-error"]
        return await run(words, self.server)

    async def fetch(self, command: list[str]) -> tuple[str, str]:
        """The body, and whether Varnish had it."""
        head, _, body = (await self.run(command)).replace("\r\n", "\n").partition("\n\n")
        return body, "HIT" if "X-Cache: HIT" in head else "MISS"


@pytest.mark.component("varnish")
@pytest.mark.component("curl")
async def test_a_page_is_kept_and_fetched_fresh_once_its_tag_is_invalidated(tmp_path: Path) -> None:
    [serving] = PAGE.commands("varnishd")
    assert serving[-1].replace("$PWD", str(ROOT)) == str(VCL)
    served, first, invalidate, second, *purges = [
        command for command in PAGE.commands(".venv/bin/pantler") if "status" not in command
    ]
    assert served[1:] == ["serve", "--config", "cdn.yaml"]
    curl, again = PAGE.commands("curl")
    assert curl == again
    config = tmp_path / "cdn.yaml"
    config.write_text(SETTINGS)
    async with (
        PantlerServer("--workers", "2", config=config) as server,
        VarnishServer(server.http_address) as varnish,
    ):
        config.write_text(SETTINGS.replace("localhost:6081", varnish.address))
        await server.wait_for("configuration reloaded")
        shop = Shop(server, varnish)
        await shop.run(first)
        assert await shop.fetch(curl) == ("<h1>Tea: 3 €</h1>", "MISS")
        assert await shop.fetch(curl) == ("<h1>Tea: 3 €</h1>", "HIT")
        purge_id = (await shop.run([*invalidate, "--json"])).strip()
        await shop.run(second)
        [status] = PAGE.commands(".venv/bin/pantler", "purge", "status")
        said = json.loads(purge_id)["purge_id"]
        words = [said if word == "PURGE_ID" else word for word in status]
        assert "done" in (await shop.run([*words, "--wait"])).lower()
        assert (await shop.fetch(curl))[0] == "<h1>Tea: 4 €</h1>"
        assert await shop.fetch(curl) == ("<h1>Tea: 4 €</h1>", "HIT")
        for command in purges:
            assert await shop.fetch(curl) == ("<h1>Tea: 4 €</h1>", "HIT")
            assert "done" in (await shop.run(command)).lower(), shlex.join(command)
            soft = "--soft" in command
            assert (await shop.fetch(curl))[1] == ("HIT" if soft else "MISS")
            await shop.fetch(curl)
            await asyncio.sleep(0.2 if soft else 0)  # it is fetched behind the answer


@pytest.mark.component("grpcurl")
async def test_a_purge_is_asked_for_and_its_repeat_is_the_same(tmp_path: Path) -> None:
    [purge] = PAGE.commands("grpcurl")
    config = tmp_path / "cdn.yaml"
    config.write_text(SETTINGS)
    async with PantlerServer(config=config) as server:
        first, again = [json.loads(await run(purge, server)) for _ in range(2)]
        assert first["purgeId"] == again["purgeId"]
        assert again["duplicate"]


def test_the_settings_of_vendors_are_well_formed() -> None:
    [text] = blocks("yml", PAGE.text)
    settings = Settings.model_validate(yaml.safe_load(text))
    assert list(settings.cdn_targets) == ["cloudflare", "fastly", "own"]


def test_the_page_says_the_numbers_of_the_code() -> None:
    for said in (
        f"waits {drain.LINGER_MS} ms",
        f"after {drain.FIRST_BACKOFF_S} s",
        f"to {drain.LONGEST_BACKOFF_S / 60:.0f} min",
        f"after {scripts.OWN_MS // 1000} s",
        f"more than {scripts.MOST_WEIGHT >> 20} MiB",
    ):
        assert said in PAGE.text, said
