"""Hot keys: which keys of a namespace are read most, by all workers together.

Each worker counts a sample of its reads (sampler.py). Every 10 s it adds what it has counted to the
sums of all workers in Redis (add.lua), and hears which keys are hot now. So reads never wait for
any of this; what is said of a key is some seconds old.
"""

import asyncio
from collections.abc import Sequence
from random import random

from prometheus_client import Counter, Gauge

from pantler_server.core import background
from pantler_server.core.errors import ServiceError
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache.hot_keys import scripts
from pantler_server.engines.cache.hot_keys.model import HotKey
from pantler_server.engines.cache.hot_keys.sampler import Sampler
from pantler_server.store.store import Store

FLUSH_INTERVAL_S = 10.0
MOST_KEYS = 250  # that a worker adds at once: about 1 ms of Redis

_HOT = Gauge(
    "pantler_hot_keys",
    "Keys that are hot, as the worker has it that knows of most",
    ("namespace",),
    multiprocess_mode="livemax",
)
_DROPPED = Counter(
    "pantler_hot_key_reports_dropped",
    "Times that what a worker had counted for 10 s was lost, as Redis did not take it",
    ("namespace",),
)


class _Reads:
    """What a worker has of one namespace."""

    __slots__ = ("_left_before", "hot", "sampler", "space")

    def __init__(self, space: Namespace) -> None:
        self.space = space
        self.hot: frozenset[str] = frozenset()
        self.sampler = Sampler(space.config.hot_keys.sample_ratio)
        self._left_before = self.sampler.left

    def take_up(self, space: Namespace) -> None:
        """The namespace was configured anew."""
        before, self.space = self.space.config.hot_keys.sample_ratio, space
        if space.config.hot_keys.sample_ratio != before:  # counts of both do not add up
            self.sampler = Sampler(space.config.hot_keys.sample_ratio)

    def take(self) -> list[tuple[str, int]] | None:
        """About how often the keys that were read most were read since the last time; None if there
        were no reads, and nothing is hot that may have cooled down."""
        left, sketch = self.sampler.left, self.sampler.begin_anew()
        idle = not sketch.total and left == self._left_before and not self.hot
        self._left_before = left
        if idle:
            return None
        return [(key, round(count / self.sampler.ratio)) for key, count in sketch.top(MOST_KEYS)]


class HotKeys:
    """`start` before use, `stop` after it. Deadlines are times of the event loop."""

    def __init__(self, state: Store) -> None:
        self._state = state
        self._reads: dict[str, _Reads] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = background.start(self._keep_flushing(), "hot keys")

    async def stop(self) -> None:
        """What was counted in the last seconds is lost: they do not matter."""
        if self._task is not None:
            await background.stop((self._task,))

    def count(self, space: Namespace, key: str) -> None:
        """Comes with every read of a key."""
        reads = self._reads.get(space.name)
        if reads is None or reads.space is not space:
            reads = self._take_up(space)
        sampler = reads.sampler
        if sampler.left:
            sampler.left -= 1
        else:
            sampler.take(key)

    def count_many(self, space: Namespace, keys: Sequence[str]) -> None:
        """As `count`, for each of these keys."""
        reads = self._reads.get(space.name)
        if reads is None or reads.space is not space:
            reads = self._take_up(space)
        reads.sampler.take_of(keys)

    def is_hot(self, space: Namespace, key: str) -> bool:
        """Whether a key was read so much in the last 5 minutes, as of the last time that this
        worker heard; while Redis is away it stays as it was."""
        reads = self._reads.get(space.name)
        return reads is not None and key in reads.hot

    def ttl_ms(self, space: Namespace, key: str) -> int:
        """The ttl of what is loaded for a key: the namespace's, for a hot one longer by its
        `ttl_factor`, but at most its `max_ttl`."""
        factor = space.config.hot_keys.ttl_factor
        if factor == 1 or not self.is_hot(space, key):
            return space.ttl_ms
        return min(int(space.ttl_ms * factor), space.max_ttl_ms)

    async def top(self, space: Namespace, limit: int, deadline: float) -> list[HotKey]:
        """The keys that were read most in the last 5 minutes, most read first. One round trip, some
        ms of Redis at the most. Raises StoreError."""
        [[window_s, *found]] = await self._state.call(scripts.top(space, limit), deadline)
        wanted = space.config.hot_keys.min_reads_per_second
        rates = [float(reads) / float(window_s) for reads in found[1::2]]
        return [
            HotKey(key.decode(), rate, hot=rate >= wanted)
            for key, rate in zip(found[::2], rates, strict=True)
        ]

    async def of_day(
        self, space: Namespace, days_ago: int, limit: int, deadline: float
    ) -> list[str]:
        """The keys that were read most today (`days_ago` 0) or yesterday (1), by UTC, most read
        first. One round trip. Raises StoreError."""
        [reply] = await self._state.call(scripts.of_day(space, days_ago, limit), deadline)
        return [key.decode() for key in reply]

    async def flush(self) -> None:
        """Hands on what was counted since the last time, and learns what is hot. One round trip for
        each namespace that was read from, one after the other: they are not worth a burst."""
        deadline = asyncio.get_running_loop().time() + FLUSH_INTERVAL_S
        for reads in tuple(self._reads.values()):
            counted = reads.take()
            if counted is not None:
                await self._add(reads, counted, deadline)

    async def _add(
        self, reads: _Reads, counted: Sequence[tuple[str, int]], deadline: float
    ) -> None:
        space = reads.space
        request = scripts.add(space, counted, space.config.hot_keys.min_reads_per_second)
        try:
            [hot] = await self._state.call(request, deadline)
        except ServiceError:  # the next ones count as well; a backlog of old reads would mislead
            _DROPPED.labels(space.name).inc()
            return
        reads.hot = frozenset(key.decode() for key in hot)
        _HOT.labels(space.name).set(len(reads.hot))

    async def _keep_flushing(self) -> None:
        await asyncio.sleep(random() * FLUSH_INTERVAL_S)  # workers that started together take turns
        while True:
            await self.flush()
            await asyncio.sleep(FLUSH_INTERVAL_S)

    def _take_up(self, space: Namespace) -> _Reads:
        reads = self._reads.get(space.name)
        if reads is None:
            reads = self._reads[space.name] = _Reads(space)
        else:
            reads.take_up(space)
        return reads
