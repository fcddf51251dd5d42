"""The asynchronous client."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from pantler.admin import AdminCalls
from pantler.batch import in_parts, listed, several
from pantler.cdn import CdnCalls
from pantler.channels import ChannelCalls
from pantler.counter import CounterCalls
from pantler.errors import PantlerError, answer_to, from_status
from pantler.geo import GeoCalls
from pantler.invalidation import InvalidationCalls
from pantler.leaderboard import LeaderboardCalls
from pantler.leased_fetch import LeasedFetch
from pantler.model import Description, Entry, SetResult
from pantler.rate_limit import RateLimitCalls
from pantler.records import RecordCalls
from pantler.tags import TagCalls
from pantler.v1 import cache_pb2, cache_pb2_grpc


class AsyncClient(
    TagCalls,
    InvalidationCalls,
    RateLimitCalls,
    LeaderboardCalls,
    GeoCalls,
    CounterCalls,
    ChannelCalls,
    RecordCalls,
    CdnCalls,
    AdminCalls,
):
    """A connection to a Pantler, for the event loop that first uses it.

    `address` is host:port. `timeout` bounds each call to the server; a batch of more than 1,000
    keys takes several, one after the other. All methods raise the errors of `pantler.errors`.
    """

    async def get(self, namespace: str, key: str, *, accept_stale: bool = False) -> Entry | None:
        """The entry; None if there is none. `accept_stale`: one that has expired, or was
        invalidated `soft`, will do for as long as the namespace's grace says."""
        request = cache_pb2.GetRequest(namespace=namespace, key=key, accept_stale=accept_stale)
        answer = await answer_to(self._cache.Get, request, self._timeout_s)
        return _entry(answer.hit) if answer.HasField("hit") else None

    async def get_or_set(
        self,
        namespace: str,
        key: str,
        fetch: Callable[[], Awaitable[bytes]],
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        depends_on: Iterable[str] = (),
        content_type: str = "",
        accept_stale: bool = True,
    ) -> bytes:
        """The value; if there is none, what `fetch` gives, which is stored.

        Of all callers on all machines that miss the key at once, one fetches; the others wait for
        its value, however long it takes: bound it with `asyncio.timeout`. If the fetch fails, its
        caller gets its error, and the next one fetches. With `accept_stale`, in the namespace's
        grace the stale value is given at once while this client fetches in the background (as it
        does for a fresh one that is soon due), or after the fetch has failed.
        """

        async def fetch_it(_: Sequence[str]) -> dict[str, bytes]:
            return {key: await fetch()}

        values = await self.get_many_or_set(
            namespace,
            [key],
            fetch_it,
            ttl=ttl,
            tags=tags,
            depends_on=depends_on,
            content_type=content_type,
            accept_stale=accept_stale,
        )
        return values[key]

    async def get_many_or_set(
        self,
        namespace: str,
        keys: Iterable[str],
        fetch: Callable[[Sequence[str]], Awaitable[Mapping[str, bytes]]],
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        depends_on: Iterable[str] = (),
        content_type: str = "",
        accept_stale: bool = True,
    ) -> dict[str, bytes]:
        """As `get_or_set` for many keys, with one call of `fetch` for all that this caller is to
        fetch, up to 1,000. Keys that `fetch` leaves out have no value: they are not stored, and not
        returned. Raises PartialFailure if some keys could not be read, or their values were
        refused."""
        stored_as = {
            "ttl": ttl,
            "tags": listed(tags),
            "depends_on": listed(depends_on),
            "content_type": content_type,
        }
        fetching = LeasedFetch(
            self._cache,
            self._timeout_s,
            self._background,
            namespace,
            fetch,
            stored_as,
            accept_stale=accept_stale,
        )
        return await fetching.values(several(keys))

    async def set(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        ttl: timedelta | None = None,
        sliding: bool | None = None,
        tags: Iterable[str] = (),
        depends_on: Iterable[str] = (),
        content_type: str = "",
        if_absent: bool = False,
        if_present: bool = False,
        if_version: int | None = None,
        request_id: str = "",
    ) -> SetResult:
        """Stores an entry; without a ttl it lives as long as the namespace's default says.

        `sliding`: whether reads let it live for its ttl again. `tags` and `depends_on`, other keys
        that the value was made from: `invalidate_tags` of one of those, or `invalidate_keys` of one
        of these with `cascade`, hides the entry. At most one condition may be given;
        it is judged on what `get` would give. `request_id`: repeated within 10 minutes, the call
        stores nothing and gives the first result again.
        """
        condition: dict[str, Any] = {
            name: wanted
            for name, wanted in (
                ("if_absent", if_absent or None),
                ("if_present", if_present or None),
                ("if_version", if_version),
            )
            if wanted is not None
        }
        if len(condition) > 1:
            raise TypeError(f"give one of {' and '.join(condition)}, not both")
        request = cache_pb2.SetRequest(
            namespace=namespace,
            key=key,
            value=value,
            ttl=ttl,
            sliding=sliding,
            tags=listed(tags),
            depends_on=listed(depends_on),
            content_type=content_type,
            request_id=request_id,
            **condition,
        )
        answer = await answer_to(self._cache.Set, request, self._timeout_s)
        return _set_result(answer)

    async def touch(
        self, namespace: str, key: str, ttl: timedelta | None = None
    ) -> datetime | None:
        """Gives an entry a new ttl from now on, the namespace's default if none; when it expires
        then, None if there is no entry."""
        request = cache_pb2.TouchRequest(namespace=namespace, key=key, ttl=ttl)
        answer = await answer_to(self._cache.Touch, request, self._timeout_s)
        return answer.expire_time.ToDatetime(UTC) if answer.found else None

    async def delete(self, namespace: str, key: str, *, if_version: int | None = None) -> bool:
        """Removes an entry, with `if_version` only that version of it; whether it was there."""
        request = cache_pb2.DeleteRequest(namespace=namespace, key=key, if_version=if_version)
        answer = await answer_to(self._cache.Delete, request, self._timeout_s)
        return answer.deleted

    async def describe(self, namespace: str, key: str) -> Description:
        """Everything about a key but its value, and why there is none. For looking into something:
        it is no faster than `get`."""
        request = cache_pb2.DescribeRequest(namespace=namespace, key=key)
        answer = await answer_to(self._cache.Describe, request, self._timeout_s)
        return _description(answer)

    async def get_many(self, namespace: str, keys: Iterable[str]) -> dict[str, Entry]:
        """The entries that are there, by key. Raises PartialFailure if some could not be read."""

        async def read(part: Sequence[str]) -> list[Entry | PantlerError | None]:
            request = cache_pb2.BatchGetRequest(namespace=namespace, keys=part)
            answer = await answer_to(self._cache.BatchGet, request, self._timeout_s)
            return [_found(outcome) for outcome in answer.outcomes]

        return await in_parts(several(keys), read)

    async def set_many(
        self,
        namespace: str,
        values: Mapping[str, bytes],
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        depends_on: Iterable[str] = (),
        content_type: str = "",
    ) -> dict[str, SetResult]:
        """Stores entries, each on its own, all with these tags and dependencies. Raises
        PartialFailure if some could not be stored."""
        stored_as: dict[str, Any] = {
            "ttl": ttl,
            "tags": listed(tags),
            "depends_on": listed(depends_on),
            "content_type": content_type,
        }

        async def store(part: Sequence[str]) -> list[SetResult | PantlerError | None]:
            entries = [
                cache_pb2.BatchSetEntry(key=key, value=values[key], **stored_as) for key in part
            ]
            request = cache_pb2.BatchSetRequest(namespace=namespace, entries=entries)
            answer = await answer_to(self._cache.BatchSet, request, self._timeout_s)
            return [
                from_status(outcome.error) if outcome.HasField("error") else _set_result(outcome)
                for outcome in answer.outcomes
            ]

        return await in_parts(several(values), store, lambda key: len(values[key]))

    async def delete_many(self, namespace: str, keys: Iterable[str]) -> dict[str, bool]:
        """Removes entries; whether each was there. Raises PartialFailure if some could not be
        removed."""

        async def remove(part: Sequence[str]) -> list[bool | PantlerError | None]:
            request = cache_pb2.BatchDeleteRequest(namespace=namespace, keys=part)
            answer = await answer_to(self._cache.BatchDelete, request, self._timeout_s)
            return [
                from_status(outcome.error) if outcome.HasField("error") else outcome.deleted
                for outcome in answer.outcomes
            ]

        return await in_parts(several(keys), remove)

    @cached_property
    def _cache(self) -> "cache_pb2_grpc.CacheServiceAsyncStub":
        return cache_pb2_grpc.CacheServiceStub(self._channel)


