"""`pantler record`, `backlog` and `dead` against a real server over a table."""

import json
import re
from itertools import count

import pytest

from tests.cli.test_commands import Done, on_a_terminal, pantler
from tests.servers.pantler import PantlerServer
from tests.servers.users_table import UsersTable

_numbers = count()


@pytest.fixture
def key() -> str:
    """One that no other test uses."""
    return f"cli{next(_numbers)}"


def plain(error: str) -> str:
    """What stands in the frame of an error of usage."""
    return " ".join(error.replace("│", " ").split())


async def test_a_record_is_put_got_and_deleted(
    record_server: PantlerServer, users: UsersTable, key: str
) -> None:
    at = record_server.address
    record = ("through", key)
    put = await pantler("record", "put", *record, "name=Ada=x", "age:=36", address=at)
    assert (put.code, put.error) == (0, "")
    assert re.fullmatch(rb"written, version \d+\n", put.out)
    update = ("--operation", "update", "--json")
    changed = await pantler("record", "put", *record, "score:=1.5", *update, address=at)
    assert (changed.code, changed.document["durability"]) == (0, "WRITTEN")
    assert users.row(key) == ("Ada=x", 36, None, 1.5)
    fields = {"age": 36, "email": None, "id": key, "name": "Ada=x", "score": 1.5}
    got = await pantler("record", "get", *record, address=at)
    assert got == Done(0, f"{json.dumps(fields, separators=(',', ':'))}\n".encode(), "")
    as_json = await pantler("record", "get", *record, "--json", "--force-refresh", address=at)
    assert (as_json.code, as_json.document) == (
        0,
        {"found": True, "record": fields, "source": "ORIGIN", "stale": False},
    )
    deleted = await pantler("record", "delete", *record, address=at)
    assert re.fullmatch(rb"deleted, version \d+\n", deleted.out)
    gone = f"pantler: no record '{key}' in 'through'\n"
    assert await pantler("record", "delete", *record, address=at) == Done(1, b"", gone)
    assert await pantler("record", "get", *record, address=at) == Done(1, b"", gone)
    missed = await pantler("record", "get", *record, "--json", address=at)
    assert (missed.code, missed.document["found"], missed.error) == (1, False, "")
    nothing = await pantler("record", "delete", *record, "--json", address=at)
    assert (nothing.code, nothing.document["deleted"]) == (1, False)


async def test_fields_may_come_as_a_document(
    record_server: PantlerServer, users: UsersTable, key: str
) -> None:
    at = record_server.address
    put = ("record", "put", "through", key, "--operation", "upsert")
    assert (await pantler(*put, "--fields", '{"name": "Ada"}', address=at)).code == 0
    assert users.row(key) == ("Ada", None, None, None)
    said = '{"name": "Adé", "age": 9007199254740993}'.encode()
    assert (await pantler(*put, "--fields", "-", address=at, stdin=said)).code == 0
    assert users.row(key) == ("Adé", 2**53 + 1, None, None)
    again = ("--request-id", key)
    first = await pantler(*put, "age:=1", *again, address=at)
    assert await pantler(*put, "age:=1", *again, address=at) == first


async def test_writes_behind_are_waited_for(
    record_server: PantlerServer, users: UsersTable, key: str
) -> None:
    at = record_server.address
    put = await pantler("record", "put", "behind", key, "age:=1", address=at)
    assert put.out.startswith(b"queued, version ")
    done = await pantler("backlog", "behind", "--flush", address=at)
    assert (done.code, done.error) == (0, "")
    assert re.fullmatch(
        rb"flushed: \d+, of these still waiting: 0\nwaiting: 0; dead: \d+\n", done.out
    )
    assert users.row(key) == (None, 1, None, None)
    deleted = await pantler("record", "delete", "behind", key, address=at)
    assert b"version" in deleted.out
    as_json = await pantler("backlog", "behind", "--flush", "--json", address=at)
    assert as_json.document["remaining"] == as_json.document["pending"] == 0
    assert users.row(key) is None


async def test_writes_that_still_wait_are_said(
    record_server: PantlerServer, users: UsersTable, key: str
) -> None:
    at = record_server.address
    await pantler("backlog", "behind", "--flush", address=at)
    with users.locked():
        await pantler("record", "put", "behind", key, "age:=1", address=at)
        held = await pantler("backlog", "behind", "--flush", "--timeout", "500ms", address=at)
    assert held.code == 3
    assert re.match(
        rb"flushed: 0, of these still waiting: 1\nwaiting: 1, the oldest for \d\.\d s; dead: ",
        held.out,
    )
    done = await pantler("backlog", "behind", "--flush", address=at)
    assert done.code == 0


