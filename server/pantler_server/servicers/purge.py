"""The RPCs of CdnService that are about purges."""

from pantler.v1 import cdn_pb2

from pantler_server.core.call import Call
from pantler_server.engines.cdn.engine import CdnEngine
from pantler_server.servicers import convert_purge


class Purges:
    """Documented in proto/pantler/v1/cdn.proto."""

    def __init__(self, engine: CdnEngine) -> None:
        self._engine = engine

    async def Purge(self, request: cdn_pb2.PurgeRequest, call: Call) -> cdn_pb2.PurgeResponse:
        purge = convert_purge.purge_of(request)
        purged = await self._engine.purge(purge, call.deadline)
        return convert_purge.purge_response(purged)

    async def GetPurge(
        self, request: cdn_pb2.GetPurgeRequest, call: Call
    ) -> cdn_pb2.GetPurgeResponse:
        purge_id = convert_purge.purge_id_of(request)
        status = await self._engine.get_purge(purge_id, call.deadline)
        return convert_purge.get_purge_response(status)
