"""`pantler event` against a real server."""

import os
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cli.test_commands import Done, pantler
from tests.servers.pantler import PantlerServer

_ids = count()
RULES = """
events:
  - name: users
    type: user.changed
    namespace: users
    keys: ["user:{user_id}", "team:{teams}"]
    cascade: true
  - name: pages
    type: user.changed
    when: {public: true}
    namespace: pages
    mode: soft
    tags: ["user:{user_id}"]
  - name: shop
    type: shop.moved
    namespace: pages
    all: true
  - name: order
    type: order.paid
    when: {order.lines: 2}
    namespace: orders
    keys: ["order:{order.id}"]
"""


def an_id() -> str:
    return f"clievent{next(_ids)}"


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """Pantler with event rules."""
    config: Path = tmp_path_factory.mktemp("events") / "pantler.yaml"
    config.write_text(RULES)
    async with PantlerServer(config=config) as running:
        yield running


async def test_what_each_rule_did_is_printed(server: PantlerServer) -> None:
    at = server.address
    await pantler("set", "users", "card", "v", "--depends-on", "user:5", address=at)
    fields = ("user_id=5", "teams:=[1, 2]", "public:=true")
    event_id = an_id()
    done = await pantler("event", "user.changed", *fields, "--event-id", event_id, address=at)
    expected = [
        "users: key 'user:5' invalidated in users",
        "users: key 'team:1' invalidated in users",
        "users: key 'team:2' invalidated in users",
        "users: 1 more that depend on these invalidated in users",
        "pages: tag 'user:5' made stale in pages",
    ]
    assert (done.code, done.error) == (0, "")
    assert done.out.decode().splitlines() == expected
    again = await pantler("event", "user.changed", *fields, "--event-id", event_id, address=at)
    assert again.code == 0
    assert again.out.decode().splitlines() == [
        "this event was published before; nothing was done now, and this was done then:",
        *expected,
    ]
    json = await pantler("event", "shop.moved", "--json", address=at)
    assert (json.code, json.document) == (
        0,
        {
            "duplicate": False,
            "outcomes": [
                {
                    "rule": "shop",
                    "namespace": "pages",
                    "mode": "HARD",
                    "keys": [],
                    "cascaded": 0,
                    "tags": [],
                    "all": True,
                }
            ],
        },
    )


async def test_fields_come_as_a_document_too(server: PantlerServer, tmp_path: Path) -> None:
    document = b'{"order": {"id": "old", "lines": 2}}'
    file = tmp_path / "event.json"
    file.write_bytes(document)
    for source, stdin in ((document.decode(), b""), (f"@{file}", b""), ("-", document)):
        arguments = ("event", "order.paid", "order.id=new", "--fields", source)
        done = await pantler(*arguments, address=server.address, stdin=stdin)
        assert done == Done(0, b"order: key 'order:new' invalidated in orders\n", "")


async def test_an_event_that_does_nothing_says_so(server: PantlerServer) -> None:
    nothing = b"no rule is for such an event: nothing was invalidated\n"
    for arguments in (("unheard.of", "a=b=c"), ("order.paid", "order.lines=2")):
        done = await pantler("event", *arguments, address=server.address)
        assert done == Done(0, nothing, "")
    done = await pantler("event", "shop.moved", address=server.address)
    assert done == Done(0, b"shop: all entries invalidated in pages\n", "")
    empty = ("user.changed", "teams:=[]", "user_id:=[]")
    done = await pantler("event", *empty, address=server.address)
    assert done == Done(0, b"users: nothing, as its lists are empty\n", "")


async def test_fields_can_not_steer_the_terminal(server: PantlerServer) -> None:
    fields = ("user_id=\u202ek", "teams:=[]")
    done = await pantler("event", "user.changed", *fields, address=server.address)
    assert done == Done(0, b"users: key 'user:\\u202ek' invalidated in users\n", "")


async def test_a_missing_field_is_named_with_its_rule(server: PantlerServer) -> None:
    done = await pantler("event", "user.changed", "teams=1", address=server.address)
    assert done == Done(
        2, b"", "pantler: fields.user_id must be set: event rule 'users' needs it\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("user_id",), "'user_id' is not FIELD=VALUE"),
        (("=5",), "'=5' is not FIELD=VALUE"),
        ((":=5",), "':=5' is not FIELD=VALUE"),
        (("a.=5",), "'a.=5' is not FIELD=VALUE"),
        (("a=5", "a.b=5"), "'a' has a value of its own"),
        (("a:={",), "is not JSON"),
        (("--fields", "{"), "is not JSON"),
        (("--fields", "[1]"), "must be a JSON object"),
        (("--fields", "@nowhere"), "@nowhere: No such file"),
        ((os.fsdecode(b"a=\xff"),), "is not UTF-8"),
    ],
)
async def test_wrong_usage_is_said(arguments: tuple[str, ...], said: str) -> None:
    done = await pantler("event", "t", *arguments, address="127.0.0.1:1")
    assert done.code == 2
    assert said in " ".join(done.error.replace("│", " ").split())
