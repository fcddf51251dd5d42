"""The calls of TagService."""

from collections.abc import AsyncIterator, Iterable
from functools import cached_property

from pantler.batch import as_given, several
from pantler.connection import Connection
from pantler.errors import answer_to
from pantler.model import AddTagsResult, TaggedKey
from pantler.pages import PAGE_SIZE, pages
from pantler.v1 import tag_pb2, tag_pb2_grpc


class TagCalls(Connection):
    """What a client does with the tags of entries that are stored."""

    async def add_tags(self, namespace: str, key: str, tags: Iterable[str]) -> AddTagsResult:
        """Gives an entry more tags, as if they had been there since its fill began: if one of them
        was invalidated since, the entry is hidden now."""
        places = several(tags)
        request = tag_pb2.AddTagsRequest(namespace=namespace, key=key, tags=places)
        with as_given(list(places.values())):
            answer = await answer_to(self._tag_service.AddTags, request, self._timeout_s)
        return AddTagsResult(found=answer.found, visible=answer.visible)

    async def remove_tags(self, namespace: str, key: str, tags: Iterable[str]) -> bool:
        """Takes tags from an entry; whether there was one. It brings nothing back that is
        hidden."""
        places = several(tags)
        request = tag_pb2.RemoveTagsRequest(namespace=namespace, key=key, tags=places)
        with as_given(list(places.values())):
            answer = await answer_to(self._tag_service.RemoveTags, request, self._timeout_s)
        return answer.found

    async def tags(self, namespace: str, key: str) -> tuple[str, ...] | None:
        """The tags of an entry, in the order in which they were given; None if there is no
        entry."""
        request = tag_pb2.ListTagsRequest(namespace=namespace, key=key)
        answer = await answer_to(self._tag_service.ListTags, request, self._timeout_s)
        return tuple(answer.tags) if answer.found else None

    async def tagged_keys(self, namespace: str, tag: str) -> AsyncIterator[TaggedKey]:
        """The keys whose entries have a tag, in no order that means anything.

        For looking into things, in namespaces with `tag_index: true` (elsewhere it raises
        FailedPrecondition). An entry that changes meanwhile may come twice or not at all.
        """

        async def ask(page_token: str) -> tag_pb2.ListTaggedKeysResponse:
            request = tag_pb2.ListTaggedKeysRequest(
                namespace=namespace, tag=tag, page_size=PAGE_SIZE, page_token=page_token
            )
            return await answer_to(self._tag_service.ListTaggedKeys, request, self._timeout_s)

        async for page in pages(ask):
            for one in page.keys:
                yield TaggedKey(one.key, stale=one.stale)

    @cached_property
    def _tag_service(self) -> "tag_pb2_grpc.TagServiceAsyncStub":
        return self._near_stub(tag_pb2_grpc.TagServiceStub(self._channel))
