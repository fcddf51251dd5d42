"""RateLimitService: whether something may be done now."""

from datetime import timedelta

from pantler.v1 import rate_limit_pb2

from pantler_server.core.call import Call
from pantler_server.engines.rate_limit.engine import RateLimitEngine
from pantler_server.servicers import convert_rate_limit as convert


class RateLimitServicer:
    """The RPCs of RateLimitService, documented in proto/pantler/v1/rate_limit.proto."""

    def __init__(self, engine: RateLimitEngine) -> None:
        self._engine = engine

    async def Acquire(
        self, request: rate_limit_pb2.AcquireRequest, call: Call
    ) -> rate_limit_pb2.AcquireResponse:
        check, request_id = convert.check(request, self._engine), convert.request_id(request)
        decision = await self._engine.acquire(check, request_id, call.deadline)
        return convert.acquire_response(check, decision)

    async def AcquireAll(
        self, request: rate_limit_pb2.AcquireAllRequest, call: Call
    ) -> rate_limit_pb2.AcquireAllResponse:
        checks, request_id = convert.checks(request, self._engine), convert.request_id(request)
        decisions = await self._engine.acquire_all(checks, request_id, call.deadline)
        return convert.acquire_all_response(checks, decisions)

    async def Peek(
        self, request: rate_limit_pb2.PeekRequest, call: Call
    ) -> rate_limit_pb2.PeekResponse:
        check = convert.check(request, self._engine)
        decision = await self._engine.peek(check, call.deadline)
        return convert.peek_response(check, decision)

    async def Reset(
        self, request: rate_limit_pb2.ResetRequest, call: Call
    ) -> rate_limit_pb2.ResetResponse:
        await self._engine.reset(convert.check(request, self._engine), call.deadline)
        return rate_limit_pb2.ResetResponse()

    async def Refund(
        self, request: rate_limit_pb2.RefundRequest, call: Call
    ) -> rate_limit_pb2.RefundResponse:
        check, request_id = convert.refunded(request, self._engine), convert.request_id(request)
        decision = await self._engine.refund(check, request_id, call.deadline)
        return convert.refund_response(check, decision)

    async def RenewSlot(
        self, request: rate_limit_pb2.RenewSlotRequest, call: Call
    ) -> rate_limit_pb2.RenewSlotResponse:
        check, slot = convert.slot(request, self._engine)
        await self._engine.renew_slot(check, slot, call.deadline)
        window = timedelta(microseconds=check.limit.window_us)
        return rate_limit_pb2.RenewSlotResponse(slot_expires_after=window)

    async def ReleaseSlot(
        self, request: rate_limit_pb2.ReleaseSlotRequest, call: Call
    ) -> rate_limit_pb2.ReleaseSlotResponse:
        check, slot = convert.slot(request, self._engine)
        await self._engine.release_slot(check, slot, call.deadline)
        return rate_limit_pb2.ReleaseSlotResponse()

    async def ListRules(
        self, request: rate_limit_pb2.ListRulesRequest, call: Call
    ) -> rate_limit_pb2.ListRulesResponse:
        response = rate_limit_pb2.ListRulesResponse()
        for name, limit in self._engine.rules.items():
            response.rules.add(name=name, rule=convert.rule_message(limit.rule))
        return response