async def test_dead_writes_are_seen_to(
    record_server: PantlerServer, users: UsersTable, key: str
) -> None:
    at = record_server.address
    await pantler("record", "put", "behind", key, "age:=-1", address=at)
    await pantler("backlog", "behind", "--flush", address=at)
    listed = await pantler("dead", "list", "behind", address=at)
    [line] = [one for one in listed.out.decode().splitlines() if f"\t{key}\t" in one]
    ident, _, operation, fields, reason = line.split("\t")
    assert (operation, json.loads(fields)["age"]) == ("UPSERT", -1)
    assert reason
    as_json = await pantler("dead", "list", "behind", "--json", address=at)
    [mine] = [one for one in as_json.document if one["key"] == key]
    assert (mine["id"], mine["operation"], mine["reason"]) == (ident, "UPSERT", reason)
    retried = await pantler("dead", "retry", "behind", ident, "0-1", address=at)
    assert retried == Done(0, b"queued again: 1\n", "")
    await pantler("backlog", "behind", "--flush", address=at)
    unsure = await pantler("dead", "discard", "behind", "--all", address=at)
    assert unsure.code == 2
    assert "loses all of the dead writes of 'behind' for good: add --yes" in plain(unsure.error)
    discard = ("dead", "discard", "behind", "--all", "--yes")
    assert (await pantler(*discard, address=at)).code == 0
    assert await pantler(*discard, "--json", address=at) == Done(0, b'{\n  "discarded": 0\n}\n', "")
    retry = ("dead", "retry", "behind")
    assert await pantler(*retry, "--all", address=at) == Done(0, b"queued again: 0\n", "")
    assert await pantler(*retry, "0-1", address=at) == Done(1, b"queued again: 0\n", "")
    assert users.row(key) is None


async def test_a_person_sees_tables(
    record_server: PantlerServer, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    at = ("--address", record_server.address)
    await pantler("record", "put", "through", key, "name=[b]\x1b[31m", *at)
    shown = await on_a_terminal("record", "get", "through", key, *at)
    assert "[b]\\x1b[31m" in shown
    assert "from the cache" in shown
    await pantler("record", "put", "behind", key, "age:=-7", *at)
    await pantler("backlog", "behind", "--flush", *at)
    shown = await on_a_terminal("dead", "list", "behind", *at)
    assert key in shown
    assert "dead writes: " in shown
    await pantler("dead", "discard", "behind", "--all", "--yes", *at)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("record", "put"), "To change a field and keep the others, pantler record put users 42"),
        (("dead", "retry"), "They overwrite what was written to these keys since."),
    ],
)
async def test_help_says_what_is_replaced(command: tuple[str, ...], said: str) -> None:
    done = await pantler(*command, "--help")
    assert done.code == 0
    assert said in plain(done.out.decode())


async def test_why_a_record_is_not_cached_is_told(
    record_server: PantlerServer, users: UsersTable, key: str
) -> None:
    users.change("INSERT INTO users (id, name) VALUES (?, 'Ada')", key)
    for command in ("why", "describe"):
        done = await pantler(command, "through", key, address=record_server.address)
        assert done.code == 1
        told = f"{done.out.decode()}{done.error}"
        assert "nothing is known of it" in told
        assert "record" not in told
    why = await pantler("why", "through", key, address=record_server.address)
    assert b"never set (or loaded, if the namespace has an origin)" in why.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("record", "put", "n", "k"), "give either fields, as name=Ada, or --fields"),
        (("record", "put", "n", "k", "a=1", "--fields", "{}"), "give either fields"),
        (("record", "put", "n", "k", "name"), "'name' is neither NAME=TEXT nor NAME:=JSON"),
        (("record", "put", "n", "k", "=x"), "'=x' is neither NAME=TEXT nor NAME:=JSON"),
        (("record", "put", "n", "k", "age:=many"), "'many' of 'age:=many' is no JSON"),
        (("record", "put", "n", "k", "--fields", "[1]"), "must be a JSON object"),
        (("record", "put", "n", "k", "--fields", "{"), "is no JSON"),
        (("record", "put", "n", "k", "a=1", "--operation", "replace"), "'replace' is not one of"),
        (("dead", "retry", "n"), "give either ids or --all"),
        (("dead", "discard", "n", "0-1", "--all"), "give either ids or --all"),
        (("dead", "discard", "n", "0-1"), "loses 1 of the dead writes of 'n' for good: add --yes"),
        (("backlog", "n", "--timeout", "soon"), "'soon' is not a duration"),
    ],
)
async def test_wrong_usage_is_said(arguments: tuple[str, ...], said: str) -> None:
    done = await pantler(*arguments, address="127.0.0.1:1")
    assert done.code == 2
    assert said in plain(done.error)


async def test_what_the_server_refuses_is_said(record_server: PantlerServer, key: str) -> None:
    at = record_server.address
    unknown = await pantler("record", "put", "through", key, "nome=Ada", address=at)
    assert unknown.code == 2
    assert unknown.error.startswith("pantler: fields.nome ")
    update = ("record", "put", "through", key, "name=Ada", "--operation", "update")
    missing = await pantler(*update, address=at)
    assert missing.code == 4
    assert missing.error.startswith(f"pantler: there is no record '{key}'")
    none = await pantler("record", "get", "plain", key, address=at)
    assert none.code == 4
    assert "no system of record" in none.error


async def test_a_server_that_is_not_there_is_code_3() -> None:
    for arguments in (("record", "get", "n", "k"), ("backlog", "n"), ("dead", "list", "n")):
        done = await pantler(*arguments, address="127.0.0.1:1")
        assert done.code == 3
        assert done.error.startswith("pantler: can't reach ")
