"""`pantler invalidate` against a real server."""

import asyncio
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count

import pantler as sdk
import pytest
import pytest_asyncio

from tests.cli.test_commands import Done, pantler
from tests.servers.pantler import PantlerServer
from tests.servers.slow_walk import SlowWalk

_numbers = count()
BROAD = [("pattern", "*"), ("namespace",), ("older-than", "0s")]


@pytest.fixture
def namespace() -> str:
    return f"cliinv{next(_numbers)}"


@pytest_asyncio.fixture
async def client(server: PantlerServer) -> AsyncIterator[sdk.AsyncClient]:
    async with sdk.AsyncClient(server.address) as opened:
        yield opened


async def at_a_terminal(*arguments: str, typed: bytes = b"") -> tuple[int, str]:
    """Runs the program as a person does; its exit code, and what was typed and shown, which is
    little enough for the terminal to hold."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pantler_server", *arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.write(ours, typed)
    code = await process.wait()
    shown = os.read(ours, 4096)
    os.close(theirs)
    os.close(ours)
    return code, shown.decode().replace("\r\n", "\n")


async def test_keys_are_invalidated(
    server: PantlerServer, client: sdk.AsyncClient, namespace: str
) -> None:
    await client.set_many(namespace, {"a": b"v", "b": b"v", "c": b"v"})
    done = await pantler("invalidate", "key", namespace, "a", "new", address=server.address)
    assert done == Done(0, b"'a': invalidated\n'new': invalidated\n", "")
    json = await pantler("invalidate", "key", namespace, "b", "--json", address=server.address)
    assert (json.code, json.document) == (
        0,
        {"invalidated": ["b"], "invalidated_count": 1, "purge_id": None},
    )
    assert list(await client.get_many(namespace, ["a", "b", "c"])) == ["c"]


async def test_a_cascade_says_what_it_reached(
    server: PantlerServer, client: sdk.AsyncClient, namespace: str
) -> None:
    at = server.address
    await pantler("set", namespace, "page", "v", "--depends-on", "user", "--tag", "t", address=at)
    await client.set(namespace, "site", b"v", depends_on=["page"])
    done = await pantler("invalidate", "key", namespace, "user", "--cascade", address=at)
    assert done.code == 0
    assert done.out.decode().splitlines() == [
        "'user': invalidated",
        "'page': invalidated, as it depends on them",
        "'site': invalidated, as it depends on them",
    ]
    assert await client.get_many(namespace, ["page", "site"]) == {}


async def test_of_a_wide_cascade_the_first_are_told_and_the_rest_counted(
    server: PantlerServer, client: sdk.AsyncClient, namespace: str
) -> None:
    many = {f"k{index}": b"v" for index in range(1007)}
    await client.set_many(namespace, many, depends_on=["user"])
    arguments = ("invalidate", "key", namespace, "user", "--cascade")
    done = await pantler(*arguments, address=server.address)
    first, *reached, last = done.out.decode().splitlines()
    assert (first, len(reached)) == ("'user': invalidated", 1000)
    assert last == "7 more: invalidated, as they depend on them"
    json = await pantler(*arguments, "--json", address=server.address)
    assert len(json.document["invalidated"]) == 1001
    assert json.document["invalidated_count"] == 1008


async def test_keys_can_not_steer_the_terminal(server: PantlerServer, namespace: str) -> None:
    for kind in ("key", "tag"):
        done = await pantler("invalidate", kind, namespace, "\u202ek", address=server.address)
        assert done == Done(0, b"'\\u202ek': invalidated\n", "")


async def test_tags_are_invalidated(
    server: PantlerServer, client: sdk.AsyncClient, namespace: str
) -> None:
    at = server.address
    for key, tags in (("a", ("t", "u")), ("b", ("u",)), ("c", ("w",))):
        options = [option for tag in tags for option in ("--tag", tag)]
        assert (await pantler("set", namespace, key, "v", *options, address=at)).code == 0
    done = await pantler("invalidate", "tag", namespace, "u", "x", "u", address=at)
    assert done == Done(0, b"'u': invalidated\n'x': invalidated\n", "")
    assert list(await client.get_many(namespace, ["a", "b", "c"])) == ["c"]
    json = await pantler("invalidate", "tag", namespace, "w", "--json", address=at)
    assert (json.code, json.document) == (0, {"invalidated": ["w"], "purge_id": None})


async def test_a_namespace_is_invalidated(
    server: PantlerServer, client: sdk.AsyncClient, namespace: str
) -> None:
    await client.set(namespace, "k", b"v")
    arguments = ("invalidate", "namespace", namespace, "--yes")
    first = await pantler(*arguments, "--json", address=server.address)
    assert first.code == 0
    assert await client.get(namespace, "k") is None
    again = await pantler(*arguments, "--soft", address=server.address)
    said = re.fullmatch(rb"invalidated, version (\d+) of the namespace\n", again.out)
    assert said is not None
    assert int(said[1]) > int(first.document["version"])


async def test_older_than_takes_an_age_or_a_time(
    server: PantlerServer, client: sdk.AsyncClient, namespace: str
) -> None:
    await client.set(namespace, "before", b"v")
    await client.set(namespace, "after", b"v")
    entry = await client.get(namespace, "after")
    assert entry is not None
    arguments = ("invalidate", "older-than", namespace)
    for typed in ("10m", "-10m"):
        age = await pantler(*arguments, typed, "--yes", "--json", address=server.address)
        assert age.code == 0
        assert len(await client.get_many(namespace, ["before", "after"])) == 2
        cut = datetime.fromisoformat(age.document["created_before"])
        assert abs(datetime.now(UTC) - cut - timedelta(minutes=10)) < timedelta(seconds=10)
    text = entry.create_time.astimezone().isoformat(timespec="microseconds")
    time = await pantler(*arguments, text, "-y", address=server.address)
    assert time.code == 0
    assert time.out.startswith(b"invalidated what is from before 20")
    assert list(await client.get_many(namespace, ["before", "after"])) == ["after"]


async def test_a_pattern_is_counted_without_asking_and_removed_with_yes(
    server: PantlerServer, client: sdk.AsyncClient, namespace: str
) -> None:
    await client.set_many(namespace, {"s:\u202e1": b"v", "s:2": b"v", "user": b"v"})
    arguments = ("invalidate", "pattern", namespace, "s:*")
    counted = await pantler(*arguments, "--dry-run", address=server.address)
    assert (counted.code, counted.error) == (0, "")
    first, *examples = counted.out.decode().splitlines()
    assert first == "entries that match: 2"
    assert sorted(examples) == ["  's:2'", "  's:\\u202e1'"]
    assert len(await client.get_many(namespace, ["s:\u202e1", "s:2", "user"])) == 3
    json = await pantler(*arguments, "--dry-run", "--json", address=server.address)
    assert json.document["scanned"] >= 3
    assert json.document["total"] >= 0
    assert (json.document["dry_run"], json.document["done"]) == (True, True)
    assert (json.document["invalidated"], len(json.document["examples"])) == (2, 2)
    removed = await pantler(*arguments, "--yes", address=server.address)
    assert removed == Done(0, b"entries removed: 2\n", "")
    assert list(await client.get_many(namespace, ["s:\u202e1", "s:2", "user"])) == ["user"]


async def test_a_terminal_shows_how_far_it_is(
    server: PantlerServer, client: sdk.AsyncClient, namespace: str
) -> None:
    await client.set(namespace, "k", b"v")
    code, shown = await at_a_terminal(
        *("invalidate", "pattern", namespace, "*", "--yes", "--address", server.address)
    )
    assert code == 0
    assert "keys, 1 entries removed" in shown
    assert shown.endswith("entries removed: 1\n")


@pytest.mark.parametrize("broad", BROAD)
async def test_what_reaches_far_is_confirmed_first(
    server: PantlerServer, client: sdk.AsyncClient, namespace: str, broad: tuple[str, ...]
) -> None:
    await client.set(namespace, "k", b"v")
    kind, *more = broad
    arguments = ("invalidate", kind, namespace, *more, "--address", server.address)
    for typed in (b"n\n", b"\n", b"\x04"):  # the last is Ctrl-D
        code, shown = await at_a_terminal(*arguments, typed=typed)
        assert code == 4
        assert f"all entries of '{namespace}'" in shown
        assert "Go on? [y/N]:" in shown
        assert shown.endswith("pantler: nothing was done\n")
    assert await client.get(namespace, "k") is not None
    code, shown = await at_a_terminal(*arguments, typed=b"y\n")
    assert code == 0
    assert await client.get(namespace, "k") is None


@pytest.mark.parametrize("broad", BROAD)
async def test_where_nobody_can_be_asked_it_takes_a_yes(
    server: PantlerServer, client: sdk.AsyncClient, namespace: str, broad: tuple[str, ...]
) -> None:
    await client.set(namespace, "k", b"v")
    kind, *more = broad
    done = await pantler("invalidate", kind, namespace, *more, address=server.address, stdin=b"y")
    assert (done.code, done.out) == (2, b"")
    assert "--yes" in done.error
    assert await client.get(namespace, "k") is not None


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--yes", "entries that were removed so far: 1"),
        ("--dry-run", "entries that match so far: 1"),
    ],
)
async def test_ctrl_c_stops_a_walk_and_says_how_far_it_got(option: str, said: str) -> None:
    async with SlowWalk() as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pantler_server", "invalidate", "pattern", "users", "*"),
            *(option, "--json", "--address", server.address),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        await server.under_way.wait()
        await asyncio.sleep(0.5)  # what is under way has arrived by then
        process.send_signal(signal.SIGINT)
        out, error = await process.communicate()
        async with asyncio.timeout(5):
            await server.cancelled.wait()
    assert process.returncode == 130
    assert Done(130, out, "").document == {
        "dry_run": option == "--dry-run",
        "scanned": 1,
        "total": 3,
        "invalidated": 1,
        "examples": ["a"],
        "done": False,
        "purge_id": None,
    }
    assert error.decode() == f"pantler: stopped at 1 of 3 keys; {said}\n"


async def test_a_walk_has_all_the_time_it_needs_unless_it_is_given_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PANTLER_TIMEOUT", "1ms")
    arguments = ("invalidate", "pattern", "users", "*", "--dry-run")
    async with SlowWalk() as server:
        late = await pantler(*arguments, "--timeout", "50ms", address=server.address)
        assert late.code == 3
        server.may_go_on.set()
        done = await pantler(*arguments, address=server.address)
        assert done == Done(0, b"entries that match: 2\n  'a'\n  'b'\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("key", "Bad Namespace", "k"),
        ("key", "users"),
        ("key", "users", "k\udcff"),
        ("tag", "users", ""),
        ("tag", "users", "t", "--timeout", "5"),
        ("older-than", "users", "yesterday", "--yes"),
        ("older-than", "users", "-5 minutes", "--yes"),
        ("older-than", "users", "5m", "--nonsense", "--yes"),
        ("older-than", "users", "2026-01-31", "--yes"),
        ("older-than", "users", "2026-01-31T12:00:00", "--yes"),
        ("older-than", "users", "99999999d", "--yes"),
        ("older-than", "users", "2999-01-31T12:00:00Z", "--yes"),
        ("pattern", "users", "x" * 513, "--yes"),
        ("pattern", "users", "", "--yes"),
        ("pattern", "users", "x", "--yes", "--timeout", "soon"),
        ("namespace", "Bad Namespace", "--yes"),
        ("nonsense",),
    ],
)
async def test_wrong_usage_is_code_2(server: PantlerServer, arguments: tuple[str, ...]) -> None:
    done = await pantler("invalidate", *arguments, address=server.address)
    assert done.code == 2
    assert done.error


@pytest.mark.parametrize("command", ["key", "tag", "namespace", "older-than", "pattern"])
async def test_help_needs_no_server(command: str) -> None:
    assert (await pantler("invalidate", command, "--help")).code == 0
