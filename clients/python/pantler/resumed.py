"""A stream of the server that is followed for as long as it is wanted: it goes on by itself where
it broke off."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from datetime import timedelta
from typing import Any, Generic, TypeVar

import grpc.aio
from google.protobuf.message import Message

from pantler.errors import PantlerError, Unavailable, answers_to

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
MISSED_HEARTBEATS = 3  # so many, and the connection is given up: it may be half open

Item = TypeVar("Item")


class ResumedStream(ABC, Generic[Item]):
    """What `async for` gives, over as many calls as it takes.

    It raises only what its first attempt fails with, and what trying again does not help against.
    """

    def __init__(
        self,
        method: Callable[..., "grpc.aio.UnaryStreamCall[Any, Any]"],
        heartbeat_interval: timedelta,
    ) -> None:
        self._method = method
        self._heartbeat_interval = heartbeat_interval
        self._begun = False

    @abstractmethod
    def _request(self) -> Message:
        """That of a call which goes on from here."""

    @abstractmethod
    def _items(self, answer: Any) -> Iterable[Item]:
        """What an answer has."""

    @abstractmethod
    def _forgets(self, error: PantlerError) -> bool:
        """Whether the server does not know any more where this was. Then the next call begins
        anew, with a gap."""

    async def __aiter__(self) -> AsyncGenerator[Item, None]:
        self._pause_s = FIRST_PAUSE_S
        while True:
            try:
                async with aclosing(self._of_a_call()) as items:
                    async for item in items:
                        yield item
            except TimeoutError:
                pass
            except PantlerError as error:
                if not self._begun or not self._passes(error):
                    raise
            await asyncio.sleep(self._pause_s * random.uniform(0.5, 1))
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    async def _of_a_call(self) -> AsyncGenerator[Item, None]:
        """Raises TimeoutError if nothing comes for too long."""
        patience_s = (MISSED_HEARTBEATS * self._heartbeat_interval).total_seconds()
        async with aclosing(answers_to(self._method, self._request())) as answers:
            while True:
                async with asyncio.timeout(patience_s):
                    answer = await anext(answers, None)
                if answer is None:
                    return
                self._begun, self._pause_s = True, FIRST_PAUSE_S
                for item in self._items(answer):
                    yield item

    def _passes(self, error: PantlerError) -> bool:
        """Whether it is worth trying again."""
        if isinstance(error, Unavailable) or self._forgets(error):
            return True
        cause = error.__cause__  # a server that closes its connections cancels what comes late
        return isinstance(cause, grpc.aio.AioRpcError) and cause.code() is grpc.StatusCode.CANCELLED
