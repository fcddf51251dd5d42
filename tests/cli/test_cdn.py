"""`pantler purge` and `pantler edge` against a real server and the stand-ins of vendors."""

import asyncio
import os
import pty
import signal
import sys
from itertools import count

import pytest

from tests.cli.test_commands import Done, on_a_terminal, pantler
from tests.servers.cloudflare import CloudflareServer
from tests.servers.fastly import FastlyServer
from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer
from tests.servers.vendor import Purge

_numbers = count()


@pytest.fixture
def at(cdn_server: PantlerServer, cloudflare: CloudflareServer, fastly: FastlyServer) -> str:
    """Its address; nothing was purged or stored."""
    for vendor in (cloudflare, fastly):
        vendor.purges.clear()
    cloudflare.values.clear()
    return cdn_server.address


@pytest.fixture
def tag() -> str:
    """One that no other test uses."""
    return f"cli-{next(_numbers)}"


def plain(error: str) -> str:
    """What stands in the frame of an error of usage."""
    return " ".join(error.replace("│", " ").split())


async def test_a_purge_is_begun_and_its_status_told(
    at: str, tag: str, cloudflare: CloudflareServer, fastly: FastlyServer
) -> None:
    begun = await pantler("purge", "--tag", tag, "--tag", f"{tag} b", "--soft", address=at)
    assert (begun.code, begun.error) == (0, "")
    purge_id = begun.out.decode().strip()
    status = await pantler("purge", "status", purge_id, "--wait", address=at)
    assert status == Done(0, b"cloudflare\tdone\t1\t\nfastly\tdone\t1\t\n", "")
    for vendor in (cloudflare, fastly):
        assert vendor.purged_tags == [tag, f"{tag}%20b"]
        assert all(purge.soft for purge in vendor.purges)
    document = (await pantler("purge", "status", purge_id, "--json", address=at)).document
    finished = [one.pop("finish_time") for one in document["receipts"]]
    assert all(one >= document["create_time"] for one in finished)
    assert document["purge_id"] == purge_id
    assert document["receipts"] == [
        {"target": name, "state": "DONE", "attempts": 1, "last_error": None}
        for name in ("cloudflare", "fastly")
    ]


async def test_a_purge_is_waited_for(
    at: str, cloudflare: CloudflareServer, fastly: FastlyServer
) -> None:
    url = "https://shop.example/a?b=c"
    done = await pantler("purge", "--url", url, "--target", "cloudflare", "--wait", address=at)
    assert done == Done(0, b"cloudflare\tdone\t1\t\n", "")
    everything = ("purge", "--all", "--target", "cloudflare", "--wait", "--json", "--yes")
    as_json = await pantler(*everything, address=at)
    assert (as_json.code, [one["state"] for one in as_json.document["receipts"]]) == (0, ["DONE"])
    assert cloudflare.purges == [Purge(urls=(url,)), Purge(everything=True)]
    assert fastly.purges == []


async def test_a_target_that_refuses_is_code_4(at: str, tag: str, fastly: FastlyServer) -> None:
    right, fastly.token = fastly.token, "another"
    refused = await pantler("purge", "--tag", tag, "--wait", address=at)
    fastly.token = right
    said = "401: Provided credentials are missing or invalid"
    assert refused == Done(4, f"cloudflare\tdone\t1\t\nfastly\tfailed\t1\t{said}\n".encode(), "")


async def test_the_end_of_a_wait_is_not_that_of_the_purge(
    at: str, tag: str, fastly: FastlyServer
) -> None:
    fastly.goes_on.clear()
    fastly.entered.clear()
    purge = ("purge", "--tag", tag, "--target", "fastly", "--request-id", tag)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pantler_server", *purge, "--wait", "--address", at),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await fastly.entered.wait()
    await asyncio.sleep(0.5)  # the program has its answer by then
    process.send_signal(signal.SIGINT)
    out, error = await process.communicate()
    begun = (await pantler(*purge, "--json", address=at)).document
    assert begun["duplicate"]
    purge_id = begun["purge_id"]
    assert (process.returncode, out) == (130, b"")
    assert error.decode() == f"pantler: it goes on: `pantler purge status {purge_id}`\n"
    status = await pantler("purge", "status", purge_id, address=at)
    assert (status.code, status.out) == (0, b"fastly\tpending\t0\t\n")
    fastly.goes_on.set()
    over = await pantler("purge", "status", purge_id, "--wait", address=at)
    assert over.out == b"fastly\tdone\t1\t\n"


