"""`pantler board` against a real server."""

import asyncio
import json
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pantler as sdk
import pytest
import pytest_asyncio

from tests.cli.test_commands import Done, on_a_terminal, pantler
from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer

_numbers = count()
CONFIG = """
namespaces:
  games:
    boards:
      year*: {period: year, time_zone: Asia/Tokyo}
      race*: {order: lowest}
      short*: {max_members: 1}
"""


@pytest.fixture
def name() -> str:
    """A board that no other test uses."""
    return f"cli{next(_numbers)}"


@pytest_asyncio.fixture(scope="module")
async def boards(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    config: Path = tmp_path_factory.mktemp("boards") / "pantler.yaml"
    config.write_text(CONFIG)
    async with PantlerServer(config=config) as running:
        yield running


async def board(server: PantlerServer, command: str, name: str, *arguments: str) -> Done:
    return await pantler("board", command, "games", name, *arguments, address=server.address)


async def test_scores_are_submitted_and_listed(boards: PantlerServer, name: str) -> None:
    first = await board(boards, "submit", name, "ada=990", "bob=870.5", "c=d=870.5")
    assert first == Done(
        0, b"ada: 990, rank 1, new\nbob: 870.5, rank 2, new\nc=d: 870.5, rank 3, new\n", ""
    )
    again = await board(boards, "submit", name, "bob=1000", "ada=2", "--policy", "best")
    assert again.out == b"bob: 1000, rank 1, before 2\nada: 990, rank 2, before 1\n"
    more = await board(boards, "submit", name, "ada=-990", "--policy", "increment")
    assert more.out == b"ada: 0, rank 3, before 2\n"
    assert (await board(boards, "submit", name, "ada=0")).out == b"ada: 0, rank 3, as before\n"
    top = await board(boards, "top", name, "--start", "2")
    assert top == Done(0, b"2\tc=d\t870.5\n3\tada\t0\n", "")
    assert (await board(boards, "top", name, "--limit", "1")).out == b"1\tbob\t1000\n"


async def test_a_full_board_is_said(boards: PantlerServer, name: str) -> None:
    done = await board(boards, "submit", f"short{name}", "ada=2", "bob=1")
    assert (
        done.out == b"ada: 2, rank 1, new\nbob: 1, not on the board, which is full of better ones\n"
    )


async def test_a_request_id_counts_once(boards: PantlerServer, name: str) -> None:
    arguments = ("ada=5", "--policy", "increment", "--request-id", name, "--json")
    first, again = [await board(boards, "submit", name, *arguments) for _ in range(2)]
    entry = {"member": "ada", "score": 5.0, "rank": 1, "previous_rank": None, "changed": True}
    assert first.document == again.document == {"entries": [entry], "period": None}


async def test_json_has_all_of_a_member(boards: PantlerServer, name: str) -> None:
    await board(boards, "submit", name, "ada=2", "--attribute", "name=A=", "--attribute", "x=")
    await board(boards, "submit", name, "bob=2")
    ada: Any = {"rank": 1, "member": "ada", "score": 2.0, "attributes": {"name": "A=", "x": ""}}
    bob: Any = {"rank": 2, "member": "bob", "score": 2.0, "attributes": {}}
    page = {"entries": [ada, bob], "count": 2, "period": None}
    for command in (("top", name), ("around", name, "bob")):
        assert (await board(boards, *command, "--json")).document == page
    by_score = await board(boards, "scores", name, "--min", "-2", "--json")
    assert by_score.document == {**page, "matched": 2}
    ranks = await board(boards, "ranks", name, "nobody", "bob", "ada", "bob", "--json")
    nobody: Any = {"rank": None, "member": "nobody", "score": None, "attributes": {}}
    assert ranks.document == {
        "entries": [
            {**ada, "group_rank": 1},
            {**bob, "group_rank": 2},
            {**nobody, "group_rank": None},
        ],
        "count": 2,
        "period": None,
    }


async def test_friends_rank_among_themselves(boards: PantlerServer, name: str) -> None:
    await board(boards, "submit", name, "a=5", "b=7", "c=5", "d=9")
    ranks = await board(boards, "ranks", name, "c", "nobody", "a")
    assert ranks == Done(0, b"3\ta\t5\t1\n4\tc\t5\t2\n-\tnobody\t-\t-\n", "")
    shared = await board(boards, "ranks", name, "c", "a", "--shared-ranks")
    assert shared.out == b"3\tc\t5\t1\n3\ta\t5\t1\n"
    nobody = await board(boards, "ranks", name, "x", "y")
    said = f"pantler: none of them is on board '{name}' in 'games'\n"
    assert nobody == Done(1, b"-\tx\t-\t-\n-\ty\t-\t-\n", said)


async def test_members_are_listed_by_score_and_around_one(boards: PantlerServer, name: str) -> None:
    await board(boards, "submit", name, "a=5", "b=7", "c=5", "d=9", "e=1")
    by_score = await board(boards, "scores", name, "--min", "2", "--max", "7", "--limit", "2")
    assert by_score.out == b"2\tb\t7\n3\ta\t5\n"
    around = await board(boards, "around", name, "c", "--limit", "3", "--shared-ranks")
    assert around.out == b"3\ta\t5\n3\tc\t5\n5\te\t1\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("top",), "nobody has such a rank on board '{}' in 'games'"),
        (("ranks", "ada"), "none of them is on board '{}' in 'games'"),
        (("around", "ada"), "'ada' is not on board '{}' in 'games'"),
        (("scores",), "nobody has such a score on board '{}' in 'games'"),
        (("delete", "--yes"), "no board '{}' in 'games'"),
    ],
)
async def test_where_nothing_is_found_the_code_is_1(
    boards: PantlerServer, name: str, arguments: tuple[str, ...], said: str
) -> None:
    command, *others = arguments
    done = await board(boards, command, name, *others)
    assert (done.code, done.error) == (1, f"pantler: {said.format(name)}\n")
    in_json = await board(boards, command, name, *others, "--json")
    assert (in_json.code, in_json.error) == (1, "")
    assert in_json.document


