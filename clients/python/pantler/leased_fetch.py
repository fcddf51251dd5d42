"""Fetches what the cache misses: once for all callers, on all machines, that miss it at once.

The server gives the lease of a key to one caller; it fetches, and its Set ends the lease. The
others wait in their calls to the server. A holder prolongs its leases while it fetches, so a long
fetch stays one; if it dies, its leases end after LEASE_S and the next caller fetches.
"""

import asyncio
import logging
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

from pantler.batch import in_parts
from pantler.errors import (
    DeadlineExceeded,
    LeaseLost,
    PantlerError,
    PartialFailure,
    Unavailable,
    answer_to,
    from_status,
)
from pantler.v1 import cache_pb2, cache_pb2_grpc

LEASE_S = 10.0  # what the callers of a holder that died wait
EXTEND_S = 3.0  # leaves time for two more tries
WAIT_S = 10.0  # of one call to the server; then it asks again

Fetch = Callable[[Sequence[str]], Awaitable[Mapping[str, bytes]]]
"""Gives the values of keys; a key that it leaves out has none."""

log = logging.getLogger("pantler")


class LeasedFetch:
    """One namespace's keys and how to fetch and store them; `start` runs a task that the client
    owns."""

    def __init__(
        self,
        cache: "cache_pb2_grpc.CacheServiceAsyncStub",
        timeout_s: float,
        start: Callable[[Coroutine[Any, Any, object]], None],
        namespace: str,
        fetch: Fetch,
        stored_as: Mapping[str, Any],
        *,
        accept_stale: bool,
    ) -> None:
        self._cache = cache
        self._timeout_s = timeout_s
        self._start = start
        self._namespace = namespace
        self._fetch = fetch
        self._stored_as = stored_as
        self._accept_stale = accept_stale
        self._holder = uuid4().hex

    async def values(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of distinct keys, without those that have none. Raises what the fetch raises,
        unless stale values will do; PartialFailure if some keys could not be read."""
        values: dict[str, bytes] = {}
        errors: dict[str, PantlerError] = {}
        # Who may hold some leases itself fetches and fills first, and waits for others after that:
        # two who waited while they hold would wait for each other.
        wait_s = WAIT_S if len(keys) == 1 else 0.0
        while keys:
            refreshes: dict[str, str] = {}
            mine: dict[str, str] = {}
            others: list[str] = []
            for key, outcome in (await self._ask(keys, wait_s, errors)).items():
                if outcome.HasField("hit"):
                    values[key] = outcome.hit.entry.value
                    if outcome.hit.HasField("lease"):
                        refreshes[key] = outcome.hit.lease.token
                elif outcome.miss.HasField("lease"):
                    mine[key] = outcome.miss.lease.token
                else:
                    others.append(key)
            if refreshes:
                self._start(self._refresh(refreshes))
            if mine:
                values.update(await self._fetch_or_stale(mine))
            keys, wait_s = others, WAIT_S
        if errors:
            raise PartialFailure(values, errors)
        return values

    async def _ask(
        self, keys: Sequence[str], wait_s: float, errors: dict[str, PantlerError]
    ) -> dict[str, cache_pb2.BatchGetOutcome]:
        """Asks for keys and their leases; the errors of single keys go to `errors`."""
        lease = cache_pb2.LeaseRequest(
            ttl=timedelta(seconds=LEASE_S), wait=timedelta(seconds=wait_s), holder_id=self._holder
        )

        async def ask(part: Sequence[str]) -> list[cache_pb2.BatchGetOutcome | PantlerError | None]:
            request = cache_pb2.BatchGetRequest(
                namespace=self._namespace, keys=part, lease=lease, accept_stale=self._accept_stale
            )
            answer = await self._batch_get(request, wait_s)
            return [
                from_status(outcome.error) if outcome.HasField("error") else outcome
                for outcome in answer.outcomes
            ]

        try:
            return await in_parts(keys, ask)
        except PartialFailure as partial:
            errors.update(partial.errors)
            return partial.results  # type: ignore[return-value]  # what in_parts would have given

    async def _batch_get(
        self, request: cache_pb2.BatchGetRequest, wait_s: float
    ) -> cache_pb2.BatchGetResponse:
        return await answer_to(self._cache.BatchGet(request, timeout=self._timeout_s + wait_s))

    async def _fetch_or_stale(self, leases: Mapping[str, str]) -> dict[str, bytes]:
        """What the fetch gives; if it fails, the stale values, where each key has one."""
        try:
            return await self._fetch_and_store(leases)
        except Exception:
            stale = await self._stale(leases) if self._accept_stale else {}
            if len(stale) == len(leases):
                return stale
            raise

    async def _stale(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The values that may be given after a fetch of them has failed."""
        request = cache_pb2.BatchGetRequest(namespace=self._namespace, keys=keys, accept_stale=True)
        try:
            answer = await self._batch_get(request, 0.0)
        except PantlerError:
            return {}  # the failure of the fetch says more
        return {
            key: outcome.hit.entry.value
            for key, outcome in zip(keys, answer.outcomes, strict=True)
            if outcome.HasField("hit")
        }

    async def _refresh(self, leases: Mapping[str, str]) -> None:
        """Fetches what was answered from the cache and is stale, or soon will be."""
        try:
            await self._fetch_and_store(leases)
        except Exception:
            log.warning("refresh of %s in %r failed", list(leases), self._namespace, exc_info=True)

    async def _fetch_and_store(self, leases: Mapping[str, str]) -> dict[str, bytes]:
        """Fetches under the leases (tokens by key) and stores. A value that can't be stored because
        something happened to its key, or the server is away, is still a value."""
        try:
            async with self._prolonged(leases):
                fetched = await self._fetch(list(leases))
            values = {key: fetched[key] for key in leases if key in fetched}
            entries = [
                cache_pb2.BatchSetEntry(
                    key=key, value=value, fill_token=leases[key], **self._stored_as
                )
                for key, value in values.items()
            ]
        except Exception:
            await self._release(leases, failed=True)
            raise
        except asyncio.CancelledError:
            self._start(self._release(leases, failed=False))
            raise
        missing = {key: token for key, token in leases.items() if key not in values}
        if missing:
            self._start(self._release(missing, failed=False))
        if entries:
            await self._store(entries)
        return values

    async def _store(self, entries: Sequence[cache_pb2.BatchSetEntry]) -> None:
        request = cache_pb2.BatchSetRequest(namespace=self._namespace, entries=entries)
        leases = {entry.key: entry.fill_token for entry in entries}
        try:
            answer = await answer_to(self._cache.BatchSet(request, timeout=self._timeout_s))
        except (Unavailable, DeadlineExceeded) as exc:
            log.warning("fetched %s, not stored: %s", list(leases), exc)
        except PantlerError:
            self._start(self._release(leases, failed=False))
            raise
        else:
            for entry, outcome in zip(entries, answer.outcomes, strict=True):
                if outcome.HasField("error"):
                    error = from_status(outcome.error)
                    log.warning(
                        "fetched %r for %r, not stored: %s", entry.key, self._namespace, error
                    )

    @asynccontextmanager
    async def _prolonged(self, leases: Mapping[str, str]) -> AsyncIterator[None]:
        """Keeps leases while it lasts."""
        task = asyncio.create_task(self._prolong(leases))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def _prolong(self, leases: Mapping[str, str]) -> None:
        held = dict(leases)
        while held:
            await asyncio.sleep(EXTEND_S)
            kept = await asyncio.gather(*(self._extend(key, token) for key, token in held.items()))
            held = {key: held[key] for key, still in zip(held, kept, strict=True) if still}

    async def _extend(self, key: str, token: str) -> bool:
        """Whether the lease may still hold."""
        request = cache_pb2.ExtendLeaseRequest(
            namespace=self._namespace, key=key, token=token, ttl=timedelta(seconds=LEASE_S)
        )
        try:
            await answer_to(self._cache.ExtendLease(request, timeout=self._timeout_s))
        except LeaseLost:
            return False  # the fetch goes on: its caller wants the value all the same
        except PantlerError as exc:
            log.warning("lease of %r in %r not prolonged: %s", key, self._namespace, exc)
        return True

    async def _release(self, leases: Mapping[str, str], *, failed: bool) -> None:
        """Gives leases back, if the server can be reached; else they end by themselves."""

        async def release(key: str, token: str) -> None:
            request = cache_pb2.ReleaseLeaseRequest(
                namespace=self._namespace, key=key, token=token, failed=failed
            )
            try:
                await answer_to(self._cache.ReleaseLease(request, timeout=self._timeout_s))
            except PantlerError as exc:
                log.warning("lease of %r in %r not released: %s", key, self._namespace, exc)

        await asyncio.gather(*(release(key, token) for key, token in leases.items()))
