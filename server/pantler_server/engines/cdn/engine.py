"""Purges: CDNs and proxies forget what they keep.

A purge is written down in Redis first (outbox.py), and is taken to each of its targets by the one
worker that owns the target (drain.py). At least once: what is purged twice is purged.
"""

import asyncio
import math
import secrets
from collections.abc import Sequence
from functools import partial

from pantler_server.cdns.target import Kind
from pantler_server.core import background
from pantler_server.core.errors import CdnTargetUnknown, PurgeBacklogFull
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cdn.batching import ALL, Value
from pantler_server.engines.cdn.drain import TargetDrain
from pantler_server.engines.cdn.outbox import Outbox
from pantler_server.engines.cdn.purge_model import Purge, Purged, PurgeStatus
from pantler_server.engines.cdn.scripts import MOST_WEIGHT, VALUE_WEIGHT
from pantler_server.engines.cdn.tag import key_tag, namespace_tag, wire_tag
from pantler_server.engines.cdn.targets import Targets
from pantler_server.engines.cdn.url import entry_urls
from pantler_server.store.store import Store
from pantler_server.store.subscription import channel_subscription

KEYS_AT_ONCE = 50  # whose URLs are made before others get their turn: some ms, with 16 of each


class CdnEngine:
    """`start` before use, `stop` after it; `apply` in between, when `targets` has taken up a
    reloaded configuration. Deadlines are times of the event loop. All raise the StoreErrors."""

    def __init__(self, state: Store, targets: Targets) -> None:
        self._store = state
        self._targets = targets
        self._outbox = Outbox(state, self._wake)
        self._channel = f"pantler:purge:{secrets.token_hex(8)}"
        self._subscription = channel_subscription(
            state, self._channel, lambda name: self._wake([name.decode()]), self._wake_all
        )
        self._is_subscribed = False
        self._drains: dict[str, TargetDrain] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._stops = False

    def start(self) -> None:
        self.apply()

    def apply(self) -> None:
        """What waits for a target that the configuration has no more stays until it is back."""
        names = self._targets.names()
        if names and not self._is_subscribed:
            self._is_subscribed = True
            self._subscription.start()
        for name in self._drains.keys() - set(names):
            drain = self._drains.pop(name)
            self._leaving[name] = background.start(drain.stop(), f"leaving {name}")
            self._leaving[name].add_done_callback(partial(self._left, name))
        for name in names:
            # One that leaves gives the target back under the name of this worker, so the next one
            # begins after it.
            if name not in self._drains and name not in self._leaving:
                self._drains[name] = TargetDrain(self._store, self._channel, name, self._targets.of)
                self._drains[name].start()

    def _left(self, name: str, _: asyncio.Task[None]) -> None:
        del self._leaving[name]
        if not self._stops:
            self.apply()

    async def stop(self, deadline: float = -math.inf) -> None:
        """Requests under way may end until then. What waits is for other workers, or for the next
        start."""
        self._stops = True
        drains = (one.stop(deadline) for one in self._drains.values())
        await asyncio.gather(*self._leaving.values(), *drains)
        await self._subscription.stop()

    async def purge(self, purge: Purge, deadline: float) -> Purged:
        """Writes it down. One round trip. Raises CdnTargetUnknown, PurgeBacklogFull, and
        InvalidFields for `request_id` if that was another purge's."""
        names = self._targets.names()
        chosen = (purge.target,) if purge.target else tuple(names)
        if not chosen or purge.target not in ("", *names):
            raise CdnTargetUnknown(purge.target)
        if purge.everything:
            values = [ALL]
        else:
            values = [Value(Kind.TAG, one) for one in dict.fromkeys(purge.tags)]
            values += [Value(Kind.URL, one) for one in dict.fromkeys(purge.urls)]
        return await self._outbox.append(
            chosen,
            values,
            deadline,
            soft=purge.soft,
            partial=self._partial(chosen),
            request_id=purge.request_id,
            asked=purge.target,
        )

    async def purge_keys(
        self, space: Namespace, named: Sequence[str], deadline: float, *, soft: bool = False
    ) -> str:
        """What the targets of a namespace keep of these keys; the id of the purge. One round
        trip. If that is more than may wait, everything is purged. Raises PurgeBacklogFull."""
        cdn = space.config.cdn
        assert cdn is not None
        values: list[Value] = []
        weight = 0
        for number, key in enumerate(dict.fromkeys(named), 1):
            of_key = [Value(Kind.TAG, key_tag(space.name, key))]
            of_key += [Value(Kind.URL, url) for url in entry_urls(cdn.urls, key)]
            values += of_key
            weight += sum(len(text) + VALUE_WEIGHT for _, text in of_key)
            if weight > MOST_WEIGHT:
                for target in self._partial(cdn.targets):
                    raise PurgeBacklogFull(target, alone=True)
                values = [ALL]
                break
            if number % KEYS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return await self._purge_of(space, values, deadline, soft=soft)

    async def purge_tags(
        self, space: Namespace, tags: Sequence[str], deadline: float, *, soft: bool = False
    ) -> str:
        """As `purge_keys`, of these tags."""
        values = [Value(Kind.TAG, wire_tag(tag)) for tag in dict.fromkeys(tags)]
        return await self._purge_of(space, values, deadline, soft=soft)

    async def purge_namespace(
        self, space: Namespace, deadline: float, *, soft: bool = False
    ) -> str:
        """As `purge_keys`, of all keys."""
        values = [Value(Kind.TAG, namespace_tag(space.name))]
        return await self._purge_of(space, values, deadline, soft=soft)

    async def get_purge(self, purge_id: str, deadline: float) -> PurgeStatus:
        """What became of a purge. Two round trips. Raises PurgeUnknown."""
        return await self._outbox.status(purge_id, deadline)

    def soon(self) -> float:
        """A deadline for what has none of its own."""
        return asyncio.get_running_loop().time() + self._store.timeout_s

    async def _purge_of(
        self, space: Namespace, values: Sequence[Value], deadline: float, *, soft: bool
    ) -> str:
        """Not before every first level has forgotten what is invalidated, and answers that had left
        one by then are there: else the CDN could be filled from these."""
        cdn, near = space.config.cdn, space.config.l1
        assert cdn is not None
        delay = cdn.delay if near is None else cdn.delay + near.max_staleness
        delay_ms = math.ceil(delay.total_seconds() * 1000)
        purged = await self._outbox.append(
            cdn.targets,
            values,
            deadline,
            soft=soft,
            partial=self._partial(cdn.targets),
            delay_ms=delay_ms,
        )
        return purged.purge_id

    def _partial(self, names: Sequence[str]) -> list[str]:
        """Those that can't purge everything. One that a reload has taken away is not among them."""
        known = self._targets.names()
        return [
            one
            for one in names
            if one in known and Kind.EVERYTHING not in self._targets.of(one).kinds
        ]

    def _wake(self, names: Sequence[str]) -> None:
        for name in names:
            if (drain := self._drains.get(name)) is not None:
                drain.wake()

    def _wake_all(self) -> None:
        self._wake(tuple(self._drains))
