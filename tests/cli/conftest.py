"""The process that the tests of the command line fork theirs from."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.cli import forks


@pytest_asyncio.fixture(scope="session", autouse=True)
async def forking() -> AsyncIterator[None]:
    async with forks.Forks() as running:
        forks.running = running
        yield
