"""The calls of InvalidationService."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from google.protobuf.struct_pb2 import Struct

from pantler.batch import in_parts, listed, several
from pantler.connection import Connection
from pantler.errors import answer_to, answers_to
from pantler.model import Dependent, InvalidatedKeys, PatternProgress, PublishedEvent, RuleOutcome
from pantler.pages import PAGE_SIZE, pages
from pantler.v1 import invalidation_pb2, invalidation_pb2_grpc
from pantler.watch import InvalidationWatch


class InvalidationCalls(Connection):
    """How a client says that values are outdated.

    When a call returns, no read that begins after it gives a value that was fetched before it, and
    no such value is stored later. With `soft` the entries become stale: in the namespace's grace
    they are given to those who accept that, until one of them has fetched the value anew. Each call
    may be repeated, and after an error it should be: it may have been done in part.
    """

    async def invalidate_keys(
        self, namespace: str, keys: Iterable[str], *, soft: bool = False, cascade: bool = False
    ) -> InvalidatedKeys:
        """Invalidates keys, and with `cascade` what depends on them, what depends on that, and so
        on; which they were.

        Raises CascadeTooWide if that reaches too far. Of more than 1,000 keys some may fail: then
        it raises PartialFailure, whose `results` have the others.
        """
        reached: dict[str, None] = {}
        unnamed = 0
        purge_ids: list[str] = []

        async def invalidate(part: Sequence[str]) -> list[bool]:
            request = invalidation_pb2.InvalidateKeysRequest(
                namespace=namespace, keys=part, mode=_mode(soft), cascade=cascade
            )
            answer = await answer_to(
                self._invalidation_service.InvalidateKeys, request, self._timeout_s
            )
            nonlocal unnamed
            reached.update(dict.fromkeys(answer.invalidated))
            unnamed += answer.invalidated_count - len(answer.invalidated)
            if answer.purge_id:
                purge_ids.append(answer.purge_id)
            return [True] * len(part)

        named = several(keys)
        await in_parts(named, invalidate)
        invalidated = tuple(dict.fromkeys([*named, *reached]))
        return InvalidatedKeys(
            invalidated, count=len(invalidated) + unnamed, purge_ids=tuple(purge_ids)
        )

    async def invalidate_tags(
        self, namespace: str, tags: Iterable[str], *, soft: bool = False
    ) -> None:
        """Invalidates every entry that has one of the tags, however many these are. Of more than
        1,000 tags some may fail, as in `invalidate_keys`."""

        async def invalidate(part: Sequence[str]) -> list[bool]:
            request = invalidation_pb2.InvalidateTagsRequest(
                namespace=namespace, tags=part, mode=_mode(soft)
            )
            await answer_to(self._invalidation_service.InvalidateTags, request, self._timeout_s)
            return [True] * len(part)

        await in_parts(several(tags), invalidate)

    async def invalidate_namespace(self, namespace: str, *, soft: bool = False) -> int:
        """Invalidates all entries of a namespace; its version, which grows with each such call."""
        request = invalidation_pb2.InvalidateNamespaceRequest(namespace=namespace, mode=_mode(soft))
        answer = await answer_to(
            self._invalidation_service.InvalidateNamespace, request, self._timeout_s
        )
        return answer.version

    async def invalidate_older_than(
        self, namespace: str, created_before: datetime, *, soft: bool = False
    ) -> None:
        """Invalidates all entries of a namespace whose `create_time` is before a time, which is
        aware of its zone and not in the future."""
        if created_before.utcoffset() is None:
            raise ValueError("created_before has no time zone: datetime.now(UTC), say, has one")
        request = invalidation_pb2.InvalidateOlderThanRequest(
            namespace=namespace, created_before=created_before, mode=_mode(soft)
        )
        await answer_to(self._invalidation_service.InvalidateOlderThan, request, self._timeout_s)

    async def invalidate_pattern(
        self, namespace: str, pattern: str, *, dry_run: bool = False
    ) -> AsyncGenerator[PatternProgress, None]:
        r"""Removes the entries whose keys match a pattern, while its progress is read; with
        `dry_run` it only counts them.

            async for progress in client.invalidate_pattern("users", "session:*"):
                print(progress.scanned, "of", progress.total)

        In a pattern `*` is any text, `?` any one character, `[a-z]` one of those, `[^a-z]` one
        other, and `\` takes the meaning from the character after it. It walks over all keys of
        Redis, for as long as that takes: the client's timeout does not bound it. To stop it leave
        the loop, or cancel the task that it runs in; what was removed until then stays removed.
        """
        request = invalidation_pb2.InvalidatePatternRequest(
            namespace=namespace, pattern=pattern, dry_run=dry_run
        )
        examples: tuple[str, ...] = ()
        answering = answers_to(self._invalidation_service.InvalidatePattern, request)
        near = None if dry_run else self._near
        try:
            async with aclosing(answering) as answers:
                async for answer in answers:
                    if near is not None:
                        near.clear(namespace)
                    examples += tuple(answer.examples)
                    yield PatternProgress(
                        scanned=answer.scanned,
                        total=answer.total,
                        invalidated=answer.invalidated,
                        examples=examples,
                        done=answer.done,
                        purge_id=answer.purge_id,
                    )
        finally:
            if near is not None:  # it may have broken off
                near.clear(namespace)

    async def declare_dependencies(
        self, namespace: str, key: str, depends_on: Iterable[str]
    ) -> None:
        """Says what a key depends on, whatever is stored there, in place of what was said before;
        nothing at all takes it back. It holds until it is declared anew."""
        request = invalidation_pb2.DeclareDependenciesRequest(
            namespace=namespace, key=key, depends_on=listed(depends_on)
        )
        await answer_to(self._invalidation_service.DeclareDependencies, request, self._timeout_s)

    async def dependents(self, namespace: str, key: str) -> AsyncIterator[Dependent]:
        """The keys that directly depend on a key, in no order that means anything. One that was
        declared to, and whose entry says so too, may come twice."""

        async def ask(page_token: str) -> invalidation_pb2.ListDependentsResponse:
            request = invalidation_pb2.ListDependentsRequest(
                namespace=namespace, key=key, page_size=PAGE_SIZE, page_token=page_token
            )
            return await answer_to(
                self._invalidation_service.ListDependents, request, self._timeout_s
            )

        async for page in pages(ask):
            for one in page.dependents:
                yield Dependent(one.key, declared=one.declared)

    async def publish_event(
        self, event_type: str, fields: Mapping[str, Any] | None = None, *, event_id: str = ""
    ) -> PublishedEvent:
        """Says that something happened; the event rules of the server's configuration say what that
        invalidates, and the answer what it was. Of a type that no rule is for, nothing.

        `fields` are as in JSON: text, numbers, booleans, None, lists and mappings. Give whole
        numbers of 2^53 and beyond as text. `event_id`: repeated within 10 minutes, the call does
        nothing and gives the first answer again. After an error repeat the call, with the same id.

        Raises InvalidArgument, and nothing was done, if a rule needs a field that is not there.
        """
        request = invalidation_pb2.PublishEventRequest(
            type=event_type, fields=_struct(fields or {}), event_id=event_id
        )
        answer = await answer_to(self._invalidation_service.PublishEvent, request, self._timeout_s)
        return PublishedEvent(tuple(map(_outcome, answer.outcomes)), duplicate=answer.duplicate)

    def watch_invalidations(
        self,
        *namespaces: str,
        resume_token: str = "",
        heartbeat_interval: timedelta = timedelta(seconds=5),
    ) -> InvalidationWatch:
        """Tells what happens in up to 100 namespaces, as it happens.

            async for message in client.watch_invalidations("users", "pages"):
                for event in message.events:
                    print(event.namespace, event.kind, event.name)
                for namespace in message.gaps:
                    print("anything may have changed in", namespace)

        It goes on by itself when the server comes back. To go on in another process, keep its
        `resume_token` whenever a message has been dealt with, and give it to the next watch. To
        stop it leave the loop. A heartbeat interval is 1 s to 60 s.
        """
        return InvalidationWatch(
            self._invalidation_service.WatchInvalidations,
            namespaces,
            resume_token,
            heartbeat_interval,
        )

    @cached_property
    def _invalidation_service(self) -> "invalidation_pb2_grpc.InvalidationServiceAsyncStub":
        return self._near_stub(invalidation_pb2_grpc.InvalidationServiceStub(self._channel))


def _mode(soft: bool) -> invalidation_pb2.InvalidationMode:
    if soft:
        return invalidation_pb2.INVALIDATION_MODE_SOFT
    return invalidation_pb2.INVALIDATION_MODE_HARD


def _struct(fields: Mapping[str, Any]) -> Struct:
    message = Struct()
    for name, value in fields.items():
        try:
            message[name] = value
        except ValueError:
            raise TypeError(f"{name!r} holds what JSON has no form for: give it as text") from None
    return message


def _outcome(message: invalidation_pb2.RuleOutcome) -> RuleOutcome:
    return RuleOutcome(
        rule=message.rule,
        namespace=message.namespace,
        soft=message.mode == invalidation_pb2.INVALIDATION_MODE_SOFT,
        keys=tuple(message.keys),
        cascaded=message.cascaded,
        tags=tuple(message.tags),
        all=message.all,
        purge_ids=tuple(message.purge_ids),
    )
