"""Every command and program of README, run as written."""

import asyncio
import json
import re
import shlex
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.docs.page import ROOT, Page, blocks, run, run_program
from tests.servers.cluster import ClusterGroup
from tests.servers.pantler import PantlerServer
from tests.servers.postgres import PostgresServer
from tests.servers.sentinel import SERVICE, SentinelGroup
from tests.servers.valkey import ValkeyServer, free_port
from tests.servers.varnish import VarnishServer

README = (ROOT / "README.md").read_text()
POSTGRES_URL = "postgresql://postgres@localhost:5432/postgres"


def commands() -> list[list[str]]:
    """The commands of all shell blocks, as words."""
    lines = "".join(blocks("sh", README)).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def starting_with(*words: str) -> list[list[str]]:
    return [command for command in commands() if command[: len(words)] == list(words)]


def test_every_command_is_of_a_kind_that_is_run_here() -> None:
    kinds = {tuple(command[:1]) for command in commands()}
    programs = ("make", "pip", "grpcurl", ".venv/bin/pantler", "psql", "curl", "sudo")
    assert kinds == {(program,) for program in programs}
    assert len(starting_with("grpcurl")) == 3 + 1
    assert len(starting_with(".venv/bin/pantler", "serve")) == 5 + 1 + 1
    assert len(starting_with(".venv/bin/pantler")) == 5 + 6 + 1 + 3 + 4
    assert starting_with("make") == [["make", "serve"]]
    assert len(starting_with("pip")) == 1  # test_wheel.py
    assert "`make test`, `make check`, `make help`" in README  # this run is of `make test`


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_row_of_a_table_stands_below_its_head(page: Path) -> None:
    lines = ["", *page.read_text().splitlines(), ""]
    for before, line, after in zip(lines, lines[1:], lines[2:], strict=False):
        if line.startswith("|") and not before.startswith("|"):
            assert after.startswith("| ---"), line


async def test_the_line_of_python_in_leases_works(server: PantlerServer) -> None:
    import pantler

    async def fetch_user() -> bytes:
        return b"Ada"

    [line] = blocks("python", (ROOT / "docs/leases.md").read_text())
    body = line.replace("\n", "\n    ")
    names = {"timedelta": timedelta, "fetch_user": fetch_user}
    exec(f"async def call(client):\n    {body}\n    return value", names)
    async with pantler.AsyncClient(server.address) as client:
        assert await names["call"](client) == b"Ada"  # type: ignore[operator]


async def test_what_invalidation_shows_works(server: PantlerServer) -> None:
    import pantler

    text = (ROOT / "docs/invalidation.md").read_text()
    [lines] = blocks("python", text)
    body = lines.replace("\n", "\n    ")
    names: dict[str, Any] = {"html": b"<p>"}
    exec(f"async def call(client):\n    {body}", names)
    async with pantler.AsyncClient(server.address) as client:
        await names["call"](client)
        assert (await client.describe("pages", "/shop/7")).miss_cause == "shop:7"
    [shell] = blocks("sh", text)
    *calls, why = [shlex.split(line) for line in shell.splitlines()]
    for command in calls:
        await run(command, server)
    assert "its tag 'shop:7' was invalidated" in await run(why, server, code=1)


@pytest.mark.component("grpcurl")
async def test_the_grpcurl_calls_work(server: PantlerServer) -> None:
    *calls, _ = starting_with("grpcurl")  # the last is of records
    listed, stored, found = [await run(command, server) for command in calls]
    assert "pantler.v1.CacheService" in listed
    assert json.loads(stored)["outcome"] == "SET_OUTCOME_STORED"
    assert json.loads(found)["hit"]["entry"]["value"] == "QWRh"


@pytest.mark.component("grpcurl")
async def test_the_grpcurl_calls_of_leases_work(server: PantlerServer) -> None:
    get, fill = Page("leases.md").commands("grpcurl")
    lease = json.loads(await run(get, server))["miss"]["lease"]
    told = [word.replace("TOKEN", lease["token"]) for word in fill]
    assert json.loads(await run(told, server))["outcome"] == "SET_OUTCOME_STORED"


