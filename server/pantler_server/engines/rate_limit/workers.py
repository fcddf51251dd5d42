"""How many workers there are in the deployment: what a worker's share of a limit is, while Redis is
away."""

import asyncio
from contextlib import suppress
from secrets import token_hex

from pantler_server.core import background
from pantler_server.core.errors import StoreError
from pantler_server.engines.rate_limit import scripts
from pantler_server.store.store import Store

INTERVAL_S = 1.0
LATELY_MS = 5000  # a worker that was silent for so long is gone


class Workers:
    """`count` is how many were last seen, this one among them; before the first look, `at_first`.
    `start` before use, `stop` after it."""

    def __init__(self, store: Store, at_first: int) -> None:
        self._store = store
        self._request = scripts.seen(token_hex(8), LATELY_MS)
        self._task: asyncio.Task[None] | None = None
        self.count = at_first

    def start(self) -> None:
        self._task = background.start(self._keep_seen(), "workers seen")

    async def stop(self) -> None:
        if self._task is not None:
            await background.stop((self._task,))

    async def _keep_seen(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with suppress(StoreError):  # the last count holds while Redis is away
                [self.count] = await self._store.call(self._request, loop.time() + INTERVAL_S)
            await asyncio.sleep(INTERVAL_S)