async def test_a_wait_outlasts_a_server_that_is_away(
    at: str, tag: str, fastly: FastlyServer
) -> None:
    fastly.goes_on.clear()
    fastly.entered.clear()
    async with FaultProxy(int(at.rpartition(":")[2])) as proxy:
        where = ("--timeout", "500ms", "--address", f"127.0.0.1:{proxy.port}")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pantler_server", "purge", "--tag", tag),
            *("--target", "fastly", "--wait", *where),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        await fastly.entered.wait()
        await asyncio.sleep(0.5)  # the program has its answer by then
        proxy.stall()
        said = await process.stderr.readline()
        assert said == b"pantler: the server does not answer, and is asked again\n"
        proxy.restore()
        fastly.goes_on.set()
        out, error = await process.communicate()
        assert (process.returncode, out, error) == (0, b"fastly\tdone\t1\t\n", b"")


async def test_a_request_id_purges_once(at: str, tag: str, fastly: FastlyServer) -> None:
    arguments = ("purge", "--tag", tag, "--target", "fastly", "--request-id", tag, "--json")
    first = (await pantler(*arguments, address=at)).document
    again = (await pantler(*arguments, address=at)).document
    assert again == {"purge_id": first["purge_id"], "duplicate": True}
    await pantler("purge", "status", first["purge_id"], "--wait", address=at)
    assert fastly.purged_tags == [tag]


async def test_an_invalidation_says_what_it_purges(at: str, tag: str, fastly: FastlyServer) -> None:
    await pantler("set", "pages", "k", "v", "--tag", tag, address=at)
    commands: list[tuple[str, ...]] = [
        ("key", "pages", "k"),
        ("tag", "pages", tag),
        ("namespace", "pages", "--yes"),
        ("older-than", "pages", "1s", "--yes"),
    ]
    for command in commands:
        as_json = await pantler("invalidate", *command, "--json", address=at)
        status = await pantler("purge", "status", as_json.document["purge_id"], address=at)
        assert status.out.startswith(b"fastly\t")
        said = await pantler("invalidate", *command, address=at)
        assert "`pantler purge status " in said.out.decode()
    plain_tag = await pantler("invalidate", "tag", "plain", tag, "--json", address=at)
    assert plain_tag.document == {"invalidated": [tag], "purge_id": None}


async def test_a_person_is_shown_a_table_and_asked(at: str, tag: str, fastly: FastlyServer) -> None:
    right, fastly.token = fastly.token, "another"
    refused = await pantler("purge", "--tag", tag, "--wait", "--json", address=at)
    fastly.token = right
    purge_id = refused.document["purge_id"]
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pantler_server", "purge", "status", purge_id, "--address", at),
        stdout=theirs,
    )
    os.close(theirs)
    assert await process.wait() == 4
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    for word in ("target", "cloudflare", "done", "failed", "missing or invalid", "asked for at"):
        assert word in shown
    unsure = await pantler("purge", "--all", address=at)
    assert (unsure.code, unsure.out) == (2, b"")
    assert "this has every target forget everything: add --yes" in plain(unsure.error)
    assert fastly.purges == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("purge", "--tag", "a", "--url", "b"), "give one of --tag, --url and --all"),
        (("purge", "--tag", "a", "--all", "--yes"), "give one of --tag, --url and --all"),
        (("purge", "--tag", "a", "status", "b"), "a purge has no command"),
        (("purge", "status"), "Missing argument"),
        (("purge", "--all", "--target", "a"), "this has target 'a' forget everything"),
        (("edge", "put", "a", "b"), "give either VALUE or --file"),
        (("edge", "put", "a", "b", "c", "--ttl", "soon"), "'soon' is not a duration"),
        (("edge", "put", "a", "b", "c", "--metadata", "{"), "is no JSON object"),
        (("edge", "put", "a", "b", "c", "--metadata", "[1]"), "it must be an object"),
        (("edge", "put", "a", "b", "c", "--metadata", "[" * 9000), "is no JSON object"),
        (("edge", "get", "a"), "Missing argument"),
    ],
)
async def test_wrong_usage_is_said(arguments: tuple[str, ...], said: str) -> None:
    done = await pantler(*arguments, "--address", "127.0.0.1:1")
    assert (done.code, done.out) == (2, b"")
    assert said in plain(done.error)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("purge",), "forget pages that they keep"),
        (("purge", "status"), "what became of a purge"),
        (("edge",), "Workers KV"),
        (("edge", "put"), "It replaces one that is there"),
        (("edge", "get"), "the exit code is 1"),
        (("edge", "delete"), "Delete a value"),
    ],
)
async def test_help_needs_no_server(command: tuple[str, ...], said: str) -> None:
    done = await pantler(*command, "--help")
    assert done.code == 0
    assert said in plain(done.out.decode())


