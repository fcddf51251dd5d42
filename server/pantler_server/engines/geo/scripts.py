"""The scripts and commands of sets of places, each with its typed call. What the scripts do stands
at the top of each file.

What changes a set is not sent twice where it may have arrived: in between, somebody else may have
moved a member, and would see it jump back.
"""

from collections.abc import Sequence

from pantler_server.core.namespace import Namespace
from pantler_server.engines.geo import keys
from pantler_server.engines.geo.model import Point
from pantler_server.store.request import Argument, Request, Script, pack, read

_REMOVE = Script.load(__package__, "remove.lua")
_DELETE = Script.load(__package__, "delete.lua")


def add(space: Namespace, name: str, locations: Sequence[tuple[str, Point]]) -> Request:
    """The reply is how many members are new."""
    partition, place = keys.place(space, name)
    words: list[Argument] = ["GEOADD", place]
    for member, point in locations:
        words += (point.longitude, point.latitude, member)
    return Request(partition.slot, (pack(*words),), name, repeatable=False)


def positions(space: Namespace, name: str, members: Sequence[str]) -> Request:
    """The reply has a longitude and a latitude for each member, or None."""
    partition, place = keys.place(space, name)
    return read(partition.slot, name, ("GEOPOS", place, *members))


def search(
    space: Namespace,
    name: str,
    origin: Point,
    words: Sequence[Argument],
    count: int,
    *,
    farthest_first: bool,
) -> Request:
    """The reply has a member, and its longitude and latitude, for each that was found. `words` are
    of the area."""
    partition, place = keys.place(space, name)
    order = "DESC" if farthest_first else "ASC"
    where = ("FROMLONLAT", origin.longitude, origin.latitude, *words)
    how = (order, "COUNT", count, "WITHCOORD")
    return read(partition.slot, name, ("GEOSEARCH", place, *where, *how))


def remove(space: Namespace, name: str, members: Sequence[str]) -> Request:
    """The reply is as remove.lua gives it."""
    partition, place = keys.place(space, name)
    return _REMOVE.request(partition.slot, [place], members, name)


def delete(space: Namespace, name: str) -> Request:
    """The reply is whether there was a set."""
    partition, place = keys.place(space, name)
    return _DELETE.request(partition.slot, [place], (), name)
