"""What to ask Redis for, so that nothing of an area is missing.

GEOSEARCH looks into the cell of the origin and its eight neighbours, and keeps what is in the
area. It makes the cells larger by guesses, and leaves neighbours out that it takes for useless; so
Redis (7.0 to Valkey 9) misses what

- is beyond the pole, or far to the side near it, for a circle that reaches the pole;
- is at the sides of a box: these are farther apart in longitude than Redis reckons, at 60 degrees
  by two millionths for a width of 50 km, and by 8 % for one of 9,000 km.

So where a circle reaches the pole, and where cells may be too small, Redis is asked for all that
is as far north or south; else for a box that is wide enough to find its sides. What it gives is
then compared with the area itself (`contains`).

The geometry is that of src/geohash_helper.c (geohashCalculateAreasByShapeWGS84): cells of
360/2^s by 170.1/2^s degrees, s such that a cell is at least 2 x 2^p times the reach wide, where p
is 0, 1 above 66 degrees of latitude, and 2 above 80; twice as much where its bounds are found to be
passed, once; all if s is 1.
"""

from dataclasses import dataclass
from math import asin, cos, hypot, inf, pi, radians, sin

from pantler_server.engines.geo.model import Area, Box, Circle, Point
from pantler_server.engines.geo.sphere import EARTH_RADIUS_METERS, MAX_LATITUDE, distance_meters

_EVERYWHERE = 5_010_000 / EARTH_RADIUS_METERS
"""With such a reach, in radians, Redis looks into all cells: s is 1 from a quarter of the
20,037,726 m on that it takes for half the Earth."""
_POLE = radians(89.9)  # nearer to it, the width that Redis reckons with is infinite, or negative
_ROUNDING = 1 + 1e-9
_AROUND_METERS = 2 * pi * EARTH_RADIUS_METERS * _ROUNDING
_CELL = 4 * 0.999  # a cell's width that is made larger once, against the reach; 0.999 is rounding


@dataclass(frozen=True, slots=True)
class Covering:
    """An area for Redis that has all of the one wanted in it."""

    words: tuple[str | float, ...]
    """As GEOSEARCH takes it."""
    exact: bool
    """Whether it is the one wanted; else more may be found, which `contains` tells apart."""
    all_around: bool = False
    """Whether it goes around the Earth: nearly all that is found may be outside."""


def covering(origin: Point, area: Area) -> Covering:
    """What Redis is to be asked for."""
    latitude = radians(abs(origin.latitude))
    if isinstance(area, Circle):
        return _of_circle(latitude, area)
    return _of_box(latitude, area)


def _of_circle(latitude: float, circle: Circle) -> Covering:
    radius = circle.radius_meters / EARTH_RADIUS_METERS
    edge, side = latitude + radius, inf
    if edge < pi / 2:
        side = asin(min(1.0, sin(radius) / cos(latitude)))
    if _sees_all(latitude, edge, side, radius):
        return Covering(("BYRADIUS", circle.radius_meters, "m"), exact=True)
    return _all_around(2 * circle.radius_meters)


def _of_box(latitude: float, box: Box) -> Covering:
    half_height = box.height_meters / 2 / EARTH_RADIUS_METERS
    half_width = box.width_meters / 2 / EARTH_RADIUS_METERS
    reach = hypot(half_height, half_width)
    if reach >= _EVERYWHERE:
        return Covering(("BYBOX", box.width_meters, box.height_meters, "m"), exact=True)
    edge, side = latitude + half_height, inf
    # The longitudes differ most at the end that is nearer to the pole.
    widest = sin(half_width / 2) / cos(min(edge, radians(MAX_LATITUDE)))
    if widest < 1:
        side = 2 * asin(widest)
    if not _sees_all(latitude, edge, side, reach):
        return _all_around(box.height_meters)
    # Redis takes the side for half the width by the cosine of the latitude there.
    width = max(box.width_meters, 2 * EARTH_RADIUS_METERS * side * cos(edge) * _ROUNDING)
    return Covering(("BYBOX", width, box.height_meters, "m"), exact=False)


def _sees_all(latitude: float, edge: float, side: float, reach: float) -> bool:
    """Whether the cells that Redis looks into have all of an area that goes to the latitude `edge`,
    by `side` in longitude, and so far from its origin: all in radians."""
    cell = _CELL * reach * (1 + (latitude > radians(66))) * (1 + (latitude > radians(80)))
    return reach >= _EVERYWHERE or (edge < _POLE and side <= cell)


def _all_around(height_meters: float) -> Covering:
    """All that is as far north or south: so wide a box makes Redis look into all cells."""
    height = height_meters * _ROUNDING
    return Covering(("BYBOX", _AROUND_METERS, height, "m"), exact=False, all_around=True)


def contains(origin: Point, area: Area, point: Point) -> bool:
    """Whether a point is in the area."""
    if isinstance(area, Circle):
        return distance_meters(origin, point) <= area.radius_meters
    north = radians(abs(point.latitude - origin.latitude)) * EARTH_RADIUS_METERS
    east = distance_meters(Point(origin.longitude, point.latitude), point)
    return north <= area.height_meters / 2 and east <= area.width_meters / 2
