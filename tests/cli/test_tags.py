"""`pantler tag`, `depend` and `dependents` against a real server."""

from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pantler as sdk
import pytest
import pytest_asyncio

from tests.cli.test_commands import Done, pantler
from tests.servers.pantler import PantlerServer

_numbers = count()


@pytest.fixture
def namespace() -> str:
    return f"clitags{next(_numbers)}"


@pytest_asyncio.fixture(scope="module")
async def indexed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """A server with a namespace `indexed`, which keeps an index of its tags."""
    config: Path = tmp_path_factory.mktemp("tags") / "pantler.yaml"
    config.write_text("namespaces: {indexed: {tag_index: true, stale_while_revalidate: 1h}}\n")
    async with PantlerServer(config=config) as running:
        yield running


async def test_tags_are_added_listed_and_removed(server: PantlerServer, namespace: str) -> None:
    at = server.address
    entry = (namespace, "k")
    await pantler("set", *entry, "v", "--tag", "t", address=at)
    assert await pantler("tag", "add", *entry, "u", "\u202ew", address=at) == Done(
        0, b"added\n", ""
    )
    listed = await pantler("tag", "list", *entry, address=at)
    assert listed == Done(0, b"'t'\n'u'\n'\\u202ew'\n", "")
    removed = await pantler("tag", "remove", *entry, "t", "\u202ew", address=at)
    assert removed == Done(0, b"removed\n", "")
    json = await pantler("tag", "list", *entry, "--json", address=at)
    assert json.document == {"found": True, "tags": ["u"]}


async def test_a_tag_that_was_invalidated_hides_the_entry_that_gets_it(
    server: PantlerServer, namespace: str
) -> None:
    at = server.address
    await pantler("set", namespace, "k", "v", address=at)
    await pantler("invalidate", "tag", namespace, "t", address=at)
    done = await pantler("tag", "add", namespace, "k", "t", address=at)
    assert (done.code, done.out[:32]) == (0, b"added; the entry is stale or hid")
    assert (await pantler("get", namespace, "k", address=at)).code == 1


@pytest.mark.parametrize("command", [("add", "t"), ("remove", "t"), ("list",)])
async def test_without_an_entry_the_code_is_1(
    server: PantlerServer, namespace: str, command: tuple[str, ...]
) -> None:
    name, *tags = command
    done = await pantler("tag", name, namespace, "k", *tags, address=server.address)
    assert done == Done(1, b"", f"pantler: no entry 'k' in '{namespace}'\n")
    json = await pantler("tag", name, namespace, "k", *tags, "--json", address=server.address)
    assert (json.code, json.document["found"], json.error) == (1, False, "")


async def test_the_keys_of_a_tag_are_listed_over_all_pages(indexed: PantlerServer) -> None:
    at = indexed.address
    many = [f"k{index}" for index in range(1500)]
    async with sdk.AsyncClient(at) as client:
        await client.set_many("indexed", dict.fromkeys(many, b"v"), tags=["many"])
    done = await pantler("tag", "keys", "indexed", "many", address=at)
    assert sorted(done.out.decode().splitlines()) == sorted(map(repr, many))
    await pantler("set", "indexed", "k", "v", "--tag", "t", address=at)
    await pantler("invalidate", "key", "indexed", "k", "--soft", address=at)
    stale = await pantler("tag", "keys", "indexed", "t", address=at)
    assert stale == Done(0, b"'k', stale\n", "")
    json = await pantler("tag", "keys", "indexed", "t", "--json", address=at)
    assert json.document == [{"key": "k", "stale": True}]


async def test_a_namespace_without_an_index_says_so(server: PantlerServer, namespace: str) -> None:
    done = await pantler("tag", "keys", namespace, "t", address=server.address)
    assert done.code == 4
    assert "tag_index" in done.error


async def test_dependencies_are_declared_listed_and_taken_back(
    server: PantlerServer, namespace: str
) -> None:
    at = server.address
    said = await pantler("depend", namespace, "page", "--on", "user", "--on", "shop", address=at)
    assert said == Done(0, b"'page' depends on 'user', 'shop'\n", "")
    await pantler("set", namespace, "feed", "v", "--depends-on", "user", address=at)
    listed = await pantler("dependents", namespace, "user", address=at)
    assert sorted(listed.out.splitlines()) == [
        b"'feed', as its entry says",
        b"'page', as declared",
    ]
    back = await pantler("depend", namespace, "page", "--on-nothing", "--json", address=at)
    assert back.document == {"key": "page", "depends_on": []}
    json = await pantler("dependents", namespace, "user", "--json", address=at)
    assert json.document == [{"key": "feed", "declared": False}]
    assert await pantler("dependents", namespace, "shop", address=at) == Done(0, b"", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("depend", "users", "k"),
        ("depend", "users", "k", "--on", "a", "--on-nothing"),
        ("depend", "users", "k", "--on", "k"),
        ("dependents", "users", ""),
        ("tag", "add", "users", "k"),
        ("tag", "add", "users", "k", ""),
        ("tag", "keys", "Bad Namespace", "t"),
        ("tag", "nonsense"),
    ],
)
async def test_wrong_usage_is_code_2(server: PantlerServer, arguments: tuple[str, ...]) -> None:
    done = await pantler(*arguments, address=server.address)
    assert done.code == 2
    assert done.error
