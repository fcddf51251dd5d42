"""A guarded origin over a service, which each test has for itself."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pantler_server.core.origin_config import OriginConfig
from pantler_server.origins.grpc import Channels
from pantler_server.origins.guard import GuardedOrigin

from tests.origins.guard.guarding import FAILURES, PAUSE_S, TURNS, Clock, Origin
from tests.servers.origin_service import OriginService


@pytest_asyncio.fixture
async def service() -> AsyncIterator[OriginService]:
    async with OriginService() as running:
        running.put("ada", n=1)
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def inner(service: OriginService, config: OriginConfig) -> Origin:
    return Origin("users", config, Channels())


@pytest.fixture
def config(service: OriginService) -> OriginConfig:
    return OriginConfig.model_validate(
        {
            "grpc": {"target": service.target},
            "timeout": "1s",
            "max_concurrency": TURNS,
            "breaker": {"failures": FAILURES, "pause": f"{PAUSE_S}s"},
        }
    )


@pytest_asyncio.fixture
async def origin(inner: Origin, config: OriginConfig, clock: Clock) -> AsyncIterator[GuardedOrigin]:
    opened = GuardedOrigin(inner, "users", config, clock)
    opened.begin()
    yield opened
    inner.lets_go.set()
    await opened.stop()
