"""The asynchronous client."""

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from datetime import UTC, timedelta
from typing import Self, TypeVar

import grpc.aio

from pantler.errors import PantlerError, PartialFailure, from_rpc_error, from_status
from pantler.model import Entry, Stored
from pantler.v1 import cache_pb2, cache_pb2_grpc

MAX_BATCH_ITEMS = 1000  # of one call, by the server's contract

# gRPC's own bound, 4 MiB, is below what a server may be configured to hold and to answer.
_CHANNEL_OPTIONS = (("grpc.max_receive_message_length", -1),)

T = TypeVar("T")


class AsyncClient:
    """A connection to a Pantler, for one event loop.

    `address` is host:port. `timeout` bounds each call. All methods raise the errors of
    `pantler.errors`.
    """

    def __init__(
        self, address: str = "127.0.0.1:50051", *, timeout: timedelta = timedelta(seconds=5)
    ) -> None:
        self._address = address
        self._timeout_s = timeout.total_seconds()
        self._channel = grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
        self._cache = cache_pb2_grpc.CacheServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._address!r})"

    async def close(self) -> None:
        """Closes the connection; calls under way are cancelled."""
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
    ) -> Stored:
        """Stores an entry; without a ttl it lives as long as the namespace's default says."""
        request = cache_pb2.SetRequest(
            namespace=namespace, key=key, value=value, ttl=ttl, content_type=content_type
        )
        answer = await self._call(self._cache.Set(request, timeout=self._timeout_s))
        return _stored(answer)

    async def delete(self, namespace: str, key: str) -> bool:
        """Removes an entry; whether it was there."""
        request = cache_pb2.DeleteRequest(namespace=namespace, key=key)
        answer = await self._call(self._cache.Delete(request, timeout=self._timeout_s))
        return answer.deleted

    async def get_many(self, namespace: str, keys: Iterable[str]) -> dict[str, Entry]:
        """The entries that are there, by key. Raises PartialFailure if some could not be read."""
        found: dict[str, Entry] = {}
        errors: dict[str, PantlerError] = {}
        for chunk in _chunks(list(dict.fromkeys(keys))):
            request = cache_pb2.BatchGetRequest(namespace=namespace, keys=chunk)
            answer = await self._call(self._cache.BatchGet(request, timeout=self._timeout_s))
            for key, outcome in zip(chunk, answer.outcomes, strict=True):
                if outcome.HasField("hit"):
                    found[key] = _entry(outcome.hit.entry)
                elif outcome.HasField("error"):
                    errors[key] = from_status(outcome.error)
        if errors:
            raise PartialFailure(found, errors)
        return found

    async def set_many(
        self,
        namespace: str,
        values: Mapping[str, bytes],
        *,
        ttl: timedelta | None = None,
        content_type: str = "",
    ) -> dict[str, Stored]:
        """Stores entries, each on its own. Raises PartialFailure if some could not be stored."""
        stored: dict[str, Stored] = {}
        errors: dict[str, PantlerError] = {}
        for chunk in _chunks(list(values)):
            entries = [
                cache_pb2.BatchSetEntry(
                    key=key, value=values[key], ttl=ttl, content_type=content_type
                )
                for key in chunk
            ]
            request = cache_pb2.BatchSetRequest(namespace=namespace, entries=entries)
            answer = await self._call(self._cache.BatchSet(request, timeout=self._timeout_s))
            for key, outcome in zip(chunk, answer.outcomes, strict=True):
                if outcome.HasField("error"):
                    errors[key] = from_status(outcome.error)
                else:
                    stored[key] = _stored(outcome)
        if errors:
            raise PartialFailure(stored, errors)
        return stored

    async def delete_many(self, namespace: str, keys: Iterable[str]) -> dict[str, bool]:
        """Removes entries; whether each was there. Raises PartialFailure if some could not be
        removed."""
        deleted: dict[str, bool] = {}
        errors: dict[str, PantlerError] = {}
        for chunk in _chunks(list(dict.fromkeys(keys))):
            request = cache_pb2.BatchDeleteRequest(namespace=namespace, keys=chunk)
            answer = await self._call(self._cache.BatchDelete(request, timeout=self._timeout_s))
            for key, outcome in zip(chunk, answer.outcomes, strict=True):
                if outcome.HasField("error"):
                    errors[key] = from_status(outcome.error)
                else:
                    deleted[key] = outcome.deleted
        if errors:
            raise PartialFailure(deleted, errors)
        return deleted

    async def _call(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except grpc.aio.AioRpcError as exc:
            raise from_rpc_error(exc) from exc


def _chunks(keys: Sequence[str]) -> Iterable[Sequence[str]]:
    """What one call may carry at a time."""
    return (keys[start : start + MAX_BATCH_ITEMS] for start in range(0, len(keys), MAX_BATCH_ITEMS))


def _entry(message: cache_pb2.Entry) -> Entry:
    return Entry(
        value=message.value,
        version=message.version,
        create_time=message.create_time.ToDatetime(UTC),
        expire_time=message.expire_time.ToDatetime(UTC),
        content_type=message.content_type,
    )


def _stored(message: cache_pb2.SetResponse | cache_pb2.BatchSetOutcome) -> Stored:
    return Stored(version=message.version, expire_time=message.expire_time.ToDatetime(UTC))
