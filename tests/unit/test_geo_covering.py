"""What Redis is asked for, against the cells that it looks into for that.

The cells are those of src/geohash_helper.c, geohashCalculateAreasByShapeWGS84, as Redis 7.0 and
Valkey 9 have it; tests/engines/test_geo.py asks the servers themselves, of fewer places.
"""

from collections.abc import Iterator, Sequence
from math import asin, atan2, cos, degrees, hypot, pi, radians, sin

from hypothesis import given, settings
from hypothesis import strategies as st
from pantler_server.engines.geo.covering import contains, covering
from pantler_server.engines.geo.model import Area, Box, Circle, Point
from pantler_server.engines.geo.sphere import EARTH_RADIUS_METERS as RADIUS
from pantler_server.engines.geo.sphere import MAX_LATITUDE as TOP
from pantler_server.engines.geo.sphere import in_cells

HALF_EARTH_METERS = 20037726.37
INSIDE = 1 - 1e-7  # of the way to an edge
Cell = tuple[int, int]


class Looked:
    """The cells that Redis looks into, by column and row of so many."""

    def __init__(self, origin: Point, words: Sequence[str | float]) -> None:
        sizes = [float(word) for word in words[1:-1]]
        height = width = reach = sizes[0]
        if words[0] == "BYBOX":
            width, height = sizes[0] / 2, sizes[1] / 2
            reach = hypot(width, height)
        up = degrees(height / RADIUS)
        edge = origin.latitude + (up if origin.latitude >= 0 else -up)
        side = degrees(width / RADIUS / cos(radians(edge)))
        west, east = origin.longitude - side, origin.longitude + side
        south, north = origin.latitude - up, origin.latitude + up
        step = self._step(origin, reach)
        self._cut(origin, step)
        if (
            self._rows(1)[1] < north
            or self._rows(-1)[0] > south
            or self._columns(1)[1] < east
            or self._columns(-1)[0] > west
        ):
            step = max(step - 1, 1)
            self._cut(origin, step)
        columns, rows = {-1, 0, 1}, {-1, 0, 1}
        if step >= 2:
            columns -= {-1} if self._columns(0)[0] < west else set()
            columns -= {1} if self._columns(0)[1] > east else set()
            rows -= {-1} if self._rows(0)[0] < south else set()
            rows -= {1} if self._rows(0)[1] > north else set()
        self._cells = {
            ((self._column + x) % self._count, (self._row + y) % self._count)
            for x in columns
            for y in rows
        }

    def has(self, point: Point) -> bool:
        return self._cell(point) in self._cells

    @staticmethod
    def _step(origin: Point, reach: float) -> int:
        step = -1
        while reach < HALF_EARTH_METERS:
            reach *= 2
            step += 1
        step -= (abs(origin.latitude) > 66) + (abs(origin.latitude) > 80)
        return min(max(step, 1), 26)

    def _cut(self, origin: Point, step: int) -> None:
        self._count = 2**step
        self._column, self._row = self._cell(origin)

    def _cell(self, point: Point) -> Cell:
        column = (point.longitude + 180) / 360 * self._count
        row = (point.latitude + TOP) / (2 * TOP) * self._count
        return int(column), int(row)

    def _columns(self, off: int) -> tuple[float, float]:
        """From where to where a neighbour is, around the Earth."""
        column = (self._column + off) % self._count
        return -180 + 360 * column / self._count, -180 + 360 * (column + 1) / self._count

    def _rows(self, off: int) -> tuple[float, float]:
        row = (self._row + off) % self._count
        return -TOP + 2 * TOP * row / self._count, -TOP + 2 * TOP * (row + 1) / self._count


def on_edge(origin: Point, area: Area) -> Iterator[Point]:
    """Points just within the edge of an area."""
    latitude = radians(origin.latitude)
    for step in range(64):
        turn = step / 64 * 2 * pi
        if isinstance(area, Circle):
            angle = area.radius_meters / RADIUS * INSIDE
            up = sin(latitude) * cos(angle) + cos(latitude) * sin(angle) * cos(turn)
            east = atan2(sin(turn) * sin(angle) * cos(latitude), cos(angle) - sin(latitude) * up)
            to = degrees(asin(max(-1.0, min(1.0, up))))
        else:
            north = max(-1.0, min(1.0, 1.5 * sin(turn))) * INSIDE
            to = origin.latitude + north * degrees(area.height_meters / 2 / RADIUS)
            to = max(-TOP, min(TOP, to))
            ratio = sin(min(area.width_meters / 4 / RADIUS, pi / 2)) / cos(radians(to))
            east = max(-1.0, min(1.0, 1.5 * cos(turn))) * 2 * asin(min(1.0, ratio)) * INSIDE
        point = in_cells(Point((origin.longitude + degrees(east) + 180) % 360 - 180, to))
        if abs(to) < TOP and contains(origin, area, point):
            yield point


LONGITUDES = st.one_of(
    st.floats(-180, 179.999999),
    st.integers(-32, 31).map(lambda cell: cell * 360 / 64),
    st.floats(1e-6, 1e-3).flatmap(lambda near: st.sampled_from([near - 180, 180 - near])),
)
LATITUDES = st.one_of(
    st.floats(-TOP + 1e-8, TOP - 1e-8),
    st.floats(1e-8, 10).flatmap(lambda near: st.sampled_from([near - TOP, TOP - near])),
    st.sampled_from([-80.001, -66.001, 65.999, 66.001, 79.999, 80.001]),
)
LENGTHS = st.one_of(st.floats(0, 7.3), st.floats(5.3, 7)).map(lambda power: 10**power)


@given(
    origin=st.builds(Point, LONGITUDES, LATITUDES),
    area=st.one_of(
        st.builds(Circle, LENGTHS),
        st.builds(Box, LENGTHS, LENGTHS),
        LENGTHS.map(lambda side: Box(side, side)),
        LENGTHS.map(lambda side: Box(side, 1)),
    ),
)
@settings(max_examples=600)
def test_redis_looks_wherever_the_area_is(origin: Point, area: Area) -> None:
    asked = covering(origin, area)
    looked = Looked(origin, asked.words)
    keeps: Area = (
        Circle(float(asked.words[1]))
        if asked.words[0] == "BYRADIUS"
        else Box(float(asked.words[1]), float(asked.words[2]))
    )
    for point in on_edge(origin, area):
        assert looked.has(point)
        assert contains(origin, keeps, point), "and keeps it"
    assert keeps == area or not asked.exact


def test_what_is_small_is_asked_for_as_it_is() -> None:
    for latitude in (-84.0, -70.0, 0.0, 52.5, 79.0, 85.0):
        asked = covering(Point(179.9, latitude), Circle(5_000))
        assert (asked.words, asked.exact) == (("BYRADIUS", 5_000, "m"), True)
        _, width, height, _ = covering(Point(179.9, latitude), Box(5_000, 5_000)).words
        assert 5_000 <= float(width) < 5_001
        assert height == 5_000
