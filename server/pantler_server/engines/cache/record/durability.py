"""When a write that waits in Redis counts as safe: what its namespace asks for, and what the Redis
that it is in can do for that."""

import asyncio
import re
from collections.abc import Sequence
from typing import NamedTuple

from pantler_server.core.errors import (
    InternalError,
    OriginNotReady,
    OutcomeUnknown,
    StoreError,
    StoreUnavailable,
)
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.core.origin_config import WriteBehindConfig
from pantler_server.engines.cache import keys as cache_keys
from pantler_server.store.replication import Safety, Written
from pantler_server.store.request import read
from pantler_server.store.store import Store

LOOK_S = 60.0  # an operator may change a server while it runs …
LOOK_AGAIN_S = 5.0  # … and waits for the effect if it was to mend something
WAITAOF_SINCE = (7, 2)


class Ability(NamedTuple):
    """What a Redis does so that it loses nothing, as it is configured."""

    policy: str
    """`maxmemory-policy`."""
    keeps_file: bool
    """Whether it has an append-only file."""
    always_syncs: bool
    """Whether what it has answered is on disk."""
    can_wait: bool
    """Whether it knows WAITAOF."""


def problem_of(ability: Ability, wanted: WriteBehindConfig) -> str:
    """Why writes can't wait in a Redis; empty if they can."""
    if ability.policy.startswith("allkeys-"):
        return (
            f"its Redis has maxmemory-policy {ability.policy}, which may evict writes that wait: "
            "set it to noeviction, or to one that begins with volatile-"
        )
    if wanted.fsync and not ability.keeps_file:
        return (
            "its Redis has no append-only file, and would lose writes that wait: set its "
            "`appendonly yes`, or `write_behind.fsync: false`"
        )
    if wanted.fsync and not (ability.always_syncs or ability.can_wait):
        return (
            "its Redis can't say when a write is on disk: take Redis 7.2 or later, set its "
            "`appendfsync always`, or `write_behind.fsync: false`"
        )
    return ""


class Safekeeping:
    """Deadlines are times of the event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._known: dict[bytes, tuple[Ability, float]] = {}  # by run id, and when it was asked

    async def require(
        self, space: Namespace, partitions: Sequence[Partition], deadline: float
    ) -> None:
        """Nothing, if writes may wait in these partitions. No round trip, but for one to each new
        primary and one a minute. Raises OriginNotReady, the StoreErrors."""
        for partition in partitions:
            ability = await self._ability(space, partition, deadline)
            if problem := problem_of(ability, space.config.write_behind):
                raise OriginNotReady(space.name, problem)

    async def problem(self, space: Namespace, deadline: float) -> str:
        """For operators: why writes can't wait; empty if they can. Raises the StoreErrors."""
        try:
            await self.require(space, space.partitions, deadline)
        except OriginNotReady as refused:
            return refused.message
        return ""

    async def confirm(
        self, space: Namespace, done: Sequence[tuple[Partition, bytes]], deadline: float
    ) -> set[bytes]:
        """Waits until what was written, in partitions and by the primaries of these run ids, is as
        safe as the namespace asks for; the primaries where it is not, or not for certain."""
        by_primary = {primary: partition for partition, primary in done}
        waits = {
            primary: self._wanted(space, primary)
            for primary in by_primary
            if self.must_wait(space, primary)
        }
        if not waits:
            return set()
        met = await asyncio.gather(
            *(self._is_met(one, by_primary[one], safe, deadline) for one, safe in waits.items())
        )
        return {primary for primary, is_met in zip(waits, met, strict=True) if not is_met}

    async def is_safe(
        self, space: Namespace, partition: Partition, primary: bytes, deadline: float
    ) -> bool:
        """Waits as `confirm` for all that the primary of this run id has in a partition. Also true
        where that can't be: then the namespace takes no more writes, and the sooner those leave
        that are there the better. Raises the StoreErrors."""
        ability = await self._ability(space, partition, deadline)
        if problem_of(ability, space.config.write_behind):
            return True
        return not await self.confirm(space, [(partition, primary)], deadline)

    def must_wait(self, space: Namespace, primary: bytes) -> bool:
        """Whether what a primary was told is not safe by its answer alone: `confirm` waits then."""
        wanted = self._wanted(space, primary)
        return wanted.fsync or wanted.replicas > 0

    def _wanted(self, space: Namespace, primary: bytes) -> Safety:
        config = space.config.write_behind
        known = self._known.get(primary)
        always = known is not None and known[0].always_syncs
        return Safety(config.fsync and not always, config.replicas)

    def unmet(self) -> OutcomeUnknown:
        """What the caller of such a write is told."""
        return OutcomeUnknown(
            "the write waits in Redis, but is not as safe there as its namespace asks for, or that "
            "is not known: repeat it with its request id",
            self._store.role,
        )

    async def _is_met(
        self, primary: bytes, partition: Partition, wanted: Safety, deadline: float
    ) -> bool:
        written = Written(partition.slot, primary, cache_keys.replicated(partition))
        try:
            reached = await self._store.wait_until_safe([written], wanted, deadline)
        except StoreError:  # also if it is full: the write is in the log for all that
            return False
        return reached.fsync >= wanted.fsync and reached.replicas >= wanted.replicas

    async def _ability(self, space: Namespace, partition: Partition, deadline: float) -> Ability:
        known = self._known.get(self._store.primary_run_id(partition.slot))
        if known is not None:
            ability, asked = known
            is_well = not problem_of(ability, space.config.write_behind)
            if self._loop.time() < asked + (LOOK_S if is_well else LOOK_AGAIN_S):
                return ability
        primary, ability = await self._ask(partition, deadline)
        self._known[primary] = ability, self._loop.time()
        return ability

    async def _ask(self, partition: Partition, deadline: float) -> tuple[bytes, Ability]:
        sections = [("INFO", name) for name in ("server", "memory", "persistence")]
        request = read(partition.slot, "INFO", *sections)
        said = b"\n".join(map(_bytes, await self._store.call(request, deadline))).decode()
        if _field(said, "loading", "0") != "0":  # until it is done it says that it keeps no file
            raise StoreUnavailable(
                f"the {self._store.role} Redis reads its file; nothing was done", self._store.role
            )
        version = tuple(map(int, _field(said, "redis_version", "0.0").split(".")[:2]))
        keeps_file = _field(said, "aof_enabled", "0") == "1"
        asking = read(partition.slot, "CONFIG", ("CONFIG", "GET", "appendfsync"))
        try:
            [settings] = await self._store.call(asking, deadline)
        except (StoreUnavailable, InternalError):
            settings = {}  # managed ones often keep CONFIG to themselves: then WAITAOF says it
        ability = Ability(
            _field(said, "maxmemory_policy", ""),
            keeps_file,
            keeps_file and settings.get(b"appendfsync") == b"always",
            version >= WAITAOF_SINCE,
        )
        return request.primary, ability


def _field(info: str, name: str, default: str) -> str:
    found = re.search(rf"^{name}:(\S+)", info, re.MULTILINE)
    return default if found is None else found[1]


def _bytes(reply: object) -> bytes:
    """INFO comes as a verbatim string under RESP3."""
    return reply if isinstance(reply, bytes) else str(reply).encode()
