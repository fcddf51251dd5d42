"""`pantler limit` against a real server."""

import asyncio
import json
import os
import pty
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pantler as sdk
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from pantler_server.cli.limit_decision import short

from tests.cli.test_commands import Done, pantler
from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer

_numbers = count()
RULES = """
rate_limits:
  api: {algorithm: gcra, limit: 10, window: 1h, burst: 4, on_unavailable: closed}
  exports:
    {algorithm: fixed_window, limit: 5, calendar: day, time_zone: Europe/Berlin, shadow: true}
  reports: {algorithm: concurrency, limit: 1, window: 30s}
"""
INLINE = ("--algorithm", "token_bucket", "--limit", "2", "--window", "1h")


@pytest.fixture
def subject() -> str:
    return f"cli:{next(_numbers)}"


@pytest_asyncio.fixture(scope="module")
async def limits(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """Pantler with rules."""
    config: Path = tmp_path_factory.mktemp("limits") / "pantler.yaml"
    config.write_text(RULES)
    async with PantlerServer(config=config) as running:
        yield running


async def limit(server: PantlerServer, *arguments: str) -> Done:
    return await pantler("limit", *arguments, address=server.address)


async def test_permits_are_taken_until_none_is_left(limits: PantlerServer, subject: str) -> None:
    taken = await limit(limits, "acquire", subject, "api", "--cost", "3")
    assert taken == Done(0, b"allowed, 1 left (limit 10)\n", "")
    assert await limit(limits, "peek", subject, "api") == taken
    denied = await limit(limits, "acquire", subject, "api", "--cost", "4")
    assert (denied.code, denied.error) == (1, "")
    assert denied.out.startswith(b"denied: try again in 1")
    refunded = await limit(limits, "refund", subject, "api", "--cost", "2")
    assert refunded == Done(0, b"refunded, 3 left (limit 10)\n", "")
    assert await limit(limits, "reset", subject, "api") == Done(0, b"reset\n", "")
    peeked = await limit(limits, "peek", subject, "api")
    assert peeked == Done(0, b"allowed, 4 left (limit 10)\n", "")


async def test_json_has_all_of_a_decision(limits: PantlerServer, subject: str) -> None:
    arguments = ("acquire", subject, "api", "--request-id", subject, "--cost", "4", "--json")
    taken, again = [await limit(limits, *arguments) for _ in range(2)]
    assert (taken.code, again.code) == (0, 0)
    document = taken.document
    assert document.pop("reset_after").endswith("s")
    assert document == {
        "allowed": True,
        "limit": 10,
        "remaining": 0,
        "retry_after": "0s",
        "shadow": False,
        "source": "redis",
        "slot_id": None,
        "slot_expires_after": None,
    }
    peeked = await limit(limits, "peek", subject, "api", "--json")
    assert (peeked.code, peeked.document["allowed"]) == (1, False)
    assert float(peeked.document["retry_after"].removesuffix("s")) > 300
    refund = await limit(limits, "refund", subject, "api", "--json", "--request-id", "r")
    assert (refund.document["limit"], refund.document["remaining"]) == (10, 1)


async def test_a_rule_may_be_spelled_out(limits: PantlerServer, subject: str) -> None:
    for left in (b"1", b"0"):
        taken = await limit(limits, "acquire", subject, *INLINE)
        assert taken == Done(0, b"allowed, %b left (limit 2)\n" % left, "")
    assert (await limit(limits, "acquire", subject, *INLINE)).code == 1
    quota = ("--algorithm", "fixed_window", "--limit", "7", "--calendar", "year")
    taken = await limit(limits, "acquire", subject, *quota, "--time-zone", "Asia/Tokyo")
    assert taken.out == b"allowed, 6 left (limit 7)\n"
    bucket = ("--algorithm", "gcra", "--limit", "7", "--window", "1h", "--burst", "2")
    assert (await limit(limits, "peek", subject, *bucket)).out == b"allowed, 2 left (limit 7)\n"


async def test_a_slot_is_released_as_it_is_said(limits: PantlerServer, subject: str) -> None:
    spelled = ("--algorithm", "concurrency", "--limit", "1", "--window", "30s")
    for rule in (("reports",), spelled):
        taken = await limit(limits, "acquire", f"{subject} x", *rule)
        first, second, third = taken.out.decode().splitlines()
        assert first == "allowed, 0 left (limit 1)"
        assert second == "it holds a slot for 30s; to release it:"
        assert (await limit(limits, "acquire", f"{subject} x", *rule)).code == 1
        command = shlex.split(third)[1:]
        assert await pantler(*command, address=limits.address) == Done(0, b"released\n", "")
        again = await pantler(*command, address=limits.address)
        assert (again.code, again.out) == (1, b"")
        assert again.error.startswith("pantler: ")
    taken = await limit(limits, "acquire", subject, "reports", "--json")
    assert taken.document["slot_id"]
    assert taken.document["slot_expires_after"] == "30s"


async def test_a_shadow_says_what_it_would_have_denied(limits: PantlerServer, subject: str) -> None:
    arguments = ("acquire", subject, "exports", "--cost", "5")
    assert (await limit(limits, *arguments)).out == b"allowed, 0 left (limit 5)\n"
    again = await limit(limits, *arguments)
    assert again.code == 0
    assert b"; were the rule no shadow: denied, for " in again.out


async def test_without_redis_it_is_said(limits: PantlerServer, tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text(RULES)
    async with PantlerServer(config=config) as server:
        server.valkey().suspend()
        try:
            closed = await limit(server, "acquire", "s", "api")
            failed = await limit(server, "acquire", "s", "reports")
        finally:
            server.valkey().resume()
    assert closed.code == 1
    assert closed.out == b"denied: try again in 200ms; decided without Redis, which is away\n"
    assert failed.code == 3


async def test_the_rules_are_listed(limits: PantlerServer, server: PantlerServer) -> None:
    shown = await limit(limits, "rules")
    assert [line.split() for line in shown.out.decode().splitlines()] == [
        ["rule", "algorithm", "limit", "window", "burst", "shadow", "without", "Redis"],
        ["api", "gcra", "10", "1h", "4", "no", "closed"],
        ["exports", "fixed_window", "5", "day,", "Europe/Berlin", "yes", "fails"],
        ["reports", "concurrency", "1", "30s", "no", "fails"],
    ]
    listed = (await limit(limits, "rules", "--json")).document
    assert listed[:2] == [
        {
            "name": "api",
            "algorithm": "gcra",
            "limit": 10,
            "window": "3600s",
            "burst": 4,
            "calendar": None,
            "time_zone": None,
            "shadow": False,
            "on_unavailable": "closed",
        },
        {
            "name": "exports",
            "algorithm": "fixed_window",
            "limit": 5,
            "window": None,
            "burst": None,
            "calendar": "day",
            "time_zone": "Europe/Berlin",
            "shadow": True,
            "on_unavailable": None,
        },
    ]
    nothing = await limit(server, "rules")
    assert nothing == Done(0, b"the configuration has no rate limits\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("acquire", "s"), "give the name of a rule, or --algorithm and --limit"),
        (("peek", "s", "--limit", "5"), "give the name of a rule, or --algorithm and --limit"),
        (("reset", "s", "--algorithm", "gcra"), "the name of a rule, or --algorithm and --limit"),
        (("refund", "s", "api", "--time-zone", "UTC"), "give its name or --time-zone, not both"),
        (("acquire", "s", "--algorithm", "leaky", "--limit", "1"), "'leaky' is not one of"),
        (("acquire", "s", *INLINE, "--window", "soon"), "'soon' is not a duration"),
        (("acquire", "s", *INLINE, "--limit", "0"), "greater than or equal to 1"),
        (("acquire", "s", "api", "--cost", "0"), "greater than or equal to 1"),
        (("acquire", "s", "api", "--cost", "9" * 30), "less than or equal to 1000000000000"),
        (("release", "s", "reports"), "Missing option '--slot'"),
        (("acquire", "s", os.fsdecode(b"\xff")), "is not UTF-8"),
        (("acquire", "s", *INLINE, "--time-zone", os.fsdecode(b"\xff")), "is not UTF-8"),
        (("watch", "s", "api", "--interval", "1ms"), "must be at least 50ms"),
    ],
)
async def test_wrong_usage_is_said(arguments: tuple[str, ...], said: str) -> None:
    done = await pantler("limit", *arguments, address="127.0.0.1:1")
    assert done.code == 2
    assert said in " ".join(done.error.replace("│", " ").split())


async def test_what_the_server_refuses_is_said(limits: PantlerServer) -> None:
    refused = await limit(limits, "acquire", "s", "--algorithm", "gcra", "--limit", "1")
    assert refused == Done(2, b"", "pantler: rule.window must be set, to 1 ms to 366 days\n")
    for arguments in (("acquire", "s", "nowhere"), ("watch", "s", "nowhere")):
        unknown = await limit(limits, *arguments)
        assert unknown.code == 4
        assert "'nowhere'" in unknown.error
    release = await limit(limits, "release", "s", "api", "--slot", "x")
    assert (release.code, "must be of concurrency" in release.error) == (2, True)


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (250_001, "251ms"),
        (999_001, "1s"),
        (1_150_000, "1.2s"),
        (59_990_000, "1m"),
        (60_000_001, "1m1s"),
        (90_061_000_000, "1d1h1m1s"),
    ],
)
def test_a_duration_is_short_and_long_enough(us: int, text: str) -> None:
    duration = Duration()
    duration.FromMicroseconds(us)
    assert short(duration) == text


