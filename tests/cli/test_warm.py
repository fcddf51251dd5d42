"""`pantler warm` against a real server."""

import asyncio
import json
import os
import pty
import re
import signal
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from tests.cli.test_commands import Done, pantler
from tests.servers.pantler import PantlerServer
from tests.servers.people import COUNT

_numbers = count()


@pytest.fixture
def namespace() -> str:
    return f"cliwarm{next(_numbers)}"


async def test_all_rows_are_loaded(people_server: PantlerServer, namespace: str) -> None:
    done = await pantler("warm", namespace, "--rate", "100000", address=people_server.address)
    assert (done.code, done.error) == (0, "")
    assert done.out.decode().splitlines()[-1] == f"{COUNT} keys: {COUNT} loaded, 0 cached"


async def test_lines_say_how_far_it_is(people_server: PantlerServer, namespace: str) -> None:
    done = await pantler("warm", namespace, "--rate", "400", address=people_server.address)
    first, *_, last = done.out.decode().splitlines()
    assert re.fullmatch(r"\d+ keys: \d+ loaded, 0 cached", first)
    assert first != last


async def test_keys_are_named_or_stand_in_a_file(
    people_server: PantlerServer, namespace: str, tmp_path: Path
) -> None:
    at = people_server.address
    named = await pantler("warm", namespace, "--keys", "p001,p002", address=at)
    assert named == Done(0, b"2 of 2 keys: 2 loaded, 0 cached\n", "")
    file = tmp_path / "keys"
    file.write_text("p002\np003\n\n")
    from_file = await pantler("warm", namespace, "--keys-from", str(file), address=at)
    assert from_file == Done(0, b"2 of 2 keys: 1 loaded, 1 cached\n", "")
    piped = await pantler(
        "warm", namespace, "--keys-from", "-", address=at, stdin=b"p003\np004\np005"
    )
    assert piped == Done(0, b"3 of 3 keys: 2 loaded, 1 cached\n", "")


async def test_hot_keys_of_a_namespace_that_nobody_reads(
    people_server: PantlerServer, namespace: str
) -> None:
    done = await pantler("warm", namespace, "--hot", address=people_server.address)
    assert done == Done(0, b"0 keys: 0 loaded, 0 cached\n", "")


async def test_json_is_a_line_for_each_progress(
    people_server: PantlerServer, namespace: str
) -> None:
    at = people_server.address
    done = await pantler("warm", namespace, "--keys", "p001", "--json", address=at)
    [line] = done.out.splitlines()
    said = json.loads(line)
    assert said.pop("resume_token")
    assert said == {"seen": 1, "loaded": 1, "failed": 0, "total": 1, "done": True}


async def test_ctrl_c_says_how_to_go_on(people_server: PantlerServer, namespace: str) -> None:
    at = people_server.address
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pantler_server", "warm", namespace, "--rate", "50"),
        *("--address", at),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(15):
        await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, error = await process.communicate()
    assert process.returncode == 130
    said = re.fullmatch(
        r"pantler: stopped at (\d+) keys: .* cached; to go on, run it again with --resume (\S+)\n",
        error.decode(),
    )
    assert said is not None
    assert 0 < int(said[1]) < COUNT
    rest = await pantler("warm", namespace, "--rate", "100000", "--resume", said[2], address=at)
    assert rest.out.decode().startswith(f"{COUNT} keys: ")


async def test_people_see_a_bar(people_server: PantlerServer, namespace: str) -> None:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pantler_server", "warm", namespace, "--rate", "400"),
        *("--address", people_server.address),
        stdout=asyncio.subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "120"},
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the terminal's other end is closed
        while chunk := await asyncio.to_thread(os.read, ours, 4096):
            shown += chunk
    os.close(ours)
    out, _ = await process.communicate()
    assert re.search(r"\d+ keys: \d+ loaded, 0 cached", shown.decode())
    assert "━" in shown.decode()
    assert out.decode() == f"{COUNT} keys: {COUNT} loaded, 0 cached\n"


@pytest.mark.parametrize(
    "options",
    [
        ("--keys", "a", "--hot"),
        ("--keys", ","),
        ("--keys-from", "/nowhere/at/all"),
        ("--rate", "0"),
        ("--resume", "nonsense"),
    ],
)
async def test_wrong_usage_is_code_2(
    options: tuple[str, ...], people_server: PantlerServer, namespace: str
) -> None:
    done = await pantler("warm", namespace, *options, address=people_server.address)
    assert (done.code, done.out) == (2, b"")
    assert "--resume" not in done.error.replace("'--resume'", "")


async def test_a_table_that_is_not_there_is_code_4(people_server: PantlerServer) -> None:
    done = await pantler("warm", "gone", address=people_server.address)
    assert (done.code, done.out) == (4, b"")
    assert "nothing" in done.error


@pytest.mark.slow
async def test_a_server_that_has_given_up_is_code_3_and_says_how_to_go_on(
    people_server: PantlerServer,
) -> None:
    keys = ",".join(map(str, range(20)))
    done = await pantler(
        "warm", "away", "--keys", keys, "--rate", "10", address=people_server.address
    )
    assert done.code == 3
    assert done.out.decode().splitlines()[-1] == "8 of 20 keys: 0 loaded, 0 cached, 8 failed"
    assert "8 failures in a row" in done.error
    assert "run it again with --resume" in done.error
