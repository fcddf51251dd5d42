"""What docs/leaderboards.md shows, run as written."""

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pantler
import pytest
import pytest_asyncio

from tests.docs.page import Page, blocks, run, started
from tests.servers.pantler import PantlerServer

PAGE = Page("leaderboards.md")


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """Pantler with the boards of the page. Each test begins without `arcade`, and deletes it."""
    async with PAGE.served(tmp_path_factory) as running:
        yield running


def test_every_command_is_run_here() -> None:
    kinds = [
        len(PAGE.commands(*words)) for words in ((), ("grpcurl",), (".venv/bin/pantler", "board"))
    ]
    assert kinds == [22, 10, 11]


def test_every_rpc_and_setting_is_shown() -> None:
    from pantler.v1 import leaderboard_pb2
    from pantler_server.core.board_config import BoardConfig

    [service] = leaderboard_pb2.DESCRIPTOR.services_by_name.values()
    shown = {command[-1].rpartition("/")[2] for command in PAGE.commands("grpcurl")}
    assert shown == {method.name for method in service.methods}
    for name in BoardConfig.model_fields:
        assert f"| `{name}` |" in PAGE.text, name


@pytest.mark.component("grpcurl")
async def test_the_grpcurl_calls_work(server: PantlerServer) -> None:
    answers: list[Any] = [json.loads(await run(one, server)) for one in PAGE.commands("grpcurl")]
    submitted, top, friends, around, by_score, board, removed, deleted, today, yesterday = answers

    def ranked(answer: Any) -> list[tuple[str, int]]:
        return [(one["member"], one.get("rank", 0)) for one in answer["entries"]]

    assert ranked(submitted) == ranked(top) == [("ada", 1), ("bob", 2), ("cleo", 3)]
    assert top["entries"][0]["attributes"] == {"name": "Ada"}
    assert ranked(friends) == [("cleo", 3), ("ada", 1), ("zoe", 0)]
    assert [one.get("groupRank") for one in friends["entries"]] == [2, 1, None]
    assert ranked(around) == [("ada", 1), ("bob", 2), ("cleo", 3)]
    assert ranked(by_score) == [("bob", 2), ("cleo", 2)]
    assert [one["score"] for one in board["percentiles"]] == [870, 990]
    assert (removed, deleted) == ({"removed": [True]}, {"deleted": True})
    assert ranked(today) == [("ada", 1)]
    assert yesterday["period"]["endTime"] == today["period"]["startTime"]
    assert "entries" not in yesterday


async def test_the_command_line_works(server: PantlerServer) -> None:
    async def check(out: str, code: int = 0) -> None:
        assert await run(calls.pop(0), server, code) == out

    calls = PAGE.commands(".venv/bin/pantler", "board")
    await check("ada: 990, rank 1, new\nbob: 870, rank 2, new\ncleo: 870, rank 3, new\n")
    await check("ada: 1000, rank 1, as before\n")
    everybody = "1\tada\t1000\n2\tbob\t870\n3\tcleo\t870\n"
    await check(everybody)
    await check("pantler: nobody has such a rank on board 'daily-jump' in 'games'\n", code=1)
    await check("1\tada\t1000\t1\n3\tcleo\t870\t2\n-\tzoe\t-\t-\n")
    await check(everybody)
    await check("2\tbob\t870\n2\tcleo\t870\n")
    assert (await run(calls.pop(0), server)).endswith("percentile 90   1000\n")
    words = [sys.executable, "-m", "pantler_server", *calls.pop(0)[1:], "--address", server.address]
    async with started(*words) as out:
        seen = [(await out.readline()).decode() for _ in range(3)]
    assert seen == ["1\tada\t1000\t-\n", "2\tbob\t870\t-\n", "3\tcleo\t870\t-\n"]
    await check("cleo: removed\n")
    await check("deleted\n")
    assert not calls


async def test_the_lines_of_python_work(
    server: PantlerServer, capsys: pytest.CaptureFixture[str]
) -> None:
    [lines] = blocks("python", PAGE.text)
    names: dict[str, Any] = {}
    exec("async def call(client):\n    " + lines.replace("\n", "\n    "), names)
    async with pantler.AsyncClient(server.address) as client:
        await names["call"](client)
        assert await client.delete_board("games", "arcade")
    assert capsys.readouterr().out.splitlines() == [
        "bob ranks 2 with 920.0",
        "1 ada 990.0",
        "2 bob 920.0",
        "of my friends ['bob'] play",
    ]
