"""The asynchronous client."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from time import monotonic
from typing import Any, TypeVar, cast

from pantler.admin import AdminCalls
from pantler.arguments import checked_ttl, fetched, place
from pantler.batch import in_parts, listed, several
from pantler.cache_messages import description, entry_of, found, set_result
from pantler.cdn import CdnCalls
from pantler.channels import ChannelCalls
from pantler.codecs import Codec, Encoded
from pantler.counter import CounterCalls
from pantler.errors import (
    AWAY,
    DeadlineExceeded,
    PantlerError,
    PartialFailure,
    Unavailable,
    answer_to,
    from_status,
)
from pantler.geo import GeoCalls
from pantler.invalidation import InvalidationCalls
from pantler.leaderboard import LeaderboardCalls
from pantler.leased_fetch import WAIT_S, LeasedFetch, errors_of_the_fetch
from pantler.model import Description, Entry, SetResult
from pantler.namespace import Namespace
from pantler.near_cache import NearCacheStats
from pantler.operation_stream import StreamLost
from pantler.rate_limit import RateLimitCalls
from pantler.records import RecordCalls
from pantler.tags import TagCalls
from pantler.v1 import cache_pb2, cache_pb2_grpc

T = TypeVar("T")


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

    After 5 calls in a row that the server did not answer, it is left alone for a second, and longer
    from try to try, up to 30 s: calls then fail at once, with Unavailable and as `retry_after` what
    is left of that. After it one call tries again. What the server answers with does not count,
    Unavailable neither where its Redis is away.

    With `on_unavailable="fetch"` a program lives without its cache: where the server or its Redis
    is away or too slow (Unavailable, DeadlineExceeded), `get_or_set`, `get_many_or_set` and
    `cached` give what the fetch gives, and don't store it; each caller fetches for itself. `get`
    and `get_many` miss. Everything else raises as it does without. `timeout` is then what a caller
    may wait for a cache that hangs, twice that in `get_or_set`, before the server is left alone.

    `hooks` are told of all calls: `pantler.telemetry.Hook`.

    `near_cache`: which entries it keeps in its own memory, and for how long (`pantler.NearCache`).
    """

    def namespace(
        self,
        name: str,
        *,
        codec: Codec[T],
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        accept_stale: bool = True,
    ) -> Namespace[T]:
        """A view of a namespace whose values are all of one kind; nothing is asked of the server.

            users = client.namespace("users", codec=codecs.of(User), ttl=timedelta(minutes=5))
            user = await users.get_or_set("42", fetch_user)

        `ttl` is what values are stored with where a call gives none, and `tags` what they have
        beside those of the call. `accept_stale` is for `get_or_set`, `get_many_or_set` and
        `cached`.
        """
        return Namespace(self, name, codec, ttl=ttl, tags=tags, accept_stale=accept_stale)

    async def get(self, namespace: str, key: str, *, accept_stale: bool = False) -> Entry | None:
        """The entry; None if there is none. `accept_stale`: one that has expired, or was
        invalidated `soft`, will do for as long as the namespace's grace says."""
        near = self._near
        if near is not None and (kept := near.find(namespace, key)) is not None:
            return kept
        streams = self._direct
        left_s = 0.0
        if streams is not None and not streams.is_refused:
            began_s = monotonic()
            try:
                reading = streams.get(namespace, key, accept_stale)
                if near is not None:
                    near.keep_when_done(namespace, key, reading)
                return await reading
            except (StreamLost, Unavailable):  # it is tried again
                left_s = max(0.001, self._timeout_s - (monotonic() - began_s))
            except DeadlineExceeded as exc:
                self._breaker.end(0, exc)
                if self._is_optional:
                    return None
                raise
        request = cache_pb2.GetRequest(namespace=namespace, key=key, accept_stale=accept_stale)
        try:
            answer = await self._operate("get", request, left_s)
        except AWAY:
            if self._is_optional:
                return None
            raise
        return entry_of(answer.hit) if answer.HasField("hit") else None

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
        caller gets its error, and so do those of this client that waited for the key when it began;
        of all others the next one fetches. With `accept_stale`, in the namespace's
        grace the stale value is given at once while this client fetches in the background (as it
        does for a fresh one that is soon due), or after the fetch has failed.
        """

        if self._near is not None and (kept := self._near.find(namespace, key)) is not None:
            return kept.value

        async def fetch_it(_: Sequence[str]) -> dict[str, bytes]:
            return {key: await fetched(fetch())}

        values: dict[str, bytes] = {}
        while key not in values:  # it may share a fetch of `get_many_or_set`, which gives none
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

        async def fetch_encoded(asked: Sequence[str]) -> dict[str, Encoded]:
            values = await fetched(fetch(asked))
            return {key: Encoded(values[key], content_type) for key in asked if key in values}

        try:
            stored = await self._get_or_set_encoded(
                namespace,
                keys,
                fetch_encoded,
                ttl=ttl,
                tags=tags,
                depends_on=depends_on,
                accept_stale=accept_stale,
            )
        except PartialFailure as exc:
            results = cast(dict[str, Encoded], exc.results)
            raise PartialFailure(_data(results), exc.errors) from None
        return _data(stored)

    async def _get_or_set_encoded(
        self,
        namespace: str,
        keys: Iterable[str],
        fetch: Callable[[Sequence[str]], Awaitable[Mapping[str, Encoded]]],
        *,
        ttl: timedelta | None,
        tags: Iterable[str],
        depends_on: Iterable[str],
        accept_stale: bool,
    ) -> dict[str, Encoded]:
        """As `get_many_or_set`, each value with its content type."""
        stored_as = {
            "ttl": checked_ttl(ttl),
            "tags": listed(tags),
            "depends_on": listed(depends_on),
        }
        places = several(keys)
        is_optional, is_one = self._is_optional, len(places) == 1
        fetching = LeasedFetch(
            self._operate,
            self._timeout_s,
            self._background,
            namespace,
            fetch,
            stored_as,
            accept_stale=accept_stale,
            wait_s=min(WAIT_S, self._timeout_s) if is_optional else WAIT_S,
            is_optional=is_optional and not is_one,
            held=self._held,
            fruitless=self._fruitless,
            near=self._near,
        )
        with errors_of_the_fetch():
            if not is_one:
                return await fetching.values(places)
            what = (namespace, *places, accept_stale)
            try:
                return await self._shared_reads.read(what, lambda: fetching.values(places))
            except AWAY:
                if not is_optional:
                    raise
                return await fetching.fetched([*places])  # each caller for itself

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
        place(namespace, key)
        condition: dict[str, Any] = {
            name: wanted
            for name, wanted in (
                ("if_absent", if_absent or None),
                ("if_present", if_present or None),
                ("if_version", if_version),
            )
            if wanted is not None
        }
        if not isinstance(value, bytes):  # None would be taken for an empty one
            raise TypeError(f"value must be bytes, not {value!r}")
        if len(condition) > 1:
            raise TypeError(f"give one of {' and '.join(condition)}, not both")
        request = cache_pb2.SetRequest(
            namespace=namespace,
            key=key,
            value=value,
            ttl=checked_ttl(ttl),
            sliding=sliding,
            tags=listed(tags),
            depends_on=listed(depends_on),
            content_type=content_type,
            request_id=request_id,
            **condition,
        )
        repeatable = bool(request_id) or not condition
        return set_result(await self._operate("set", request, repeatable=repeatable))

    async def touch(
        self, namespace: str, key: str, ttl: timedelta | None = None
    ) -> datetime | None:
        """Gives an entry a new ttl from now on, the namespace's default if none; when it expires
        then, None if there is no entry."""
        place(namespace, key)
        request = cache_pb2.TouchRequest(namespace=namespace, key=key, ttl=checked_ttl(ttl))
        answer = await self._operate("touch", request)
        return answer.expire_time.ToDatetime(UTC) if answer.found else None

    async def delete(self, namespace: str, key: str, *, if_version: int | None = None) -> bool:
        """Removes an entry, with `if_version` only that version of it; whether it was there."""
        place(namespace, key)
        request = cache_pb2.DeleteRequest(namespace=namespace, key=key, if_version=if_version)
        answer: cache_pb2.DeleteResponse = await self._operate("delete", request)
        return answer.deleted

    async def describe(self, namespace: str, key: str) -> Description:
        """Everything about a key but its value, and why there is none. For looking into something:
        it is no faster than `get`."""
        place(namespace, key)
        request = cache_pb2.DescribeRequest(namespace=namespace, key=key)
        answer = await answer_to(self._cache.Describe, request, self._timeout_s)
        return description(answer)

    async def get_many(self, namespace: str, keys: Iterable[str]) -> dict[str, Entry]:
        """The entries that are there, by key. Raises PartialFailure if some could not be read."""

        async def read(part: Sequence[str]) -> list[Entry | PantlerError | None]:
            request = cache_pb2.BatchGetRequest(namespace=namespace, keys=part)
            try:
                answer = await self._operate("batch_get", request)
            except AWAY:
                if self._is_optional:
                    return [None] * len(part)
                raise
            results = [found(outcome) for outcome in answer.outcomes]
            return [None if self._is_miss(result) else result for result in results]

        near = self._near

        async def read_beside(part: Sequence[str]) -> list[Entry | PantlerError | None]:
            assert near is not None
            results: dict[str, Entry | PantlerError | None] = {**near.find_many(namespace, part)}
            wanted = [key for key in part if key not in results]
            if wanted:
                results.update(zip(wanted, await read(wanted), strict=True))
            return [results[key] for key in part]

        return await in_parts(several(keys), read if near is None else read_beside)

    def near_cache_stats(self) -> NearCacheStats:
        """What the near cache did, and how large it is; all 0 if there is none."""
        return NearCacheStats() if self._near is None else self._near.stats()

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
        return await self._set_encoded(
            namespace,
            {key: Encoded(value, content_type) for key, value in values.items()},
            ttl=ttl,
            tags=tags,
            depends_on=depends_on,
        )

    async def _set_encoded(
        self,
        namespace: str,
        values: Mapping[str, Encoded],
        *,
        ttl: timedelta | None,
        tags: Iterable[str],
        depends_on: Iterable[str],
    ) -> dict[str, SetResult]:
        """As `set_many`, each value with its content type."""
        stored_as: dict[str, Any] = {
            "ttl": checked_ttl(ttl),
            "tags": listed(tags),
            "depends_on": listed(depends_on),
        }

        for key, (data, _) in values.items():
            if not isinstance(data, bytes):
                raise TypeError(f"the value for {key!r} must be bytes, not {data!r}")

        async def store(part: Sequence[str]) -> list[SetResult | PantlerError | None]:
            entries = [
                cache_pb2.BatchSetEntry(
                    key=key,
                    value=values[key].data,
                    content_type=values[key].content_type,
                    **stored_as,
                )
                for key in part
            ]
            request = cache_pb2.BatchSetRequest(namespace=namespace, entries=entries)
            answer = await self._operate("batch_set", request)
            return [
                from_status(outcome.error) if outcome.HasField("error") else set_result(outcome)
                for outcome in answer.outcomes
            ]

        return await in_parts(several(values), store, lambda key: len(values[key].data))

    async def delete_many(self, namespace: str, keys: Iterable[str]) -> dict[str, bool]:
        """Removes entries; whether each was there. Raises PartialFailure if some could not be
        removed."""

        async def remove(part: Sequence[str]) -> list[bool | PantlerError | None]:
            request = cache_pb2.BatchDeleteRequest(namespace=namespace, keys=part)
            answer = await self._operate("batch_delete", request)
            return [
                from_status(outcome.error) if outcome.HasField("error") else outcome.deleted
                for outcome in answer.outcomes
            ]

        return await in_parts(several(keys), remove)

    @cached_property
    def _cache(self) -> "cache_pb2_grpc.CacheServiceAsyncStub":
        return cache_pb2_grpc.CacheServiceStub(self._channel)


def _data(encoded: Mapping[str, Encoded]) -> dict[str, bytes]:
    return {key: one.data for key, one in encoded.items()}
