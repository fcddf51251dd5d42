"""The scripts of warming at the start, each with its typed call. What they do stands at the top of
each file."""

from pantler_server.core.namespace import Namespace
from pantler_server.engines.cache.record import keys
from pantler_server.engines.cache.record.scripts import load
from pantler_server.store.request import Request

TURN_MS = 5_000
"""For how long a warming stays with a worker that has died."""
KEEP_MS = 3_600_000
"""For how long its position is kept while no worker has it."""
ENDED_MS = 600_000
"""For how long it is known that it has ended: workers that start later begin another."""

_CLAIM = load("warm_claim.lua")
_NOTE = load("warm_note.lua")


def claim(space: Namespace, worker: str, digest: bytes) -> Request:
    """The reply is a position, or a number as warm_claim.lua says. Claiming again is as good."""
    partition = space.partitions[0]
    arguments = (worker, TURN_MS, digest, KEEP_MS)
    return _CLAIM.request(
        partition.slot, [keys.warming(partition)], arguments, space.name, repeatable=True
    )


def note(space: Namespace, worker: str, digest: bytes, position: str, *, ended: bool) -> Request:
    """The reply is 1, or 0 if another worker has it."""
    partition = space.partitions[0]
    keep_ms = ENDED_MS if ended else KEEP_MS
    arguments = (worker, TURN_MS, digest, keep_ms, position, "1" if ended else "")
    return _NOTE.request(
        partition.slot, [keys.warming(partition)], arguments, space.name, repeatable=True
    )
