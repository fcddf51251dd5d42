"""PubSubService: messages to all who listen."""

from collections.abc import AsyncIterator

from pantler.v1 import pubsub_pb2

from pantler_server.core.call import Call
from pantler_server.core.namespace import Namespaces
from pantler_server.engines.pubsub.engine import PubSubEngine
from pantler_server.servicers import convert_pubsub as convert
from pantler_server.servicers import validate


class PubSubServicer:
    """The RPCs of PubSubService, documented in proto/pantler/v1/pubsub.proto."""

    def __init__(self, engine: PubSubEngine, namespaces: Namespaces) -> None:
        self._engine = engine
        self._namespaces = namespaces

    async def Publish(
        self, request: pubsub_pb2.PublishRequest, call: Call
    ) -> pubsub_pb2.PublishResponse:
        name = validate.namespace(request.namespace)
        namespace = await self._namespaces.resolve(name, call.deadline)
        message = convert.message(request, namespace)
        sequence = await self._engine.publish(namespace, message, request.request_id, call.deadline)
        return pubsub_pb2.PublishResponse(sequence=sequence)

    async def Subscribe(
        self, request: pubsub_pb2.SubscribeRequest, call: Call
    ) -> AsyncIterator[pubsub_pb2.SubscribeResponse]:
        wanted = convert.wanted(request)
        namespace = await self._namespaces.resolve(wanted.namespace, call.deadline)
        async for event in self._engine.subscribe(
            namespace,
            wanted.channels,
            wanted.globs,
            wanted.resume_after,
            wanted.heartbeat_s,
            call.deadline,
        ):
            yield convert.subscribe_response(event)
