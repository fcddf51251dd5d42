"""The comparison of clients says something of each; what, only a quiet machine tells."""

import asyncio
import os
import sys
from pathlib import Path

from tests.docs.page import ROOT

COMPARED = {
    "Gets from": ["one RPC a call", "redis-py", "aiocache", "cashews", "dogpile.cache"],
    "Batches of": ["redis-py", "aiocache", "cashews", "dogpile.cache"],
    "One get at a time": ["echo: p50", "our gRPC settings: p50"],
    "Awaited gets": ["client-side cache of cashews"],
    "Exchange of": [
        f"{size} Gets a message, from {source}, on one core of the server"
        for source in ("Redis", "the first level")
        for size in ("128", "256", "1,000")
    ],
    "Stampede of": ["its lock", "cached_stampede", "distributed lock"],
    "Acquires of": ["moving window of `limits`", "fixed window of `limits`", "counter of `limits`"],
    "Reads of the workload": ["uniform", "cluster52", "cluster22"],
}
"""How the lines of a part begin, and what they go on with, in order."""


async def test_every_line_of_the_comparison_is_printed(tmp_path: Path) -> None:
    chart = tmp_path / "clients.svg"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench", "clients", "--quick", "--svg", str(chart)),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "300"},
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    lines = iter(out.decode().splitlines())
    for begin, others in COMPARED.items():
        for other in others:
            assert any(line.strip().startswith(begin) and other in line for line in lines), (
                f"no line {begin} … {other}"
            )
    assert chart.read_text().count("<rect") == 1 + len(COMPARED["Gets from"])
