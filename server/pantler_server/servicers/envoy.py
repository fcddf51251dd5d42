"""Envoy's RateLimitService: whether a request that Envoy has may pass."""

from pantler_server.core.call import Call
from pantler_server.engines.rate_limit.envoy import EnvoyEngine
from pantler_server.generated import rls_pb2
from pantler_server.servicers import convert_envoy as convert


class EnvoyServicer:
    """The RPC of RateLimitService, documented in proto/envoy/service/ratelimit/v3/rls.proto."""

    def __init__(self, engine: EnvoyEngine) -> None:
        self._engine = engine

    async def ShouldRateLimit(
        self, request: rls_pb2.RateLimitRequest, call: Call
    ) -> rls_pb2.RateLimitResponse:
        descriptors = convert.descriptors(request)
        verdict = await self._engine.decide(request.domain, descriptors, call.deadline)
        return convert.response(verdict)
