"""Many callers ask for few keys that are slow to fetch. Each key is fetched once."""

import asyncio
import os
import random
import time
from collections import Counter
from datetime import timedelta
from uuid import uuid4

import pantler

ADDRESS = os.environ.get("PANTLER_ADDRESS", "127.0.0.1:50051")
RUN = uuid4().hex[:8]  # keys of this run, so that it begins with nothing

fetched: Counter[str] = Counter()


async def fetch_page(key: str) -> bytes:
    fetched[key] += 1
    await asyncio.sleep(0.2)  # a slow query
    return f"page {key}".encode()


async def main() -> None:
    async with pantler.AsyncClient(ADDRESS) as client:

        async def visit() -> bytes:
            key = f"{RUN}/{random.randrange(20)}"
            ttl = timedelta(minutes=1)
            return await client.get_or_set("pages", key, lambda: fetch_page(key), ttl=ttl)

        began = time.perf_counter()
        await asyncio.gather(*(visit() for _ in range(5_000)))
        took_ms = (time.perf_counter() - began) * 1000
        print(f"5,000 visits of {len(fetched)} pages: {fetched.total()} fetches, {took_ms:.0f} ms")


asyncio.run(main())