async def test_the_command_line_works(server: PantlerServer) -> None:
    calls = starting_with(".venv/bin/pantler")[:5]
    stored, got, allowed, submitted, top = [await run(command, server) for command in calls]
    assert stored.startswith("stored, version ")
    assert got == "Ada"
    assert allowed.startswith("allowed")
    assert submitted
    assert top == "1\tada\t12.5\n"


@pytest.mark.parametrize(
    ("page", "printed"),
    [
        ("README.md", "loading\nUser(name='Ada')\nNone\n"),
        ("clients/python/README.md", "b'Ada'\n"),
    ],
    ids=["README.md", "clients/python/README.md"],
)
async def test_the_python_program_works(server: PantlerServer, page: str, printed: str) -> None:
    [program] = blocks("python", (ROOT / page).read_text())
    assert await run_program(program, server) == printed


async def test_the_ways_to_serve_work(
    tmp_path: Path,
    valkey: ValkeyServer,
    sentinel_group: SentinelGroup,
    cluster_group: ClusterGroup,
) -> None:
    """Each, with the addresses of servers that are there."""
    config = tmp_path / "pantler.yaml"
    yaml, _, _ = blocks("yaml", README)
    config.write_text(yaml.replace("localhost:6379", valkey.address))
    sentinels = f"{','.join(sentinel_group.addresses)}/{SERVICE}"
    there = {
        "redis://localhost:6379/0": valkey.url,
        "localhost:26379,localhost:26380/mymaster": sentinels,
        "localhost:7000,localhost:7001": ",".join(cluster_group.addresses),
        "./data": str(tmp_path / "data"),
        "pantler.yaml": str(config),
    }
    ways = starting_with(".venv/bin/pantler", "serve")
    for way in ways:
        if way[-1] in ("records.yaml", "edge.yaml"):
            continue  # other tests here have them
        async with PantlerServer(*(there.get(word, word) for word in way[2:])) as server:
            await server.wait_for("ready")


@pytest.mark.component("postgres")
@pytest.mark.component("grpcurl")
async def test_records_are_written_and_read_also_without_the_database(tmp_path: Path) -> None:
    _, settings, _ = blocks("yaml", README)
    async with PostgresServer() as database:
        config = tmp_path / "records.yaml"
        config.write_text(settings.replace(POSTGRES_URL, database.url))
        statements = [command[-1] for command in starting_with("psql")]
        *tables, select = statements
        for statement in tables:
            await database.execute(statement)
        async with PantlerServer(config=config, folder=tmp_path) as server:
            names = ("record", "backlog")
            for command in commands():
                if command[0] == ".venv/bin/pantler" and command[1] in names:
                    await run(command, server)
            assert await database.execute(select) == [("42", "Ada", 36, "7", "/shop")]
            get = starting_with("grpcurl")[-1]
            ada = {"age": 36, "id": "42", "name": "Ada"}
            assert json.loads(await run(get, server))["record"] == ada
            await database.kill()
            assert json.loads(await run(get, server))["record"] == ada
            put = [".venv/bin/pantler", "record", "put", "visits", "8", "page=/cart"]
            assert "queued" in await run(put, server)
            read = [".venv/bin/pantler", "record", "get", "visits", "8"]
            assert "/cart" in await run(read, server)


