"""Gets that are answered in the program's own memory, kept true by word from the server: Pantler's
near cache, and the client-side cache of cashews."""

import asyncio
import time
from asyncio import Runner
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial

from pantler import AsyncClient, NearCache

from bench.libraries import open_cashews
from bench.rates import Rate, Scale, Turn, interleaved, median, ratio
from bench.report import Line
from bench.servers import KEYS, VALUE
from bench.serving import Serving

NEAR = "near"
"""The namespace that tells of its writes."""
PANTLER, CASHEWS = "Pantler", "the client-side cache of cashews"
BEGIN_S = 10  # until all is kept, at the latest


def client_near(serving: Serving, scale: Scale, loop: Runner) -> Iterator[Line]:
    """One coroutine that awaits one get after the other."""
    rates = loop.run(_near(serving, scale))
    yield Line(
        f"Awaited gets from the near cache, against {CASHEWS}",
        f"{median(rates[PANTLER]).per_second:,.0f}/s",
        f"{median(rates[CASHEWS]).per_second:,.0f}/s",
        f"{ratio(rates[PANTLER], rates[CASHEWS]):.1f}",
        ">= 500,000/s",
    )


async def _near(serving: Serving, scale: Scale) -> dict[str, list[Rate]]:
    near_cache = NearCache([NEAR], ttl=timedelta(minutes=5), settle=timedelta(0))
    cashews = open_cashews(serving.redis_socket, client_side=True)
    keys = [f"cashews:{key}" for key in KEYS]
    async with AsyncClient(serving.address, near_cache=near_cache) as client:
        try:
            await client.set_many(NEAR, dict.fromkeys(KEYS, VALUE))
            await cashews.set_many(dict.fromkeys(keys, VALUE))
            assert await cashews.get(keys[0]) == VALUE
            await _until_kept(client)
            hits = client.near_cache_stats().hits
            turns: dict[str, Turn] = {
                PANTLER: partial(_one_by_one, partial(client.get, NEAR), KEYS),
                CASHEWS: partial(_one_by_one, cashews.get, keys),
            }
            rates = await interleaved(turns, scale, "clients: near cache")
            assert client.near_cache_stats().hits > hits
        finally:
            await cashews.close()
    return rates


async def _until_kept(client: AsyncClient) -> None:
    async with asyncio.timeout(BEGIN_S):
        while client.near_cache_stats().entries < len(KEYS):
            await client.get_many(NEAR, KEYS)
            await asyncio.sleep(0.05)


async def _one_by_one(
    call: Callable[[str], Awaitable[object]], keys: Sequence[str], seconds: float
) -> Rate:
    """Nothing is looked at between two gets, which would take as long as a get."""
    taken_s: list[float] = []
    until_s = time.perf_counter() + seconds
    while (began_s := time.perf_counter()) < until_s:
        for key in keys:
            await call(key)
        taken_s.append((time.perf_counter() - began_s) / len(keys))
        await asyncio.sleep(0)  # the word from the server is heard
    mean_s = sum(taken_s) / len(taken_s)
    return Rate(1 / mean_s, 1000 * mean_s, 1000 * max(taken_s))
