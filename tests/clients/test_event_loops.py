"""Clients of several event loops, one after another: what gRPC tells of one that has ended."""

import subprocess
import sys

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


def test_a_client_of_another_loop_says_so(server: PantlerServer) -> None:
    program = """
import asyncio, sys
import pantler

client = pantler.AsyncClient(sys.argv[1])
asyncio.run(client.set("loops", "k", b"v"))
for call in (client.set("loops", "k", b"v"), client.get("loops", "k")):
    try:
        asyncio.run(call)
    except pantler.PantlerError as exc:
        print(exc)
"""
    run = [sys.executable, "-c", program, server.address]
    done = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True, timeout=30)
    assert done.stdout.count("the client is another event loop's: make one in each") == 2