@pytest.mark.component("varnish")
@pytest.mark.component("curl")
async def test_a_page_is_kept_by_varnish_until_it_is_purged(tmp_path: Path) -> None:
    [start] = starting_with("sudo", "varnishd")
    assert start[2:] == ["-a", "localhost:6081", "-f", "$PWD/examples/varnish/pantler.vcl"]
    backend = f"127.0.0.1:{free_port()}"
    config = tmp_path / "edge.yaml"
    _, _, settings = blocks("yaml", README)
    async with VarnishServer(backend) as varnish:
        config.write_text(settings.replace("localhost:6081", varnish.address))
        async with PantlerServer("--http-listen", backend, config=config) as server:
            serve, set_, invalidate, purge = starting_with(".venv/bin/pantler")[-4:]
            assert serve[1:] == ["serve", "--config", "edge.yaml"]

            async def fetch(command: list[str]) -> str:
                here = [word.replace("localhost:6081", varnish.address) for word in command]
                return await run([*here, "--silent"], server)

            whole, conditional = starting_with("curl")
            await run(set_, server)
            answers = [await fetch(whole) for _ in range(2)]
            assert [re.findall(r"X-Cache: (\w+)", one) for one in answers] == [["MISS"], ["HIT"]]
            [etag] = re.findall(r'ETag: "(.*)"', answers[1])
            asked = [word.replace("ETAG", etag) for word in conditional]
            assert (await fetch(asked)).startswith("HTTP/1.1 304 Not Modified")
            await run([*set_[:4], "<h1>Coffee</h1>", *set_[5:]], server)
            assert (await fetch(whole)).endswith("<h1>Tea</h1>"), "Varnish has it still"
            assert "purge" in await run(invalidate, server)
            async with asyncio.timeout(10):
                while "X-Cache: HIT" in (answer := await fetch(whole)):
                    await asyncio.sleep(0.02)
            assert "HTTP/1.1 404 Not Found" in answer
            assert "done" in await run(purge, server)


def test_the_configuration_is_right(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    yaml, _, _ = blocks("yaml", README)
    config.write_text(yaml)
    [command] = starting_with(".venv/bin/pantler", "config")
    words = [str(config) if word == "pantler.yaml" else word for word in command[1:]]
    done = subprocess.run(
        [sys.executable, "-m", "pantler_server", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_setting_is_documented() -> None:
    from pantler_server.core.board_config import BoardConfig
    from pantler_server.core.cdn_config import (
        CdnTarget,
        CloudflareTarget,
        FastlyTarget,
        HttpPolicy,
        HttpTarget,
        NamespaceCdn,
        VarnishTarget,
    )
    from pantler_server.core.channel_config import ChannelHistoryConfig, ChannelsConfig
    from pantler_server.core.config import NamespaceConfig, Settings
    from pantler_server.core.event_config import EventRule
    from pantler_server.core.origin_config import (
        BreakerConfig,
        GrpcOrigin,
        HotKeysConfig,
        OriginConfig,
        SqlOrigin,
        WarmConfig,
        WriteBehindConfig,
    )
    from pantler_server.core.rate_limit_config import RateLimitRule
    from pantler_server.core.redis_config import RedisConfig

    text = (ROOT / "docs/configuration.md").read_text()
    for name in (*Settings.model_fields, *NamespaceConfig.model_fields, *RedisConfig.model_fields):
        assert re.search(rf"[`.]{name}[`.]", text), name
    for model in (
        BoardConfig,
        BreakerConfig,
        CdnTarget,
        ChannelHistoryConfig,
        ChannelsConfig,
        CloudflareTarget,
        FastlyTarget,
        GrpcOrigin,
        HotKeysConfig,
        HttpPolicy,
        HttpTarget,
        NamespaceCdn,
        OriginConfig,
        SqlOrigin,
        VarnishTarget,
        WarmConfig,
        WriteBehindConfig,
    ):
        for name in model.model_fields:
            assert re.search(rf"[`.]{name}[`.]", text), name
    events = (ROOT / "docs/events.md").read_text()
    for name in EventRule.model_fields:
        assert f"`{name}`" in events, name
    limits = (ROOT / "docs/rate-limits.md").read_text()
    for name in RateLimitRule.model_fields:
        assert f"`{name}`" in limits, name


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).exists(), (page, target)


async def test_the_demo_runs(server: PantlerServer) -> None:
    command = ("-m", "bench.demo", "--address", server.address, "--operations", "640")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert b"hit ratio" in out
