"""What docs/counters.md shows, run as written."""

import json
from datetime import timedelta
from typing import Any

import pantler
import pytest

from tests.docs.page import Page, blocks, run
from tests.servers.pantler import PantlerServer

PAGE = Page("counters.md")
GRPCURL, PANTLER = PAGE.commands("grpcurl"), PAGE.commands(".venv/bin/pantler")


def test_every_rpc_is_shown() -> None:
    assert [command[-1].rpartition("/")[2] for command in GRPCURL] == [
        "Increment",
        "GetCounters",
        "ResetCounters",
        "AddUnique",
        "CountUnique",
        "MergeUnique",
        "DeleteUnique",
    ]


@pytest.mark.component("grpcurl")
async def test_the_grpcurl_calls_work(server: PantlerServer) -> None:
    answers = [json.loads(await run(command, server)) for command in GRPCURL]
    added, got, reset, seen, counted, merged, deleted = answers
    assert (added["value"], added["applied"]) == ("2", True)
    assert added["expireTime"]
    assert got["counters"] == [
        {"counter": "seats:9", "value": "2", "found": True},
        {"counter": "seats:10"},
    ]
    assert reset["counters"] == [{"counter": "seats:9", "value": "2", "found": True}]
    assert seen == {"changed": True}
    assert counted == merged == {"count": "2"}
    assert deleted == {"deleted": [False, True]}


async def test_the_command_line_works(server: PantlerServer) -> None:
    outputs = [await run(command, server) for command in PANTLER]
    visits, stock, sold, seen, counted, got, seats, reset, more, merged, gone = outputs
    assert (visits, stock, sold) == ("1\n", "100\n", "99\n")
    assert (seen, counted) == ("added\n", "2\n")
    assert got == "'visits': 1\n'stock:7': 99\n"
    assert seats.startswith("2, expires ")
    assert reset == "'visits': 1\n"
    assert (more, merged) == ("added\n", "3\n")
    assert gone == "'visitors:monday': deleted\n'visitors:tuesday': deleted\n"


async def test_the_lines_of_python_work(
    server: PantlerServer, capsys: pytest.CaptureFixture[str]
) -> None:
    [lines] = blocks("python", PAGE.text)
    names: dict[str, Any] = {"timedelta": timedelta}
    exec("async def call(client):\n    " + lines.replace("\n", "\n    "), names)
    async with pantler.AsyncClient(server.address) as client:
        await names["call"](client)
    assert capsys.readouterr().out == "sold; 1 left\n2 readers\n"
