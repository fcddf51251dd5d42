"""The calls of CounterService."""

from collections.abc import Iterable, Sequence
from datetime import UTC, timedelta
from functools import cached_property
from typing import Any

from pantler.arguments import checked_ttl
from pantler.batch import in_parts, listed, several
from pantler.connection import Connection
from pantler.counter_model import CounterResult
from pantler.errors import PantlerError, answer_to
from pantler.v1 import counter_pb2, counter_pb2_grpc


class CounterCalls(Connection):
    """How a client counts: numbers, and how many different members there were.

    Without a `ttl`, a counter or set that is there keeps its expiry, and a new one gets the
    namespace's `counter_ttl`; if there is none either, it stays for good.
    """

    async def increment(
        self,
        namespace: str,
        counter: str,
        delta: int = 1,
        *,
        ceiling: int | None = None,
        floor: int | None = None,
        ttl: timedelta | None = None,
        request_id: str = "",
    ) -> CounterResult:
        """Adds to a counter, all of it, or nothing if it would be above the ceiling or below the
        floor then.

            sold = await client.increment("shop", "stock:7", -1, floor=0)
            if not sold.applied:
                ...  # none is left

        `ttl`: how long the counter lives from now on. After an error it may have counted or not.
        With a `request_id`, such as a UUID, the call may be repeated: within 10 minutes it gets
        the first answer again.
        """
        request = counter_pb2.IncrementRequest(
            namespace=namespace,
            counter=counter,
            delta=delta,
            ceiling=ceiling,
            floor=floor,
            ttl=checked_ttl(ttl),
            request_id=request_id,
        )
        answer = await self._operate("increment", request, repeatable=bool(request_id))
        expires = answer.expire_time.ToDatetime(UTC) if answer.HasField("expire_time") else None
        return CounterResult(answer.value, answer.applied, expires)

    async def get_counter(self, namespace: str, counter: str) -> int:
        """The value of a counter; 0 if there is none."""
        return (await self.get_counters(namespace, [counter])).get(counter, 0)

    async def get_counters(self, namespace: str, counters: Iterable[str]) -> dict[str, int]:
        """The values of the counters that are there. They are not all of one moment."""

        async def get(part: Sequence[str]) -> list[int | PantlerError | None]:
            request = counter_pb2.GetCountersRequest(namespace=namespace, counters=part)
            answer = await answer_to(self._counter_service.GetCounters, request, self._timeout_s)
            return [one.value if one.found else None for one in answer.counters]

        return await in_parts(several(counters), get)

    async def reset_counters(self, namespace: str, counters: Iterable[str]) -> dict[str, int]:
        """Lets counters begin anew; what those that were there had come to.

        If the answer is lost, so is that: where it counts, take the value off with an `increment`
        that has a `request_id`.
        """

        async def reset(part: Sequence[str]) -> list[int | PantlerError | None]:
            request = counter_pb2.ResetCountersRequest(namespace=namespace, counters=part)
            answer = await answer_to(self._counter_service.ResetCounters, request, self._timeout_s)
            return [one.value if one.found else None for one in answer.counters]

        return await in_parts(several(counters), reset)

    async def add_unique(
        self,
        namespace: str,
        set_name: str,
        members: Iterable[str],
        *,
        ttl: timedelta | None = None,
    ) -> bool:
        """Lets a set have seen members; whether its count may have changed.

        The set takes 12 KiB at most, however many it has seen: it knows how many, and not whom.
        """
        changed = False

        async def add(part: Sequence[str]) -> list[bool | PantlerError | None]:
            nonlocal changed
            request = counter_pb2.AddUniqueRequest(
                namespace=namespace, set=set_name, members=part, ttl=checked_ttl(ttl)
            )
            answer = await answer_to(self._counter_service.AddUnique, request, self._timeout_s)
            changed |= answer.changed
            return [True] * len(part)

        await in_parts(several(members), add)
        return changed

    async def count_unique(self, namespace: str, sets: Iterable[str]) -> int:
        """How many different members up to 100 sets have seen together, give or take 0.81 %: one
        standard error."""
        request = counter_pb2.CountUniqueRequest(namespace=namespace, sets=listed(sets))
        answer = await answer_to(self._counter_service.CountUnique, request, self._timeout_s)
        return answer.count

    async def merge_unique(
        self, namespace: str, into: str, sets: Iterable[str], *, ttl: timedelta | None = None
    ) -> int:
        """Lets a set have seen what up to 100 others have, as a month from its days; how many
        different members it has seen then."""
        words: dict[str, Any] = {"from": listed(sets)}  # a word of Python's
        request = counter_pb2.MergeUniqueRequest(
            namespace=namespace, into=into, ttl=checked_ttl(ttl), **words
        )
        answer = await answer_to(self._counter_service.MergeUnique, request, self._timeout_s)
        return answer.count

    async def delete_unique(self, namespace: str, sets: Iterable[str]) -> dict[str, bool]:
        """Deletes sets; whether each was there."""

        async def delete(part: Sequence[str]) -> list[bool | PantlerError | None]:
            request = counter_pb2.DeleteUniqueRequest(namespace=namespace, sets=part)
            answer = await answer_to(self._counter_service.DeleteUnique, request, self._timeout_s)
            return list(answer.deleted)

        return await in_parts(several(sets), delete)

    @cached_property
    def _counter_service(self) -> "counter_pb2_grpc.CounterServiceAsyncStub":
        return counter_pb2_grpc.CounterServiceStub(self._channel)
