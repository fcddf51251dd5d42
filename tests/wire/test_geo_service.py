"""GeoService through a real channel: what it answers, and what it refuses."""

from itertools import count
from math import inf, nan
from typing import Any

import grpc.aio
import pytest
from pantler.v1 import geo_pb2 as pb
from pantler.v1 import geo_pb2_grpc, sort_order_pb2

from tests.wire.test_cache_service import details, violations

_numbers = count()
PLACES = {"Palermo": (13.361389, 38.115556), "Catania": (15.087269, 37.502669)}
TOP = 85.05112878


@pytest.fixture
def geo(channel: grpc.aio.Channel) -> Any:
    return geo_pb2_grpc.GeoServiceStub(channel)


@pytest.fixture
def whose() -> dict[str, Any]:
    """A set of a namespace that no other test uses."""
    return {"namespace": f"geo{next(_numbers)}", "set": "shops"}


def locations(**places: tuple[float, float]) -> list[pb.Location]:
    return [
        pb.Location(member=member, longitude=longitude, latitude=latitude)
        for member, (longitude, latitude) in places.items()
    ]


async def test_places_are_kept_found_and_removed(geo: Any, whose: dict[str, Any]) -> None:
    request = pb.AddLocationsRequest(**whose, locations=locations(**PLACES))
    assert (await geo.AddLocations(request)).added == 2
    assert (await geo.AddLocations(request)).added == 0
    asked = ["nobody", "Palermo"]
    nobody, palermo = (
        await geo.GetLocations(pb.GetLocationsRequest(**whose, members=asked))
    ).locations
    assert (nobody.member, nobody.HasField("point")) == ("nobody", False)
    assert palermo.member == "Palermo"
    assert palermo.point.longitude == pytest.approx(PLACES["Palermo"][0], abs=1e-5)
    assert palermo.point.latitude == pytest.approx(PLACES["Palermo"][1], abs=1e-5)
    removed = await geo.RemoveLocations(pb.RemoveLocationsRequest(**whose, members=asked))
    assert list(removed.removed) == [False, True]
    assert (await geo.DeleteSet(pb.DeleteSetRequest(**whose))).deleted
    assert not (await geo.DeleteSet(pb.DeleteSetRequest(**whose))).deleted


async def test_a_search_says_who_is_where_and_how_far(geo: Any, whose: dict[str, Any]) -> None:
    await geo.AddLocations(pb.AddLocationsRequest(**whose, locations=locations(**PLACES)))
    point = pb.Point(longitude=15, latitude=37)
    near = pb.SearchNearbyRequest(**whose, point=point, radius_meters=200_000, limit=10)
    found = await geo.SearchNearby(near)
    assert found.origin_found
    assert [one.member for one in found.locations] == ["Catania", "Palermo"]
    catania, palermo = found.locations
    assert catania.distance_meters == pytest.approx(56_441, abs=1)
    assert palermo.distance_meters == pytest.approx(190_442, abs=1)
    assert catania.point.longitude == pytest.approx(PLACES["Catania"][0], abs=1e-5)
    near.order = sort_order_pb2.SORT_ORDER_DESCENDING
    near.limit = 1
    assert [one.member for one in (await geo.SearchNearby(near)).locations] == ["Palermo"]
    box = pb.Box(width_meters=400_000, height_meters=120_000)
    boxed = pb.SearchNearbyRequest(**whose, point=point, box=box, limit=10)
    assert [one.member for one in (await geo.SearchNearby(boxed)).locations] == ["Catania"]


async def test_a_member_may_be_the_origin(geo: Any, whose: dict[str, Any]) -> None:
    await geo.AddLocations(pb.AddLocationsRequest(**whose, locations=locations(**PLACES)))
    around = pb.SearchNearbyRequest(**whose, member="Palermo", radius_meters=1e6, limit=10)
    found = await geo.SearchNearby(around)
    assert [one.member for one in found.locations] == ["Palermo", "Catania"]
    asked = pb.MeasureDistanceRequest(**whose, from_member="Palermo", to_member="Catania")
    measured = await geo.MeasureDistance(asked)
    assert measured.found
    assert measured.distance_meters == found.locations[1].distance_meters
    assert measured.distance_meters == pytest.approx(166_274, abs=1)
    around.radius_meters = 5e-324
    assert [one.member for one in (await geo.SearchNearby(around)).locations] == ["Palermo"]
    around.member = asked.to_member = "nobody"
    missed = await geo.SearchNearby(around)
    assert (missed.origin_found, len(missed.locations)) == (False, 0)
    unmeasured = await geo.MeasureDistance(asked)
    assert (unmeasured.found, unmeasured.distance_meters) == (False, 0)


POINT = {"longitude": 1.0, "latitude": 2.0}
RIGHT: dict[str, Any] = {"point": POINT, "radius_meters": 1.0, "limit": 1}
COORDINATES: list[tuple[str, float]] = [
    *(("longitude", wrong) for wrong in (-180.0000001, 180.0000001, nan, inf, -inf)),
    *(("latitude", wrong) for wrong in (-TOP - 1e-9, TOP + 1e-9, 90, nan, inf, -inf)),
]
LENGTHS = (0.0, -1.0, nan, inf, 1e9)
SEARCHES: list[tuple[dict[str, Any], str]] = [
    *(({"point": {**POINT, field: wrong}}, f"point.{field}") for field, wrong in COORDINATES),
    *(({"radius_meters": wrong}, "radius_meters") for wrong in LENGTHS),
    *(
        (
            {"box": {"width_meters": 1.0, "height_meters": 1.0, side: wrong}},
            f"box.{side}",
        )
        for side in ("width_meters", "height_meters")
        for wrong in LENGTHS
    ),
    ({"radius_meters": 20_020_736.0}, "radius_meters"),
    ({"point": None}, "point"),
    ({"radius_meters": None}, "radius_meters"),
    ({"member": ""}, "member"),
    ({"member": "x" * 513}, "member"),
    ({"limit": 0}, "limit"),
    ({"limit": -1}, "limit"),
    ({"limit": 1001}, "limit"),
    ({"order": 77}, "order"),
    ({"set": ""}, "set"),
    ({"namespace": "Wrong"}, "namespace"),
]


