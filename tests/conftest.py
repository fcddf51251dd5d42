"""Servers that tests share. Each is real, is started at its first use and ends with the run."""

import asyncio
import gc
import json
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

# Before gRPC is imported: its fork handlers may abort a child process that is about to be a server.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

import grpc.aio
import pytest
import pytest_asyncio
from hypothesis import settings
from pantler.v1 import admin_pb2, admin_pb2_grpc, cache_pb2, cache_pb2_grpc

from tests.servers.cloudflare import CloudflareServer
from tests.servers.cluster import ClusterGroup
from tests.servers.fastly import FastlyServer
from tests.servers.pantler import PATIENT, PantlerServer
from tests.servers.people import write_config
from tests.servers.sentinel import SentinelGroup
from tests.servers.users_table import UsersTable
from tests.servers.valkey import ValkeyServer

pytest_plugins = ["tests.components", "pytester"]

settings.register_profile("pantler", deadline=None, max_examples=50)  # none is timed
settings.load_profile("pantler")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Reports parse source. If garbage is collected amid that which logs a traceback, Python 3.11
    parses within the parse, and fails: a report of one test would end the run."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest_asyncio.fixture(scope="session")
async def server() -> AsyncIterator[PantlerServer]:
    """Pantler on its embedded Valkey. Tests take a namespace of their own."""
    async with PantlerServer(env=PATIENT) as running:
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
    async with PantlerServer(config=config, env=PATIENT) as running:
        yield running


@pytest.fixture(scope="session")
def users(tmp_path_factory: pytest.TempPathFactory) -> UsersTable:
    """The table behind `record_server`. Tests take keys of their own."""
    return UsersTable(tmp_path_factory.mktemp("records"))


@pytest_asyncio.fixture(scope="session")
async def record_server(users: UsersTable) -> AsyncIterator[PantlerServer]:
    """Pantler with the namespaces of `users`, which are over its table."""
    async with PantlerServer(config=users.config, env=PATIENT) as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def people_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """Pantler whose namespaces are over a table of people. Tests take namespaces of their own."""
    config = write_config(tmp_path_factory.mktemp("people"))
    async with PantlerServer(config=config, env=PATIENT) as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def cloudflare() -> AsyncIterator[CloudflareServer]:
    """Behind `cdn_server`. Tests leave it as they find it, but for what was purged and stored."""
    async with CloudflareServer() as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def fastly() -> AsyncIterator[FastlyServer]:
    """As `cloudflare`."""
    async with FastlyServer() as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def cdn_server(
    cloudflare: CloudflareServer, fastly: FastlyServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[PantlerServer]:
    """Pantler with these two targets, and a namespace `pages` that purges the latter."""
    config = tmp_path_factory.mktemp("cdn") / "pantler.yaml"
    document = {
        "cdn_targets": {
            "cloudflare": cloudflare.target,
            "fastly": {**fastly.target, "timeout": "1m"},  # tests let it hang
        },
        "namespaces": {"pages": {"http": {"max_age": "30s"}, "cdn": {"targets": ["fastly"]}}},
    }
    config.write_text(json.dumps(document))
    async with PantlerServer(config=config, env=PATIENT) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def hot_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """As `server`, with a namespace `busy` that counts all reads. `[hot]` was read 200 times and is
    hot, `warm` 20 times, `rare` once; nobody reads from it any more, so this holds for minutes."""
    config = tmp_path_factory.mktemp("hot") / "pantler.yaml"
    config.write_text(
        "namespaces: {busy: {hot_keys: {sample_ratio: 1, min_reads_per_second: 1}}}\n"
    )
    reads = ["[hot]"] * 200 + ["warm"] * 20 + ["rare"]
    async with PantlerServer(config=config, env=PATIENT) as running:
        async with grpc.aio.insecure_channel(running.address) as opened:
            cache: Any = cache_pb2_grpc.CacheServiceStub(opened)
            admin: Any = admin_pb2_grpc.AdminServiceStub(opened)
            for key in reads:
                await cache.Get(cache_pb2.GetRequest(namespace="busy", key=key))
            listing = admin_pb2.ListHotKeysRequest(namespace="busy")
            async with asyncio.timeout(20):  # a worker hands on every 10 s
                while "rare" not in {one.key for one in (await admin.ListHotKeys(listing)).keys}:
                    await asyncio.sleep(0.1)
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
