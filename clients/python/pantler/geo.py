"""The calls of GeoService."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, overload

from pantler.batch import in_parts, several
from pantler.connection import Connection
from pantler.errors import PantlerError, answer_to
from pantler.geo_model import NearbyLocation, Point
from pantler.v1 import geo_pb2, geo_pb2_grpc, sort_order_pb2


class GeoCalls(Connection):
    """How a client keeps places, and finds what is near.

    A set holds where its members are, and stays until it is empty or deleted. A point may be given
    as a Point or as (longitude, latitude).
    """

    async def add_locations(
        self,
        namespace: str,
        set_name: str,
        locations: Mapping[str, Point | tuple[float, float]],
    ) -> int:
        """Says where members are; how many were not in the set before.

            await client.add_locations("shops", "berlin", {"bakery": (13.405, 52.52)})

        Of more than 1,000, raises PartialFailure if some could not be stored.
        """
        added = 0

        async def add(part: Sequence[str]) -> list[bool | PantlerError | None]:
            nonlocal added
            request = geo_pb2.AddLocationsRequest(
                namespace=namespace,
                set=set_name,
                locations=[_location(member, locations[member]) for member in part],
            )
            answer = await answer_to(self._geo_service.AddLocations, request, self._timeout_s)
            added += answer.added
            return [True] * len(part)

        await in_parts(several(locations), add)
        return added

    async def get_locations(
        self, namespace: str, set_name: str, members: Iterable[str]
    ) -> dict[str, Point]:
        """Where members are, without those that are not in the set."""

        async def get(part: Sequence[str]) -> list[Point | PantlerError | None]:
            request = geo_pb2.GetLocationsRequest(namespace=namespace, set=set_name, members=part)
            answer = await answer_to(self._geo_service.GetLocations, request, self._timeout_s)
            return [
                _point(one.point) if one.HasField("point") else None for one in answer.locations
            ]

        return await in_parts(several(members), get)

    async def remove_locations(
        self, namespace: str, set_name: str, members: Iterable[str]
    ) -> dict[str, bool]:
        """Takes members out of a set; whether each was in it."""

        async def remove(part: Sequence[str]) -> list[bool | PantlerError | None]:
            request = geo_pb2.RemoveLocationsRequest(
                namespace=namespace, set=set_name, members=part
            )
            answer = await answer_to(self._geo_service.RemoveLocations, request, self._timeout_s)
            return list(answer.removed)

        return await in_parts(several(members), remove)

    @overload
    async def search_nearby(
        self,
        namespace: str,
        set_name: str,
        *,
        point: Point | tuple[float, float],
        radius_meters: float | None = None,
        box: tuple[float, float] | None = None,
        limit: int = 100,
        farthest_first: bool = False,
    ) -> list[NearbyLocation]: ...

    @overload
    async def search_nearby(
        self,
        namespace: str,
        set_name: str,
        *,
        member: str,
        radius_meters: float | None = None,
        box: tuple[float, float] | None = None,
        limit: int = 100,
        farthest_first: bool = False,
    ) -> list[NearbyLocation] | None: ...

    async def search_nearby(
        self,
        namespace: str,
        set_name: str,
        *,
        point: Point | tuple[float, float] | None = None,
        member: str | None = None,
        radius_meters: float | None = None,
        box: tuple[float, float] | None = None,
        limit: int = 100,
        farthest_first: bool = False,
    ) -> list[NearbyLocation] | None:
        """The members around a point, or around a member of the set, which is found too; None if
        it is not in the set.

            for shop in await client.search_nearby(
                "shops", "berlin", point=(13.4, 52.5), radius_meters=2_000, limit=10
            ):
                print(shop.member, shop.distance_meters)

        The area is a circle, or a `box` of a width and a height in meters. `limit`: 1 to 1,000.
        """
        if (point is None) == (member is None):
            raise TypeError("give one of point and member")
        if (radius_meters is None) == (box is None):
            raise TypeError("give one of radius_meters and box")
        where: dict[str, Any] = {}
        if point is None:
            where["member"] = member
        else:
            where["point"] = _point_message(point)
        if box is None:
            where["radius_meters"] = radius_meters
        else:
            width, height = box
            where["box"] = geo_pb2.Box(width_meters=width, height_meters=height)
        order = sort_order_pb2.SORT_ORDER_DESCENDING if farthest_first else None
        request = geo_pb2.SearchNearbyRequest(
            namespace=namespace, set=set_name, order=order, limit=limit, **where
        )
        answer = await answer_to(self._geo_service.SearchNearby, request, self._timeout_s)
        if not answer.origin_found:
            return None
        return [
            NearbyLocation(one.member, _point(one.point), one.distance_meters)
            for one in answer.locations
        ]

    async def measure_distance(
        self, namespace: str, set_name: str, from_member: str, to_member: str
    ) -> float | None:
        """Meters between two members; None if one of them is not in the set."""
        request = geo_pb2.MeasureDistanceRequest(
            namespace=namespace, set=set_name, from_member=from_member, to_member=to_member
        )
        answer = await answer_to(self._geo_service.MeasureDistance, request, self._timeout_s)
        return answer.distance_meters if answer.found else None

    async def delete_places(self, namespace: str, set_name: str) -> bool:
        """Deletes a set with all its places; whether there was one."""
        request = geo_pb2.DeleteSetRequest(namespace=namespace, set=set_name)
        answer = await answer_to(self._geo_service.DeleteSet, request, self._timeout_s)
        return answer.deleted

    @cached_property
    def _geo_service(self) -> "geo_pb2_grpc.GeoServiceAsyncStub":
        return geo_pb2_grpc.GeoServiceStub(self._channel)


def _coordinates(point: Point | tuple[float, float]) -> tuple[float, float]:
    return (point.longitude, point.latitude) if isinstance(point, Point) else point


def _location(member: str, point: Point | tuple[float, float]) -> geo_pb2.Location:
    longitude, latitude = _coordinates(point)
    return geo_pb2.Location(member=member, longitude=longitude, latitude=latitude)


def _point_message(point: Point | tuple[float, float]) -> geo_pb2.Point:
    longitude, latitude = _coordinates(point)
    return geo_pb2.Point(longitude=longitude, latitude=latitude)


def _point(message: geo_pb2.Point) -> Point:
    return Point(message.longitude, message.latitude)
