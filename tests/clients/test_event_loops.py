"""Clients of several event loops, one after another: what gRPC tells of one that has ended."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator

import pantler
import pytest

from tests.servers.pantler import PantlerServer

PROGRAM = """
import asyncio, sys
import pantler

async def use(address):
    client = pantler.AsyncClient(address)
    await client.set("loops", "k", b"v")
    await asyncio.gather(*(client.get("loops", "k") for _ in range(10)))
    if sys.argv[2] == "closed":
        await client.close()

async def listen():
    await asyncio.sleep(0.3)

for _ in range(20):
    asyncio.run(use(sys.argv[1]))
asyncio.run(listen())
"""


@pytest.mark.parametrize("end", ["closed", "left open"])
def test_one_loop_hears_nothing_of_another(server: PantlerServer, end: str) -> None:
    # Of what a loop can't deliver asyncio tells in the log: on the standard error output.
    program = [sys.executable, "-c", PROGRAM, server.address, end]
    done = subprocess.run(program, check=True, stderr=subprocess.PIPE, text=True)
    assert not done.stderr


CALLS: list[Callable[[pantler.AsyncClient], Awaitable[object]]] = [
    lambda client: client.set("loops", "k", b"v"),
    lambda client: client.get("loops", "k"),
    lambda client: client.get_or_set("loops", "k", fetch),
    lambda client: client.describe("loops", "k"),
    lambda client: client.invalidate_tags("loops", ["t"]),
]
ANOTHER = "the client is another event loop's: make one in each"


async def fetch() -> bytes:
    return b"v"


@pytest.fixture
def home() -> Iterator[asyncio.Runner]:
    """Has an event loop that a test may run beside another."""
    with asyncio.Runner() as runner:
        runner.get_loop()
        yield runner


@pytest.mark.parametrize("coalesce", [True, False], ids=["streams", "calls"])
@pytest.mark.parametrize("first", CALLS)
def test_a_client_of_another_loop_says_so(
    server: PantlerServer,
    home: asyncio.Runner,
    first: Callable[[pantler.AsyncClient], Awaitable[object]],
    coalesce: bool,
) -> None:
    client = pantler.AsyncClient(server.address, coalesce=coalesce)

    async def use(call: Callable[[pantler.AsyncClient], Awaitable[object]]) -> None:
        async with asyncio.timeout(5):
            await call(client)

    home.run(use(first))
    for call in (*CALLS, pantler.AsyncClient.close):
        with pytest.raises(pantler.PantlerError, match=ANOTHER):
            asyncio.run(use(call))
    home.run(use(first))  # nothing of it was harmed
    home.run(use(pantler.AsyncClient.close))
    asyncio.run(use(pantler.AsyncClient.close))  # it is closed already


def test_a_client_whose_loop_is_closed_can_be_closed_in_another(server: PantlerServer) -> None:
    client = pantler.AsyncClient(server.address)

    async def use() -> None:
        await asyncio.gather(*(call(client) for call in CALLS))

    async def close() -> None:
        async with asyncio.timeout(5):
            for call in CALLS:
                with pytest.raises(pantler.PantlerError, match=ANOTHER):
                    await call(client)
            await client.close()
        with pytest.raises(pantler.PantlerError, match="the client is closed"):
            await client.get("loops", "k")

    asyncio.run(use())
    asyncio.run(close())
