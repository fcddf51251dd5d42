"""TagService: the tags of entries."""

from pantler.v1 import tag_pb2

from pantler_server.core.call import Call
from pantler_server.core.namespace import Namespaces
from pantler_server.engines.cache.invalidation.tags import TagEngine
from pantler_server.servicers import convert, validate


class TagServicer:
    """The RPCs of TagService, documented in proto/pantler/v1/tag.proto."""

    def __init__(self, engine: TagEngine, namespaces: Namespaces) -> None:
        self._engine = engine
        self._namespaces = namespaces

    async def AddTags(self, request: tag_pb2.AddTagsRequest, call: Call) -> tag_pb2.AddTagsResponse:
        name, key = validate.namespace(request.namespace), convert.key(request)
        tags = validate.some_labels(request.tags, validate.MAX_LABELS, "tags")
        namespace = await self._namespaces.resolve(name, call.deadline)
        added = await self._engine.add(namespace, key, tags, call.deadline)
        return tag_pb2.AddTagsResponse(found=added.found, visible=added.visible)

    async def RemoveTags(
        self, request: tag_pb2.RemoveTagsRequest, call: Call
    ) -> tag_pb2.RemoveTagsResponse:
        name, key = validate.namespace(request.namespace), convert.key(request)
        tags = validate.some_labels(request.tags, validate.MAX_LABELS, "tags")
        namespace = await self._namespaces.resolve(name, call.deadline)
        found = await self._engine.remove(namespace, key, tags, call.deadline)
        return tag_pb2.RemoveTagsResponse(found=found)

    async def ListTags(
        self, request: tag_pb2.ListTagsRequest, call: Call
    ) -> tag_pb2.ListTagsResponse:
        name, key = validate.namespace(request.namespace), convert.key(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        tags = await self._engine.of(namespace, key, call.deadline)
        return tag_pb2.ListTagsResponse(found=tags is not None, tags=tags or ())

    async def ListTaggedKeys(
        self, request: tag_pb2.ListTaggedKeysRequest, call: Call
    ) -> tag_pb2.ListTaggedKeysResponse:
        name = validate.namespace(request.namespace)
        [tag] = validate.some_labels([request.tag], 1, "tag", indexed=False)
        size = validate.page_size(request.page_size)
        namespace = await self._namespaces.resolve(name, call.deadline)
        tagged, token = await self._engine.list_keys(
            namespace, tag, size, request.page_token, call.deadline
        )
        response = tag_pb2.ListTaggedKeysResponse(next_page_token=token)
        for one in tagged:
            response.keys.add(key=one.key, stale=one.stale)
        return response
