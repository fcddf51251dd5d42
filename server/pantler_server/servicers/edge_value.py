"""The methods of CdnService for values at the edge."""

from pantler.v1 import cdn_pb2

from pantler_server.core.call import Call
from pantler_server.engines.cdn.edge_values import EdgeValueEngine
from pantler_server.servicers import convert_edge_value as convert


class EdgeValues:
    """A part of the servicer of CdnService, documented in proto/pantler/v1/cdn.proto."""

    def __init__(self, edge_values: EdgeValueEngine) -> None:
        self._edge_values = edge_values

    async def PutEdgeValue(
        self, request: cdn_pb2.PutEdgeValueRequest, call: Call
    ) -> cdn_pb2.PutEdgeValueResponse:
        ttl_s, metadata = convert.put(request)
        await self._edge_values.put(
            request.target, request.key, request.value, ttl_s, metadata, call.deadline
        )
        return cdn_pb2.PutEdgeValueResponse()

    async def GetEdgeValue(
        self, request: cdn_pb2.GetEdgeValueRequest, call: Call
    ) -> cdn_pb2.GetEdgeValueResponse:
        convert.check(request)
        found = await self._edge_values.get(request.target, request.key, call.deadline)
        return convert.get_response(found)

    async def DeleteEdgeValue(
        self, request: cdn_pb2.DeleteEdgeValueRequest, call: Call
    ) -> cdn_pb2.DeleteEdgeValueResponse:
        convert.check(request)
        await self._edge_values.delete(request.target, request.key, call.deadline)
        return cdn_pb2.DeleteEdgeValueResponse()
