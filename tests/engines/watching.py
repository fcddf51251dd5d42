"""Who watches, as tests have it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from time import monotonic

from pantler_server.engines.cache.watch import token
from pantler_server.engines.cache.watch.engine import Deployment
from pantler_server.engines.cache.watch.model import Change, Told

from tests.engines.caller import Caller

DEPLOYMENT = b"deployed"
HEARTBEAT_S = 0.3
WAIT_S = 10.0


async def deployed(_deadline: float) -> bytes:
    return DEPLOYMENT


def opened(
    *callers: Caller,
    resume: str = "",
    heartbeat_s: float = HEARTBEAT_S,
    deployment: Deployment = deployed,
) -> AsyncGenerator[Told, None]:
    """A watch over the namespaces of callers, by the engine of the first."""
    read = token.read(resume) if resume else None
    assert bool(resume) == bool(read)
    deadline = asyncio.get_running_loop().time() + 5
    return callers[0].engine.watching.watch(
        [caller.space for caller in callers], deployment, read, heartbeat_s, deadline
    )


class Seen:
    """What a watch has told until now."""

    def __init__(self) -> None:
        self.messages: list[Told] = []
        self.token = ""
        self.failure: Exception | None = None
        self._more = asyncio.Event()

    @property
    def changes(self) -> list[Change]:
        return [change for told in self.messages for change in told.changes]

    @property
    def gaps(self) -> list[str]:
        return [name for told in self.messages for name in told.gaps]

    @property
    def heartbeats(self) -> int:
        """The first message counted."""
        return sum(not told.changes and not told.gaps for told in self.messages)

    async def until(self, condition: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                while not condition():
                    self._more.clear()
                    await self._more.wait()
                    if self.failure is not None:
                        raise self.failure
        except TimeoutError:
            raise AssertionError((self.changes, self.gaps, self.heartbeats)) from None

    async def settled(self, *callers: Caller) -> None:
        """Waits until whatever has happened by now was told."""
        began = monotonic()
        async with asyncio.timeout(WAIT_S):
            for caller in callers:
                watching = caller.engine.watching
                feed = watching._feeds[caller.space.name]
                feed.read_all()
                while feed.sure_at < began or any(one.queued for one in feed._watchers):
                    await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)

    async def follow(self, watch: AsyncIterator[Told]) -> None:
        try:
            async for told in watch:
                self.messages.append(told)
                self.token = told.token
                self._more.set()
        except Exception as failure:  # noqa: BLE001 - it is for the test to say
            self.failure = failure
            self._more.set()


@asynccontextmanager
async def watching(
    *callers: Caller,
    resume: str = "",
    heartbeat_s: float = HEARTBEAT_S,
    deployment: Deployment = deployed,
) -> AsyncIterator[Seen]:
    """A watch that is read all the time; its first message has come."""
    seen = Seen()
    opening = opened(*callers, resume=resume, heartbeat_s=heartbeat_s, deployment=deployment)
    async with aclosing(opening) as watch:
        task = asyncio.create_task(seen.follow(watch))
        try:
            await seen.until(lambda: seen.messages)
            yield seen
        finally:
            task.cancel()
            await asyncio.wait((task,))
