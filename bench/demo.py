"""`make demo`: drives Pantler with workloads like production's and prints what came of it.

Serves a Pantler of its own on free ports, or uses one that runs (`--address`). The load comes from
one Python program through the SDK, a call an operation, so the throughput is that of the program.
"""

import argparse
import asyncio
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice

import pantler
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench.serving import Serving, memory_bytes
from bench.workload import CLUSTER_22, CLUSTER_52, Operation, Workload

CALLERS = 32
PROGRESS_STEP = 50  # operations between two updates of the bar

console = Console()


@dataclass(slots=True)
class Result:
    """What a run came to."""

    hits: int = 0
    reads: int = 0
    took_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    def percentile_ms(self, share: float) -> float:
        return sorted(self.latencies_s)[int(share * (len(self.latencies_s) - 1))] * 1000


async def drive(
    client: pantler.AsyncClient, workload: Workload, operations: int, progress: Progress
) -> Result:
    """Runs so many operations of a workload, cache-aside: what is missed is set."""
    result = Result()
    bar = progress.add_task(workload.name, total=operations)

    async def caller(number: int) -> None:
        draws = islice(workload.draws(seed=number), operations // CALLERS)
        for done, (operation, rank, ttl) in enumerate(draws, start=1):
            await _perform(client, workload, operation, workload.key(rank), ttl, result)
            if done % PROGRESS_STEP == 0:
                progress.update(bar, advance=PROGRESS_STEP)

    began = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    result.took_s = time.perf_counter() - began
    progress.update(bar, completed=operations)
    return result


async def _perform(
    client: pantler.AsyncClient,
    workload: Workload,
    operation: Operation,
    key: str,
    ttl: timedelta,
    result: Result,
) -> None:
    began = time.perf_counter()
    if operation is Operation.GET:
        result.reads += 1
        found = await client.get(workload.name, key)
        result.latencies_s.append(time.perf_counter() - began)
        if found is not None:
            result.hits += 1
            return
        began = time.perf_counter()
    await client.set(workload.name, key, b"x" * workload.value_bytes, ttl=ttl)
    result.latencies_s.append(time.perf_counter() - began)


async def run(address: str, operations: int) -> dict[str, Result]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        async with pantler.AsyncClient(address) as client:
            return {
                workload.name: await drive(client, workload, operations, progress)
                for workload in (CLUSTER_52, CLUSTER_22)
            }


def show(results: dict[str, Result], serving: Serving | None) -> None:
    table = Table("workload", "hit ratio", "calls a second", "p50 ms", "p99 ms", box=None)
    for name, result in results.items():
        table.add_row(
            name,
            f"{result.hits / result.reads:.3f}",
            f"{len(result.latencies_s) / result.took_s:,.0f}",
            f"{result.percentile_ms(0.5):.2f}",
            f"{result.percentile_ms(0.99):.2f}",
        )
    console.print(table)
    if serving is not None:
        for name, process in (("worker", serving.worker), ("embedded Valkey", serving.valkey)):
            console.print(f"memory of the {name}: {memory_bytes(process) / 2**20:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--address", help="a Pantler that runs; else one is started")
    parser.add_argument("--operations", type=int, default=30_000, help="of each workload")
    options = parser.parse_args()
    own = Serving() if options.address is None else None
    with own or nullcontext():
        address = own.address if own else options.address
        console.print(f"Pantler at {address}: {options.operations:,} operations of each workload")
        show(asyncio.run(run(address, options.operations)), own)


if __name__ == "__main__":
    main()