def _entry(hit: cache_pb2.Hit) -> Entry:
    message = hit.entry
    return Entry(
        value=message.value,
        version=message.version,
        create_time=message.create_time.ToDatetime(UTC),
        expire_time=message.expire_time.ToDatetime(UTC),
        content_type=message.content_type,
        tags=tuple(message.tags),
        stale=hit.stale,
    )


def _found(outcome: cache_pb2.BatchGetOutcome) -> Entry | PantlerError | None:
    if outcome.HasField("error"):
        return from_status(outcome.error)
    return _entry(outcome.hit) if outcome.HasField("hit") else None


def _set_result(message: cache_pb2.SetResponse | cache_pb2.BatchSetOutcome) -> SetResult:
    stored = message.outcome == cache_pb2.SET_OUTCOME_STORED
    return SetResult(
        stored=stored,
        version=message.version,
        expire_time=message.expire_time.ToDatetime(UTC) if stored else None,
        visible=message.visible,
    )


def _description(message: cache_pb2.DescribeResponse) -> Description:
    reason = message.miss_reason
    known = reason in cache_pb2.MissReason.values()  # not to all clients of a newer server
    name = cache_pb2.MissReason.Name(reason) if known else str(reason)

    def time(field: str) -> datetime | None:
        value: Timestamp = getattr(message, field)
        return value.ToDatetime(UTC) if message.HasField(field) else None

    return Description(
        found=message.found,
        stale=message.stale,
        miss_reason=None if message.found else name.removeprefix("MISS_REASON_"),
        miss_time=time("miss_time"),
        miss_cause=message.miss_cause,
        version=message.version,
        create_time=time("create_time"),
        expire_time=time("expire_time"),
        drop_time=time("drop_time"),
        ttl=message.ttl.ToTimedelta() if message.HasField("ttl") else None,
        sliding=message.sliding,
        value_bytes=message.value_bytes,
        content_type=message.content_type,
        tags=tuple(message.tags),
        depends_on=tuple(message.depends_on),
        lease_expire_time=time("lease_expire_time"),
    )
