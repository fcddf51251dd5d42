"""Workers with channels, over every Redis that there is."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from pantler_server.core.namespace import Namespace
from pantler_server.engines.pubsub import keys
from pantler_server.engines.pubsub.engine import PubSubEngine
from pantler_server.store.request import Request, pack
from pantler_server.store.store import Store

from tests.engines.conftest import Deadline
from tests.engines.listening import with_history

Do = Callable[..., Any]


@asynccontextmanager
async def worker(store: Store) -> AsyncIterator[PubSubEngine]:
    running = PubSubEngine(store)
    running.start()
    yield running
    await running.stop()


@pytest_asyncio.fixture(scope="module")
async def one(store: Store) -> AsyncIterator[PubSubEngine]:
    async with worker(store) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def other(store: Store) -> AsyncIterator[PubSubEngine]:
    """As another worker has it: it shares nothing with `one` but Redis and its address."""
    async with worker(store) as running:
        yield running


@pytest.fixture
def kept(space: Namespace) -> Namespace:
    """A namespace of its own with a history."""
    return with_history(space)


@pytest.fixture
def run(store: Store, space: Namespace, deadline: Deadline) -> Do:
    """Runs a command at the namespace's primary."""

    async def command(*words: str | bytes | int) -> Any:
        request = Request(
            keys.partition(space).slot, (pack(*words),), "", repeatable=False, writes=True
        )
        [reply] = await store.call(request, deadline())
        return reply

    return command


@pytest.fixture
def kill_subscriptions(run: Do) -> Do:
    async def kill() -> None:
        await run("CLIENT", "KILL", "TYPE", "pubsub")

    return kill
