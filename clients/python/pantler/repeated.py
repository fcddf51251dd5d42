"""Calls that may be sent again: their request id lets them take effect once."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pantler.errors import Unavailable

MAX_ATTEMPTS = 4
PAUSE_S = 0.2  # before the next one, where the server does not say

T = TypeVar("T")


async def repeated(send: Callable[[float], Awaitable[T]], timeout_s: float) -> T:
    """What `send` gives, which makes one call and is told how long that may take (s). If the server
    or what stands behind it is away, or went away with the call under way, it is sent again, up to
    MAX_ATTEMPTS times within `timeout_s`; then raises what the last one failed with."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + timeout_s
    for attempt in range(1, MAX_ATTEMPTS):
        try:
            return await send(ends - loop.time())
        except Unavailable as exc:
            # Longer each time, and not in step with the other callers that have failed.
            pause_s = (exc.retry_after.total_seconds() or PAUSE_S) * attempt
            pause_s *= random.uniform(0.5, 1.0)
            if loop.time() + pause_s >= ends:
                raise
        await asyncio.sleep(pause_s)
    return await send(ends - loop.time())
