"""CdnService: headers of responses, whether a client has the newest, and what CDNs keep."""

from pantler.v1 import cdn_pb2

from pantler_server.core.call import Call
from pantler_server.engines.cdn import freshness, headers
from pantler_server.engines.cdn.edge_values import EdgeValueEngine
from pantler_server.engines.cdn.engine import CdnEngine
from pantler_server.engines.cdn.policies import Policies
from pantler_server.servicers import convert_cdn as convert
from pantler_server.servicers.edge_value import EdgeValues
from pantler_server.servicers.purge import Purges


class CdnServicer(EdgeValues, Purges):
    """The RPCs of CdnService, documented in proto/pantler/v1/cdn.proto."""

    def __init__(self, policies: Policies, purges: CdnEngine, edge_values: EdgeValueEngine) -> None:
        EdgeValues.__init__(self, edge_values)
        Purges.__init__(self, purges)
        self._policies = policies

    async def BuildHeaders(
        self, request: cdn_pb2.BuildHeadersRequest, call: Call
    ) -> cdn_pb2.BuildHeadersResponse:
        wanted = convert.wanted(request)
        policy = wanted.policy
        if policy is None and wanted.namespace:
            policy = self._policies.of(wanted.namespace)
        made = headers.build(policy, wanted.etag, wanted.last_modified_s, wanted.tags)
        return convert.headers_response(made)

    async def CheckFreshness(
        self, request: cdn_pb2.CheckFreshnessRequest, call: Call
    ) -> cdn_pb2.CheckFreshnessResponse:
        asked = convert.conditions(request)
        return cdn_pb2.CheckFreshnessResponse(
            not_modified=freshness.not_modified(
                asked.if_none_match, asked.if_modified_since, asked.etag, asked.last_modified_s
            )
        )
