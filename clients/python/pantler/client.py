"""The asynchronous client."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Self

import grpc.aio

from pantler.batch import in_parts
from pantler.errors import PantlerError, answer_to, from_status
from pantler.leased_fetch import LeasedFetch
from pantler.model import Entry, SetResult
from pantler.v1 import cache_pb2, cache_pb2_grpc

# gRPC's own bound, 4 MiB, is below what a server may be configured to hold and to answer.
_CHANNEL_OPTIONS = (("grpc.max_receive_message_length", -1),)


class AsyncClient:
    """A connection to a Pantler, for the event loop that first uses it.

    `address` is host:port. `timeout` bounds each call to the server; a batch of more than 1,000
    keys takes several, one after the other. All methods raise the errors of `pantler.errors`.
    """

    def __init__(
        self, address: str = "127.0.0.1:50051", *, timeout: timedelta = timedelta(seconds=5)
    ) -> None:
        self._address = address
        self._timeout_s = timeout.total_seconds()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._until_closed: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._address!r})"

    async def close(self) -> None:
        """Closes the connection, for good. Calls under way fail; fetches in the background are
        cancelled, and leases given back."""
        self._closed = True
        for task in self._until_closed:
            task.cancel()
        while self._tasks:  # a fetch that is cancelled starts to give its lease back
            await asyncio.wait(tuple(self._tasks))
        await self._channel.close()

    async def get(self, namespace: str, key: str, *, accept_stale: bool = False) -> Entry | None:
        """The entry; None if there is none. `accept_stale`: one that has expired will do, for as
        long as the namespace's grace says."""
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
        content_type: str = "",
        accept_stale: bool = True,
    ) -> dict[str, bytes]:
        """As `get_or_set` for many keys, with one call of `fetch` for all that this caller is to
        fetch, up to 1,000. Keys that `fetch` leaves out have no value: they are not stored, and not
        returned. Raises PartialFailure if some keys could not be read, or their values were
        refused."""
        stored_as = {"ttl": ttl, "tags": _several(tags), "content_type": content_type}
        fetching = LeasedFetch(
            self._cache,
            self._timeout_s,
            self._background,
            namespace,
            fetch,
            stored_as,
            accept_stale=accept_stale,
        )
        return await fetching.values(_several(keys))

    async def set(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        ttl: timedelta | None = None,
        sliding: bool | None = None,
        tags: Iterable[str] = (),
        content_type: str = "",
        if_absent: bool = False,
        if_present: bool = False,
        if_version: int | None = None,
        request_id: str = "",
    ) -> SetResult:
        """Stores an entry; without a ttl it lives as long as the namespace's default says.

        `sliding`: whether reads let it live for its ttl again. At most one condition may be given;
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
            tags=_several(tags),
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

    async def get_many(self, namespace: str, keys: Iterable[str]) -> dict[str, Entry]:
        """The entries that are there, by key. Raises PartialFailure if some could not be read."""

        async def read(part: Sequence[str]) -> list[Entry | PantlerError | None]:
            request = cache_pb2.BatchGetRequest(namespace=namespace, keys=part)
            answer = await answer_to(self._cache.BatchGet, request, self._timeout_s)
            return [_found(outcome) for outcome in answer.outcomes]

        return await in_parts(_several(keys), read)

    async def set_many(
        self,
        namespace: str,
        values: Mapping[str, bytes],
        *,
        ttl: timedelta | None = None,
        content_type: str = "",
    ) -> dict[str, SetResult]:
        """Stores entries, each on its own. Raises PartialFailure if some could not be stored."""

        async def store(part: Sequence[str]) -> list[SetResult | PantlerError | None]:
            entries = [
                cache_pb2.BatchSetEntry(
                    key=key, value=values[key], ttl=ttl, content_type=content_type
                )
                for key in part
            ]
            request = cache_pb2.BatchSetRequest(namespace=namespace, entries=entries)
            answer = await answer_to(self._cache.BatchSet, request, self._timeout_s)
            return [
                from_status(outcome.error) if outcome.HasField("error") else _set_result(outcome)
                for outcome in answer.outcomes
            ]

        return await in_parts(list(values), store, lambda key: len(values[key]))

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

        return await in_parts(_several(keys), remove)

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        """Opened at its first use: gRPC ties it to the event loop that runs then."""
        return grpc.aio.insecure_channel(self._address, options=_CHANNEL_OPTIONS)

    @cached_property
    def _cache(self) -> "cache_pb2_grpc.CacheServiceAsyncStub":
        return cache_pb2_grpc.CacheServiceStub(self._channel)

    def _background(
        self, work: Coroutine[Any, Any, object], *, until_closed: bool = False
    ) -> asyncio.Task[Any]:
        """Runs work that goes on if its caller is cancelled; `close` waits for it."""
        if until_closed and self._closed:
            work.close()
            raise PantlerError("the client is closed")
        task = asyncio.create_task(work)
        for owner in (self._tasks, self._until_closed) if until_closed else (self._tasks,):
            owner.add(task)
            task.add_done_callback(owner.discard)
        return task


def _several(texts: Iterable[str]) -> list[str]:
    """Keys or tags, each once. A single one would be taken for its letters."""
    if isinstance(texts, str):
        raise TypeError(f"give several, as [{texts!r}], not one")
    return list(dict.fromkeys(texts))


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
    )
