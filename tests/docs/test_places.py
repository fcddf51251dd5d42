"""What docs/places.md shows, run as written."""

import json
import re
from typing import Any

import pantler
import pytest

from tests.cli.test_commands import on_a_terminal
from tests.docs.page import Page, blocks, run
from tests.servers.pantler import PantlerServer

PAGE = Page("places.md")
GRPCURL, PANTLER = PAGE.commands("grpcurl"), PAGE.commands(".venv/bin/pantler")


def test_every_rpc_is_shown() -> None:
    assert [command[-1].rpartition("/")[2] for command in GRPCURL] == [
        "AddLocations",
        "GetLocations",
        "SearchNearby",
        "SearchNearby",
        "MeasureDistance",
        "RemoveLocations",
        "DeleteSet",
    ]


@pytest.mark.component("grpcurl")
async def test_the_grpcurl_calls_work(server: PantlerServer) -> None:
    answers = [json.loads(await run(command, server)) for command in GRPCURL]
    added, got, near, boxed, measured, removed, deleted = answers
    assert added == {"added": 2}
    assert ["point" in one for one in got["locations"]] == [True, False]
    assert [one["member"] for one in near["locations"]] == ["bakery"]
    assert [one["member"] for one in boxed["locations"]] == ["mill", "bakery"]
    assert measured["distanceMeters"] == boxed["locations"][0]["distanceMeters"]
    assert removed == {"removed": [True]}
    assert deleted == {"deleted": True}


async def test_the_command_line_works(server: PantlerServer) -> None:
    assert len(PANTLER) == 7
    outputs = [await run(command, server) for command in PANTLER[:2]]
    near = await on_a_terminal(*PANTLER[1][1:], "--address", server.address)
    outputs += [await run(command, server) for command in PANTLER[2:]]
    added, piped, got, boxed, apart, removed, deleted = outputs
    assert added == "stored, 3 of them new\n"
    [shown] = blocks("text", PAGE.text)
    near = re.sub(r"\x1b\[[\d;]*m", "", near)  # it is bold in part
    assert [line.split() for line in near.splitlines()] == [
        line.split() for line in shown.splitlines()
    ]
    assert [line.split("\t")[0] for line in piped.splitlines()] == ["bakery", "mill"]
    assert got == "'bakery': 13.40500,52.52000\n'mill': 13.38000,52.53000\n"
    assert [line.split("\t")[0] for line in boxed.splitlines()] == ["kiosk", "mill", "bakery"]
    assert apart == "2025.0 m\n"
    assert removed == "'mill': removed\n"
    assert deleted == "deleted\n"


async def test_the_lines_of_python_work(
    server: PantlerServer, capsys: pytest.CaptureFixture[str]
) -> None:
    [lines] = blocks("python", PAGE.text)
    names: dict[str, Any] = {}
    exec("async def call(client):\n    " + lines.replace("\n", "\n    "), names)
    async with pantler.AsyncClient(server.address) as client:
        await names["call"](client)
    first, second, apart = capsys.readouterr().out.splitlines()
    assert first == "bakery 0 m"
    assert second == f"mill {round(float(apart))} m"
