"""Clients of the server that tests share."""

from collections.abc import AsyncIterator
from itertools import count

import pantler
import pytest
import pytest_asyncio

from tests.servers.pantler import PantlerServer

_numbers = count()


@pytest.fixture
def namespace() -> str:
    """One that no other test uses."""
    return f"client{next(_numbers)}"


@pytest_asyncio.fixture
async def client(server: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    async with pantler.AsyncClient(server.address) as opened:
        yield opened


@pytest_asyncio.fixture
async def other(server: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    """A client of another program, as far as the server can tell."""
    async with pantler.AsyncClient(server.address) as opened:
        yield opened
