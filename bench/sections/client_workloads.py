"""Reads that hit, of keys drawn as production draws them."""

from asyncio import Runner
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import islice

from pantler import AsyncClient
from redis.asyncio import Redis

from bench.libraries import open_redis
from bench.rates import Rate, Scale, Turn, from_coroutines, interleaved, median, ratio
from bench.report import Line
from bench.serving import Serving
from bench.workload import CLUSTER_22, CLUSTER_52, Operation, Workload

UNIFORM = Workload(
    name="uniform",
    key_bytes=20,
    value_bytes=100,
    zipf_alpha=0.0,
    operations=((Operation.GET, 1.0),),
    ttls=((timedelta(days=1), 1.0),),
    keys=200_000,
)
WORKLOADS = (UNIFORM, CLUSTER_52, CLUSTER_22)
DRAWS = 50_000
FILL = 1_000  # keys that are set together
PANTLER, REDIS_PY = "Pantler", "redis-py"


def client_workloads(serving: Serving, scale: Scale, loop: Runner) -> Iterator[Line]:
    """The reads of each workload, with every key there, against redis-py."""
    for workload in WORKLOADS:
        some = replace(workload, keys=min(workload.keys, scale.keys))
        rates = loop.run(_reads(serving, some, scale))
        yield Line(
            f"Reads of the workload {some.name} ({some.keys:,} keys, Zipf {some.zipf_alpha:.2f}, "
            f"values of {some.value_bytes} B) from {scale.callers} coroutines, against redis-py",
            str(median(rates[PANTLER])),
            str(median(rates[REDIS_PY])),
            f"{ratio(rates[PANTLER], rates[REDIS_PY]):.1f}",
        )


async def _reads(serving: Serving, workload: Workload, scale: Scale) -> dict[str, list[Rate]]:
    async with AsyncClient(serving.address) as client, open_redis(serving.redis_socket) as redis:
        await _fill(client, redis, workload)
        draws = islice(workload.draws(seed=1), DRAWS)
        keys = [workload.key(rank) for operation, rank, _ in draws if operation is Operation.GET]
        turns: dict[str, Turn] = {
            PANTLER: partial(
                from_coroutines, partial(client.get, workload.name), keys, scale.callers
            ),
            REDIS_PY: partial(from_coroutines, redis.get, keys, scale.callers),
        }
        rates = await interleaved(turns, scale, f"clients: {workload.name}")
        for part in _parts(workload):
            await redis.delete(*part)
            await client.delete_many(workload.name, part)
    return rates


async def _fill(client: AsyncClient, redis: Redis, workload: Workload) -> None:
    for part in _parts(workload):
        values = dict.fromkeys(part, b"x" * workload.value_bytes)
        await client.set_many(workload.name, values)
        await redis.mset(values)


def _parts(workload: Workload) -> Iterator[Sequence[str]]:
    """All keys, some at a time."""
    for first in range(0, workload.keys, FILL):
        yield [workload.key(rank) for rank in range(first, min(first + FILL, workload.keys))]
