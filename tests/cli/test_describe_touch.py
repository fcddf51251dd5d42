"""`pantler describe` and `touch` against a real server."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from pantler.v1 import cache_pb2, cache_pb2_grpc
from redis.asyncio import Redis

from tests.cli.test_commands import Done, on_a_terminal, pantler
from tests.servers.pantler import PantlerServer

_numbers = count()


@pytest.fixture
def namespace() -> str:
    return f"entry{next(_numbers)}"


@pytest.fixture
def cache(channel: grpc.aio.Channel) -> Any:
    """For what the command line can't store."""
    return cache_pb2_grpc.CacheServiceStub(channel)


@pytest_asyncio.fixture
async def redis(server: PantlerServer) -> AsyncIterator[Redis]:
    """The server's own, for what the server would not store."""
    path = (await server.wait_for("serving"))["redis"]
    async with Redis(unix_socket_path=path) as opened:
        yield opened


def facts(out: str) -> dict[str, str]:
    """What stands in the list, by its names."""
    return {line[:14].rstrip(): line[14:] for line in out.splitlines()}


async def test_describe_tells_a_person_all_but_the_value(
    server: PantlerServer, cache: Any, namespace: str
) -> None:
    stored = await cache.Set(
        cache_pb2.SetRequest(
            namespace=namespace,
            key="k",
            value=bytes(2048),
            ttl=Duration(seconds=90),
            sliding=True,
            content_type="text/plain",
            tags=["team:1", "a, b"],
            depends_on=["user:1"],
        )
    )
    lease = cache_pb2.LeaseRequest(ttl=Duration(seconds=60))
    held = await cache.Get(cache_pb2.GetRequest(namespace=namespace, key="leased", lease=lease))
    done = await pantler("describe", namespace, "k", address=server.address)
    told = facts(done.out.decode())
    assert done.code == 0
    assert told.pop("created") < told.pop("kept until")
    assert told == {
        "state": "found",
        "version": str(stored.version),
        "expires": stored.expire_time.ToJsonString(),
        "ttl": "1m30s",
        "sliding": "yes, reads let it live for its ttl again",
        "size": "2KiB",
        "content type": "'text/plain'",
        "tags": "'team:1', 'a, b'",
        "depends on": "'user:1'",
    }
    leased = await pantler("describe", namespace, "leased", address=server.address)
    assert leased.code == 1
    assert facts(leased.out.decode()) == {
        "state": "not found: nothing is known of it",
        "leased until": held.miss.lease.expire_time.ToJsonString(),
    }


async def test_describe_leaves_out_what_does_not_apply(
    server: PantlerServer, namespace: str
) -> None:
    await pantler("set", namespace, "k", "", address=server.address)
    done = await pantler("describe", namespace, "k", address=server.address)
    told = facts(done.out.decode())
    assert list(told) == ["state", "version", "created", "expires", "kept until", "ttl", "size"]
    assert told["size"] == "0B"


async def test_describe_says_why_and_since_when_there_is_nothing(
    server: PantlerServer, redis: Redis, namespace: str
) -> None:
    at = server.address
    await pantler("set", namespace, "gone", "v", address=at)
    await pantler("delete", namespace, "gone", address=at)
    deleted = await pantler("describe", namespace, "gone", "--json", address=at)
    assert deleted.code == 1
    assert deleted.document["miss_reason"] == "DELETED"
    since = deleted.document["miss_time"]
    said = f"state         not found since {since}: it was deleted\n"
    assert await pantler("describe", namespace, "gone", address=at) == Done(1, said.encode(), "")

    await pantler("set", namespace, "hidden", "v", address=at)
    await redis.delete(f"{{{namespace}:0}}m")
    hidden = await pantler("describe", namespace, "hidden", address=at)
    told = facts(hidden.out.decode())
    assert hidden.code == 1
    assert told["state"] == (
        "not found: its namespace was invalidated, or what was noted of invalidations was lost"
    )
    assert told["size"] == "1B"


