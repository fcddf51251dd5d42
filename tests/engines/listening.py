"""Who subscribes to channels, as tests have it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

from pantler_server.core.channel_config import ChannelsConfig
from pantler_server.core.glob import compile_glob
from pantler_server.core.namespace import Namespace
from pantler_server.engines.pubsub.engine import PubSubEngine
from pantler_server.engines.pubsub.model import Event, Gap, GapReason, Heartbeat, Message

HEARTBEAT_S = 0.3
WAIT_S = 10.0


def with_history(space: Namespace, **history: Any) -> Namespace:
    """The namespace, with a history of its channels."""
    channels = ChannelsConfig.model_validate({"history": history})
    return replace(space, config=space.config.model_copy(update={"channels": channels}))


async def publish(
    engine: PubSubEngine,
    space: Namespace,
    channel: str,
    *payloads: str,
    request_id: str = "",
    content_type: str = "",
) -> list[int]:
    """Publishes one after the other; the sequences."""
    loop = asyncio.get_running_loop()
    return [
        await engine.publish(
            space,
            Message(channel, payload.encode(), content_type, 0, 0),
            request_id,
            loop.time() + 5,
        )
        for payload in payloads
    ]


def subscribed(
    engine: PubSubEngine,
    space: Namespace,
    *channels: str,
    patterns: Sequence[str] = (),
    resume_after: int | None = None,
    heartbeat_s: float = HEARTBEAT_S,
    wait_s: float = 5.0,
) -> AsyncGenerator[Event, None]:
    globs = [compile_glob(pattern) for pattern in patterns]
    deadline = asyncio.get_running_loop().time() + wait_s
    return engine.subscribe(space, channels, globs, resume_after, heartbeat_s, deadline)


class Heard:
    """What a subscription has given until now."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.failure: Exception | None = None
        self._more = asyncio.Event()

    @property
    def messages(self) -> list[Message]:
        return [event for event in self.events if isinstance(event, Message)]

    @property
    def payloads(self) -> list[str]:
        return [message.payload.decode() for message in self.messages]

    @property
    def sequences(self) -> list[int]:
        return [message.sequence for message in self.messages]

    @property
    def gaps(self) -> list[GapReason]:
        return [event.reason for event in self.events if isinstance(event, Gap)]

    @property
    def heartbeats(self) -> list[int]:
        """Their sequences."""
        return [event.sequence for event in self.events if isinstance(event, Heartbeat)]

    async def until(self, condition: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                while not condition():
                    self._more.clear()
                    await self._more.wait()
                    if self.failure is not None:
                        raise self.failure
        except TimeoutError:
            raise AssertionError(self.events) from None

    async def count(self, wanted: int) -> None:
        """Until so many messages have come."""
        await self.until(lambda: len(self.messages) >= wanted)

    async def payload(self, wanted: str) -> None:
        await self.until(lambda: wanted in self.payloads)

    async def follow(self, events: AsyncIterator[Event]) -> None:
        try:
            async for event in events:
                self.events.append(event)
                self._more.set()
        except Exception as failure:  # noqa: BLE001 - it is for the test to say
            self.failure = failure
            self._more.set()


@asynccontextmanager
async def listening(
    engine: PubSubEngine, space: Namespace, *channels: str, **said: Any
) -> AsyncIterator[Heard]:
    """A subscription that is read all the time; its first event has come."""
    heard = Heard()
    async with aclosing(subscribed(engine, space, *channels, **said)) as events:
        task = asyncio.create_task(heard.follow(events))
        try:
            await heard.until(lambda: heard.events)
            yield heard
        finally:
            task.cancel()
            await asyncio.wait((task,))
