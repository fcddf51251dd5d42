"""Counters, and counts of how many different members there were.

An increment, with its bounds, its expiry and its request id, is one script (increment.lua).
"""

import re
from collections.abc import Callable, Sequence

from pantler_server.core.errors import OutcomeUnknown, ServiceError, WrongKind
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.counter import keys, scripts
from pantler_server.engines.counter.model import MAX_VALUE, Increment, Incremented
from pantler_server.store import answers
from pantler_server.store.link import Reply
from pantler_server.store.request import Request
from pantler_server.store.store import Store

_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,15}")


class CounterEngine:
    """Deadlines are times of the event loop. All raise the StoreErrors, and WrongKind."""

    def __init__(self, state: Store) -> None:
        self._store = state

    async def increment(
        self, space: Namespace, name: str, wanted: Increment, deadline: float
    ) -> Incremented:
        """Adds to a counter, or does nothing if it would be outside its bounds then. One round
        trip. Raises InvalidFields if the request id was that of another request."""
        [reply] = await self._store.call(scripts.increment(space, name, wanted), deadline)
        if reply[0] == answers.REUSED:
            raise answers.reused()
        applied, value, expires_ms = reply
        return Incremented(value, applied == 1, expires_ms)

    async def get(
        self, space: Namespace, names: Sequence[str], deadline: float
    ) -> list[int | None]:
        """Values in the order asked; None where there is no counter. One round trip."""
        values, failures = await self._ask(space, names, scripts.get, deadline)
        if failures:
            raise failures[0]
        return values

    async def reset(
        self, space: Namespace, names: Sequence[str], deadline: float
    ) -> list[int | None]:
        """Deletes counters; what they had come to, as `get` has it. One round trip. Raises
        OutcomeUnknown if some are deleted, and others not."""
        values, failures = await self._ask(space, names, scripts.reset, deadline)
        if failures and values:
            message = f"some counters were reset, and others not: {failures[0].message}"
            raise OutcomeUnknown(message, self._store.role) from failures[0]
        if failures:
            raise next((one for one in failures if isinstance(one, OutcomeUnknown)), failures[0])
        return values

    async def add_unique(
        self, space: Namespace, name: str, members: Sequence[str], ttl_ms: int, deadline: float
    ) -> bool:
        """Lets a set have seen members; whether its count may have changed. `ttl_ms` as in
        Increment. O(1) for each member, one round trip."""
        request = scripts.add_unique(space, name, members, ttl_ms)
        [changed] = await self._store.call(request, deadline)
        return bool(changed == 1)

    async def count_unique(self, space: Namespace, names: Sequence[str], deadline: float) -> int:
        """How many different members sets have seen together, with a standard error of 0.81 %.
        O(1) for each set, one round trip."""
        try:
            [count] = await self._store.call(scripts.count_unique(space, names), deadline)
        except WrongKind:
            await self._find_wrong(space, names, deadline)
            raise
        return int(count)

    async def merge_unique(
        self, space: Namespace, into: str, others: Sequence[str], ttl_ms: int, deadline: float
    ) -> int:
        """Lets a set have seen what others have; its count then. `ttl_ms` as in Increment. O(1)
        for each set, one round trip."""
        request = scripts.merge_unique(space, into, others, ttl_ms)
        try:
            [count] = await self._store.call(request, deadline)
        except WrongKind:
            await self._find_wrong(space, [into, *others], deadline)
            raise
        return int(count)

    async def delete_unique(
        self, space: Namespace, names: Sequence[str], deadline: float
    ) -> list[bool]:
        """Deletes sets, or none if one is of another kind; whether each was there, in the order
        asked. O(1) for each set, one round trip; Redis frees the memory in the background."""
        [deleted] = await self._store.call(scripts.delete_unique(space, names), deadline)
        if isinstance(deleted, int):  # the place of one that is no set of uniques
            raise WrongKind(names[deleted - 1])
        return [one == 1 for one in deleted]

    async def _find_wrong(self, space: Namespace, names: Sequence[str], deadline: float) -> None:
        """Raises WrongKind with the name that is of no set of uniques: of several Redis does not
        say which."""
        requests = [scripts.count_unique(space, [name]) for name in names]
        for outcome in await self._store.call_each(requests, deadline):
            if isinstance(outcome, ServiceError):
                raise outcome

    async def _ask(
        self,
        space: Namespace,
        names: Sequence[str],
        make: Callable[[Partition, Sequence[bytes]], Request],
        deadline: float,
    ) -> tuple[list[int | None], list[ServiceError]]:
        """What the partitions' scripts say of counters, in the order asked; and what failed. The
        first is empty if all did."""
        groups = keys.group(space, names)
        requests = [make(group.partition, group.places) for group in groups]
        values: list[int | None] = [None] * len(names)
        failures: list[ServiceError] = []
        outcomes = await self._store.call_each(requests, deadline)
        for group, outcome in zip(groups, outcomes, strict=True):
            if isinstance(outcome, ServiceError):
                failures.append(outcome)
            elif isinstance(outcome[0], int):  # the place of one that is no counter
                failures.append(WrongKind(names[group.indexes[outcome[0] - 1]]))
            else:
                for index, text in zip(group.indexes, outcome[0], strict=True):
                    values[index] = _value(names[index], text)
        return ([] if len(failures) == len(groups) else values), failures


def _value(name: str, text: Reply) -> int | None:
    """The number in a counter. Raises WrongKind for what is none, as counted.lua has it."""
    if text is None:
        return None
    if not _INTEGER.fullmatch(text) or abs(value := int(text)) > MAX_VALUE:
        raise WrongKind(name)
    return value
