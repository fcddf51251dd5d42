"""Between the messages of GeoService and the geo engine's models, checking on the way in."""

from collections.abc import Sequence
from typing import Protocol

from pantler.v1 import geo_pb2, sort_order_pb2

from pantler_server.core.errors import FieldViolation
from pantler_server.engines.geo.model import Area, Box, Circle, Point, Search, SearchResult
from pantler_server.engines.geo.sphere import MAX_DISTANCE_METERS, MAX_LATITUDE, MAX_LONGITUDE
from pantler_server.servicers import validate

MAX_RADIUS_METERS = float(round(MAX_DISTANCE_METERS + 1))  # beyond, there is nothing more
MAX_SIDE_METERS = 2 * MAX_RADIUS_METERS
MIN_METERS = 0.001  # less counts as this: by rounding, a place may be farther than that from itself
_DESCENDING = {
    sort_order_pb2.SORT_ORDER_UNSPECIFIED: False,
    sort_order_pb2.SORT_ORDER_ASCENDING: False,
    sort_order_pb2.SORT_ORDER_DESCENDING: True,
}


class _HasSet(Protocol):
    set: str


class _HasMembers(_HasSet, Protocol):
    @property
    def members(self) -> Sequence[str]: ...


class _HasPoint(Protocol):
    longitude: float
    latitude: float


def set_name(request: _HasSet) -> str:
    violations: validate.Violations = []
    validate.key(request.set, "set", violations)
    validate.refuse(violations)
    return request.set


def members(request: _HasMembers) -> Sequence[str]:
    """Those of a batch, checked with the name of the set."""
    violations: validate.Violations = []
    validate.key(request.set, "set", violations)
    validate.batch_of_keys(request.members, validate.MAX_BATCH_ITEMS, "members", violations)
    validate.refuse(violations)
    return request.members


def pair(request: geo_pb2.MeasureDistanceRequest) -> tuple[str, str]:
    """The two members, checked with the name of the set."""
    violations: validate.Violations = []
    validate.key(request.set, "set", violations)
    validate.key(request.from_member, "from_member", violations)
    validate.key(request.to_member, "to_member", violations)
    validate.refuse(violations)
    return request.from_member, request.to_member


def locations(request: geo_pb2.AddLocationsRequest) -> list[tuple[str, Point]]:
    """Checked with the name of the set."""
    violations: validate.Violations = []
    validate.key(request.set, "set", violations)
    found: list[tuple[str, Point]] = []
    if validate.batch_size(len(request.locations), "locations", violations):
        for index, one in enumerate(request.locations):
            validate.key(one.member, f"locations[{index}].member", violations)
            found.append((one.member, _point(one, f"locations[{index}]", violations)))
    validate.refuse(violations)
    return found


def search(request: geo_pb2.SearchNearbyRequest) -> Search:
    """Checked with the name of the set."""
    violations: validate.Violations = []
    validate.key(request.set, "set", violations)
    origin: Point | str = request.member
    match request.WhichOneof("origin"):
        case "point":
            origin = _point(request.point, "point", violations)
        case "member":
            validate.key(request.member, "member", violations)
        case _:
            violations.append(FieldViolation("point", "must be set, or member"))
    area = _area(request, violations)
    if request.order not in _DESCENDING:
        names = ", ".join(sort_order_pb2.SortOrder.keys()[1:])
        violations.append(FieldViolation("order", f"must be one of {names}"))
    validate.limit(request.limit, violations)
    validate.refuse(violations)
    return Search(origin, area, _DESCENDING[request.order], request.limit)


def get_response(
    members: Sequence[str], points: Sequence[Point | None]
) -> geo_pb2.GetLocationsResponse:
    response = geo_pb2.GetLocationsResponse()
    for member, point in zip(members, points, strict=True):
        location = response.locations.add(member=member)
        if point is not None:
            _put_point(location.point, point)
    return response


def search_response(found: SearchResult) -> geo_pb2.SearchNearbyResponse:
    response = geo_pb2.SearchNearbyResponse(origin_found=found.origin_found)
    for one in found.locations:
        location = response.locations.add(member=one.member, distance_meters=one.distance_meters)
        _put_point(location.point, one.point)
    return response


def _put_point(message: geo_pb2.Point, point: Point) -> None:
    message.longitude = point.longitude
    message.latitude = point.latitude


def _point(message: _HasPoint, path: str, violations: validate.Violations) -> Point:
    for field, value, most in (
        ("longitude", message.longitude, MAX_LONGITUDE),
        ("latitude", message.latitude, MAX_LATITUDE),
    ):
        if not -most <= value <= most:  # nor is NaN
            violations.append(FieldViolation(f"{path}.{field}", f"must be -{most} to {most}"))
    return Point(message.longitude, message.latitude)


def _area(request: geo_pb2.SearchNearbyRequest, violations: validate.Violations) -> Area:
    if request.WhichOneof("area") == "box":
        box = request.box
        width = _length(box.width_meters, MAX_SIDE_METERS, "box.width_meters", violations)
        height = _length(box.height_meters, MAX_SIDE_METERS, "box.height_meters", violations)
        return Box(width, height)
    if request.WhichOneof("area") is None:
        violations.append(FieldViolation("radius_meters", "must be set, or box"))
        return Circle(MIN_METERS)
    radius = _length(request.radius_meters, MAX_RADIUS_METERS, "radius_meters", violations)
    return Circle(radius)


def _length(meters: float, most: float, path: str, violations: validate.Violations) -> float:
    if not 0 < meters <= most:  # nor is NaN
        rule = f"must be more than 0, and at most {most:.0f}"
        violations.append(FieldViolation(path, rule))
    return max(meters, MIN_METERS)
