"""What docs/envoy.md shows, run as written, and what it says of fields."""

import json
import shlex
from pathlib import Path

import pytest
from pantler_server.core.envoy_config import EnvoyDescriptor, EnvoyDomain, EnvoyRateLimit, Unit

from tests.docs.page import ROOT, blocks, run
from tests.servers.pantler import PantlerServer

TEXT = (ROOT / "docs/envoy.md").read_text()


@pytest.mark.component("grpcurl")
async def test_the_call_works(tmp_path: Path) -> None:
    config = tmp_path / "pantler.yaml"
    [yaml], [shell] = blocks("yaml", TEXT), blocks("sh", TEXT)
    config.write_text(yaml)
    async with PantlerServer(config=config) as server:
        command = shlex.split(shell.replace("\\\n", " "))
        answers = [json.loads(await run(command, server)) for _ in range(4)]
    assert [answer["overallCode"] for answer in answers] == ["OK"] * 3 + ["OVER_LIMIT"]
    assert [status["currentLimit"] for status in answers[0]["statuses"]] == [
        {"requestsPerUnit": 100, "unit": "MINUTE"},
        {"requestsPerUnit": 3, "unit": "MINUTE", "unitMultiplier": 10},
    ]
    assert [one["key"] for one in answers[3]["responseHeadersToAdd"]] == [
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "retry-after",
    ]


def test_every_field_is_documented() -> None:
    rows = "".join(line.split(" | ")[0] for line in TEXT.splitlines() if line.startswith("| `"))
    for model in (EnvoyDomain, EnvoyDescriptor, EnvoyRateLimit):
        for name in model.model_fields:
            assert f"`{name}`" in rows, name
    for unit in Unit:
        assert f"`{unit}`" in TEXT
