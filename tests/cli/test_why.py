"""`pantler why`, and what `describe` says of the same, against a real server."""

import re
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import aiohttp
import pantler as sdk
import pytest
import pytest_asyncio
from pantler.v1 import cache_pb2
from pantler_server.cli.description import as_json, because

from tests.cli.test_commands import Done, on_a_terminal, pantler
from tests.servers.pantler import PantlerServer

_numbers = count()


@pytest.fixture
def namespace() -> str:
    return f"why{next(_numbers)}"


@pytest_asyncio.fixture
async def client(server: PantlerServer) -> AsyncIterator[sdk.AsyncClient]:
    async with sdk.AsyncClient(server.address) as opened:
        yield opened


async def since(server: PantlerServer, namespace: str, key: str) -> str:
    """Since when the server says that a key is not found."""
    described = await pantler("describe", namespace, key, "--json", address=server.address)
    time = described.document["miss_time"]
    assert isinstance(time, str)
    return time


async def test_what_is_found_is_said_to_be(server: PantlerServer, namespace: str) -> None:
    await pantler("set", namespace, "k", "v", address=server.address)
    described = await pantler("describe", namespace, "k", "--json", address=server.address)
    entry = described.document
    done = await pantler("why", namespace, "k", address=server.address)
    told = f"'k' is found: its value is from {entry['create_time']} and expires at "
    assert done == Done(0, f"{told}{entry['expire_time']}.\n".encode(), "")


async def test_of_what_is_not_known_all_causes_are_told(
    server: PantlerServer, namespace: str
) -> None:
    done = await pantler("why", namespace, "k", address=server.address)
    assert done.code == 1
    assert done.out.startswith(b"'k' is not found: nothing is known of it. It was never set (or")
    assert done.error == ""


async def test_a_pattern_is_told_as_a_cause_that_may_be(
    server: PantlerServer, namespace: str
) -> None:
    at = server.address
    await pantler("set", namespace, "k", "v", address=at)
    await pantler("invalidate", "pattern", namespace, "k*", "--yes", address=at)
    done = await pantler("why", namespace, "k", address=at)
    assert b"matched a pattern that was invalidated" in done.out


async def test_a_floor_is_not_told_as_the_invalidation_of_a_tag(
    server: PantlerServer, client: sdk.AsyncClient, namespace: str
) -> None:
    await client.set(namespace, "k", b"v", tags=["t"])
    await client.invalidate_tags(namespace, [f"other{index}" for index in range(10_500)])
    done = await pantler("why", namespace, "k", address=server.address)
    at = await since(server, namespace, "k")
    told = (
        "'k' is not found: older invalidations of tags and dependencies are no longer told apart, "
        f"and one of them may have been of its own; the newest of these is from {at}."
    )
    assert done.out.decode().startswith(told)
    assert done.code == 1
    async with aiohttp.ClientSession() as session:
        address = f"http://{server.http_address}/metrics"
        shown = await (await session.get(address)).text()
    marks = re.search(rf'pantler_cache_label_marks{{namespace="{namespace}".*}} (.*)', shown)
    assert marks is not None
    assert float(marks[1]) == 10_000


async def test_a_delete_and_an_invalidated_key_are_told_with_their_time(
    server: PantlerServer, client: sdk.AsyncClient, namespace: str
) -> None:
    await client.set_many(namespace, {"deleted": b"v", "invalidated": b"v"})
    await client.delete(namespace, "deleted")
    await client.invalidate_keys(namespace, ["invalidated"])
    for key, reason in (
        ("deleted", "it was deleted"),
        ("invalidated", "its key was invalidated"),
    ):
        at = await since(server, namespace, key)
        done = await pantler("why", namespace, key, address=server.address)
        assert done == Done(1, f"'{key}' is not found: {reason} at {at}.\n".encode(), "")
        described = await pantler("describe", namespace, key, address=server.address)
        assert described.out.decode() == f"state         not found since {at}: {reason}\n"