async def test_a_board_is_described(boards: PantlerServer, name: str) -> None:
    scores = [f"m{score}={score}" for score in range(1, 11)]
    await board(boards, "submit", name, *scores)
    shown = await board(boards, "show", name, "--percentile", "90", "--percentile", "99.5")
    assert shown.out.decode().splitlines() == [
        "members         10",
        "best score is   highest",
        "best            10 m10",
        "worst           1 m1",
        "percentile 90   9",
        "percentile 99.5 10",
    ]
    document = (await board(boards, "show", name, "--json")).document
    assert document == {
        "count": 10,
        "order": "highest",
        "best": {"rank": 1, "member": "m10", "score": 10.0, "attributes": {}},
        "worst": {"rank": 10, "member": "m1", "score": 1.0, "attributes": {}},
        "percentiles": [
            {"percentile": 50.0, "score": 5.0},
            {"percentile": 90.0, "score": 9.0},
            {"percentile": 99.0, "score": 10.0},
        ],
        "period": None,
        "kept_periods": [],
    }
    nothing = await board(boards, "show", f"race{name}")
    assert nothing == Done(1, b"members         0\nbest score is   lowest\n", "")


async def test_a_period_is_chosen_by_number_or_time(boards: PantlerServer, name: str) -> None:
    name = f"year{name}"
    submitted = await board(boards, "submit", name, "ada=1", "--json")
    start = submitted.document["period"]["start_time"]
    assert start.endswith("-12-31T15:00:00Z")  # midnight in Tokyo
    for which in (("--periods-ago", "1"), ("--at", "2020-05-05T00:00:00Z")):
        assert (await board(boards, "top", name, *which)).code == 1
        assert (await board(boards, "remove", name, "ada", *which)).out == b"ada: not there\n"
    earlier = await board(boards, "ranks", name, "ada", "--periods-ago", "1", "--json")
    assert earlier.document["period"]["end_time"] == start
    shown = (await board(boards, "show", name)).out.decode().splitlines()
    assert shown[-2].startswith(f"period          {start} to ")
    assert shown[-1] == f"periods kept    1, the oldest from {start}"
    assert (await board(boards, "scores", name, "--at", start)).out == b"1\tada\t1\n"


