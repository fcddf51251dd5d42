"""`pantler publish` and `pantler subscribe` against a real server."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any

import grpc
import pantler as sdk
import pytest
from pantler.v1 import pubsub_pb2
from pantler_server.cli import channel as program
from pantler_server.cli import resumed

from tests.cli.test_commands import Done, pantler
from tests.cli.test_watch import line, watching
from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer

_numbers = count()


@pytest.fixture
def server(history_server: PantlerServer) -> PantlerServer:
    return history_server


@pytest.fixture
def name() -> str:
    """A channel that no other test uses."""
    return f"c{next(_numbers)}"


@asynccontextmanager
async def subscribing(
    server: PantlerServer, *arguments: str, address: str = ""
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program, listening; ended by Ctrl-C at the end."""
    words = (*arguments, "--json")
    async with watching(*words, command="subscribe", address=address or server.address) as process:
        assert "heartbeat" in json.loads(await line(process))
        yield process


async def event(process: asyncio.subprocess.Process, kind: str) -> Any:
    """The next, past heartbeats."""
    while True:
        document = json.loads(await line(process))
        if "heartbeat" not in document:
            assert list(document) == [kind]
            return document[kind]


async def test_what_is_published_is_printed(server: PantlerServer, name: str) -> None:
    async with subscribing(server, "kept", name, "--pattern", f"{name}:*") as process:
        done = await pantler("publish", "kept", name, "x", address=server.address)
        first = int(done.out)
        typed = ("--content-type", "text/plain")
        done = await pantler(
            "publish", "kept", f"{name}:a", *typed, address=server.address, stdin=b"\xff"
        )
        assert done == Done(0, b"%d\n" % (first + 1), "")
        assert await event(process, "message") == {
            "channel": name,
            "payload": "eA==",
            "content_type": "",
            "sequence": str(first),
        }
        assert (await event(process, "message"))["content_type"] == "text/plain"
    words = ("subscribe", "kept", "--pattern", f"{name}*", "--resume-after", str(first - 1))
    done = await pantler(*words, "--count", "2", address=server.address)
    assert (done.code, done.error) == (0, "")
    assert done.out.decode().splitlines() == [
        f"'{name}': 'x' ({first})",
        f"'{name}:a': b'\\xff' ({first + 1})",
    ]


async def test_a_request_id_publishes_once(server: PantlerServer, name: str) -> None:
    words = ("publish", "kept", name, "x", "--request-id", name)
    first = await pantler(*words, address=server.address)
    assert first == await pantler(*words, address=server.address)
    assert int(first.out) > 0


@pytest.mark.parametrize("namespace", ["kept", "plain"])
async def test_it_waits_for_a_server_that_went_away(
    server: PantlerServer, name: str, namespace: str
) -> None:
    async with (
        FaultProxy(int(server.address.rpartition(":")[2])) as proxy,
        sdk.AsyncClient(server.address) as client,
        subscribing(server, namespace, name, address=f"127.0.0.1:{proxy.port}") as process,
    ):
        proxy.cut()
        await client.publish(namespace, name, b"x")
        if namespace == "kept":
            assert (await event(process, "message"))["payload"] == "eA=="
        else:
            assert await event(process, "gap") == {"reason": "DISCONNECTED", "sequence": "0"}
        assert process.stderr is not None
        said = await process.stderr.readline()
        assert said == b"pantler: the server went away; waiting for it\n"


@pytest.mark.parametrize(
    ("code", "reason"), [("INVALID_ARGUMENT", "FAILOVER"), ("FAILED_PRECONDITION", "HISTORY")]
)
def test_where_it_can_not_go_on_it_begins_anew_with_a_gap(
    monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    def heartbeat(sequence: int) -> pubsub_pb2.SubscribeResponse:
        return pubsub_pb2.SubscribeResponse(heartbeat={"sequence": sequence})

    class Refused(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode[code]

    def failing() -> Any:
        yield from ()
        raise Refused

    calls = iter([iter([heartbeat(7)]), failing(), iter([heartbeat(3)])])
    asked = []

    def subscribe(request: pubsub_pb2.SubscribeRequest) -> Any:
        asked.append(request.resume_after if request.HasField("resume_after") else None)
        return next(calls)

    stub = SimpleNamespace(Subscribe=subscribe)
    monkeypatch.setattr("pantler.v1.pubsub_pb2_grpc.PubSubServiceStub", lambda _: stub)
    monkeypatch.setattr(resumed, "RETRY_S", 0)
    events = program._events(None, pubsub_pb2.SubscribeRequest())  # type: ignore[arg-type]
    told = [next(events) for _ in range(3)]
    assert asked == [None, 7, None]
    assert told[0] == heartbeat(7)
    assert program._as_json(told[1]) == {"gap": {"reason": reason, "sequence": "3"}}
    assert program._line(told[1]) == f"a gap: messages may be missing ({reason.lower()})"
    assert told[2] == heartbeat(3)


def test_one_thread_watches_over_all_messages_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = threading.Thread.start

    def counting(thread: threading.Thread) -> None:
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", counting)
    assert list(resumed._Call(iter(range(100)))) == [*range(100)]
    assert len(started) == 1
    started[0].join(5)
    assert not started[0].is_alive()


def test_a_call_is_given_up_only_while_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumed, "HEARTBEAT_S", 0.05)
    cancelled = threading.Event()

    class Silent:
        def __init__(self) -> None:
            self.first = True

        def __next__(self) -> str:
            if not self.first:
                assert cancelled.wait(5)
                raise StopIteration
            self.first = False
            return "x"

        def cancel(self) -> None:
            cancelled.set()

    call = resumed._Call(Silent())
    answers = iter(call)
    assert next(answers) == "x"
    assert not cancelled.wait(0.4)
    assert next(answers, None) is None
    assert call.is_silent


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("publish", "n"), "Missing argument"),
        (("publish", "n", "", "x"), "channel must not be empty"),
        (("subscribe", "n"), "channels must have at least one item"),
        (("subscribe", "n", "c", "--resume-after", str(2**64)), "--resume-after"),
        (("subscribe", "n", "--pattern", "["), "patterns[0] has a [ without its ]"),
        (("subscribe", "n", "c", "--count", "0"), "--count"),
    ],
)
async def test_wrong_usage_is_code_2(
    server: PantlerServer, arguments: tuple[str, ...], said: str
) -> None:
    done = await pantler(*arguments, address=server.address)
    assert done.code == 2
    assert said in done.error


async def test_a_server_that_is_not_there_is_code_3() -> None:
    for words in (("publish", "n", "c", "x"), ("subscribe", "n", "c")):
        done = await pantler(*words, address="127.0.0.1:1")
        assert done.code == 3
        assert "is `pantler serve` running there?" in done.error
