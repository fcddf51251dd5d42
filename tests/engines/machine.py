"""What the state machines of the cache engine have in common: workers that share nothing but Redis,
a way to draw calls, and readings of the clock around them.

One call at a time: the subject is what a call leaves behind for those after it. Draws never depend
on answers, since these depend on the time, and Hypothesis could not repeat an example otherwise.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, NamedTuple, TypeVar

import hypothesis
import uvloop
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from pantler_server.core.config import NamespaceConfig, Settings
from pantler_server.core.redis_config import RedisConfig
from pantler_server.engines.cache.engine import CacheEngine
from pantler_server.engines.cache.hot_keys.engine import HotKeys
from pantler_server.engines.cache.stats import CacheStats
from pantler_server.engines.namespaces.engine import NamespaceEngine
from pantler_server.store.open import open_store
from pantler_server.store.store import Store

from tests.engines.caller import Caller

GRAIN_US = 2_000  # Redis drops a key within 1 ms of its expiry, and reads the clock some us apart

T = TypeVar("T")
_numbers = count()


class Moment(NamedTuple):
    """When a call was under way (Unix us)."""

    before_us: int
    after_us: int

    @property
    def span_us(self) -> range:
        """When Redis may say that it did the call."""
        return range(self.before_us - GRAIN_US, self.after_us + GRAIN_US)

    def precedes(self, end_us: int) -> set[bool]:
        """Whether the call is before this end: one answer, or both where either may be true."""
        return {self.before_us - GRAIN_US < end_us, self.after_us + GRAIN_US < end_us}


def clock_us() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True)
class Worker:
    """An engine on a connection of its own."""

    store: Store
    engine: CacheEngine

    @classmethod
    async def start(cls, url: str) -> "Worker":
        store = open_store(
            "cache", RedisConfig(url=url, command_timeout=timedelta(seconds=5)), None
        )
        await store.start()
        engine = CacheEngine(store, CacheStats(store), HotKeys(store))
        engine.start()
        return cls(store, engine)

    async def stop(self) -> None:
        await self.engine.stop()
        await self.store.stop()

    async def caller(self, name: str, config: NamespaceConfig) -> Caller:
        configured = Settings(namespace_defaults=config)
        namespaces = NamespaceEngine(self.store, self.store, configured)
        deadline = asyncio.get_running_loop().time() + 5
        return Caller(self.engine, await namespaces.resolve(name, deadline))


@dataclass(frozen=True, repr=False)
class Call:
    """A method of a machine with its arguments."""

    method: Callable[..., None]
    arguments: dict[str, Any]

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.method.__name__}({said})"


class Calls:
    """Its methods register like `rule`, of which Hypothesis switches off about half in each
    example: too little would happen here. So all calls of a machine are drawn by one rule."""

    def __init__(self) -> None:
        self._each: list[st.SearchStrategy[Call]] = []

    def __call__(self, *, weight: int = 1, **arguments: st.SearchStrategy[Any]) -> Callable[[T], T]:
        def register(method: T) -> T:
            for _ in range(weight):  # one_of counts what is the same object once
                one = st.builds(Call, st.just(method), st.fixed_dictionaries(arguments))
                self._each.append(one)
            return method

        return register

    def any(self) -> st.SearchStrategy[Call]:
        """One of those that will have been registered."""
        return st.deferred(lambda: st.one_of(self._each))


class Machine(RuleBasedStateMachine):
    """Callers, at one worker or at two."""

    def __init__(self, loop: asyncio.AbstractEventLoop, workers: Sequence[Worker]) -> None:
        super().__init__()
        self.loop = loop
        self.workers = workers
        self.values = count()

    def meet(self, config: NamespaceConfig) -> list[Caller]:
        """A caller of each worker, in a namespace that nobody has used."""
        name = f"model{next(_numbers)}"
        return [self.loop.run_until_complete(one.caller(name, config)) for one in self.workers]

    def send(self, call: Coroutine[None, None, T]) -> tuple[T, Moment]:
        before_us = clock_us()
        answer = self.loop.run_until_complete(call)
        return answer, Moment(before_us, clock_us())


@contextmanager
def own_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop of our own: Hypothesis is not asynchronous, and takes its steps from outside."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner.get_loop()


@contextmanager
def two_workers(loop: asyncio.AbstractEventLoop, url: str) -> Iterator[list[Worker]]:
    started = [loop.run_until_complete(Worker.start(url)) for _ in range(2)]
    yield started
    for worker in started:
        loop.run_until_complete(worker.stop())


def run_machine(
    machine: type[Machine],
    loop: asyncio.AbstractEventLoop,
    workers: Sequence[Worker],
    seed: int,
) -> None:
    """Hypothesis makes ten examples anew and then varies them, which finds less here than new ones:
    so there are many seeds, with ten examples each."""
    started: Any = partial(machine, loop, workers)  # for its types a class; any factory will do
    run_state_machine_as_test(
        hypothesis.seed(seed)(started),
        settings=hypothesis.settings(
            max_examples=10,
            stateful_step_count=40,
            database=None,  # the seed repeats a failure
            phases=(hypothesis.Phase.generate,),  # to shrink one takes longer than a test may
        ),
    )