async def test_members_and_boards_are_removed(boards: PantlerServer, name: str) -> None:
    await board(boards, "submit", name, "ada=1", "bob=2")
    removed = await board(boards, "remove", name, "ada", "nobody")
    assert removed == Done(0, b"ada: removed\nnobody: not there\n", "")
    again = await board(boards, "remove", name, "ada", "--json")
    assert (again.code, again.document) == (1, [{"member": "ada", "removed": False}])
    unsure = await board(boards, "delete", name)
    assert (unsure.code, "add --yes where nobody can be asked" in unsure.error) == (2, True)
    assert await board(boards, "delete", name, "--yes") == Done(0, b"deleted\n", "")
    assert (await board(boards, "top", name)).code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("submit", "b", "ada"), "'ada' is not MEMBER=SCORE, such as ada=990"),
        (("submit", "b", "ada=many"), "'ada=many' is not MEMBER=SCORE"),
        (("submit", "b", "a=1", "b=1", "--attribute", "x=y"), "is for one member at a time"),
        (("submit", "b", "a=1", "--attribute", "x"), "'x' is not NAME=VALUE, such as name=Ada"),
        (("submit", "b", "a=1", "--policy", "worst"), "'worst' is not one of"),
        (("submit", "b", os.fsdecode(b"\xff=1")), "is not UTF-8"),
        (("top", "b", "--limit", "0"), "greater than or equal to 1"),
        (("top", "b", "--start", "0"), "greater than or equal to 1"),
        (("top", "b", "--start", "9" * 30), "less than or equal to 2147483647"),
        (("top", "b", "--watch", "--interval", "1ms"), "must be at least 50ms"),
        (("top", "b", "--at", "yesterday"), "'yesterday' is not a time such as"),
        (("show", "b", "--at", "2026-01-31T12:00:00Z", "--periods-ago", "1"), "not both"),
        (("show", "b", "--percentile", "101"), "less than or equal to 100"),
        (("scores", "b", "--min", "low"), "valid number"),
    ],
)
async def test_wrong_usage_is_said(arguments: tuple[str, ...], said: str) -> None:
    command, *others = arguments
    done = await pantler("board", command, "games", *others, address="127.0.0.1:1")
    assert done.code == 2
    assert said in " ".join(done.error.replace("│", " ").split())


async def test_what_the_server_refuses_is_said(boards: PantlerServer, name: str) -> None:
    refused = await board(boards, "submit", name, "ada=nan")
    assert refused == Done(2, b"", "pantler: entries[0].score must be a finite number\n")
    no_periods = await board(boards, "top", name, "--periods-ago", "1", "--watch")
    assert (no_periods.code, "the board has no periods" in no_periods.error) == (2, True)


async def test_people_get_tables(boards: PantlerServer, name: str) -> None:
    async def rows(*arguments: str) -> list[list[str]]:
        shown = await on_a_terminal(
            "board", *arguments[:1], "games", name, *arguments[1:], "--address", boards.address
        )
        return [row.split() for row in re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()]

    await board(boards, "submit", name, "ada[red]=990", "--attribute", "name=Ada\u202e")
    await board(boards, "submit", name, "bo\u202eb=870")
    assert await rows("top") == [
        ["rank", "member", "score", "attributes"],
        ["1", "ada[red]", "990", "name=Ada\\u202e"],
        ["2", "bo\\u202eb", "870"],
        ["members:", "2"],
    ]
    assert await rows("ranks", "bo\u202eb", "nobody") == [
        ["among", "them", "rank", "member", "score"],
        ["1", "2", "bo\\u202eb", "870"],
        ["-", "-", "nobody", "-"],
        ["members:", "2"],
    ]
    *_, last = await rows("scores", "--max", "900")
    assert " ".join(last) == "with such scores: 1, members: 2"


