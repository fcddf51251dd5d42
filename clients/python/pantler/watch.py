"""WatchInvalidations, for as long as it is wanted: it goes on by itself where it broke off."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

import grpc.aio

from pantler.errors import InvalidArgument, PantlerError, Unavailable, answers_to
from pantler.model import InvalidationEvent, WatchMessage
from pantler.v1 import invalidation_pb2

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
MISSED_HEARTBEATS = 3  # so many, and the connection is given up: it may be half open


class InvalidationWatch:
    """What happens in some namespaces; `async for` gives the messages.

    When the server or the connection goes away it goes on where it was, as soon as it can. What
    was lost meanwhile is a gap. It raises only what its first attempt fails with, and what trying
    again does not help against.
    """

    def __init__(
        self,
        method: Callable[..., "grpc.aio.UnaryStreamCall[Any, Any]"],
        namespaces: tuple[str, ...],
        resume_token: str,
        heartbeat_interval: timedelta,
    ) -> None:
        self.resume_token = resume_token
        """With it another watch goes on after the newest message."""
        self._method = method
        self._namespaces = namespaces
        self._heartbeat_interval = heartbeat_interval
        self._forgotten = False  # the server does not know our token any more

    async def __aiter__(self) -> AsyncGenerator[WatchMessage, None]:
        begun = False
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                async with aclosing(self._messages()) as messages:
                    async for message in messages:
                        begun, pause_s = True, FIRST_PAUSE_S
                        yield message
            except TimeoutError:
                pass
            except PantlerError as error:
                if not begun or not self._passes(error):
                    raise
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _passes(self, error: PantlerError) -> bool:
        """Whether it is worth trying again."""
        if isinstance(error, InvalidArgument) and self.resume_token:
            self.resume_token = ""  # the server has lost its memory, or is another
            self._forgotten = True
            return True
        if isinstance(error, Unavailable):
            return True
        cause = error.__cause__  # a server that closes its connections cancels what comes late
        return isinstance(cause, grpc.aio.AioRpcError) and cause.code() is grpc.StatusCode.CANCELLED

    async def _messages(self) -> AsyncGenerator[WatchMessage, None]:
        """Those of one call. Raises TimeoutError if nothing comes for too long."""
        request = invalidation_pb2.WatchInvalidationsRequest(
            namespaces=self._namespaces,
            resume_token=self.resume_token,
            heartbeat_interval=self._heartbeat_interval,
        )
        patience_s = (MISSED_HEARTBEATS * self._heartbeat_interval).total_seconds()
        async with aclosing(answers_to(self._method, request)) as answers:
            while True:
                async with asyncio.timeout(patience_s):
                    answer = await anext(answers, None)
                if answer is None:
                    return
                self.resume_token = answer.resume_token
                message = _message(answer)
                if self._forgotten:
                    self._forgotten = False
                    message = replace(message, gaps=self._namespaces)
                yield message


def _message(answer: invalidation_pb2.WatchInvalidationsResponse) -> WatchMessage:
    gaps = dict.fromkeys(answer.gaps)
    events: list[InvalidationEvent] = []
    for event in answer.events:
        kind = event.WhichOneof("what")
        if kind is None:  # of a newer server: anything may have changed
            gaps[event.namespace] = None
            continue
        soft = event.mode == invalidation_pb2.INVALIDATION_MODE_SOFT
        what = getattr(event, kind)
        if kind == "created_before":
            before = what.ToDatetime(UTC)
            events.append(InvalidationEvent(event.namespace, kind, "", soft, before))
        else:
            name = "" if kind == "all" else what
            events.append(InvalidationEvent(event.namespace, kind, name, soft))
    return WatchMessage(tuple(events), tuple(gaps), tuple(answer.with_writes))
