"""Where purges live in Redis (role `state`): all in one slot, so that one script may write the
receipt and what waits for each target.

The tag has no colon, as those of namespaces do.
"""

from pantler_server.core import keyspace
from pantler_server.store import answers

TAG = b"{cdn}"


def queue(target: str) -> bytes:
    """`{cdn}q:TARGET`, a stream: what waits for a target, in parts (append.lua). Never expires; an
    entry goes when it is done or has failed."""
    return b"%bq:%b" % (TAG, target.encode())


def state(target: str) -> bytes:
    """`{cdn}t:TARGET`, a hash: `weight` of all that waits; `failures` of the target in a row, what
    it last said then (`answer`), `until` when it is left alone (Unix ms) and how it was configured
    then (`config`, a fingerprint); `latest`, when the last that had to wait is due; and up to which
    id of the queue a purge of everything came in the place of the rest, `done` or `failed`, with
    the time and the answer. Never expires."""
    return b"%bt:%b" % (TAG, target.encode())


def owner(target: str) -> bytes:
    """`{cdn}o:TARGET`, a string: the channel of the worker that sends to a target. Expires after
    OWN_MS."""
    return b"%bo:%b" % (TAG, target.encode())


def receipt(purge_id: str) -> bytes:
    """`{cdn}p:ID`, a hash: what became of a purge (append.lua, settle.lua). Expires KEEP_MS after
    its last change."""
    return b"%bp:%b" % (TAG, purge_id.encode())


def answer(request_id: str) -> bytes:
    """As keyspace.answer has it."""
    return keyspace.answer(TAG, answers.digest("purge", request_id))
