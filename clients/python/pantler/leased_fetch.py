"""Fetches what the cache misses: once for all callers, on all machines, that miss it at once.

The server gives the lease of a key to one caller; it fetches, and its Set ends the lease. The
others wait in their calls to the server; if a fetch gives no value, those of this client that
waited when it began share that (`shared_reads.py`). A holder prolongs its leases while it fetches,
so a long fetch stays one; if it dies, its leases end after LEASE_S and the next caller fetches.
"""

import asyncio
import logging
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any, Protocol
from uuid import uuid4

from pantler.batch import in_parts, parts_of
from pantler.codecs import Encoded
from pantler.errors import (
    AWAY,
    InvalidArgument,
    LeaseLost,
    PantlerError,
    from_status,
)
from pantler.model import Entry
from pantler.shared_reads import Fruitless, FruitlessFetches, share
from pantler.v1 import cache_pb2

LEASE_S = 10.0  # what the callers of a holder that died wait
EXTEND_S = 3.0  # between two tries to prolong, and for one: three of them fit into a lease
WAIT_S = 5.0  # of one call to the server, below what servers give calls to end; then it asks again
IN_FLIGHT_S = 0.5  # an answer that was sent is there by then

Fetch = Callable[[Sequence[str]], Awaitable[Mapping[str, Encoded]]]
"""Gives the values of keys; a key that it leaves out has none."""

log = logging.getLogger("pantler")


class FetchFailed(Exception):
    """A fetch failed with an error of the client's, which is none of this call to the server."""

    def __init__(self, error: PantlerError) -> None:
        super().__init__()
        self.error = error
        self.traceback = error.__traceback__  # of the fetch: each caller that raises it adds to it


class Background(Protocol):
    """Runs work that goes on if its caller is cancelled. The client owns the tasks: when it is
    closed, it cancels those that are `until_closed` and waits for all."""

    def __call__(
        self, work: Coroutine[Any, Any, object], *, until_closed: bool = False
    ) -> asyncio.Task[Any]: ...


class Operate(Protocol):
    """Sends an operation, by its name in ExchangeOperation. Raises the error of the call."""

    async def __call__(
        self, name: str, request: Any, timeout_s: float = 0.0, *, waits: bool = False
    ) -> Any: ...


class Near(Protocol):
    """What the client keeps of a namespace in its own memory, as far as it may be given."""

    def find_many(self, namespace: str, keys: Iterable[str]) -> dict[str, Entry]: ...


class HeldLeases:
    """Those of one fetch, while it is under way and its values are stored."""

    def __init__(self, tokens: Mapping[str, str], release: "Release") -> None:
        self.tokens = dict(tokens)
        """By key; empty once they are given back."""
        self._release = release

    async def give_back(self) -> None:
        """The fetch may go on, but nothing of it is stored."""
        tokens, self.tokens = self.tokens, {}
        await self._release(tokens, failed=False)


class Release(Protocol):
    """Gives leases back (tokens by key). `failed`: since the fetch has."""

    async def __call__(self, leases: Mapping[str, str], *, failed: bool) -> None: ...