@pytest.mark.parametrize(("wrong", "path"), SEARCHES, ids=lambda value: str(value)[:60])
async def test_a_wrong_search_is_refused_with_its_field(
    wrong: dict[str, Any], path: str, geo: Any, whose: dict[str, Any]
) -> None:
    request = pb.SearchNearbyRequest(**{**whose, **RIGHT, **wrong})
    assert list(await violations(geo.SearchNearby(request))) == [path]


@pytest.mark.parametrize(("field", "wrong"), COORDINATES, ids=str)
async def test_a_place_that_is_none_is_refused_and_nothing_is_stored(
    field: str, wrong: float, geo: Any, whose: dict[str, Any]
) -> None:
    given = [*locations(**PLACES), pb.Location(member="m", **{**POINT, field: wrong})]
    call = geo.AddLocations(pb.AddLocationsRequest(**whose, locations=given))
    assert list(await violations(call)) == [f"locations[2].{field}"]
    assert not (await geo.DeleteSet(pb.DeleteSetRequest(**whose))).deleted


@pytest.mark.parametrize("longitude", [-180.0, 180.0])
@pytest.mark.parametrize("latitude", [-TOP, TOP])
async def test_the_bounds_themselves_are_places(
    longitude: float, latitude: float, geo: Any, whose: dict[str, Any]
) -> None:
    given = locations(corner=(longitude, latitude))
    assert (await geo.AddLocations(pb.AddLocationsRequest(**whose, locations=given))).added == 1
    for radius_meters in (1.0, 20_020_735.0):
        asked = {**RIGHT, "point": POINT if radius_meters > 1 else given_point(given[0])}
        asked["radius_meters"] = radius_meters
        found = await geo.SearchNearby(pb.SearchNearbyRequest(**whose, **asked))
        assert [one.member for one in found.locations] == ["corner"]


def given_point(location: pb.Location) -> pb.Point:
    return pb.Point(longitude=location.longitude, latitude=location.latitude)


REQUESTS: list[tuple[str, dict[str, Any], str]] = [
    ("AddLocations", {"locations": []}, "locations"),
    ("AddLocations", {"locations": [{"member": "m", **POINT}] * 1001}, "locations"),
    ("AddLocations", {"locations": [POINT]}, "locations[0].member"),
    ("AddLocations", {"set": "a\nb", "locations": [{"member": "m"}]}, "set"),
    ("AddLocations", {"namespace": "", "locations": [{"member": "m"}]}, "namespace"),
    ("GetLocations", {"members": []}, "members"),
    ("GetLocations", {"members": ["m"] * 1001}, "members"),
    ("GetLocations", {"members": ["m", ""]}, "members[1]"),
    ("GetLocations", {"set": "", "members": ["m"]}, "set"),
    ("GetLocations", {"namespace": "", "members": ["m"]}, "namespace"),
    ("RemoveLocations", {"members": []}, "members"),
    ("RemoveLocations", {"members": ["m", "\x7f"]}, "members[1]"),
    ("RemoveLocations", {"set": "", "members": ["m"]}, "set"),
    ("RemoveLocations", {"namespace": "", "members": ["m"]}, "namespace"),
    ("MeasureDistance", {"to_member": "m"}, "from_member"),
    ("MeasureDistance", {"from_member": "m"}, "to_member"),
    ("MeasureDistance", {"set": "", "from_member": "m", "to_member": "m"}, "set"),
    ("MeasureDistance", {"namespace": "", "from_member": "m", "to_member": "m"}, "namespace"),
    ("DeleteSet", {"set": ""}, "set"),
    ("DeleteSet", {"namespace": ""}, "namespace"),
]


@pytest.mark.parametrize(("method", "wrong", "path"), REQUESTS, ids=lambda value: str(value)[:40])
async def test_a_wrong_request_is_refused_with_its_field(
    method: str, wrong: dict[str, Any], path: str, geo: Any, whose: dict[str, Any]
) -> None:
    request = getattr(pb, f"{method}Request")(**{**whose, **wrong})
    assert list(await violations(getattr(geo, method)(request))) == [path]


async def test_all_that_is_wrong_is_said_at_once(geo: Any, whose: dict[str, Any]) -> None:
    nothing = pb.AddLocationsRequest(namespace=whose["namespace"])
    assert list(await violations(geo.AddLocations(nothing))) == ["set", "locations"]
    nobody = pb.GetLocationsRequest(namespace=whose["namespace"])
    assert list(await violations(geo.GetLocations(nobody))) == ["set", "members"]


async def test_a_name_of_another_kind_is_refused(
    channel: grpc.aio.Channel, geo: Any, whose: dict[str, Any]
) -> None:
    from pantler.v1 import counter_pb2, counter_pb2_grpc

    counter = counter_pb2.IncrementRequest(namespace=whose["namespace"], counter=whose["set"])
    await counter_pb2_grpc.CounterServiceStub(channel).Increment(counter)
    for call in (
        geo.AddLocations(pb.AddLocationsRequest(**whose, locations=locations(**PLACES))),
        geo.SearchNearby(pb.SearchNearbyRequest(**whose, **RIGHT)),
        geo.DeleteSet(pb.DeleteSetRequest(**whose)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call
        assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert details(failed.value)["ErrorInfo"].reason == "ERROR_REASON_WRONG_KIND"
