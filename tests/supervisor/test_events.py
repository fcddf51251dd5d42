"""Event rules that are wrong at the start, and rules that change under a running service."""

import signal
from pathlib import Path
from typing import Any

import grpc.aio
import pantler
import pytest
from pantler.v1 import admin_pb2, admin_pb2_grpc

from tests.servers.pantler import PantlerServer
from tests.supervisor.test_serve import failed_start
from tests.wire.test_cache_service import details

RULES = """events:
  - name: users
    type: user.changed
    namespace: users
    keys: ["user:{id}"]
"""
WRONG = RULES.replace("keys:", "kezs:") + '  - {name: users, type: t, namespace: n, tags: ["{"]}\n'


def test_wrong_rules_are_refused_at_the_start(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text(WRONG)
    code, error = failed_start("--config", str(config))
    assert code == 2
    first, second = error
    assert first == f"pantler: {config}:5: events.0.kezs: there is no such setting"
    assert second.startswith(f"pantler: {config}:6: events.1.tags.0: '{{' is no template: ")


async def keys(client: pantler.AsyncClient) -> list[str]:
    """What an event invalidates by the rules in force."""
    published = await client.publish_event("user.changed", {"id": 5})
    return [key for outcome in published.outcomes for key in outcome.keys]


async def test_rules_change_at_a_reload_and_wrong_ones_leave_the_old(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    config.write_text(RULES)
    async with (
        PantlerServer(config=config) as server,
        pantler.AsyncClient(server.address) as client,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        assert await keys(client) == ["user:5"]
        config.write_text(RULES.replace("user:{id}", "u:{id}"))
        server.signal(signal.SIGHUP)
        assert await server.wait_for("configuration reloaded", changed=["events"])
        assert await keys(client) == ["u:5"]
        config.write_text(WRONG)
        admin: Any = admin_pb2_grpc.AdminServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await admin.ReloadConfig(admin_pb2.ReloadConfigRequest())
        found = details(failed.value)["PreconditionFailure"].violations
        assert [one.subject for one in found] == [f"{config}:5", f"{config}:6"]
        assert await keys(client) == ["u:5"]
        config.write_text("{}")
        server.signal(signal.SIGHUP)
        await server.wait_for("configuration reloaded", after=len(server.events))
        assert await keys(client) == []
