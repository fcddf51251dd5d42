"""The scripts of writes through to an origin, each with its typed call; log_scripts.py has those of
the log. What they do stands at the top of each file."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines import cache
from pantler_server.engines.cache import entry
from pantler_server.engines.cache import keys as cache_keys
from pantler_server.engines.cache.record import keys
from pantler_server.engines.cache.scripts import longest_life_us
from pantler_server.store import answers
from pantler_server.store.request import Argument, Request, Script


def load(name: str) -> Script:
    """A script of the record engine, with the functions of the cache."""
    return Script.load(cache.__name__, f"record/{name}")


_STOP_REFRESH = load("stop_refresh.lua")
_FENCE = load("fence.lua")
_FINISH = load("finish.lua")


class Writer(NamedTuple):
    """A write on its way through."""

    partition: Partition
    place: bytes
    key: str
    name: bytes
    """16 bytes of its request id, so that a repeat shows, the fingerprint, and 8 random bytes."""
    lease_id: bytes
    answer: bytes
    """The place of the answer to its request id; empty if it has none."""
    fingerprint: bytes


def writer_of(space: Namespace, key: str, request_id: str, fingerprint: bytes) -> Writer:
    """A new write."""
    partition, place = cache_keys.place(space, key)
    of_request, answer = random.randbytes(16), b""
    if request_id:
        of_request = answers.digest(key, request_id)
        answer = keys.answer(partition, of_request)
    name = of_request + fingerprint + random.randbytes(8)
    return Writer(partition, place, key, name, random.randbytes(8), answer, fingerprint)


def stop_refresh(space: Namespace, partition: Partition, notes: Sequence[bytes]) -> Request:
    """Notes as keys.py has them, of one partition. The reply is 1."""
    arguments = (longest_life_us(space) // 1000,)
    return _STOP_REFRESH.request(partition.slot, notes, arguments, space.name, repeatable=True)


def fence(writer: Writer, fence_ms: int, run_id: bytes) -> Request:
    """The reply is as fence.lua says. `run_id`: of the primary, which alone may do it."""
    partition = writer.partition
    places = [*_places(writer), keys.log(partition), keys.log_state(partition)]
    arguments: list[Argument] = [
        cache_keys.tombstone(writer.key),
        random.randbytes(8),
        writer.key,
        writer.name,
        writer.lease_id,
        fence_ms,
        run_id,
    ]
    if writer.answer:
        places.append(writer.answer)
    return _FENCE.request(
        partition.slot, places, arguments, writer.key, repeatable=True, only_on=run_id
    )


def finish(
    space: Namespace,
    writer: Writer,
    value: bytes | None,
    version: int,
    ttl_ms: int,
    answer: tuple[int, int] | None,
) -> Request:
    """The reply is when the record that was stored expires (Unix us), 0 if none was. `value`: what
    the origin has now, None if that is not known; `version` and `ttl_ms`: of its entry."""
    places = _places(writer)
    head = rest = b""
    if value is not None:
        head, rest = entry.pack(
            version, ttl_ms * 1000, sliding=False, labels=entry.NO_LABELS, value=value
        )
    arguments: list[Argument] = [
        cache_keys.tombstone(writer.key),
        random.randbytes(8),
        writer.name,
        writer.lease_id,
        head,
        rest,
        ttl_ms * 1000,
        ttl_ms + space.grace_ms,
    ]
    if writer.answer and answer is not None:
        places.append(writer.answer)
        arguments += (writer.fingerprint, *answer)
    return _FINISH.request(writer.partition.slot, places, arguments, writer.key, repeatable=True)


def _places(writer: Writer) -> list[Argument]:
    partition, place = writer.partition, writer.place
    return [
        place,
        cache_keys.marks(partition),
        cache_keys.tombstones(partition),
        cache_keys.lease(partition, place),
        cache_keys.history(partition),
        cache_keys.fences(partition, place),
    ]
