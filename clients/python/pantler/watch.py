"""WatchInvalidations, for as long as it is wanted: it goes on by itself where it broke off."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

import grpc.aio

from pantler.errors import InvalidArgument, PantlerError
from pantler.model import InvalidationEvent, WatchMessage
from pantler.resumed import ResumedStream
from pantler.v1 import invalidation_pb2


class InvalidationWatch(ResumedStream[WatchMessage]):
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
        super().__init__(method, heartbeat_interval)
        self.resume_token: str = resume_token
        """With it another watch goes on after the newest message."""
        self._namespaces = namespaces
        self._forgotten = False  # the server does not know our token any more

    def _request(self) -> invalidation_pb2.WatchInvalidationsRequest:
        return invalidation_pb2.WatchInvalidationsRequest(
            namespaces=self._namespaces,
            resume_token=self.resume_token,
            heartbeat_interval=self._heartbeat_interval,
        )

    def _items(self, answer: Any) -> Iterable[WatchMessage]:
        self.resume_token = answer.resume_token
        message = _message(answer)
        if self._forgotten:
            self._forgotten = False
            message = replace(message, gaps=self._namespaces)
        return (message,)

    def _forgets(self, error: PantlerError) -> bool:
        if not isinstance(error, InvalidArgument) or not self.resume_token:
            return False
        self.resume_token = ""  # the server has lost its memory, or is another
        self._forgotten = True
        return True


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
