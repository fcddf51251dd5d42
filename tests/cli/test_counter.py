"""`pantler counter` and `pantler unique` against a real server."""

import re
from itertools import count

import pytest

from tests.cli.test_commands import Done, pantler
from tests.servers.pantler import PantlerServer

_numbers = count()


@pytest.fixture
def namespace() -> str:
    return f"clicount{next(_numbers)}"


async def test_a_counter_is_added_to_read_and_reset(server: PantlerServer, namespace: str) -> None:
    at = server.address
    stock = ("counter", "add", namespace, "stock")
    assert await pantler(*stock, "--by", "2", address=at) == Done(0, b"2\n", "")
    assert await pantler(*stock, "--by", "-1", "--floor", "0", address=at) == Done(0, b"1\n", "")
    denied = await pantler(*stock, "--ceiling", "1", address=at)
    assert denied == Done(1, b"1\n", "pantler: nothing was added: it would leave its bounds\n")
    as_json = await pantler(*stock, "--ceiling", "1", "--json", address=at)
    assert (as_json.code, as_json.error) == (1, "")
    assert as_json.document == {"value": 1, "applied": False, "expire_time": None}
    lives = await pantler(*stock, "--ttl", "1h", "--request-id", "r", address=at)
    assert re.fullmatch(rb"2, expires 20\S+Z\n", lives.out)
    assert await pantler(*stock, "--ttl", "1h", "--request-id", "r", address=at) == lives
    both = (namespace, "nobody", "stock")
    assert await pantler("counter", "get", *both, address=at) == Done(
        0, b"'nobody': not there\n'stock': 2\n", ""
    )
    reset = await pantler("counter", "reset", *both, "--json", address=at)
    assert (reset.code, reset.document) == (
        0,
        [
            {"counter": "nobody", "value": 0, "found": False},
            {"counter": "stock", "value": 2, "found": True},
        ],
    )
    for command in ("get", "reset"):
        assert (await pantler("counter", command, *both, address=at)).code == 1


async def test_uniques_are_counted_and_merged(server: PantlerServer, namespace: str) -> None:
    at = server.address
    add = ("unique", "add", namespace)
    assert await pantler(*add, "mon", "a", "b", "--ttl", "1h", address=at) == Done(
        0, b"added\n", ""
    )
    seen = await pantler(*add, "mon", "a", address=at)
    assert seen.out == b"all of them had been seen\n"
    assert (await pantler(*add, "tue", "b", "c", "--json", address=at)).document == {
        "changed": True
    }
    days = ("mon", "tue")
    counted = await pantler("unique", "count", namespace, *days, address=at)
    assert counted == Done(0, b"3\n", "")
    merged = await pantler("unique", "merge", namespace, "week", *days, address=at)
    assert merged == Done(0, b"3\n", "")
    week = await pantler("unique", "count", namespace, "week", "--json", address=at)
    assert week.document == {"count": 3}


async def test_sets_of_uniques_are_deleted_after_a_yes(
    server: PantlerServer, namespace: str
) -> None:
    at = server.address
    for day in ("mon", "tue"):
        await pantler("unique", "add", namespace, day, "a", address=at)
    unsure = await pantler("unique", "delete", namespace, "mon", address=at)
    assert (unsure.code, unsure.out) == (2, b"")
    said = f"this deletes the set of uniques 'mon' of '{namespace}': add --yes"
    assert said in " ".join(unsure.error.replace("│", " ").split())
    both = ("unique", "delete", namespace, "mon", "nobody", "--yes")
    assert await pantler(*both, address=at) == Done(0, b"'mon': deleted\n'nobody': not there\n", "")
    assert (await pantler(*both, address=at)).code == 1
    as_json = await pantler("unique", "delete", namespace, "tue", "-y", "--json", address=at)
    assert (as_json.code, as_json.document) == (0, [{"set": "tue", "deleted": True}])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("counter", "add", "n", "c", "--by", "many"), "unable to parse string as an integer"),
        (("counter", "add", "n", "c", "--by", "9" * 30), "must be within"),
        (("counter", "add", "n", "c", "--ttl", "soon"), "'soon' is not a duration"),
        (("counter", "get", "n"), "Missing argument"),
        (("unique", "merge", "n", "into"), "Missing argument"),
        (
            ("unique", "delete", "n", "a", "b"),
            "deletes the 2 sets of uniques of 'n': add --yes",
        ),
    ],
)
async def test_wrong_usage_is_said(arguments: tuple[str, ...], said: str) -> None:
    done = await pantler(*arguments, address="127.0.0.1:1")
    assert done.code == 2
    assert said in " ".join(done.error.replace("│", " ").split())


async def test_what_the_server_refuses_is_said(server: PantlerServer, namespace: str) -> None:
    arguments = ("counter", "add", namespace, "c", "--floor", "2", "--ceiling", "1")
    refused = await pantler(*arguments, address=server.address)
    assert refused == Done(2, b"", "pantler: floor must not be above ceiling\n")


async def test_a_server_that_is_not_there_is_code_3() -> None:
    for arguments in (("counter", "get", "n", "c"), ("unique", "count", "n", "s")):
        done = await pantler(*arguments, address="127.0.0.1:1")
        assert done.code == 3
        assert done.error.startswith("pantler: can't reach ")
