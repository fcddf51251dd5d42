"""How a near cache learns what happens in the server, and until when it may be sure to know.

A heartbeat vouches for all that was in force SURE before it was sent. When that was, by this
machine's clock, is not said, and it may have been on its way for long: behind it, the same
connection may hold the word of what happened since. But it can't have been sent before this:

    the call began                  at b
    the first message was sent      not before b
    heartbeat n was sent            not before b + n intervals: the server waits one before each

So heartbeat n proves all up to b + n intervals - SURE, however late it comes. The server is always
a little late, which adds up; when it comes to half an interval the watch begins a new call, which
goes on where the last one was.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import aclosing
from time import monotonic
from typing import Any

from pantler.errors import PantlerError
from pantler.model import InvalidationEvent, WatchMessage
from pantler.near_cache import SURE, NearCache
from pantler.near_store import NearStore
from pantler.watch import InvalidationWatch

PAUSE_S = 1.0  # before a watch that can't begin is tried again

log = logging.getLogger("pantler")


class NearWatch(InvalidationWatch):
    """The watch, which knows how late its heartbeats may be."""

    def __init__(self, method: Callable[..., Any], config: NearCache) -> None:
        super().__init__(method, tuple(config.ttls()), "", config.heartbeat_interval)
        self.sent_from = 0.0
        """When the newest message can have been sent at the earliest, by `monotonic`."""
        self.is_first = False
        """Whether that is the first of its call."""
        self._is_called = False

    def _request(self) -> Any:
        self.sent_from = monotonic()
        self._is_called = True
        return super()._request()

    def _items(self, answer: Any) -> Iterable[WatchMessage]:
        self.is_first, self._is_called = self._is_called, False
        if not (self.is_first or answer.events or answer.gaps):
            self.sent_from += self._heartbeat_interval.total_seconds()
        return super()._items(answer)


class Follower:
    """Brings what a watch tells into the store, for as long as it runs."""

    def __init__(self, store: NearStore, config: NearCache) -> None:
        self._store = store
        self._config = config
        self._bound_s = config.max_staleness.total_seconds()
        self._late_s = config.heartbeat_interval.total_seconds() / 2
        self._begun = False
        self._untold: set[str] = set()

    async def run(self, method: Callable[..., Any]) -> None:
        """Until it is cancelled; `method` is WatchInvalidations."""
        watch = NearWatch(method, self._config)
        try:
            while True:
                try:
                    await self._follow(watch)
                except PantlerError as exc:
                    log.warning("the near cache can't watch its namespaces: %s", exc)
                    await asyncio.sleep(PAUSE_S)
        finally:
            self._store.end()

    async def _follow(self, watch: NearWatch) -> None:
        """Until its heartbeats may be too late."""
        async with aclosing(watch.__aiter__()) as messages:
            async for message in messages:
                self._take(watch, message)
                is_heartbeat = not (watch.is_first or message.events or message.gaps)
                if is_heartbeat and monotonic() - watch.sent_from > self._late_s:
                    return

    def _take(self, watch: NearWatch, message: WatchMessage) -> None:
        store = self._store
        for event in message.events:
            self._forget(event)
        for namespace in message.gaps:
            store.clear(namespace)
        if message.events or (message.gaps and not watch.is_first):
            return
        self._look_who_tells(message.with_writes)
        if not watch.is_first:
            proved = watch.sent_from - SURE.total_seconds()
        elif self._begun:
            return  # what happened since the last call is still to be told
        else:
            self._begun = True
            proved = watch.sent_from  # nothing was kept before, and from now on all is told
        store.good_until = max(store.good_until, proved + self._bound_s)

    def _forget(self, event: InvalidationEvent) -> None:
        if event.kind in ("key", "written_key"):
            self._store.forget(event.namespace, (event.name,))
        elif event.kind == "tag":
            self._store.forget_tag(event.namespace, event.name)
        else:
            self._store.clear(event.namespace)

    def _look_who_tells(self, with_writes: Iterable[str]) -> None:
        told = set(with_writes)
        for name, space in self._store.spaces.items():
            if space.is_told and name not in told:
                self._store.clear(name)
            space.is_told = name in told
            if not space.is_told and name not in self._untold:
                self._untold.add(name)
                log.warning(
                    "the near cache keeps nothing of %r: its `near_cache` is not set in the "
                    "server's configuration, so the server does not tell of writes",
                    name,
                )