@asynccontextmanager
async def watching(
    *arguments: str, address: str, stdout: int = asyncio.subprocess.PIPE
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`pantler limit watch`, ended by Ctrl-C at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pantler_server", "limit", "watch", *arguments),
        *("--address", address, "--interval", "50ms"),
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm"},
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        _, error = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in error


async def line(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    async with asyncio.timeout(10):
        return (await stream.readline()).decode().rstrip("\n")


async def test_a_watch_prints_a_line_for_each_change(limits: PantlerServer, subject: str) -> None:
    odd = f"{subject}\u202e"
    async with (
        sdk.AsyncClient(limits.address) as client,
        watching(subject, odd, "api", address=limits.address) as process,
    ):
        assert await line(process.stdout) == f"'{subject}': allowed, 4 left (limit 10)"
        assert await line(process.stdout) == f"'{subject}\\u202e': allowed, 4 left (limit 10)"
        await client.acquire(odd, "api", cost=2)
        assert await line(process.stdout) == f"'{subject}\\u202e': allowed, 2 left (limit 10)"
        await client.acquire(odd, "api", cost=2)
        assert (await line(process.stdout)).startswith(f"'{subject}\\u202e': denied: try again in ")
        await client.reset(odd, "api")
        assert await line(process.stdout) == f"'{subject}\\u202e': allowed, 4 left (limit 10)"


async def test_a_watch_waits_for_a_server_that_went_away(
    limits: PantlerServer, subject: str
) -> None:
    async with (
        FaultProxy(int(limits.address.rpartition(":")[2])) as proxy,
        watching(subject, "api", "--json", address=f"127.0.0.1:{proxy.port}") as process,
        sdk.AsyncClient(limits.address) as client,
    ):
        told: Any = json.loads(await line(process.stdout))
        assert (told["subject"], told["allowed"], told["remaining"]) == (subject, True, 4)
        proxy.refuse()
        proxy.cut()
        said = await line(process.stderr)
        assert said == "pantler: the server went away; waiting for it"
        await client.acquire(subject, "api")
        proxy.restore()
        while told["remaining"] != 3:
            told = json.loads(await line(process.stdout))


async def test_a_watch_on_a_terminal_is_a_table(limits: PantlerServer, subject: str) -> None:
    ours, theirs = pty.openpty()
    loop = asyncio.get_running_loop()
    shown = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(shown), os.fdopen(ours, "rb", 0)
    )

    async def until(text: str) -> str:
        async with asyncio.timeout(10):
            return (await shown.readuntil(text.encode())).decode()

    async with (
        sdk.AsyncClient(limits.address) as client,
        watching(f"{subject}[red]", "api", address=limits.address, stdout=theirs),
    ):
        os.close(theirs)
        seen = await until("4 of 4")
        for text in ("subject", "left", "try again in", "all back in", f"'{subject}[red]'"):
            assert text in seen
        await client.acquire(f"{subject}[red]", "api", cost=4)
        assert "denied" in await until("0 of 4")
        await until("6m")
    transport.close()


async def test_a_server_that_is_not_there_is_code_3() -> None:
    for arguments in (("acquire", "s", "api"), ("rules",), ("watch", "s", "api")):
        done = await pantler("limit", *arguments, address="127.0.0.1:1")
        assert done == Done(
            3, b"", "pantler: can't reach 127.0.0.1:1: is `pantler serve` running there?\n"
        )
