"""Leases: of all who miss a key at once, one fetches it.

After Nishtala et al., "Scaling Memcache at Facebook" (NSDI 2013), section 3.2.1, with the win,
stale and recache flags of memcached's meta protocol as answers: a miss, a stale hit and a hit that
is soon due for refresh each offer the lease to one caller. waiting.py has the others wait.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, NamedTuple

from pantler_server.core import background
from pantler_server.core.errors import LeaseLost, PrimaryChanged, ServiceError
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache import entry, fill_token, scripts
from pantler_server.engines.cache.fill_token import FillToken
from pantler_server.engines.cache.model import Lease, LeaseAsk
from pantler_server.engines.cache.reading import Place, Sight, View, is_fresh, kept_as_stale
from pantler_server.store.store import Store

# For so long after a failed fetch stale-if-error serves at once; then a caller waits for a new one.
FAILURE_MS = 10_000


class Grant(NamedTuple):
    """What asking for a lease came to."""

    lease: Lease | None
    """None if another holder has it, or nobody gets it since a fetch failed lately."""
    is_new: bool
    """Whether it was given now, and not to the same holder before."""
    holder: str
    """Who has it now."""
    expires_us: int
    """When it ends by itself."""
    failed: bool
    """Whether a fetch of this very entry failed lately."""


class Leases:
    """Each call is one round trip and raises the StoreErrors. `stop` after use."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._returns: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        await background.stop(tuple(self._returns))

    async def take(
        self, at: Place, sight: Sight, ask: LeaseAsk, deadline: float, *, accept_stale: bool
    ) -> Grant | None:
        """As `ask`, for a caller that may be cancelled meanwhile: its lease is given back then."""
        asking = asyncio.create_task(self.ask(at, sight, ask, deadline, accept_stale=accept_stale))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            self._in_background(self._give_back_when_given(at, asking))
            raise

    async def ask(
        self,
        at: Place,
        sight: Sight,
        ask: LeaseAsk,
        deadline: float,
        *,
        accept_stale: bool,
        channel: str = "",
    ) -> Grant | None:
        """Asks for the lease of what was read; None if another entry is there by now. `channel` is
        told when the lease ends."""
        version = 0 if sight.raw is None else entry.read_header(sight.raw).version
        was_fresh = is_fresh(sight)
        content = was_fresh or (accept_stale and kept_as_stale(sight, at.space))
        request = scripts.take_lease(at, version, ask, content, channel)
        [reply] = await self._store.call(request, deadline)
        if not reply:
            return None
        granted, lease_id, holder, stamp, issued_us, expires_us, failed = reply
        lease = None
        if granted:
            seq = int.from_bytes(stamp[8:], "little")
            view = View(request.primary or fill_token.NONE, stamp[:8], seq, int(issued_us))
            token = view.token(at.entry, version, was_fresh, lease_id)
            lease = Lease(token.write(), int(expires_us))
        return Grant(lease, granted == 1, holder.decode(), int(expires_us), bool(failed))

    def give_back(self, at: Place, grant: Grant) -> None:
        """Releases, in the background, what was given to a caller that has gone. Not what it had
        before: it may have asked again and hold it still."""
        if grant.lease is not None and grant.is_new:
            self._in_background(self._give_back(at, grant.lease))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = background.start(work, "give back a lease")
        self._returns.add(task)
        task.add_done_callback(self._returns.discard)

    async def _give_back_when_given(self, at: Place, asking: "asyncio.Task[Grant | None]") -> None:
        with suppress(ServiceError):
            grant = await asking
            if grant is not None:
                self.give_back(at, grant)

    async def _give_back(self, at: Place, lease: Lease) -> None:
        token = fill_token.read(lease.token)
        assert token is not None
        deadline = asyncio.get_running_loop().time() + self._store.timeout_s
        with suppress(ServiceError):  # it ends by itself
            await self.release(at.space, at.key, token, deadline, failed=False)

    async def extend(
        self, space: Namespace, key: str, token: FillToken, ttl_ms: int, deadline: float
    ) -> int:
        """Lets a lease last for `ttl_ms` from now on; until when (Unix us). Raises LeaseLost."""
        try:
            [expires_us] = await self._store.call(
                scripts.extend_lease(space, key, token, ttl_ms), deadline
            )
        except PrimaryChanged:
            raise LeaseLost(key) from None
        if not expires_us:
            raise LeaseLost(key)
        return int(expires_us)

    async def release(
        self, space: Namespace, key: str, token: FillToken, deadline: float, *, failed: bool
    ) -> bool:
        """Ends a lease without a fill; whether it still held."""
        failed_ms = FAILURE_MS if failed else 0
        try:
            [released] = await self._store.call(
                scripts.release_lease(space, key, token, failed_ms), deadline
            )
        except PrimaryChanged:
            return False
        return bool(released)

    async def failed_lately(self, at: Place, sight: Sight, deadline: float) -> bool:
        """Whether a fetch of the very entry that was read failed lately."""
        [version] = await self._store.call(scripts.read_failure(at), deadline)
        return version is not None and version == entry.raw_version(sight.raw)
