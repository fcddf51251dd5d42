"""Servers that tests share. Each is real, is started at its first use and ends with the run."""

import os
from collections.abc import AsyncIterator

# Before gRPC is imported: its fork handlers may abort a child process that is about to be a server.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

import grpc.aio
import pytest
import pytest_asyncio

from tests.servers.cluster import ClusterGroup
from tests.servers.pantler import PantlerServer
from tests.servers.sentinel import SentinelGroup
from tests.servers.valkey import ValkeyServer

pytest_plugins = ["tests.components", "pytester"]


@pytest_asyncio.fixture(scope="session")
async def server() -> AsyncIterator[PantlerServer]:
    """Pantler on its embedded Valkey. Tests take a namespace of their own."""
    async with PantlerServer() as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def channel(server: PantlerServer) -> AsyncIterator[grpc.aio.Channel]:
    options = (("grpc.max_receive_message_length", -1),)  # the default is less than a large value
    async with grpc.aio.insecure_channel(server.address, options=options) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session")
async def history_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[PantlerServer]:
    """As `server`, with a namespace `kept` whose channels have a history, and `small`, which takes
    payloads up to 10 bytes."""
    config = tmp_path_factory.mktemp("channels") / "pantler.yaml"
    config.write_text(
        "namespaces:\n"
        "  kept: {channels: {history: {}}}\n"
        "  small: {channels: {max_payload_bytes: 10}}\n"
    )
    async with PantlerServer(config=config) as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def valkey() -> AsyncIterator[ValkeyServer]:
    """A standalone server that no test stops."""
    async with ValkeyServer() as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def sentinel_group() -> AsyncIterator[SentinelGroup]:
    """A group in which no test makes a failover."""
    async with SentinelGroup() as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def cluster_group() -> AsyncIterator[ClusterGroup]:
    """A cluster in which no test stops a server or moves a slot."""
    async with ClusterGroup() as running:
        yield running
