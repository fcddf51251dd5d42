"""The asynchronous client."""

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from datetime import UTC, timedelta
from functools import cached_property
from typing import Self, TypeVar

import grpc.aio

from pantler.batch import in_parts
from pantler.errors import PantlerError, from_rpc_error, from_status
from pantler.model import Entry, SetResult
from pantler.v1 import cache_pb2, cache_pb2_grpc

# gRPC's own bound, 4 MiB, is below what a server may be configured to hold and to answer.
_CHANNEL_OPTIONS = (("grpc.max_receive_message_length", -1),)

T = TypeVar("T")


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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._address!r})"

    async def close(self) -> None:
        """Closes the connection, for good; calls under way are cancelled."""
        await self._channel.close()

    async def get(self, namespace: str, key: str) -> Entry | None:
        """The entry; None if there is none."""
        request = cache_pb2.GetRequest(namespace=namespace, key=key)
        answer = await self._call(self._cache.Get(request, timeout=self._timeout_s))
        return _entry(answer.hit.entry) if answer.HasField("hit") else None

    async def set(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        ttl: timedelta | None = None,
        content_type: str = "",
    ) -> SetResult:
        """Stores an entry; without a ttl it lives as long as the namespace's default says."""
        request = cache_pb2.SetRequest(
            namespace=namespace, key=key, value=value, ttl=ttl, content_type=content_type
        )
        answer = await self._call(self._cache.Set(request, timeout=self._timeout_s))
        return _set_result(answer)

    async def delete(self, namespace: str, key: str) -> bool:
        """Removes an entry; whether it was there."""
        request = cache_pb2.DeleteRequest(namespace=namespace, key=key)
        answer = await self._call(self._cache.Delete(request, timeout=self._timeout_s))
        return answer.deleted

    async def get_many(self, namespace: str, keys: Iterable[str]) -> dict[str, Entry]:
        """The entries that are there, by key. Raises PartialFailure if some could not be read."""

        async def read(part: Sequence[str]) -> list[Entry | PantlerError | None]:
            request = cache_pb2.BatchGetRequest(namespace=namespace, keys=part)
            answer = await self._call(self._cache.BatchGet(request, timeout=self._timeout_s))
            return [_found(outcome) for outcome in answer.outcomes]

        return await in_parts(list(dict.fromkeys(keys)), read)

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
            answer = await self._call(self._cache.BatchSet(request, timeout=self._timeout_s))
            return [
                from_status(outcome.error) if outcome.HasField("error") else _set_result(outcome)
                for outcome in answer.outcomes
            ]

        return await in_parts(list(values), store)

    async def delete_many(self, namespace: str, keys: Iterable[str]) -> dict[str, bool]:
        """Removes entries; whether each was there. Raises PartialFailure if some could not be
        removed."""

        async def remove(part: Sequence[str]) -> list[bool | PantlerError | None]:
            request = cache_pb2.BatchDeleteRequest(namespace=namespace, keys=part)
            answer = await self._call(self._cache.BatchDelete(request, timeout=self._timeout_s))
            return [
                from_status(outcome.error) if outcome.HasField("error") else outcome.deleted
                for outcome in answer.outcomes
            ]

        return await in_parts(list(dict.fromkeys(keys)), remove)

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        """Opened at its first use: gRPC ties it to the event loop that runs then."""
        return grpc.aio.insecure_channel(self._address, options=_CHANNEL_OPTIONS)

    @cached_property
    def _cache(self) -> "cache_pb2_grpc.CacheServiceAsyncStub":
        return cache_pb2_grpc.CacheServiceStub(self._channel)

    async def _call(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except grpc.aio.AioRpcError as exc:
            raise from_rpc_error(exc) from exc


def _entry(message: cache_pb2.Entry) -> Entry:
    return Entry(
        value=message.value,
        version=message.version,
        create_time=message.create_time.ToDatetime(UTC),
        expire_time=message.expire_time.ToDatetime(UTC),
        content_type=message.content_type,
    )


def _found(outcome: cache_pb2.BatchGetOutcome) -> Entry | PantlerError | None:
    if outcome.HasField("error"):
        return from_status(outcome.error)
    return _entry(outcome.hit.entry) if outcome.HasField("hit") else None


def _set_result(message: cache_pb2.SetResponse | cache_pb2.BatchSetOutcome) -> SetResult:
    return SetResult(version=message.version, expire_time=message.expire_time.ToDatetime(UTC))