async def test_describe_tells_stale_from_merely_kept(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text(
        "namespaces: {graced: {stale_while_revalidate: 1h}, failing: {stale_if_error: 1h}}\n"
    )
    async with PantlerServer(config=config) as server:
        for namespace, state in (
            ("graced", "stale since {}: it expired"),
            ("failing", "not found since {}: it expired"),
        ):
            await pantler("set", namespace, "k", "v", "--ttl", "1ms", address=server.address)
            json = await pantler("describe", namespace, "k", "--json", address=server.address)
            assert json.code == 1
            assert not json.document["found"]
            assert json.document["stale"] is (namespace == "graced")
            assert json.document["miss_reason"] == "EXPIRED"
            expired = json.document["expire_time"]
            assert json.document["miss_time"] == expired < json.document["drop_time"]
            done = await pantler("describe", namespace, "k", address=server.address)
            assert done.code == 1
            assert facts(done.out.decode())["state"] == state.format(expired)
            assert (await pantler("touch", namespace, "k", address=server.address)).code == 1


async def test_describe_as_json_has_every_field(
    server: PantlerServer, cache: Any, namespace: str
) -> None:
    stored = await cache.Set(
        cache_pb2.SetRequest(namespace=namespace, key="k", value=b"hello", tags=["t"])
    )
    found = (await pantler("describe", namespace, "k", "--json", address=server.address)).document
    unknown = await pantler("describe", namespace, "other", "--json", address=server.address)
    assert unknown.code == 1
    assert list(found) == list(unknown.document)
    assert set(found) == set(cache_pb2.DescribeResponse.DESCRIPTOR.fields_by_name)
    assert found.pop("create_time") < found.pop("drop_time")
    assert found == {
        "found": True,
        "stale": False,
        "miss_reason": None,
        "miss_time": None,
        "miss_cause": None,
        "version": str(stored.version),
        "expire_time": stored.expire_time.ToJsonString(),
        "ttl": "3600s",
        "sliding": False,
        "value_bytes": 5,
        "content_type": "",
        "tags": ["t"],
        "depends_on": [],
        "lease_expire_time": None,
    }
    assert {name: value for name, value in unknown.document.items() if value is not None} == {
        "found": False,
        "stale": False,
        "miss_reason": "UNKNOWN",
        "content_type": "",
        "tags": [],
        "depends_on": [],
    }


async def test_get_as_json_has_the_tags(server: PantlerServer, cache: Any, namespace: str) -> None:
    await cache.Set(cache_pb2.SetRequest(namespace=namespace, key="k", tags=["b", "a"]))
    found = await pantler("get", namespace, "k", "--json", address=server.address)
    assert found.document["tags"] == ["b", "a"]


async def test_labels_can_not_steer_the_terminal(
    server: PantlerServer, cache: Any, redis: Redis, namespace: str
) -> None:
    await cache.Set(
        cache_pb2.SetRequest(
            namespace=namespace,
            key="k",
            content_type="type!",
            tags=["[red]x[/red]", "\u202egpj", "tag!!"],
            depends_on=["key!\U0001f600"],
        )
    )
    place = f"{{{namespace}:0}}e:k"  # the server refuses control characters; Redis does not
    raw = await redis.get(place)
    assert isinstance(raw, bytes)
    for good, bad in (
        (b"type!", b"\x1b[2J\x07"),
        (b"tag!!", b"\n\x1b[1m"),
        (b"key!", b"\xc2\x9b2J"),
    ):
        raw = raw.replace(good, bad)
    await redis.set(place, raw, px=60_000)
    shown = await on_a_terminal("describe", namespace, "k", "--address", server.address)
    told = facts(shown.replace("\r\n", "\n"))
    assert told["content type"] == r"'\x1b[2J\x07'"
    assert told["tags"] == r"'[red]x[/red]', '\u202egpj', '\n\x1b[1m'"
    assert told["depends on"] == r"'\x9b2J😀'"


async def test_touch_gives_an_entry_a_new_ttl(server: PantlerServer, namespace: str) -> None:
    at = server.address
    await pantler("set", namespace, "k", "hello", "--ttl", "1m", address=at)
    for options, ttl, ttl_s in ((("--ttl", "5m"), "300s", 300), ((), "3600s", 3600)):
        began = datetime.now(UTC).timestamp()
        touched = await pantler("touch", namespace, "k", *options, address=at)
        described = (await pantler("describe", namespace, "k", "--json", address=at)).document
        expires = described["expire_time"]
        assert touched == Done(0, f"touched, expires {expires}\n".encode(), "")
        assert described["ttl"] == ttl
        assert 0 <= datetime.fromisoformat(expires).timestamp() - began - ttl_s < 60
    assert (await pantler("get", namespace, "k", address=at)).out == b"hello"
    json = await pantler("touch", namespace, "k", "--json", address=at)
    described = (await pantler("describe", namespace, "k", "--json", address=at)).document
    assert json.document == {"found": True, "expire_time": described["expire_time"]}


async def test_touch_of_nothing_is_code_1(server: PantlerServer, namespace: str) -> None:
    missing = await pantler("touch", namespace, "k", address=server.address)
    assert missing == Done(1, b"", f"pantler: no entry 'k' in '{namespace}'\n")
    json = await pantler("touch", namespace, "k", "--json", address=server.address)
    assert (json.code, json.document) == (1, {"found": False, "expire_time": None})


@pytest.mark.parametrize(
    "arguments",
    [
        ("touch", "users", "k", "--ttl", "soon"),
        ("touch", "users", "k", "--ttl", "0s"),
        ("touch", "users", "k", "--ttl", "31d"),
        ("touch", "users", "k\udcff"),
        ("describe", "Bad Namespace", "k"),
        ("describe", "users", "k\udcff"),
    ],
)
async def test_wrong_usage_is_code_2(server: PantlerServer, arguments: tuple[str, ...]) -> None:
    done = await pantler(*arguments, address=server.address)
    assert done.code == 2
    assert done.error


@pytest.mark.parametrize("command", ["describe", "touch"])
async def test_help_needs_no_server(command: str) -> None:
    assert (await pantler(command, "--help")).code == 0
