"""The calls of PubSubService."""

from collections.abc import Iterable
from datetime import timedelta
from functools import cached_property

from pantler.batch import listed
from pantler.channel_subscription import ChannelSubscription
from pantler.connection import Connection
from pantler.errors import answer_to
from pantler.v1 import pubsub_pb2, pubsub_pb2_grpc


class ChannelCalls(Connection):
    """How a client sends messages to whoever listens, and listens itself."""

    async def publish(
        self,
        namespace: str,
        channel: str,
        payload: bytes,
        *,
        content_type: str = "",
        request_id: str = "",
    ) -> int:
        """Sends a message to a channel; its sequence, 0 in a namespace without a history.

        `request_id`: repeated within 10 minutes, the call sends nothing and gives the first answer
        again. After an OutcomeUnknown, repeat the call with the same id.
        """
        request = pubsub_pb2.PublishRequest(
            namespace=namespace,
            channel=channel,
            payload=payload,
            content_type=content_type,
            request_id=request_id,
        )
        answer = await answer_to(self._pubsub_service.Publish, request, self._timeout_s)
        return answer.sequence

    def subscribe(
        self,
        namespace: str,
        *channels: str,
        patterns: Iterable[str] = (),
        resume_after: int | None = None,
        heartbeat_interval: timedelta = timedelta(seconds=5),
    ) -> ChannelSubscription:
        """What is published to up to 100 channels, and to those whose names match one of up to 100
        patterns, which are as those of `invalidate_pattern`.

            async for item in client.subscribe("shop", "orders", patterns=["stock:*"]):
                match item:
                    case pantler.ChannelMessage(channel, payload):
                        print(channel, payload)
                    case pantler.ChannelGap(reason):
                        print("messages may be missing:", reason)

        It goes on by itself when the server comes back. With a history, to go on in another process
        keep its `sequence` whenever a message has been dealt with, and give it as `resume_after`; 0
        is all that is kept. To stop it leave the loop. A heartbeat interval is 1 s to 60 s.
        """
        request = pubsub_pb2.SubscribeRequest(
            namespace=namespace,
            channels=channels,
            patterns=listed(patterns),
            resume_after=resume_after,
            heartbeat_interval=heartbeat_interval,
        )
        return ChannelSubscription(self._pubsub_service.Subscribe, request, heartbeat_interval)

    @cached_property
    def _pubsub_service(self) -> "pubsub_pb2_grpc.PubSubServiceAsyncStub":
        return pubsub_pb2_grpc.PubSubServiceStub(self._channel)
