"""GeoService: where members are, and which are near."""

from pantler.v1 import geo_pb2

from pantler_server.core.call import Call
from pantler_server.core.namespace import Namespaces
from pantler_server.engines.geo.engine import GeoEngine
from pantler_server.servicers import convert_geo as convert
from pantler_server.servicers import validate


class GeoServicer:
    """The RPCs of GeoService, documented in proto/pantler/v1/geo.proto."""

    def __init__(self, engine: GeoEngine, namespaces: Namespaces) -> None:
        self._engine = engine
        self._namespaces = namespaces

    async def AddLocations(
        self, request: geo_pb2.AddLocationsRequest, call: Call
    ) -> geo_pb2.AddLocationsResponse:
        name, locations = validate.namespace(request.namespace), convert.locations(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        added = await self._engine.add(namespace, request.set, locations, call.deadline)
        return geo_pb2.AddLocationsResponse(added=added)

    async def GetLocations(
        self, request: geo_pb2.GetLocationsRequest, call: Call
    ) -> geo_pb2.GetLocationsResponse:
        name, members = validate.namespace(request.namespace), convert.members(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        points = await self._engine.positions(namespace, request.set, members, call.deadline)
        return convert.get_response(members, points)

    async def RemoveLocations(
        self, request: geo_pb2.RemoveLocationsRequest, call: Call
    ) -> geo_pb2.RemoveLocationsResponse:
        name, members = validate.namespace(request.namespace), convert.members(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        removed = await self._engine.remove(namespace, request.set, members, call.deadline)
        return geo_pb2.RemoveLocationsResponse(removed=removed)

    async def SearchNearby(
        self, request: geo_pb2.SearchNearbyRequest, call: Call
    ) -> geo_pb2.SearchNearbyResponse:
        name, search = validate.namespace(request.namespace), convert.search(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        found = await self._engine.search(namespace, request.set, search, call.deadline)
        return convert.search_response(found)

    async def MeasureDistance(
        self, request: geo_pb2.MeasureDistanceRequest, call: Call
    ) -> geo_pb2.MeasureDistanceResponse:
        name, (one, other) = validate.namespace(request.namespace), convert.pair(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        meters = await self._engine.distance(namespace, request.set, one, other, call.deadline)
        return geo_pb2.MeasureDistanceResponse(
            found=meters is not None, distance_meters=meters or 0.0
        )

    async def DeleteSet(
        self, request: geo_pb2.DeleteSetRequest, call: Call
    ) -> geo_pb2.DeleteSetResponse:
        name = validate.namespace(request.namespace)
        set_name = convert.set_name(request)
        namespace = await self._namespaces.resolve(name, call.deadline)
        deleted = await self._engine.delete(namespace, set_name, call.deadline)
        return geo_pb2.DeleteSetResponse(deleted=deleted)
