"""The scripts and commands of counters and sets of uniques, each with its typed call. What the
scripts do stands at the top of each file."""

from collections.abc import Sequence

from pantler_server.core.duration import MILLISECOND
from pantler_server.core.namespace import Namespace, Partition
from pantler_server.engines.counter import keys
from pantler_server.engines.counter.model import Increment
from pantler_server.store import answers
from pantler_server.store.request import Argument, Request, Script, read

_INCREMENT = Script.load(__package__, "increment.lua")
_GET = Script.load(__package__, "get.lua")
_RESET = Script.load(__package__, "reset.lua")
_ADD_UNIQUE = Script.load(__package__, "add_unique.lua")
_MERGE_UNIQUE = Script.load(__package__, "merge_unique.lua")
_DELETE_UNIQUE = Script.load(__package__, "delete_unique.lua")


def increment(space: Namespace, name: str, wanted: Increment) -> Request:
    """The reply is as increment.lua gives it."""
    partition, place = keys.place(space, name)
    places: list[Argument] = [place]
    arguments: list[Argument] = [
        wanted.delta,
        wanted.floor,
        wanted.ceiling,
        wanted.ttl_ms,
        _new_ttl_ms(space),
    ]
    if wanted.request_id:
        places.append(keys.answer(partition, name, wanted.request_id))
        said = (wanted.delta, wanted.floor, wanted.ceiling, wanted.ttl_ms)
        arguments.append(answers.fingerprint(*map(str, said)))
    repeatable = bool(wanted.request_id)
    return _INCREMENT.request(partition.slot, places, arguments, name, repeatable=repeatable)


def get(partition: Partition, places: Sequence[bytes]) -> Request:
    """Counters of one partition. The reply is as get.lua gives it."""
    return _GET.request(partition.slot, places, (), "counters", repeatable=True, writes=False)


def reset(partition: Partition, places: Sequence[bytes]) -> Request:
    """Counters of one partition. The reply is as reset.lua gives it. Not repeatable: the second
    answer would have nothing of what they had come to."""
    return _RESET.request(partition.slot, places, (), "counters")


def add_unique(space: Namespace, name: str, members: Sequence[str], ttl_ms: int) -> Request:
    """The reply is as add_unique.lua gives it."""
    partition, place = keys.uniques(space, name)
    arguments: list[Argument] = [ttl_ms, _new_ttl_ms(space), *members]
    return _ADD_UNIQUE.request(partition.slot, [place], arguments, name, repeatable=True)


def count_unique(space: Namespace, names: Sequence[str]) -> Request:
    """The reply is the count of all together."""
    places = [keys.uniques(space, name)[1] for name in names]
    return read(space.partitions[0].slot, names[0], ("PFCOUNT", *places))


def merge_unique(space: Namespace, into: str, others: Sequence[str], ttl_ms: int) -> Request:
    """The reply is as merge_unique.lua gives it."""
    partition, place = keys.uniques(space, into)
    places = [place, *(keys.uniques(space, name)[1] for name in others)]
    arguments = (ttl_ms, _new_ttl_ms(space))
    return _MERGE_UNIQUE.request(partition.slot, places, arguments, into, repeatable=True)


def delete_unique(space: Namespace, names: Sequence[str]) -> Request:
    """The reply is as delete_unique.lua gives it. Not repeatable: in between, somebody else may
    have begun a set anew."""
    places = [keys.uniques(space, name)[1] for name in names]
    return _DELETE_UNIQUE.request(space.partitions[0].slot, places, (), "sets")


def _new_ttl_ms(space: Namespace) -> int:
    """The ttl of what is begun without one; 0 for none."""
    ttl = space.config.counter_ttl
    return 0 if ttl is None else ttl // MILLISECOND
