"""What the geo engine takes and returns."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """Degrees east of Greenwich and north of the equator."""

    longitude: float
    latitude: float


@dataclass(frozen=True, slots=True)
class Circle:
    """All that is at most so far away, by the great circle."""

    radius_meters: float


@dataclass(frozen=True, slots=True)
class Box:
    """All that is at most half the height north or south of the origin, along the meridian, and at
    most half the width east or west of it, by the great circle between two points of the found
    one's latitude."""

    width_meters: float
    height_meters: float


Area = Circle | Box


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for."""

    origin: Point | str
    """A point, or a member of the set."""
    area: Area
    farthest_first: bool
    limit: int


@dataclass(frozen=True, slots=True)
class Nearby:
    """A member that was found."""

    member: str
    point: Point
    distance_meters: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What was found, in the order asked for."""

    locations: Sequence[Nearby]
    origin_found: bool
