"""Places and distances on the sphere that Redis takes the Earth for."""

from math import asin, cos, pi, radians, sin, sqrt

from pantler_server.engines.geo.model import Point

EARTH_RADIUS_METERS = 6_372_797.560856
MAX_LONGITUDE = 180.0
MAX_LATITUDE = 85.05112878
"""Redis cuts the sphere into cells as a map in Web Mercator would have them: they end here."""
MAX_DISTANCE_METERS = pi * EARTH_RADIUS_METERS

_EDGE = 1e-8  # degrees: 1 mm, and far more than a double of this size is rounded by


def in_cells(point: Point) -> Point:
    """The point where Redis has a cell for it, moved by 1 mm at most.

    At the eastern and the northern edge of its map Redis (7.0 to Valkey 9) counts one cell too
    many: a member there would be in a cell that no search looks into, and a search from there
    would look into cells that are none. The eastern edge is the western one too, and that is right.
    """
    longitude, latitude = point.longitude, point.latitude
    if longitude > MAX_LONGITUDE - _EDGE:
        longitude = -MAX_LONGITUDE
    return Point(longitude, min(latitude, MAX_LATITUDE - _EDGE))


def distance_meters(one: Point, other: Point) -> float:
    """Along the great circle, by the haversine formula, as Redis reckons."""
    latitude, to_latitude = radians(one.latitude), radians(other.latitude)
    u = sin((to_latitude - latitude) / 2)
    v = sin(radians(other.longitude - one.longitude) / 2)
    squared = u * u + cos(latitude) * cos(to_latitude) * v * v
    return 2 * EARTH_RADIUS_METERS * asin(sqrt(min(squared, 1.0)))
