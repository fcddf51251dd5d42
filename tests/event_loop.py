"""How long anything holds the event loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pantler_server.core import background


@asynccontextmanager
async def waits() -> AsyncIterator[list[float]]:
    """How long each wait for a millisecond took."""
    waited = [0.0]
    loop = asyncio.get_running_loop()

    async def look() -> None:
        while True:
            before = loop.time()
            await asyncio.sleep(0.001)
            waited.append(loop.time() - before)

    looking = asyncio.create_task(look())
    try:
        yield waited
    finally:
        await background.stop((looking,))
