"""What places are asked with, and what they answer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """A place on the Earth. The longitude comes first, as in GeoJSON and in Redis."""

    longitude: float
    """Degrees east of Greenwich, -180 to 180."""
    latitude: float
    """Degrees north of the equator, -85.05112878 to 85.05112878."""


@dataclass(frozen=True, slots=True)
class NearbyLocation:
    """A member that `search_nearby` has found."""

    member: str
    point: Point
    distance_meters: float
    """How far that is from the origin."""
