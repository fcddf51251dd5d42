"""Pantler with rules of rate limits, and who calls it."""

from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pantler
import pytest
import pytest_asyncio

from tests.servers.pantler import PantlerServer

_numbers = count()
RULES = """
rate_limits:
  api: {algorithm: gcra, limit: 10, window: 1h, on_unavailable: local}
  paced: {algorithm: token_bucket, limit: 5, window: 1s, burst: 1}
  trial: {algorithm: fixed_window, limit: 1, calendar: year, time_zone: Europe/Berlin, shadow: true}
  reports: {algorithm: concurrency, limit: 1, window: 600ms}
  two: {algorithm: concurrency, limit: 2, window: 1m}
  trial-slots: {algorithm: concurrency, limit: 1, window: 600ms, shadow: true}
"""


@pytest.fixture
def subject() -> str:
    return f"user:{next(_numbers)}"


@pytest_asyncio.fixture(scope="module")
async def limits(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """Pantler with rules."""
    config: Path = tmp_path_factory.mktemp("limits") / "pantler.yaml"
    config.write_text(RULES)
    async with PantlerServer(config=config) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def client(limits: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    async with pantler.AsyncClient(limits.address) as opened:
        yield opened
