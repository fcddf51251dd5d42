"""Places as workers have them, on every topology, against reckoning with all of them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import asin, atan2, cos, degrees, pi, radians, sin, sqrt
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pantler_server.core.errors import WrongKind
from pantler_server.core.namespace import Namespace
from pantler_server.engines.geo import keys, scripts
from pantler_server.engines.geo.engine import GeoEngine
from pantler_server.engines.geo.model import Area, Box, Circle, Point, Search, SearchResult
from pantler_server.store.request import Request
from pantler_server.store.store import Store

from tests.engines.conftest import Deadline
from tests.engines.test_counters import ask, pttl

RADIUS = 6_372_797.560856
TOP = 85.05112878
EXACT = 1e-3  # meters: nearer to an edge the last digits of a double decide
CITIES = {
    "Berlin": Point(13.4050, 52.5200),
    "Potsdam": Point(13.0645, 52.3906),
    "Hamburg": Point(9.9937, 53.5511),
    "Suva": Point(178.4419, -18.1416),
    "Apia": Point(-171.7667, -13.8333),
}


def apart(one: Point, other: Point) -> float:
    """Meters on the sphere."""
    u = sin(radians(other.latitude - one.latitude) / 2)
    v = sin(radians(other.longitude - one.longitude) / 2)
    a = u * u + cos(radians(one.latitude)) * cos(radians(other.latitude)) * v * v
    return 2 * RADIUS * asin(min(1.0, sqrt(a)))


def outside(origin: Point, area: Area, point: Point) -> float:
    """By how many meters a point is outside an area; less than 0 if it is in it."""
    if isinstance(area, Circle):
        return apart(origin, point) - area.radius_meters
    north = radians(abs(point.latitude - origin.latitude)) * RADIUS
    east = apart(Point(origin.longitude, point.latitude), point)
    return max(north - area.height_meters / 2, east - area.width_meters / 2)


def at_bearing(origin: Point, bearing: float, meters: float) -> Point:
    """The point that is reached on a great circle."""
    latitude, angle = radians(origin.latitude), meters / RADIUS
    up = sin(latitude) * cos(angle) + cos(latitude) * sin(angle) * cos(bearing)
    east = atan2(sin(bearing) * sin(angle) * cos(latitude), cos(angle) - sin(latitude) * up)
    return on_map(origin.longitude + degrees(east), degrees(asin(max(-1.0, min(1.0, up)))))


def in_box(origin: Point, box: Box, east: float, north: float) -> Point:
    """The point so far towards the sides of a box: at 1 it is on them."""
    latitude = origin.latitude + north * degrees(box.height_meters / 2 / RADIUS)
    latitude = max(-TOP, min(TOP, latitude))
    ratio = sin(min(box.width_meters / 4 / RADIUS, pi / 2)) / cos(radians(latitude))
    side = 2 * asin(min(1.0, ratio))
    return on_map(origin.longitude + east * degrees(side), latitude)


def on_map(longitude: float, latitude: float) -> Point:
    return Point((longitude + 180) % 360 - 180, max(-TOP, min(TOP, latitude)))


def looking(
    origin: Point | str, area: Area, limit: int = 1000, *, farthest_first: bool = False
) -> Search:
    return Search(origin, area, farthest_first, limit)


@pytest.fixture
def add(geo: GeoEngine, space: Namespace, deadline: Deadline) -> Callable[[dict[str, Point]], Any]:
    def call(places: dict[str, Point]) -> Any:
        return geo.add(space, "places", list(places.items()), deadline())

    return call


@pytest.fixture
def look(geo: GeoEngine, space: Namespace, deadline: Deadline) -> Callable[[Search], Any]:
    return lambda search: geo.search(space, "places", search, deadline())


def members(found: SearchResult) -> list[str]:
    return [one.member for one in found.locations]


async def test_members_are_where_they_were_last_said_to_be(
    geo: GeoEngine, space: Namespace, deadline: Deadline, add: Any
) -> None:
    assert await add(CITIES) == 5
    moved = [("Berlin", Point(0, 0)), ("Berlin", CITIES["Potsdam"]), ("Rome", Point(12.5, 41.9))]
    assert await geo.add(space, "places", moved, deadline()) == 1
    asked = ["Suva", "nobody", "Berlin"]
    suva, nobody, berlin = await geo.positions(space, "places", asked, deadline())
    assert nobody is None
    assert apart(suva or Point(0, 0), CITIES["Suva"]) < 0.6
    assert apart(berlin or Point(0, 0), CITIES["Potsdam"]) < 0.6


async def test_a_set_is_gone_with_its_last_member(
    geo: GeoEngine, space: Namespace, store: Store, deadline: Deadline, add: Any
) -> None:
    _, place = keys.place(space, "places")
    await add(CITIES)
    assert await pttl(store, place) == -1, "it stays until it is removed"
    gone = ["Suva", "nobody", "Apia", "Suva"]
    assert await geo.remove(space, "places", gone, deadline()) == [True, False, True, False]
    assert await geo.positions(space, "places", ["Suva"], deadline()) == [None]
    assert await geo.remove(space, "places", list(CITIES), deadline()) == [True] * 3 + [False] * 2
    assert await pttl(store, place) == -2


async def test_a_deleted_set_has_nobody(
    geo: GeoEngine, space: Namespace, deadline: Deadline, add: Any, look: Any
) -> None:
    await add(CITIES)
    assert await geo.delete(space, "places", deadline())
    assert not await geo.delete(space, "places", deadline())
    assert await look(looking(CITIES["Berlin"], Circle(1e6))) == SearchResult([], origin_found=True)


async def test_the_nearest_or_the_farthest_come_first_and_no_more_than_asked(
    add: Any, look: Any
) -> None:
    await add(CITIES)
    near = looking(CITIES["Berlin"], Circle(300_000))
    assert members(await look(near)) == ["Berlin", "Potsdam", "Hamburg"]
    assert members(await look(replace(near, limit=2))) == ["Berlin", "Potsdam"]
    far = replace(near, farthest_first=True)
    assert members(await look(far)) == ["Hamburg", "Potsdam", "Berlin"]
    assert members(await look(replace(far, limit=1))) == ["Hamburg"]


async def test_a_member_may_be_the_origin_and_is_found_at_0(
    geo: GeoEngine, space: Namespace, deadline: Deadline, add: Any, look: Any
) -> None:
    await add(CITIES)
    found = await look(looking("Potsdam", Circle(50_000)))
    assert members(found) == ["Potsdam", "Berlin"]
    assert found.locations[0].distance_meters == 0
    measured = await geo.distance(space, "places", "Potsdam", "Berlin", deadline())
    assert found.locations[1].distance_meters == measured
    assert measured == pytest.approx(apart(CITIES["Potsdam"], CITIES["Berlin"]), abs=1.2)
    nobody = await look(looking("nobody", Circle(50_000)))
    assert nobody == SearchResult((), origin_found=False)
    for one, other in (("Berlin", "nobody"), ("nobody", "Berlin")):
        assert await geo.distance(space, "places", one, other, deadline()) is None


@pytest.mark.parametrize(
    "corner",
    [Point(lon, lat) for lon in (-180, 0, 180, 180 - 3e-14) for lat in (-TOP, 0, TOP)],
    ids=str,
)
async def test_members_at_the_edges_of_the_map_are_found_from_both_sides(
    corner: Point, add: Any, look: Any
) -> None:
    await add({"corner": corner})
    for longitude in (corner.longitude, corner.longitude - 1e-4, corner.longitude + 1e-4):
        origin = on_map(longitude, corner.latitude)
        for at in (origin, replace(origin, latitude=origin.latitude * 0.999999)):
            for area in (Circle(30), Box(60, 30)):
                found = await look(looking(at, area))
                assert members(found) == ["corner"], (at, area)
                assert found.locations[0].distance_meters == pytest.approx(
                    apart(at, corner), abs=0.6
                )


# An origin, an area, and a place in it that Redis itself misses.
MISSED = [
    (Point(180, 46.555), Circle(2191), Point(-179.98, 46.555)),
    (Point(62.15, 85.05098), Circle(579_543), Point(120.05, 84.874)),
    (Point(-180, 85.05), Circle(565_614), Point(150.15, 83.78)),
    (Point(179.9989, 85.05098), Box(1161, 1_154_654), Point(-179.9886, 81.6577)),
    (Point(-167.1, 85.05112), Box(374_679, 1_156_502), Point(174.63, 84.933)),
    (Point(28.4, 42.4), Box(9_994_000, 1000), Point(90.6, 42.4)),
]


@pytest.mark.parametrize(("origin", "area", "point"), MISSED, ids=str)
async def test_what_redis_misses_is_found(
    origin: Point, area: Area, point: Point, add: Any, look: Any
) -> None:
    assert outside(origin, area, point) < -1
    await add({"missed": point, "origin": origin})
    for farthest_first, expected in ((False, ["origin", "missed"]), (True, ["missed", "origin"])):
        search = looking(origin, area, farthest_first=farthest_first)
        assert members(await look(search)) == expected
        assert members(await look(replace(search, limit=1))) == expected[:1]


async def test_what_is_asked_for_beyond_the_area_pushes_nothing_out(add: Any, look: Any) -> None:
    origin, area = Point(0, 85), Circle(560_000)
    places = {
        f"{number}": at_bearing(origin, number / 300 * 2 * pi, meters)
        for number, meters in ((n, 555_000 if n % 10 == 0 else 600_000) for n in range(300))
    }
    inside = {name for name, point in places.items() if outside(origin, area, point) < 0}
    assert 10 < len(inside) < 40
    await add(places)
    search = looking(origin, area, limit=10, farthest_first=True)
    found = await look(search)
    assert len(found.locations) == 10
    assert set(members(found)) <= inside
    assert set(members(await look(replace(search, limit=1000)))) == inside


async def test_a_narrow_box_over_a_pole_takes_few_rounds(
    geo: GeoEngine,
    space: Namespace,
    deadline: Deadline,
    add: Any,
    look: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    around = {f"{n}": Point(n * 0.1 - 180, 60 + n % 20) for n in range(3600) if abs(n - 1800) > 1}
    for first in range(0, 3600, 900):
        await add(dict(list(around.items())[first : first + 900]))
    await add({"near": Point(0, 70), "far": Point(0, 55)})
    asked: list[int] = []
    search = scripts.search

    def noted(*arguments: Any, **options: Any) -> Request:
        asked.append(arguments[-1])
        return search(*arguments, **options)

    monkeypatch.setattr(scripts, "search", noted)
    box = Box(1_000, 5_000_000)
    assert members(await look(looking(Point(0, 70), box, limit=10))) == ["near", "far"]
    assert len(asked) == 2
    asked.clear()
    circle = looking(Point(0, 70), Circle(5_000_000), limit=10)
    assert len((await look(circle)).locations) == 10
    assert asked == [10], "the nearest of a circle are the nearest of all"


LONGITUDES = st.one_of(
    st.floats(-180, 180),
    st.floats(179.9, 180).flatmap(lambda far: st.sampled_from([far, -far])),
    st.integers(-8, 8).map(lambda step: step * 22.5),
)
LATITUDES = st.one_of(
    st.floats(-TOP, TOP),
    st.floats(79, TOP).flatmap(lambda far: st.sampled_from([far, -far])),
    st.sampled_from([-TOP, -80.0, -66.0, 0.0, 66.0, 80.0, TOP]),
)
LENGTHS = st.floats(0.5, 7.3).map(lambda power: 10**power)
AREAS = st.one_of(
    st.builds(Circle, LENGTHS),
    st.builds(Box, LENGTHS, LENGTHS),
    LENGTHS.map(lambda side: Box(side, side)),
)
FRACTIONS = st.one_of(st.floats(-1.2, 1.2), st.sampled_from([-0.9999, 0.9999, -1.0001, 1.0001]))


@given(
    origin=st.builds(Point, LONGITUDES, LATITUDES),
    area=AREAS,
    aims=st.lists(st.tuples(FRACTIONS, FRACTIONS), min_size=20, max_size=60),
    farthest_first=st.booleans(),
    limit=st.integers(1, 40),
)
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_searches_find_what_reckoning_with_all_finds(
    geo: GeoEngine,
    space: Namespace,
    origin: Point,
    area: Area,
    aims: Sequence[tuple[float, float]],
    farthest_first: bool,
    limit: int,
) -> None:
    soon = asyncio.get_running_loop().time() + 5
    aimed = {
        f"{number}": (
            at_bearing(origin, one * pi, abs(other) * area.radius_meters)
            if isinstance(area, Circle)
            else in_box(origin, area, one, other)
        )
        for number, (one, other) in enumerate(aims)
    }
    await geo.delete(space, "places", soon)
    await geo.add(space, "places", list(aimed.items()), soon)
    kept = await geo.positions(space, "places", list(aimed), soon)
    places = {member: point for member, point in zip(aimed, kept, strict=True) if point}
    assert len(places) == len(aimed)
    off = {member: outside(origin, area, point) for member, point in places.items()}
    inside = {member for member, meters in off.items() if meters < -EXACT}
    either = {member for member, meters in off.items() if abs(meters) <= EXACT}
    search = Search(origin, area, farthest_first, 1000)
    found = await geo.search(space, "places", search, soon)
    assert inside <= set(members(found)) <= inside | either
    assert len(found.locations) == len(set(members(found)))
    distances = [one.distance_meters for one in found.locations]
    for one in found.locations:
        assert one.point == places[one.member]
        assert one.distance_meters == pytest.approx(apart(origin, one.point), abs=2e-3, rel=1e-6)
    ordered = sorted(distances, reverse=farthest_first)
    assert distances == pytest.approx(ordered, abs=1e-3)
    first = await geo.search(space, "places", replace(search, limit=limit), soon)
    assert [one.distance_meters for one in first.locations] == distances[:limit]


@pytest.mark.parametrize("written", [("SET", "text"), ("HSET", "f", "1")], ids=" ".join)
async def test_what_is_no_set_of_places_is_refused_and_stays(
    written: Sequence[str], geo: GeoEngine, space: Namespace, store: Store, deadline: Deadline
) -> None:
    _, place = keys.place(space, "places")
    await ask(store, place, *written)
    before = await ask(store, place, "DUMP")
    for call in (
        geo.add(space, "places", [("m", Point(1, 2))], deadline()),
        geo.positions(space, "places", ["m"], deadline()),
        geo.search(space, "places", looking(Point(1, 2), Circle(1)), deadline()),
        geo.search(space, "places", looking("m", Circle(1)), deadline()),
        geo.distance(space, "places", "m", "n", deadline()),
        geo.remove(space, "places", ["m"], deadline()),
        geo.delete(space, "places", deadline()),
    ):
        with pytest.raises(WrongKind) as refused:
            await call
        assert refused.value.key == "places"
    assert await ask(store, place, "DUMP") == before