class LeasedFetch:
    """One namespace's keys and how to fetch and store them."""

    def __init__(
        self,
        operate: Operate,
        timeout_s: float,
        background: Background,
        namespace: str,
        fetch: Fetch,
        stored_as: Mapping[str, Any],
        *,
        accept_stale: bool,
        wait_s: float,
        is_optional: bool,
        held: set[HeldLeases],
        fruitless: FruitlessFetches,
        near: Near | None = None,
    ) -> None:
        """`wait_s`: how long one call to the server may wait for other callers' fetches. `held`:
        where the client finds the leases that it gives back when it is closed.
        `is_optional`: without the server, or its Redis, the fetch alone will do. Raises TypeError
        for what `stored_as` can't be: before anything is fetched."""
        self._near = near
        self._held = held
        self._fruitless = fruitless
        self._operate = operate
        self._timeout_s = timeout_s
        self._background = background
        self._namespace = namespace
        self._fetch = fetch
        self._stored_as = cache_pb2.BatchSetEntry(**stored_as)
        self._accept_stale = accept_stale
        self._is_optional = is_optional
        self._wait_s = wait_s
        self._holder = uuid4().hex

    async def values(self, keys: Mapping[str, int]) -> dict[str, Encoded]:
        """The values of keys (each with its place in the call), without those that have none; 1,000
        at a time. Raises what the fetch raises (a PantlerError as FetchFailed), unless stale values
        will do, and PartialFailure if some keys could not be read or their values were refused."""
        return await in_parts(keys, self._part)

    async def _part(self, keys: Sequence[str]) -> list[Encoded | PantlerError | None]:
        results: dict[str, Encoded | PantlerError] = {}
        wanted: Sequence[str] = keys
        if self._near is not None:
            kept = self._near.find_many(self._namespace, keys)
            results.update({key: Encoded(one.value, one.content_type) for key, one in kept.items()})
            wanted = [key for key in keys if key not in kept]
        while wanted:
            refreshes: dict[str, str] = {}
            mine: dict[str, str] = {}
            others: list[str] = []
            try:
                outcomes = await self._ask(wanted)
            except AWAY:
                if not self._is_optional:
                    raise
                results.update(await self.fetched(wanted))
                break
            if isinstance(outcomes, Fruitless):
                results.update(await self._instead(wanted, outcomes))
                break
            for key, outcome in zip(wanted, outcomes, strict=True):
                if outcome.HasField("error"):
                    results[key] = from_status(outcome.error)
                elif outcome.HasField("hit"):
                    results[key] = _encoded(outcome.hit.entry)
                    if outcome.hit.HasField("lease"):
                        refreshes[key] = outcome.hit.lease.token
                elif outcome.miss.HasField("lease"):
                    mine[key] = outcome.miss.lease.token
                else:
                    others.append(key)
            if refreshes:
                self._background(self._refresh(refreshes), until_closed=True)
            if mine:
                results.update(await self._fetch_or_stale(mine))
            wanted = others
        if self._is_optional:
            away = [key for key, result in results.items() if isinstance(result, AWAY)]
            results.update(await self.fetched(away) if away else {})
        return [results.get(key) for key in keys]

    async def _ask(self, keys: Sequence[str]) -> Sequence[cache_pb2.BatchGetOutcome] | Fruitless:
        """Asks for keys and their leases; waits if others hold all that are missing, or until a
        fetch of them that begins meanwhile in this client has come to nothing."""
        lease = cache_pb2.LeaseRequest(
            ttl=timedelta(seconds=LEASE_S),
            wait=timedelta(seconds=self._wait_s),
            holder_id=self._holder,
        )
        request = cache_pb2.BatchGetRequest(
            namespace=self._namespace, keys=keys, lease=lease, accept_stale=self._accept_stale
        )
        asking = self._background(
            self._operate("batch_get", request, self._timeout_s + self._wait_s, waits=True),
            until_closed=True,
        )
        try:
            fruitless = await self._fruitless.wait((self._namespace, *keys), asking)
        except asyncio.CancelledError:
            self._background(self._give_back_when_given(keys, asking))
            raise
        if fruitless is not None:
            self._background(self._give_back_when_given(keys, asking))
            return fruitless
        if asking.cancelled():
            raise PantlerError("the client was closed during the call")
        answer: cache_pb2.BatchGetResponse = asking.result()
        return answer.outcomes

    async def _give_back_when_given(
        self, keys: Sequence[str], asking: "asyncio.Task[cache_pb2.BatchGetResponse]"
    ) -> None:
        """For a caller that does not wait any more: its answer may be on its way, with leases."""
        await asyncio.wait((asking,), timeout=IN_FLIGHT_S)
        if not asking.done():
            asking.cancel()  # the server gives it none any more
        elif not asking.cancelled() and asking.exception() is None:
            leases = {
                key: outcome.miss.lease.token or outcome.hit.lease.token
                for key, outcome in zip(keys, asking.result().outcomes, strict=True)
            }
            held = {key: token for key, token in leases.items() if token}
            await self._release(held, failed=False)

    async def _fetch_or_stale(
        self, leases: Mapping[str, str]
    ) -> Mapping[str, Encoded | PantlerError]:
        """What the fetch gives; if it fails, the stale values, where each key has one."""
        with self._holding(leases) as held:
            try:
                values = await self._fetch_held(held)
            except Exception:
                if stale := await self._stale(leases):
                    return stale
                raise
            return {**values, **await self._store(values, held)}

    async def _refresh(self, leases: Mapping[str, str]) -> None:
        """Fetches what was answered from the cache and is stale, or soon will be."""
        try:
            with self._holding(leases) as held:
                await self._store(await self._fetch_held(held), held)
        except Exception:
            log.warning("refresh of %s in %r failed", list(leases), self._namespace, exc_info=True)

    async def _instead(self, keys: Sequence[str], fruitless: Fruitless) -> Mapping[str, Encoded]:
        """What those get that share what a fetch came to."""
        if fruitless.error is None:
            return {}
        await asyncio.wait((fruitless.released,))  # the server knows then that stale ones may do
        if stale := await self._stale(keys):
            return stale
        raise fruitless.error.with_traceback(fruitless.traceback)

    async def _stale(self, keys: Collection[str]) -> dict[str, Encoded]:
        """The values that may be given after a fetch of them has failed; none unless all may."""
        if not self._accept_stale:
            return {}
        request = cache_pb2.BatchGetRequest(namespace=self._namespace, keys=keys, accept_stale=True)
        try:
            answer = await self._operate("batch_get", request)
        except PantlerError:
            return {}  # the failure of the fetch says more
        stale = {
            key: _encoded(outcome.hit.entry)
            for key, outcome in zip(keys, answer.outcomes, strict=True)
            if outcome.HasField("hit")
        }
        return stale if len(stale) == len(keys) else {}

    @contextmanager
    def _holding(self, leases: Mapping[str, str]) -> Iterator[HeldLeases]:
        held = HeldLeases(leases, self._release)
        self._held.add(held)
        try:
            yield held
        finally:
            self._held.discard(held)

    async def _fetch_held(self, held: HeldLeases) -> dict[str, Encoded]:
        """Fetches under leases. Those of which nothing comes are given back."""
        waiting = self._fruitless.waiting((self._namespace, *held.tokens))
        try:
            async with self._prolonged(held):
                values = await self.fetched(list(held.tokens))
        except Exception as exc:
            releasing = self._background(self._release(held.tokens, failed=True))
            # Before that is sent: the lease is for who comes after them.
            share(Fruitless(exc, exc.__traceback__, releasing), waiting)
            await asyncio.shield(releasing)
            raise
        except asyncio.CancelledError:
            self._background(self._release(held.tokens, failed=False))
            raise
        missing = {key: token for key, token in held.tokens.items() if key not in values}
        if missing:
            releasing = self._background(self._release(missing, failed=False))
            if not values:
                share(Fruitless(None, None, releasing), waiting)
        return values

    async def fetched(self, keys: Sequence[str]) -> dict[str, Encoded]:
        """What the fetch gives for these; the server is not asked."""
        try:
            fetched = await self._fetch(keys)
        except PantlerError as exc:
            raise FetchFailed(exc) from exc
        values = {key: fetched[key] for key in keys if key in fetched}
        for key, (data, _) in values.items():
            if not isinstance(data, bytes):
                raise TypeError(f"the fetch gave {type(data).__name__} for {key!r}, not bytes")
        return values

    async def _store(
        self, values: Mapping[str, Encoded], held: HeldLeases
    ) -> dict[str, PantlerError]:
        """Stores what was fetched; what was refused, as too large, say. A value that is not stored
        because the server is away, or something happened to its key, is still a value. Cancelled,
        it goes on in the background."""
        refused: dict[str, PantlerError] = {}
        for part in parts_of(list(values), lambda key: len(values[key].data)):
            if not held.tokens:
                break  # the client was closed
            entries = [
                cache_pb2.BatchSetEntry(
                    key=key,
                    value=values[key].data,
                    content_type=values[key].content_type,
                    fill_token=held.tokens[key],
                )
                for key in part
            ]
            for entry in entries:
                entry.MergeFrom(self._stored_as)
            await asyncio.shield(self._background(self._store_part(entries, refused)))
        return refused

    async def _store_part(
        self, entries: Sequence[cache_pb2.BatchSetEntry], refused: dict[str, PantlerError]
    ) -> None:
        request = cache_pb2.BatchSetRequest(namespace=self._namespace, entries=entries)
        try:
            answer = await self._operate("batch_set", request)
        except InvalidArgument as exc:
            if len(entries) > 1:  # whichever it is, the others are well
                for entry in entries:
                    await self._store_part([entry], refused)
                return
            refused[entries[0].key] = exc
            await self._release({entries[0].key: entries[0].fill_token}, failed=False)
        except PantlerError as exc:
            await self._not_stored(entries, exc)
        else:
            failed: dict[str, tuple[PantlerError, list[cache_pb2.BatchSetEntry]]] = {}
            for entry, outcome in zip(entries, answer.outcomes, strict=True):
                if outcome.HasField("error"):
                    error = from_status(outcome.error)
                    failed.setdefault(str(error), (error, []))[1].append(entry)
            for error, its in failed.values():
                await self._not_stored(its, error)

    async def _not_stored(
        self, entries: Sequence[cache_pb2.BatchSetEntry], error: PantlerError
    ) -> None:
        first, others = entries[0].key, len(entries) - 1
        log.warning("fetched %r and %d others, not stored: %s", first, others, error)
        if not isinstance(error, (*AWAY, LeaseLost)):  # too large, say
            leases = {entry.key: entry.fill_token for entry in entries}
            await self._release(leases, failed=False)

    @asynccontextmanager
    async def _prolonged(self, held: HeldLeases) -> AsyncIterator[None]:
        """Keeps leases while it lasts."""
        task = asyncio.create_task(self._prolong(held))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def _prolong(self, held: HeldLeases) -> None:
        lost: set[str] = set()
        while tokens := {key: held.tokens[key] for key in held.tokens.keys() - lost}:
            await asyncio.sleep(EXTEND_S)
            kept = await asyncio.gather(*(self._extend(*lease) for lease in tokens.items()))
            lost.update(key for key, still in zip(tokens, kept, strict=True) if not still)

    async def _extend(self, key: str, token: str) -> bool:
        """Whether the lease may still hold."""
        request = cache_pb2.ExtendLeaseRequest(
            namespace=self._namespace, key=key, token=token, ttl=timedelta(seconds=LEASE_S)
        )
        try:
            await self._operate("extend_lease", request, EXTEND_S)
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
                await self._operate("release_lease", request)
            except PantlerError as exc:
                log.warning("lease of %r in %r not released: %s", key, self._namespace, exc)

        await asyncio.gather(*(release(key, token) for key, token in leases.items()))


@contextmanager
def errors_of_the_fetch() -> Iterator[None]:
    """Raises what a fetch failed with as it is."""
    try:
        yield
    except FetchFailed as failed:
        raise failed.error.with_traceback(failed.traceback) from failed.error.__cause__


def _encoded(entry: cache_pb2.Entry) -> Encoded:
    return Encoded(entry.value, entry.content_type)