@asynccontextmanager
async def watching(
    name: str, *arguments: str, address: str, stdout: int = asyncio.subprocess.PIPE
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`pantler board top --watch`, ended by Ctrl-C at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pantler_server", "board", "top", "games", name, *arguments),
        *("--watch", "--interval", "50ms", "--limit", "3", "--address", address),
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm"},
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        _, error = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in error


async def line(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    async with asyncio.timeout(10):
        return (await stream.readline()).decode().rstrip("\n")


async def test_a_watch_prints_a_line_for_each_change(boards: PantlerServer, name: str) -> None:
    async with (
        sdk.AsyncClient(boards.address) as client,
        watching(name, address=boards.address) as process,
    ):
        await client.submit_scores("games", name, {"a": 3, "b": 2, "c": 1, "d": 0})
        assert [await line(process.stdout) for _ in range(3)] == [
            "1\ta\t3\t-",
            "2\tb\t2\t-",
            "3\tc\t1\t-",
        ]
        await client.submit_scores("games", name, {"d": 2.5})
        assert [await line(process.stdout) for _ in range(3)] == [
            "2\td\t2.5\t-",
            "3\tb\t2\t2",
            "-\tc\t-\t3",
        ]
        await client.submit_scores("games", name, {"a": 4})
        assert await line(process.stdout) == "1\ta\t4\t1"


async def test_a_watch_waits_for_a_server_that_went_away(boards: PantlerServer, name: str) -> None:
    async with (
        FaultProxy(int(boards.address.rpartition(":")[2])) as proxy,
        watching(name, "--json", address=f"127.0.0.1:{proxy.port}") as process,
        sdk.AsyncClient(boards.address) as client,
    ):
        told: Any = json.loads(await line(process.stdout))
        assert told == {"entries": [], "count": 0, "period": None}
        proxy.refuse()
        proxy.cut()
        assert await line(process.stderr) == "pantler: the server went away; waiting for it"
        await client.submit_score("games", name, "a", 1)
        proxy.restore()
        while not told["entries"]:
            told = json.loads(await line(process.stdout))


async def test_a_watch_on_a_terminal_shows_who_moves(boards: PantlerServer, name: str) -> None:
    ours, theirs = pty.openpty()
    loop = asyncio.get_running_loop()
    shown = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(shown), os.fdopen(ours, "rb", 0)
    )

    async def until(text: str) -> str:
        async with asyncio.timeout(10):
            return (await shown.readuntil(text.encode())).decode()

    async with sdk.AsyncClient(boards.address) as client:
        await client.submit_scores("games", name, {"a": 3, "b": 2})
        async with watching(name, address=boards.address, stdout=theirs):
            os.close(theirs)
            first = await until("members: 2")
            assert not any(mark in first for mark in ("▲", "▼", "new"))
            await client.submit_scores("games", name, {"b": 4, "c": 1})
            moved = await until("▲ 1")
            moved += await until("members: 3")
            assert "▼ 1" in moved
            assert "new" in moved
    transport.close()


async def test_a_server_that_is_not_there_is_code_3() -> None:
    for arguments in (("top",), ("top", "--watch"), ("submit", "a=1")):
        command, *others = arguments
        done = await pantler("board", command, "games", "b", *others, address="127.0.0.1:1")
        assert done == Done(
            3, b"", "pantler: can't reach 127.0.0.1:1: is `pantler serve` running there?\n"
        )