async def test_purge_alone_explains_itself() -> None:
    done = await pantler("purge")
    assert done.code == 2
    assert "pantler purge --tag prices --wait" in plain(done.out.decode())


async def test_what_the_server_refuses_is_said(at: str) -> None:
    unknown = await pantler("purge", "--tag", "a", "--target", "nobody", address=at)
    assert unknown.code == 4
    assert unknown.error.startswith("pantler: no CDN target is called 'nobody'")
    none = await pantler("purge", "status", "nothing", address=at)
    assert (none.code, none.out) == (4, b"")
    assert "there is no purge 'nothing'" in none.error
    wrong = await pantler("purge", "--url", "shop.example/a", address=at)
    assert wrong.code == 2


async def test_an_edge_value_is_put_got_and_deleted(at: str, cloudflare: CloudflareServer) -> None:
    value = ("cloudflare", "a/b")
    put = ("edge", "put", *value, "--file", "-", "--ttl", "1h", "--metadata", '{"n": 1, "l": [{}]}')
    assert await pantler(*put, address=at, stdin=b"\0\xff\r\n") == Done(0, b"stored\n", "")
    assert cloudflare.values["a/b"].metadata == {"n": 1, "l": [{}]}
    assert await pantler("edge", "get", *value, address=at) == Done(0, b"\0\xff\r\n", "")
    document = (await pantler("edge", "get", *value, "--json", address=at)).document
    assert document.pop("expire_time").endswith("Z")
    assert document == {
        "found": True,
        "value_base64": "AP8NCg==",
        "metadata": {"l": [{}], "n": 1},
    }
    text = await pantler("edge", "put", *value, "Sale", "--json", address=at)
    assert (text.code, text.document) == (0, {"stored": True})
    document = (await pantler("edge", "get", *value, "--json", address=at)).document
    assert (document["value"], document["expire_time"], document["metadata"]) == (
        "Sale",
        None,
        None,
    )
    assert await pantler("edge", "delete", *value, address=at) == Done(0, b"deleted\n", "")
    missing = await pantler("edge", "get", *value, address=at)
    assert missing == Done(1, b"", "pantler: no value 'a/b' at 'cloudflare'\n")
    as_json = await pantler("edge", "get", *value, "--json", address=at)
    assert (as_json.code, as_json.document) == (1, {"found": False})
    gone = await pantler("edge", "delete", *value, "--json", address=at)
    assert (gone.code, gone.document) == (0, {"deleted": True})


async def test_an_edge_value_can_not_steer_the_terminal(
    at: str, cloudflare: CloudflareServer
) -> None:
    metadata = ("--metadata", '{"[/x]": "\\u001b[31m"}')
    put = ("edge", "put", "cloudflare", "k", "--file", "-", *metadata)
    await pantler(*put, address=at, stdin=b"\x1b[31mred\xc2\x9b")
    seen = await on_a_terminal("edge", "get", "cloudflare", "k", "--address", at)
    assert seen.startswith(r"\x1b[31mred\x9b")
    assert r'stays, {"[/x]": "\u001b[31m"}' in seen


async def test_numbers_of_metadata_stay_exact(at: str, cloudflare: CloudflareServer) -> None:
    metadata = ("--metadata", '{"id": 9007199254740993, "n": 7}')
    assert (await pantler("edge", "put", "cloudflare", "n", "v", *metadata, address=at)).code == 0
    assert cloudflare.values["n"].metadata == {"id": "9007199254740993", "n": 7}


async def test_what_the_vendor_refuses_is_said(at: str, cloudflare: CloudflareServer) -> None:
    right, cloudflare.token = cloudflare.token, "another"
    refused = await pantler("edge", "get", "cloudflare", "k", address=at)
    cloudflare.token = right
    said = "CDN target 'cloudflare' refused: 403: Authentication error (10000)"
    assert refused == Done(4, b"", f"pantler: {said}\n")
    short = await pantler("edge", "put", "cloudflare", "k", "v", "--ttl", "1s", address=at)
    assert short == Done(2, b"", "pantler: ttl must be 60 s to 10 years\n")
    none = await pantler("edge", "get", "fastly", "k", address=at)
    assert none.code == 4
    assert "has no edge store" in none.error
