"""Frees entries that HARD invalidations hide, before they expire.

Invalidation writes a mark and frees nothing. In namespaces that ask for it, a worker walks over the
keys when there are new marks, at the rate that the namespace allows, and removes what no read will
ever give. Of all workers one owns a partition at a time; should two for a moment, the worst is work
done twice.
"""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace

import structlog
from prometheus_client import Counter

from pantler_server.core import background
from pantler_server.core.config import Settings
from pantler_server.core.errors import ServiceError
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.cache import keys, marks
from pantler_server.engines.cache.invalidation import scripts
from pantler_server.store.request import Request, pack, read
from pantler_server.store.store import Store

ROUND_S = 10.0  # how soon a walk follows an invalidation
OWN_MS = 15_000  # so long a partition is a worker's that died
RENEW_S = 5.0
SCAN_AT_ONCE = 500  # keys of one step, about a millisecond of Redis
LOOK_S = 1.0  # how soon a walk takes up another rate

_RECLAIMED = Counter(
    "pantler_cache_reclaimed", "Hidden entries removed before they expired", ("namespace",)
)

log = structlog.get_logger(__name__)


class Reclaimer:
    """`start` before use, `stop` after it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._who = secrets.token_hex(8)
        self._spaces: dict[str, Namespace] = {}
        self._walks: dict[str, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = background.start(self._keep_reclaiming(), "reclaim")

    async def stop(self) -> None:
        if self._task is not None:
            await background.stop((self._task,))  # first: it starts the others
        await background.stop(tuple(self._walks.values()))

    def prepare(self, space: Namespace) -> None:
        """Comes before the first use of a namespace, and of its changed configuration."""
        if space.config.reclaim_keys_per_second:
            self._spaces[space.name] = space
        else:
            self._spaces.pop(space.name, None)

    def apply(self, settings: Settings) -> None:
        """Takes up a reloaded configuration, also in walks under way and where nobody calls."""
        for space in tuple(self._spaces.values()):
            self.prepare(replace(space, config=settings.namespace(space.name)))

    async def _keep_reclaiming(self) -> None:
        while True:
            await asyncio.sleep(ROUND_S)
            self._walks = {name: task for name, task in self._walks.items() if not task.done()}
            for name, space in self._spaces.items():
                if name not in self._walks:
                    self._walks[name] = background.start(self._try(space), f"reclaim {name}")

    async def _try(self, space: Namespace) -> None:
        try:
            await self.reclaim(space)
        except ServiceError as error:  # Redis is away, say: the next round begins anew
            log.debug("reclaim given up", namespace=space.name, detail=error.message)

    async def reclaim(self, space: Namespace) -> int:
        """One walk over a namespace that was prepared, if there are new marks in partitions that no
        other worker owns; how many entries it removed. Raises the StoreErrors."""
        owned: dict[bytes, Partition] = {}
        begun: dict[bytes, bytes] = {}
        for partition, state in await self._with_new_marks(space):
            if await self._own(partition):
                owned[partition.tag] = partition
                begun[partition.tag] = state
        if not owned:
            return 0
        removed = await self._walk(space, owned)
        done = [
            Request(
                partition.slot,
                (pack("HSET", keys.marks(partition), "reclaimed", begun[tag]),),
                space.name,
                repeatable=True,
            )
            for tag, partition in owned.items()
        ]
        await self._store.call_each(done, self._soon())
        return removed

    async def _with_new_marks(self, space: Namespace) -> list[tuple[Partition, bytes]]:
        """The partitions with marks since their last walk began, and their generations and
        sequences."""
        requests = [
            read(one.slot, space.name, ("HMGET", keys.marks(one), "state", "reclaimed"))
            for one in space.partitions
        ]
        found: list[tuple[Partition, bytes]] = []
        outcomes = await self._store.call_each(requests, self._soon())
        for partition, outcome in zip(space.partitions, outcomes, strict=True):
            if isinstance(outcome, ServiceError):
                raise outcome
            [[state, reclaimed]] = outcome
            if state is None:
                continue  # everything there is hidden, and its marks come with the next write
            whole, _ = marks.whole(state[marks.HARD :])
            newest = max(whole.hard, whole.hard_age, whole.label)
            before = reclaimed or bytes(16)
            if before[:8] != state[:8] or int.from_bytes(before[8:], "little") < newest:
                found.append((partition, state[:16]))
        return found

    async def _walk(self, space: Namespace, owned: dict[bytes, Partition]) -> int:
        """How many entries it removed. Partitions that it could not finish are no longer `owned`
        then."""
        at_once = min(SCAN_AT_ONCE, self._rate(space))
        removed = 0
        renewed = asyncio.get_running_loop().time()
        pattern = b"{%b:*}e:*" % space.name.encode()
        async for step in self._store.scan(pattern, max(1, at_once)):
            found: dict[bytes, list[bytes]] = {}
            for place in step.keys:
                tag = place.partition(b"}e:")[0] + b"}"
                if tag in owned:
                    found.setdefault(tag, []).append(place)
            for tag, places in found.items():
                count = await self._reclaim(owned[tag], places)
                _RECLAIMED.labels(space.name).inc(count)
                removed += count
            left = float(step.scanned)
            while left > 0 and (rate := self._rate(space)):
                pause = min(left / rate, LOOK_S)
                await asyncio.sleep(pause)
                left -= pause * rate
                if asyncio.get_running_loop().time() - renewed > RENEW_S:
                    renewed = asyncio.get_running_loop().time()
                    await self._renew(owned)
            if not self._rate(space):
                owned.clear()
            if not owned:
                break
        return removed

    def _rate(self, space: Namespace) -> int:
        """Keys a second, as they are allowed now; 0 if the namespace asks for no walks any more."""
        now = self._spaces.get(space.name)
        return 0 if now is None else now.config.reclaim_keys_per_second

    async def _renew(self, owned: dict[bytes, Partition]) -> None:
        for tag, partition in tuple(owned.items()):
            if not await self._own(partition):
                del owned[tag]

    async def _reclaim(self, partition: Partition, places: Sequence[bytes]) -> int:
        [removed] = await self._store.call(scripts.reclaim(partition, places), self._soon())
        return int(removed)

    async def _own(self, partition: Partition) -> bool:
        """Whether the partition is this worker's for OWN_MS."""
        [mine] = await self._store.call(scripts.own(partition, self._who, OWN_MS), self._soon())
        return bool(mine)

    def _soon(self) -> float:
        return asyncio.get_running_loop().time() + self._store.timeout_s
