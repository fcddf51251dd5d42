"""Where purges are written down before anybody is told that they will be done, and what became of
them."""

import secrets
from collections.abc import Callable, Collection, Sequence

from pantler_server.core.errors import PurgeBacklogFull, PurgeUnknown
from pantler_server.engines.cdn import scripts
from pantler_server.engines.cdn.batching import Value
from pantler_server.engines.cdn.purge_model import Purged, PurgeStatus
from pantler_server.store import answers
from pantler_server.store.store import Store

ID_BYTES = 16  # so that nobody guesses one; in hex none begins with a dash, as an option does

Unowned = Callable[[Sequence[str]], None]
"""Told of targets for which something waits, and to which no worker sends."""


class Outbox:
    """Both raise the StoreErrors; deadlines are times of the event loop."""

    def __init__(self, store: Store, unowned: Unowned) -> None:
        self._store = store
        self._unowned = unowned

    async def append(
        self,
        targets: Sequence[str],
        values: Sequence[Value],
        deadline: float,
        *,
        soft: bool,
        partial: Collection[str] = (),
        delay_ms: int = 0,
        request_id: str = "",
        asked: str = "",
    ) -> Purged:
        """Once it returns, the values will be purged at these targets, whatever happens; nobody
        sends them before the delay is over. `partial` are the targets that can't purge everything,
        `asked` is what a repeat says of the targets. One round trip. Raises InvalidFields for
        `request_id` if it had another purge, and PurgeBacklogFull."""
        parts = scripts.parts_of(values)
        request = scripts.append(
            secrets.token_hex(ID_BYTES),
            targets,
            parts,
            delay_ms=delay_ms,
            soft=soft,
            partial=partial,
            request_id=request_id,
            fingerprint=answers.fingerprint(
                asked, "soft" if soft else "", *(part.text for part in parts)
            ),
        )
        [reply] = await self._store.call(request, deadline)
        if reply[0] == scripts.REUSED:
            raise answers.reused()
        if reply[0] == scripts.FULL:
            raise PurgeBacklogFull(reply[1].decode())
        purge_id, duplicate, unowned = reply
        if unowned:
            self._unowned([name.decode() for name in unowned])
        return Purged(purge_id.decode(), bool(duplicate))

    async def status(self, purge_id: str, deadline: float) -> PurgeStatus:
        """Two round trips. Raises PurgeUnknown."""
        [receipt] = await self._store.call(scripts.read_receipt(purge_id), deadline)
        targets = scripts.targets_of(receipt)
        if not targets:
            raise PurgeUnknown(purge_id)
        states = await self._store.call(scripts.read_states(targets), deadline)
        return scripts.status(receipt, states)
