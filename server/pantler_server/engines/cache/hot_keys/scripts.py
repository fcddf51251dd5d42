"""The scripts of hot keys, each with its typed call. What they do stands at the top of each
file."""

from collections.abc import Iterable

from pantler_server.core.namespace import Namespace
from pantler_server.engines import cache
from pantler_server.engines.cache.hot_keys import keys
from pantler_server.store.request import Argument, Request, Script


def _load(name: str) -> Script:
    return Script.load(cache.__name__, f"hot_keys/{name}")  # with the functions of the cache


_ADD = _load("add.lua")
_TOP = _load("top.lua")
_OF_DAY = _load("of_day.lua")


def add(space: Namespace, reads: Iterable[tuple[str, int]], min_reads_per_second: float) -> Request:
    """The reply is the keys that are hot then. Not repeatable: reads would count twice."""
    places = [*keys.minutes(space), *keys.days(space)]
    arguments: list[Argument] = [min_reads_per_second]
    for key, count in reads:
        arguments += (count, key)
    return _ADD.request(_slot(space), places, arguments, space.name)


def top(space: Namespace, limit: int) -> Request:
    """The reply is as top.lua gives it."""
    places = keys.minutes(space)
    return _TOP.request(_slot(space), places, (limit,), space.name, repeatable=True, writes=False)


def of_day(space: Namespace, days_ago: int, limit: int) -> Request:
    """The reply is the keys that were read most."""
    places = keys.days(space)
    return _OF_DAY.request(
        _slot(space), places, (days_ago, limit), space.name, repeatable=True, writes=False
    )


def _slot(space: Namespace) -> int:
    return space.partitions[0].slot
