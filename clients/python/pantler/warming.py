"""Warm, to its end: it goes on by itself where it broke off."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import grpc.aio

from pantler.errors import PantlerError
from pantler.model import WarmProgress
from pantler.resumed import ResumedStream
from pantler.v1 import admin_pb2

_INTERVAL = timedelta(seconds=5)  # within which there is an answer: the server gives two a second
_GIVEN_UP = "ERROR_REASON_ORIGIN_UNAVAILABLE"


class Warming(ResumedStream[WarmProgress]):
    """A warming; `async for` gives its progress about twice a second, up to one that is `done`.

    When the server or the connection goes away it goes on where it was, as soon as it can. It
    raises what its first attempt fails with, and what trying again does not help against; also
    Unavailable if the server has given up, since the system of record has failed for half a minute.
    """

    def __init__(
        self,
        method: Callable[..., "grpc.aio.UnaryStreamCall[Any, Any]"],
        request: admin_pb2.WarmRequest,
    ) -> None:
        super().__init__(method, _INTERVAL)
        self._asked = request

    @property
    def resume_token(self) -> str:
        """With it another warming of the same keys goes on after the newest progress."""
        return self._asked.resume_token

    async def __aiter__(self) -> AsyncGenerator[WarmProgress, None]:
        async with aclosing(super().__aiter__()) as told:
            async for progress in told:
                yield progress
                if progress.done:
                    return

    def _request(self) -> admin_pb2.WarmRequest:
        return self._asked

    def _items(self, answer: Any) -> Iterable[WarmProgress]:
        self._asked.resume_token = answer.resume_token
        progress = WarmProgress(
            seen=answer.seen,
            loaded=answer.loaded,
            failed=answer.failed,
            total=answer.total or None,
            resume_token=answer.resume_token,
            done=answer.done,
        )
        return (progress,)

    def _forgets(self, error: PantlerError) -> bool:
        return False  # a token is good for as long as the keys are the same

    def _passes(self, error: PantlerError) -> bool:
        return error.reason != _GIVEN_UP and super()._passes(error)
