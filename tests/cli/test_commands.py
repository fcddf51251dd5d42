"""The command line against a real server: output, exit codes, errors."""

import asyncio
import json
import os
import pty
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from pantler_server.cli.call import exit_code
from pantler_server.cli.exit_code import ExitCode
from redis.asyncio import Redis

from tests.cli import forks
from tests.servers.pantler import PantlerServer
from tests.servers.valkey import ValkeyServer, free_port

_numbers = count()


@pytest.fixture
def namespace() -> str:
    return f"cli{next(_numbers)}"


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    out: bytes
    error: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


async def pantler(*arguments: str, address: str = "", stdin: bytes = b"") -> Done:
    """Runs the program as a script would."""
    options = ("--address", address) if address else ()
    code, out, error = await forks.running.run((*arguments, *options), stdin)
    assert b"Traceback" not in error
    return Done(code, out, error.decode())


async def started(*arguments: str, address: str = "") -> Done:
    """As `pantler`, by an interpreter of its own, which reads the environment."""
    options = ("--address", address) if address else ()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pantler_server", *arguments, *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    assert process.returncode is not None
    assert b"Traceback" not in error
    return Done(process.returncode, out, error.decode())


async def on_a_terminal(*arguments: str) -> str:
    """What the program shows to a person; it is little enough for the terminal to hold."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pantler_server", *arguments), stdout=theirs
    )
    os.close(theirs)
    assert await process.wait() == 0
    shown = os.read(ours, 4096)
    os.close(ours)
    return shown.decode()


async def test_set_get_delete(server: PantlerServer, namespace: str) -> None:
    at = server.address
    stored = await pantler("set", namespace, "k", "hello", "--ttl", "5m", address=at)
    assert stored.code == 0
    assert stored.out.startswith(b"stored, version ")
    assert await pantler("get", namespace, "k", address=at) == Done(0, b"hello", "")
    deleted = await pantler("delete", namespace, "k", "other", address=at)
    assert deleted == Done(0, b"k: deleted\nother: not there\n", "")
    missing = await pantler("get", namespace, "k", address=at)
    assert missing == Done(1, b"", f"pantler: no entry 'k' in '{namespace}'\n")
    assert (await pantler("delete", namespace, "k", address=at)).code == 1


async def test_bytes_come_back_as_they_went_in(
    server: PantlerServer, namespace: str, tmp_path: Path
) -> None:
    value = bytes(range(256)) + b"\n"
    file = tmp_path / "value"
    file.write_bytes(value)
    for source, stdin in ((str(file), b""), ("-", value)):
        await pantler("set", namespace, "k", "--file", source, address=server.address, stdin=stdin)
        assert (await pantler("get", namespace, "k", address=server.address)).out == value


async def test_a_value_as_large_as_allowed_comes_back(
    server: PantlerServer, namespace: str
) -> None:
    value = bytes(4 << 20)
    await pantler("set", namespace, "k", "--file", "-", address=server.address, stdin=value)
    assert await pantler("get", namespace, "k", address=server.address) == Done(0, value, "")


async def test_an_argument_that_is_not_text_is_stored_as_it_is(
    server: PantlerServer, namespace: str
) -> None:
    await pantler("set", namespace, "k", os.fsdecode(b"\xff\xfe"), address=server.address)
    assert (await pantler("get", namespace, "k", address=server.address)).out == b"\xff\xfe"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"two\nlines", "two\r\nlines\r\n"),
        ("héllo".encode(), "héllo\r\n"),
        (b"\x1b[31mred\x9b\x07", "(10 bytes that are not text"),
        (b"\x1b[31mred\xc2\x9b\x07", r"\x1b[31mred\x9b\x07"),
    ],
)
async def test_a_value_can_not_steer_the_terminal(
    server: PantlerServer, namespace: str, value: bytes, shown: str
) -> None:
    at = server.address
    options = ("--file", "-", "--content-type", "text/[/x]")
    stored = await pantler("set", namespace, "k", *options, address=at, stdin=value)
    seen = await on_a_terminal("get", namespace, "k", "--address", at)
    assert seen.startswith(shown)
    assert stored.out.split()[2].decode() in seen
    assert "text/[/x]" in seen


async def test_a_delete_that_fails_in_part_says_what_came_of_each_key(
    server: PantlerServer, namespace: str
) -> None:
    path = (await server.wait_for("serving"))["redis"]
    await pantler("set", namespace, "good", "v", address=server.address)
    async with Redis(unix_socket_path=path) as redis:
        await redis.rpush(f"{{{namespace}:0}}e:foreign", "theirs")
    done = await pantler("delete", namespace, "foreign", "good", address=server.address)
    assert (done.code, done.out) == (4, b"good: deleted\n")
    assert done.error.startswith("pantler: foreign: ")


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, ExitCode.USAGE),
        (grpc.StatusCode.UNAVAILABLE, ExitCode.UNAVAILABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, ExitCode.UNAVAILABLE),
        (grpc.StatusCode.ABORTED, ExitCode.MISS),
        (grpc.StatusCode.FAILED_PRECONDITION, ExitCode.FAILED),
        (grpc.StatusCode.INTERNAL, ExitCode.FAILED),
    ],
)
def test_an_exit_code_says_who_can_mend_it(status: grpc.StatusCode, meaning: ExitCode) -> None:
    assert exit_code(status.value[0]) is meaning


async def test_json_is_for_scripts(server: PantlerServer, namespace: str) -> None:
    at = server.address
    options = ("--json", "--content-type", "text/plain")
    stored = (await pantler("set", namespace, "k", "héllo", *options, address=at)).document
    found = (await pantler("get", namespace, "k", "--json", address=at)).document
    assert found["value"] == "héllo"
    assert found["value_base64"] == "aMOpbGxv"
    assert found["content_type"] == "text/plain"
    assert found["version"] == stored["version"]
    missing = await pantler("get", namespace, "nothing", "--json", address=at)
    assert missing.code == 1
    assert missing.document == {"found": False, "miss_reason": "UNKNOWN"}
    deleted = await pantler("delete", namespace, "k", "--json", address=at)
    assert deleted.document == [{"key": "k", "deleted": True, "error": None}]
    listed = (await pantler("namespaces", "--json", address=at)).document
    assert namespace in [one["name"] for one in listed]
    assert (await pantler("ping", "--json", address=at)).document["ready"] is True


async def test_json_is_utf_8_whatever_the_terminal_is(
    server: PantlerServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    await pantler("set", namespace, "k", "héllo", address=server.address)
    found = await pantler("get", namespace, "k", "--json", address=server.address)
    assert found.document["value"] == "héllo"


async def test_what_a_terminal_lacks_is_escaped(
    server: PantlerServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    deleted = await started("delete", namespace, "é", address=server.address)
    assert (deleted.code, deleted.out) == (1, b"\\xe9: not there\n")


async def test_a_long_namespace_is_shown_as_a_whole(server: PantlerServer) -> None:
    await pantler("set", "n" * 63, "k", "v", address=server.address)
    listed = (await pantler("namespaces", address=server.address)).out.decode()
    assert listed.count("n" * 29) == 2  # two full lines, and the rest
    assert "…" not in listed


async def test_people_get_tables(server: PantlerServer, namespace: str) -> None:
    await pantler("set", namespace, "k", "v", address=server.address)
    assert namespace.encode() in (await pantler("namespaces", address=server.address)).out
    ping = await pantler("ping", address=server.address)
    assert f"{server.address} ready, Pantler 0.1.0".encode() in ping.out
    assert b"redis (cache): embedded, available" in ping.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "Bad Namespace", "k"),
        ("set", "users", "", "v"),
        ("set", "users", "k", "v", "--ttl", "soon"),
        ("set", "users", "k"),
        ("set", "users", "k", "v", "--file", "x"),
        ("set", "users", "k", "--file", "nowhere"),
        ("get", "users", "k", "--timeout", "5"),
        ("get", "users", "k\udcff"),  # a byte that is not UTF-8, as Python hands it on
        ("delete", "users", "k\udcff"),
        ("set", "users", "k", "v", "--content-type", "\udcff"),
        ("nonsense",),
    ],
)
async def test_wrong_usage_is_code_2(server: PantlerServer, arguments: tuple[str, ...]) -> None:
    done = await pantler(*arguments, address=server.address)
    assert done.code == 2
    assert done.error


@pytest.mark.parametrize("address", ["localhost", ":50051", "http://localhost:50051", "host:port"])
async def test_an_address_without_host_and_port_is_code_2(address: str) -> None:
    done = await pantler("get", "users", "k", address=address)
    assert done.code == 2
    assert "is not host:port" in done.error


async def test_no_server_is_code_3_and_says_what_to_do() -> None:
    address = f"127.0.0.1:{free_port()}"
    done = await pantler("get", "users", "k", address=address)
    assert done.code == 3
    assert done.error == f"pantler: can't reach {address}: is `pantler serve` running there?\n"


async def test_a_server_without_its_redis_is_code_3() -> None:
    async with ValkeyServer() as redis, PantlerServer("--redis-url", redis.url) as server:
        await redis.kill()
        get = await pantler("get", "users", "k", address=server.address)
        assert get.code == 3
        assert "Redis can't be reached" in get.error
        await server.wait_for("not ready")
        ping = await pantler("ping", address=server.address)
        assert ping.code == 3
        assert b"not ready" in ping.out


async def test_the_address_comes_from_the_environment(
    server: PantlerServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANTLER_ADDRESS", server.address)
    assert (await started("get", namespace, "k")).code == 1


async def test_config_check_prints_what_is_in_force(tmp_path: Path) -> None:
    file = tmp_path / "pantler.yaml"
    file.write_text("namespace_defaults: {ttl: 5m}\nnamespaces: {users: {max_value_bytes: 1MiB}}\n")
    done = await pantler("config", "check", str(file))
    assert done.code == 0
    again = tmp_path / "again.yaml"
    again.write_bytes(done.out)
    assert (await pantler("config", "check", str(again))).out == done.out
    text = done.out.decode()
    assert "  users:\n    ttl: 5m\n" in text
    assert "max_value_bytes: 1MiB" in text


async def test_config_check_says_each_wrong_line(tmp_path: Path) -> None:
    file = tmp_path / "pantler.yaml"
    file.write_text("workers: none\nlisten: 1\n")
    done = await pantler("config", "check", str(file))
    assert done.code == 2
    assert [line.partition(": ")[2].partition(":")[0] for line in done.error.splitlines()] == [
        str(file)
    ] * 2


async def test_help_and_version_need_no_server() -> None:
    assert (await pantler("--version")).out == b"pantler 0.1.0\n"
    for command in (
        (),
        ("serve",),
        ("get",),
        ("set",),
        ("delete",),
        ("ping",),
        ("config", "check"),
    ):
        assert (await pantler(*command, "--help")).code == 0
