"""Subscribe, for as long as it is wanted: it goes on by itself where it broke off."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import grpc.aio

from pantler.errors import InvalidArgument, PantlerError
from pantler.model import ChannelGap, ChannelMessage
from pantler.resumed import ResumedStream
from pantler.v1 import pubsub_pb2

NO_HISTORY = "ERROR_REASON_NO_HISTORY"


class ChannelSubscription(ResumedStream[ChannelMessage | ChannelGap]):
    """What is published to some channels; `async for` gives the messages, and gaps between them.

    When the server or the connection goes away it goes on where it was, as soon as it can; where
    the namespace keeps no history, with a gap. It raises only what its first attempt fails with,
    and what trying again does not help against.
    """

    def __init__(
        self,
        method: Callable[..., "grpc.aio.UnaryStreamCall[Any, Any]"],
        request: pubsub_pb2.SubscribeRequest,
        heartbeat_interval: timedelta,
    ) -> None:
        super().__init__(method, heartbeat_interval)
        self.sequence: int = request.resume_after
        """With a history: all up to this was given, and another subscription goes on after it."""
        self._asking = request
        self._gap = ""  # why there is one before what the next call gives

    def _request(self) -> pubsub_pb2.SubscribeRequest:
        if self._begun and not self._gap and not self._asking.HasField("resume_after"):
            self._gap = "DISCONNECTED"  # there is no history, or not yet
        return self._asking

    def _items(self, answer: Any) -> Iterable[ChannelMessage | ChannelGap]:
        kind = answer.WhichOneof("event")
        if kind is None:  # of a newer server
            return
        event = getattr(answer, kind)
        if event.sequence:
            self.sequence = self._asking.resume_after = event.sequence
        gap, self._gap = self._gap, ""
        if kind == "gap":
            yield ChannelGap(_reason(event.reason), event.sequence)
        elif gap:
            yield ChannelGap(gap, event.sequence)
        if kind == "message":
            yield ChannelMessage(event.channel, event.payload, event.content_type, event.sequence)

    def _forgets(self, error: PantlerError) -> bool:
        if not self._asking.HasField("resume_after"):
            return False
        if error.reason == NO_HISTORY:
            self._gap = "HISTORY"
        elif isinstance(error, InvalidArgument):  # the server has lost its memory, or is another
            self._gap = "FAILOVER"
        else:
            return False
        self._asking.ClearField("resume_after")
        return True


def _reason(reason: pubsub_pb2.GapReason) -> str:
    known = reason in pubsub_pb2.GapReason.values()  # not to all clients of a newer server
    return pubsub_pb2.GapReason.Name(reason).removeprefix("GAP_REASON_") if known else str(reason)
