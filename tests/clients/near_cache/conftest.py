"""A server that tells of writes, and clients of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pantler
import pytest
import pytest_asyncio

from tests.clients.near_cache.caches import NAMESPACES, a_namespace, opened
from tests.servers.pantler import PantlerServer


@pytest_asyncio.fixture(scope="module")
async def near_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """Tells of writes in its namespaces near0, near1, …."""
    config: Path = tmp_path_factory.mktemp("near") / "pantler.yaml"
    names = "".join(f"  near{number}: {{near_cache: true}}\n" for number in range(NAMESPACES))
    config.write_text(
        f"namespaces:\n{names}  soft: {{near_cache: true, stale_while_revalidate: 1h}}\n"
    )
    async with PantlerServer(config=config) as running:
        yield running


@pytest.fixture
def namespace() -> str:
    return a_namespace()


@pytest_asyncio.fixture
async def near(near_server: PantlerServer, namespace: str) -> AsyncIterator[pantler.AsyncClient]:
    async with await opened(near_server.address, namespace) as client:
        yield client


@pytest_asyncio.fixture
async def other(near_server: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    """A client of another program, without a near cache."""
    async with pantler.AsyncClient(near_server.address) as client:
        yield client
