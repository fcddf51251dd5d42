"""Cache-aside under load: what was fetched before a change is never given after it.

A writer changes the source and then deletes the key. From the acknowledgement of the delete on, no
read that begins may give an older value, on any worker, whatever fetches were under way.
"""

import asyncio
import random
from contextlib import AsyncExitStack
from functools import partial

import pantler
import pytest

from tests.servers.pantler import PantlerServer

SEED = 20_261_124
KEYS = [f"k{number}" for number in range(4)]  # few, so that they are changed while they are fetched


class Source:
    """A database: slow to read, and a number for each key that only grows."""

    def __init__(self) -> None:
        self.numbers = dict.fromkeys(KEYS, 0)
        self.deleted = dict.fromkeys(KEYS, 0)  # up to which number a delete was acknowledged
        self.chance = random.Random(SEED)
        self.fetches = 0

    async def fetch(self, key: str) -> bytes:
        self.fetches += 1
        number = self.numbers[key]
        await asyncio.sleep(self.chance.uniform(0, 0.02))
        return str(number).encode()


async def change(source: Source, client: pantler.AsyncClient, until: float) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        key = source.chance.choice(KEYS)
        source.numbers[key] += 1
        number = source.numbers[key]
        try:
            await client.delete("consistent", key)
        except pantler.PantlerError:
            continue  # not acknowledged
        source.deleted[key] = max(source.deleted[key], number)
        await asyncio.sleep(source.chance.uniform(0, 0.01))


async def read(source: Source, client: pantler.AsyncClient, until: float) -> int:
    loop = asyncio.get_running_loop()
    reads = 0
    while loop.time() < until:
        key = source.chance.choice(KEYS)
        oldest = source.deleted[key]
        try:
            value = await client.get_or_set("consistent", key, partial(source.fetch, key))
        except pantler.PantlerError:
            await asyncio.sleep(0.05)
            continue
        assert int(value) >= oldest, f"{key}: a value from before the delete of {oldest}"
        reads += 1
    return reads


async def run(server: PantlerServer, seconds: float) -> tuple[Source, int]:
    """How many reads there were."""
    source = Source()
    until = asyncio.get_running_loop().time() + seconds
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(pantler.AsyncClient(server.address)) for _ in range(6)
        ]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(change(source, clients[0], until))
            tasks.create_task(change(source, clients[1], until))
            readers = [
                tasks.create_task(read(source, client, until))
                for client in clients
                for _ in range(3)
            ]
    return source, sum(reader.result() for reader in readers)


@pytest.mark.slow
async def test_no_read_gives_what_was_fetched_before_an_acknowledged_delete() -> None:
    async with PantlerServer("--workers", "2") as server:
        source, reads = await run(server, 4)
    assert reads > 500
    assert source.fetches < reads, "the cache was of use"


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_nor_while_workers_are_killed() -> None:
    chance = random.Random(SEED)
    async with PantlerServer("--workers", "2") as server:
        running = asyncio.create_task(run(server, 40))
        for _ in range(8):
            await asyncio.sleep(3)
            chance.choice(server.workers()).kill()
        _, reads = await running
    assert reads > 500