async def test_what_is_hidden_is_told_with_what_hides_it(
    server: PantlerServer, client: sdk.AsyncClient, namespace: str
) -> None:
    await client.set(namespace, "tagged", b"v", tags=["other", "it's"])
    await client.invalidate_tags(namespace, ["it's"])
    done = await pantler("why", namespace, "tagged", "--json", address=server.address)
    at = await since(server, namespace, "tagged")
    document = done.document
    told = document.pop("explanation")
    assert told.startswith(
        f"'tagged' is not found: its tag \"it's\" was invalidated at {at}. What is stored is from "
    )
    assert (done.code, document) == (
        1,
        {
            "found": False,
            "stale": False,
            "miss_reason": "HIDDEN_BY_TAG",
            "miss_time": at,
            "miss_cause": "it's",
        },
    )

    await client.set(namespace, "dependent", b"v", depends_on=["user"])
    await client.invalidate_keys(namespace, ["user"], cascade=True)
    done = await pantler("why", namespace, "dependent", address=server.address)
    assert done.out.startswith(
        b"'dependent' is not found: the key 'user', on which it depends, was invalidated at "
    )


async def test_what_the_namespace_hides_is_told(
    server: PantlerServer, client: sdk.AsyncClient, namespace: str
) -> None:
    await client.set(namespace, "old", b"v")
    await client.set(namespace, "new", b"v")
    entry = await client.get(namespace, "new")
    assert entry is not None
    await client.invalidate_older_than(namespace, entry.create_time)
    done = await pantler("why", namespace, "old", address=server.address)
    assert done.out.startswith(b"'old' is not found: it is older than an invalidation by age allow")
    await client.invalidate_namespace(namespace)
    done = await pantler("why", namespace, "new", address=server.address)
    assert done.out.startswith(b"'new' is not found: its namespace was invalidated at ")


async def test_stale_is_told_from_not_found(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text(
        "namespaces: {graced: {stale_while_revalidate: 1h}, failing: {stale_if_error: 1h}}\n"
    )
    async with PantlerServer(config=config) as server, sdk.AsyncClient(server.address) as client:
        for namespace, expired in (("graced", "stale"), ("failing", "not found")):
            await pantler("set", namespace, "expired", "v", "--ttl", "1ms", address=server.address)
            await client.set(namespace, "tagged", b"v", tags=["t"])
            await client.invalidate_tags(namespace, ["t"], soft=True)
            for key, state, reason in (
                ("expired", expired, "it expired"),
                ("tagged", "stale", "its tag 't' was inval"),
            ):
                done = await pantler("why", namespace, key, address=server.address)
                assert done.code == 1
                assert done.out.decode().startswith(f"'{key}' is {state}: {reason}")
                described = await pantler("describe", namespace, key, address=server.address)
                assert f" {state} since " in described.out.decode()
                assert f": {reason}" in described.out.decode()


async def test_a_key_can_not_steer_the_terminal(server: PantlerServer, namespace: str) -> None:
    key = "\u202ek"
    await pantler("set", namespace, key, "v", address=server.address)
    shown = await on_a_terminal("why", namespace, key, "--address", server.address)
    assert shown.startswith("'\\u202ek' is found: ")


def test_every_reason_has_its_words() -> None:
    for reason in cache_pb2.MissReason.keys()[1:]:  # the first is never sent
        document = as_json(cache_pb2.DescribeResponse(miss_reason=reason))
        assert " " in because(document)
        assert because(document) != document["miss_reason"].lower().replace("_", " ")


def test_a_reason_of_a_newer_server_is_told_by_its_number() -> None:
    newer = cache_pb2.DescribeResponse.FromString(bytes([3 << 3, 99]))  # miss_reason = 99
    assert because(as_json(newer)) == "99"


async def test_wrong_usage_is_code_2(server: PantlerServer) -> None:
    done = await pantler("why", "Bad Namespace", "k", address=server.address)
    assert done.code == 2
    assert done.error


async def test_help_needs_no_server() -> None:
    assert (await pantler("why", "--help")).code == 0
