"""InvalidationService: what is outdated."""

from collections.abc import AsyncIterator

from pantler.v1 import invalidation_pb2

from pantler_server.core.call import Call
from pantler_server.core.namespace import Namespaces
from pantler_server.engines.cache.invalidation.engine import InvalidationEngine
from pantler_server.engines.cache.watch.engine import WatchEngine
from pantler_server.engines.cdn.invalidation import PurgedInvalidation
from pantler_server.engines.events.engine import EventEngine
from pantler_server.servicers import convert, event, validate, watch

MAX_REACHED_TOLD = 1000  # so that an answer stays below 4 MiB, which many clients take at most


class InvalidationServicer:
    """The RPCs of InvalidationService, documented in proto/pantler/v1/invalidation.proto."""

    def __init__(
        self,
        engine: InvalidationEngine,
        invalidation: PurgedInvalidation,
        watching: WatchEngine,
        events: EventEngine,
        namespaces: Namespaces,
    ) -> None:
        self._engine = engine
        self._invalidation = invalidation
        self._watching = watching
        self._events = events
        self._namespaces = namespaces

    async def InvalidateKeys(
        self, request: invalidation_pb2.InvalidateKeysRequest, call: Call
    ) -> invalidation_pb2.InvalidateKeysResponse:
        name, keys = validate.namespace(request.namespace), convert.keys_of(request)
        soft = convert.is_soft(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        invalidated, purge_id = await self._invalidation.invalidate_keys(
            namespace, keys, call.deadline, soft=soft, cascade=request.cascade
        )
        told = invalidated[: len(set(keys)) + MAX_REACHED_TOLD]
        return invalidation_pb2.InvalidateKeysResponse(
            invalidated=told, invalidated_count=len(invalidated), purge_id=purge_id
        )

    async def InvalidateTags(
        self, request: invalidation_pb2.InvalidateTagsRequest, call: Call
    ) -> invalidation_pb2.InvalidateTagsResponse:
        name = validate.namespace(request.namespace)
        tags = validate.some_labels(request.tags, validate.MAX_BATCH_ITEMS, "tags")
        soft = convert.is_soft(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        purge_id = await self._invalidation.invalidate_tags(
            namespace, tags, call.deadline, soft=soft
        )
        return invalidation_pb2.InvalidateTagsResponse(purge_id=purge_id)

    async def InvalidatePattern(
        self, request: invalidation_pb2.InvalidatePatternRequest, call: Call
    ) -> AsyncIterator[invalidation_pb2.InvalidatePatternResponse]:
        name = validate.namespace(request.namespace)
        violations: validate.Violations = []
        validate.text(request.pattern, validate.MAX_KEY_BYTES, "pattern", violations)
        validate.refuse(violations)
        namespace = await self._namespaces.resolve(name, call.deadline)
        async for progress, purge_id in self._invalidation.invalidate_pattern(
            namespace, request.pattern, dry_run=request.dry_run
        ):
            yield invalidation_pb2.InvalidatePatternResponse(
                scanned=progress.scanned,
                total=progress.total,
                invalidated=progress.invalidated,
                examples=progress.examples,
                done=progress.done,
                purge_id=purge_id,
            )

    async def InvalidateNamespace(
        self, request: invalidation_pb2.InvalidateNamespaceRequest, call: Call
    ) -> invalidation_pb2.InvalidateNamespaceResponse:
        name = validate.namespace(request.namespace)
        soft = convert.is_soft(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        version, purge_id = await self._invalidation.invalidate_namespace(
            namespace, call.deadline, soft=soft
        )
        return invalidation_pb2.InvalidateNamespaceResponse(version=version, purge_id=purge_id)

    async def InvalidateOlderThan(
        self, request: invalidation_pb2.InvalidateOlderThanRequest, call: Call
    ) -> invalidation_pb2.InvalidateOlderThanResponse:
        name = validate.namespace(request.namespace)
        before_us = convert.created_before_us(request)
        soft = convert.is_soft(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        purge_id = await self._invalidation.invalidate_older_than(
            namespace, before_us, call.deadline, soft=soft
        )
        return invalidation_pb2.InvalidateOlderThanResponse(purge_id=purge_id)

    async def DeclareDependencies(
        self, request: invalidation_pb2.DeclareDependenciesRequest, call: Call
    ) -> invalidation_pb2.DeclareDependenciesResponse:
        name, key = validate.namespace(request.namespace), convert.key(request)
        violations: validate.Violations = []
        depends_on = convert.dependencies(request, "", violations)
        validate.refuse(violations)
        namespace = await self._namespaces.resolve(name, call.deadline)
        await self._engine.declare_dependencies(namespace, key, depends_on, call.deadline)
        return invalidation_pb2.DeclareDependenciesResponse()

    async def ListDependents(
        self, request: invalidation_pb2.ListDependentsRequest, call: Call
    ) -> invalidation_pb2.ListDependentsResponse:
        name, key = validate.namespace(request.namespace), convert.key(request)
        size = validate.page_size(request.page_size)
        namespace = await self._namespaces.resolve(name, call.deadline)
        dependents, token = await self._engine.list_dependents(
            namespace, key, size, request.page_token, call.deadline
        )
        response = invalidation_pb2.ListDependentsResponse(next_page_token=token)
        for one in dependents:
            response.dependents.add(key=one.key, declared=one.declared)
        return response

    async def PublishEvent(
        self, request: invalidation_pb2.PublishEventRequest, call: Call
    ) -> invalidation_pb2.PublishEventResponse:
        published = await self._events.publish(event.event_of(request), call.deadline)
        return event.publish_response(published)

    async def WatchInvalidations(
        self, request: invalidation_pb2.WatchInvalidationsRequest, call: Call
    ) -> AsyncIterator[invalidation_pb2.WatchInvalidationsResponse]:
        wanted = watch.watch_of(request)
        spaces = [await self._namespaces.resolve(name, call.deadline) for name in wanted.namespaces]
        async for told in self._watching.watch(
            spaces,
            self._namespaces.deployment,
            wanted.resume,
            wanted.heartbeat_s,
            call.deadline,
        ):
            yield watch.watch_response(told)
