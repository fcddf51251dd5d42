"""Rules of rate limits that change under load, in several workers."""

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from pantler.v1 import admin_pb2, admin_pb2_grpc, rate_limit_pb2_grpc
from pantler.v1 import rate_limit_pb2 as pb

from tests.servers.pantler import PantlerServer
from tests.supervisor.test_reload import RELOAD, channels

RULES = """
workers: 2
rate_limits:
  api: {{algorithm: {algorithm}, limit: {limit}, window: 1h}}
"""
ASK = pb.AcquireRequest(subject="user", rule_name="api")


class Asking:
    """Many callers on connections of their own; what they were told."""

    def __init__(self, server: PantlerServer) -> None:
        self.channels = channels(server, 8)
        self.allowed = self.denied = 0
        self._stop = asyncio.Event()

    async def __aenter__(self) -> "Asking":
        self._tasks = [asyncio.create_task(self._run(channel)) for channel in self.channels]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _run(self, channel: grpc.aio.Channel) -> None:
        limits: Any = rate_limit_pb2_grpc.RateLimitServiceStub(channel)
        while not self._stop.is_set():
            decision = await limits.Acquire(ASK)
            self.allowed += decision.allowed
            self.denied += not decision.allowed
            await asyncio.sleep(0.001)

    async def until_denied_again(self) -> None:
        """Until each of them was denied since now."""
        before = self.denied
        async with asyncio.timeout(10):
            while self.denied < before + 10 * len(self.channels):
                await asyncio.sleep(0.01)


async def reload(channel: grpc.aio.Channel) -> admin_pb2.ReloadConfigResponse:
    admin: Any = admin_pb2_grpc.AdminServiceStub(channel)
    answer: admin_pb2.ReloadConfigResponse = await admin.ReloadConfig(RELOAD)
    return answer


async def test_rules_that_are_reloaded_under_load_allow_what_they_say(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text(RULES.format(algorithm="sliding_window_log", limit=30))
    async with PantlerServer(config=config) as server, Asking(server) as asking:
        await asking.until_denied_again()
        assert asking.allowed == 30
        for limit, expected in ((50, 50), (40, 50), (60, 60)):
            config.write_text(RULES.format(algorithm="sliding_window_log", limit=limit))
            await reload(asking.channels[0])
            await asking.until_denied_again()
            assert asking.allowed == expected, "what was taken before still counts"
        config.write_text(RULES.format(algorithm="gcra", limit=20))
        await reload(asking.channels[0])
        await asking.until_denied_again()
        assert asking.allowed == 80, "a rule that counts otherwise begins anew"


async def test_a_wrong_rule_changes_nothing(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text(RULES.format(algorithm="gcra", limit=5))
    async with PantlerServer(config=config) as server:
        config.write_text(RULES.format(algorithm="gcra", limit=0))
        [channel] = channels(server, 1)
        with pytest.raises(grpc.aio.AioRpcError, match=r"rate_limits\.api\.limit: must be 1"):
            await reload(channel)
        limits: Any = rate_limit_pb2_grpc.RateLimitServiceStub(channel)
        assert (await limits.Acquire(ASK)).limit == 5
