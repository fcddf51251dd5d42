"""Clients whose server goes away: what fails at once, what is fetched, and what is tried again."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from itertools import count
from typing import Any

import grpc.aio
import pantler
import pytest
import pytest_asyncio
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from pantler import codecs
from pantler.v1 import leaderboard_pb2, leaderboard_pb2_grpc

from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer

_numbers = count()
BRIEF = timedelta(milliseconds=100)
NOWHERE = "127.0.0.1:1"


@pytest.fixture
def namespace() -> str:
    return f"away{next(_numbers)}"


@pytest_asyncio.fixture
async def proxy(server: PantlerServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(int(server.address.rpartition(":")[2])) as running:
        yield running


def through(proxy: FaultProxy, **options: Any) -> pantler.AsyncClient:
    return pantler.AsyncClient(f"127.0.0.1:{proxy.port}", timeout=BRIEF, **options)


async def fetch() -> bytes:
    return b"fetched"


async def leave_alone(client: pantler.AsyncClient, namespace: str) -> None:
    """Calls until they fail at once."""
    calls = (client.touch(namespace, "k") for _ in range(5))
    assert all(
        isinstance(one, pantler.Unavailable | pantler.DeadlineExceeded)
        for one in await asyncio.gather(*calls, return_exceptions=True)
    )
    assert "left alone" in repr(client)


@pytest.mark.parametrize("coalesce", [True, False])
async def test_a_server_that_hangs_is_left_alone_and_tried_once_at_a_time(
    proxy: FaultProxy, namespace: str, coalesce: bool
) -> None:
    async with through(proxy, coalesce=coalesce) as client:
        await client.set(namespace, "k", b"v", ttl=timedelta(minutes=5))
        proxy.stall()
        late = await asyncio.gather(
            *(client.get(namespace, "k") for _ in range(5)), return_exceptions=True
        )
        assert all(isinstance(one, pantler.DeadlineExceeded) for one in late)
        began = time.perf_counter()
        for call in (client.get(namespace, "k"), client.invalidate_keys(namespace, ["k"])):
            with pytest.raises(pantler.Unavailable, match="left alone") as refused:
                await call
        assert time.perf_counter() - began < 0.01
        await asyncio.sleep(refused.value.retry_after.total_seconds() + 0.01)
        tried = await asyncio.gather(
            *(client.get(namespace, "k") for _ in range(9)), return_exceptions=True
        )
        kinds = [type(one) for one in tried]
        assert kinds.count(pantler.DeadlineExceeded) == 1
        assert kinds.count(pantler.Unavailable) == 8
        proxy.restore()
        async with asyncio.timeout(10):
            while (entry := await ignoring_absence(client.get(namespace, "k"))) is None:
                await asyncio.sleep(0.02)
        assert entry.value == b"v"
        assert "left alone" not in repr(client)


async def ignoring_absence(call: Any) -> Any:
    try:
        return await call
    except (pantler.Unavailable, pantler.DeadlineExceeded):
        return None


@pytest.mark.parametrize("coalesce", [True, False])
async def test_a_program_lives_while_its_server_is_killed_and_started_again(
    namespace: str, coalesce: bool
) -> None:
    async with PantlerServer() as first:
        address = first.address
        client = pantler.AsyncClient(address, on_unavailable="fetch", coalesce=coalesce)
        texts = client.namespace(namespace, codec=codecs.TEXT)

        @texts.cached("user:{number}")
        async def load(number: int) -> str:
            return f"user {number}"

        assert await load(1) == "user 1"
        await first.kill()
        await first.wait_for_exit()
    await asyncio.gather(*(load(number) for number in range(5)))
    assert "left alone" in repr(client)

    async def asks(*_: object) -> None:
        raise AssertionError("the server is to be left alone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client._breaker, "_open_until", time.monotonic() + 1000)
        patch.setattr(client, "_repeat", asks)
        for number in range(20):
            assert await load(number) == f"user {number}"
    assert await client.get_or_set(namespace, "k", fetch) == b"fetched"
    assert await client.get(namespace, "k") is None
    assert await client.get_many(namespace, ["k", "l"]) == {}
    with pytest.raises(pantler.Unavailable):
        await client.set(namespace, "k", b"v")
    async with PantlerServer("--listen", address) as again, client:
        assert again.address == address
        async with asyncio.timeout(20):
            while not await ignoring_absence(client.set(namespace, "other", b"v")):
                await asyncio.sleep(0.05)
        assert await client.get(namespace, "k") is None  # it was not stored
        assert await client.get_or_set(namespace, "k", fetch) == b"fetched"
        entry = await client.get(namespace, "k")
        assert entry is not None


async def test_what_the_server_does_not_answer_in_time_is_fetched(
    proxy: FaultProxy, namespace: str
) -> None:
    async def fetch_many(keys: Sequence[str]) -> dict[str, bytes]:
        return {key: key.encode() for key in keys if key != "none"}

    async with through(proxy, on_unavailable="fetch") as client:
        await client.get(namespace, "k")
        proxy.stall()
        assert await client.get(namespace, "k") is None
        assert await client.get_or_set(namespace, "k", fetch) == b"fetched"
        found = await client.get_many_or_set(namespace, ["a", "none", "b"], fetch_many)
        assert found == {"a": b"a", "b": b"b"}
        with pytest.raises(TypeError, match="not bytes"):
            await client.get_or_set(namespace, "k", lambda: asyncio.sleep(0, "text"))  # type: ignore[arg-type]


async def test_what_is_wrong_is_raised_all_the_same(server: PantlerServer, namespace: str) -> None:
    async with pantler.AsyncClient(server.address, on_unavailable="fetch") as client:
        for _ in range(10):
            with pytest.raises(pantler.InvalidArgument):
                await client.get_or_set(namespace, "", fetch)
            with pytest.raises(pantler.InvalidArgument):
                await client.get_ranks(namespace, "", ["m"])
        assert await client.get(namespace, "k") is None
    with pytest.raises(ValueError, match="'raise' or 'fetch'"):
        pantler.AsyncClient(on_unavailable="ignore")  # type: ignore[arg-type]


async def test_without_it_reads_fail(namespace: str) -> None:
    async with pantler.AsyncClient(NOWHERE) as client:
        for call in (client.get(namespace, "k"), client.get_or_set(namespace, "k", fetch)):
            with pytest.raises(pantler.Unavailable, match=f"can't be reached at {NOWHERE}"):
                await call


def test_a_blocking_client_lives_without_its_server_too(namespace: str) -> None:
    with pantler.Client(NOWHERE, on_unavailable="fetch") as client:
        for _ in range(6):
            assert client.get_or_set(namespace, "k", lambda: b"fetched") == b"fetched"
        assert "left alone" in repr(client)
        assert client.get(namespace, "k") is None


async def test_other_calls_that_may_be_are_repeated_over_a_connection_that_breaks(
    proxy: FaultProxy, namespace: str
) -> None:
    address = f"127.0.0.1:{proxy.port}"
    async with pantler.AsyncClient(address, coalesce=False) as client:
        await client.invalidate_keys(namespace, ["k"])
        proxy.hold_replies()
        calls = [
            asyncio.create_task(one)
            for one in (
                client.invalidate_tags(namespace, ["t"]),
                client.get_ranks(namespace, "board", ["m"]),
            )
        ]
        once = asyncio.create_task(client.submit_scores(namespace, "board", {"m": 1}))
        await asyncio.sleep(0.1)
        proxy.restore()
        proxy.cut()
        await asyncio.gather(*calls)
        with pytest.raises(pantler.Unavailable):
            await once


async def test_errors_of_calls_that_may_be_repeated_keep_their_details(
    server: PantlerServer, namespace: str
) -> None:
    async with pantler.AsyncClient(server.address) as client:
        with pytest.raises(pantler.InvalidArgument) as refused:
            await client.invalidate_keys(namespace, ["a", ""])
    assert refused.value.reason == "ERROR_REASON_INVALID_FIELD"
    assert refused.value.violations[0].path == "keys[1]"


class Draining(leaderboard_pb2_grpc.LeaderboardServiceServicer):
    """Answers that it is shutting down, so many times."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.calls = 0

    async def refuse(self, context: Any) -> None:
        self.calls += 1
        if self.calls <= self.refusals:
            status = status_pb2.Status(code=code_pb2.UNAVAILABLE, message="it is shutting down")
            reason = "ERROR_REASON_SHUTTING_DOWN"
            info = error_details_pb2.ErrorInfo(domain="pantler.dev", reason=reason)
            status.details.add().Pack(info)
            await context.abort_with_status(rpc_status.to_status(status))

    async def GetRanks(self, request: Any, context: Any) -> leaderboard_pb2.GetRanksResponse:
        await self.refuse(context)
        return leaderboard_pb2.GetRanksResponse()

    async def SubmitScores(self, request: Any, context: Any) -> Any:
        await self.refuse(context)
        return leaderboard_pb2.SubmitScoresResponse()


@pytest.mark.parametrize(("refusals", "calls"), [(3, 4), (9, 4)])
async def test_a_worker_that_shuts_down_is_asked_again_four_times_at_most(
    refusals: int, calls: int
) -> None:
    draining, server = Draining(refusals), grpc.aio.server()  # type: ignore[abstract]
    add: Any = leaderboard_pb2_grpc.add_LeaderboardServiceServicer_to_server
    add(draining, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with pantler.AsyncClient(f"127.0.0.1:{port}") as client:
        if refusals < calls:
            await client.get_ranks("n", "board", ["m"])
        else:
            with pytest.raises(pantler.Unavailable) as refused:
                await client.get_ranks("n", "board", ["m"])
            assert refused.value.reason == "ERROR_REASON_SHUTTING_DOWN"
        assert draining.calls == calls
        draining.calls, draining.refusals = 0, 1
        with pytest.raises(pantler.Unavailable):  # it might take effect twice
            await client.submit_scores("n", "board", {"m": 1})
        assert draining.calls == 1
    await server.stop(None)
