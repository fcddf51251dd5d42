"""RecordService and CacheService over the records of one server."""

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from pantler.v1 import (
    cache_pb2_grpc,
    record_pb2_grpc,
)
from redis.asyncio import Redis

from tests.servers.pantler import PantlerServer


@pytest_asyncio.fixture(scope="module")
async def opened(record_server: PantlerServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(record_server.address) as channel:
        yield channel


@pytest.fixture(scope="module")
def records(opened: grpc.aio.Channel) -> Any:
    return record_pb2_grpc.RecordServiceStub(opened)


@pytest.fixture(scope="module")
def cache(opened: grpc.aio.Channel) -> Any:
    return cache_pb2_grpc.CacheServiceStub(opened)


@pytest_asyncio.fixture(scope="module")
async def redis(record_server: PantlerServer) -> AsyncIterator[Redis]:
    """The embedded one."""
    path = (await record_server.wait_for("serving"))["redis"]
    async with Redis(unix_socket_path=path.removeprefix("unix:")) as connected:
        yield connected
